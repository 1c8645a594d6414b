//! `logweir tail`: follows sources and merges them to stdout.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::oneshot;

use super::network::{self, NetworkArgs};
use super::run::raise_open_files_limit;
use super::signals::{Asked, OnHangup, Signals};
use super::{ColorChoice, Exit, host, runtime, say};
use crate::agent::{self, Ended, FirstAttempts, Plan, Report, Turns};
use crate::config::{ArgumentOptions, sources_from_arguments};
use crate::encoding::{Format, Meta, Text};
use crate::model::BatchLimits;
use crate::notes::Notes;
use crate::sink::{SinkConfig, SinkKind};
use crate::source::SourceConfig;
use crate::source::file::{Follow, Start};
use crate::telemetry;

/// Bytes in flight, and bytes written at once.
const MEMORY_BYTES: usize = 8 << 20;
const BATCH_BYTES: usize = 1 << 20;

/// How long the end may take: whoever pressed Ctrl-C waits.
const SHUTDOWN: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct TailArgs {
    /// What to read, as [NAME=]LOCATION: a path, a quoted glob, a directory, an http(s):// stream
    /// (sse+ or lines+ in front forces its framing), a ws(s):// feed, or - for standard input
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<String>,
    /// What a line looks like; `auto` is text on a terminal, else json
    #[arg(
        short,
        long,
        value_enum,
        default_value = "auto",
        env = "LOGWEIR_OUTPUT"
    )]
    output: OutputChoice,
    /// The original bytes, as `-o raw`
    #[arg(short, long, conflicts_with = "output")]
    raw: bool,
    /// Lines from before now that are shown of each file: a number or `all`
    #[arg(short = 'n', long, value_name = "N|all", default_value = "10")]
    #[arg(value_parser = parse_lines, allow_negative_numbers = true)]
    lines: Start,
    /// End at the end of every file
    #[arg(long)]
    no_follow: bool,
    /// End after so many lines
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// End after so long, for example 30s
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    duration: Option<Duration>,
    #[command(flatten)]
    network: NetworkArgs,
    /// When to use colours
    #[arg(long, value_enum, default_value = "auto", value_name = "WHEN")]
    color: ColorChoice,
    /// Say nothing on stderr but errors
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OutputChoice {
    Auto,
    Text,
    Raw,
    Json,
}

fn parse_lines(text: &str) -> Result<Start, String> {
    if text == "all" {
        return Ok(Start::Beginning);
    }
    let count = text
        .parse::<u64>()
        .map_err(|_| "a number of lines or `all`".to_owned())?;
    Ok(if count == 0 {
        Start::End
    } else {
        Start::LastLines(count)
    })
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    crate::config::parse_duration(text).map_err(|error| format!("{} ({})", error.why, error.hint))
}

/// Runs until the sources end, a limit is reached or a signal comes. Blocks.
pub(super) fn tail(args: TailArgs) -> Exit {
    let filter = if args.quiet { "error" } else { "warn" };
    if let Err(error) = telemetry::init(filter) {
        say(format_args!("error: log filter: {error}"));
    }
    let plan = match plan(&args) {
        Ok(plan) => plan,
        Err(errors) => {
            errors
                .iter()
                .for_each(|error| say(format_args!("error: {error}")));
            return Exit::Usage;
        }
    };
    raise_open_files_limit();
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(format_args!("error: cannot start the runtime: {error}"));
            return Exit::Output;
        }
    };
    let exit = runtime.block_on(follow(plan, args.duration, args.quiet));
    // A write into a pipe that nobody reads must not keep the process.
    runtime.shutdown_background();
    exit
}

fn plan(args: &TailArgs) -> Result<Plan, Vec<String>> {
    let follow = if args.no_follow {
        Follow::UntilEnd
    } else {
        Follow::Forever
    };
    let options = ArgumentOptions {
        start: args.lines,
        follow,
        network: network::options(&args.network)?,
    };
    let sources = sources_from_arguments(&args.sources, &options)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let stdout = stdout_sink(args, &sources);
    Ok(Plan {
        sources,
        sinks: vec![stdout],
        state: None,
        shutdown: SHUTDOWN,
        limit: args.limit,
        host: host(),
        first_attempts: FirstAttempts::MustSucceed,
        turns: match follow {
            Follow::Forever => Turns::Together,
            Follow::UntilEnd => Turns::InOrder,
        },
        notes: if args.quiet {
            Notes::silent()
        } else {
            Notes::terminal()
        },
    })
}

fn stdout_sink(args: &TailArgs, sources: &[SourceConfig]) -> SinkConfig {
    let terminal = std::io::stdout().is_terminal();
    let choice = match args.output {
        _ if args.raw => OutputChoice::Raw,
        OutputChoice::Auto if terminal => OutputChoice::Text,
        OutputChoice::Auto => OutputChoice::Json,
        chosen => chosen,
    };
    let format = match choice {
        OutputChoice::Raw => Format::Raw,
        OutputChoice::Text => Format::Text(Text {
            color: colored(args.color),
        }),
        OutputChoice::Json | OutputChoice::Auto => Format::Json(Meta::default()),
    };
    SinkConfig {
        name: "stdout".into(),
        from: sources.iter().map(|source| source.name.clone()).collect(),
        format: Some(format),
        batch: BatchLimits {
            bytes: BATCH_BYTES,
            lines: u64::MAX,
            linger: Duration::ZERO,
        },
        memory_bytes: MEMORY_BYTES,
        kind: SinkKind::Stdout,
    }
}

/// Whether stdout is coloured: the flag wins over `NO_COLOR` and `CLICOLOR_FORCE`.
fn colored(choice: ColorChoice) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never
        }
    }
}

async fn follow(plan: Plan, duration: Option<Duration>, quiet: bool) -> Exit {
    let started = Instant::now();
    let mut signals = match Signals::new(OnHangup::Ends) {
        Ok(signals) => signals,
        Err(error) => {
            say(format_args!("error: cannot take signals over: {error}"));
            return Exit::Output;
        }
    };
    let asked = signals.asked();
    let (first, second) = oneshot::channel();
    let stop = async move {
        tokio::select! {
            () = signals.next() => {}
            () = elapsed(duration) => {}
            () = reader_gone() => {}
        }
        let _ = first.send(signals);
    };
    let at_once = async {
        match second.await {
            Ok(mut signals) => signals.next().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = agent::run(plan, stop) => match ended {
            Ok(report) => exit_code(&report, &asked, started, quiet),
            Err(error) => {
                say(format_args!("error: {error}"));
                Exit::Output
            }
        },
        () = at_once => Exit::Interrupted,
    }
}

fn exit_code(report: &Report, asked: &Asked, started: Instant, quiet: bool) -> Exit {
    let exit = match &report.ended {
        Ended::NoSource(troubles) => {
            troubles
                .iter()
                .for_each(|trouble| say(format_args!("error: {trouble}")));
            return Exit::Unavailable;
        }
        Ended::SinkFailed(cause) => {
            say(format_args!("error: {cause}"));
            return Exit::Output;
        }
        Ended::Stopped if asked.interrupted() => Exit::Interrupted,
        Ended::Stopped if asked.terminated() => Exit::Terminated,
        Ended::Stopped | Ended::Finished | Ended::Enough => Exit::Ok,
    };
    let at_terminal = std::io::stderr().is_terminal();
    if report.ended != Ended::Enough && at_terminal && !quiet {
        say(format_args!("{}", summary(report, started.elapsed())));
    }
    exit
}

fn summary(report: &Report, elapsed: Duration) -> String {
    let plural = |n: usize| if n == 1 { "" } else { "s" };
    let seconds = elapsed.as_secs();
    let time = match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h{minutes:02}m"),
    };
    let Report {
        sources,
        lines,
        truncated,
        ..
    } = report;
    format!(
        "= {sources} source{}, {lines} lines, {truncated} cut, {time}",
        plural(*sources)
    )
}

async fn elapsed(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

/// Completes when whoever reads our stdout has gone, also while nothing is written: `| head -1` on
/// a quiet stream.
async fn reader_gone() {
    let (gone, told) = oneshot::channel();
    // A thread of its own: a blocking call without end has no place on the runtime's pool. It ends
    // with the process.
    let watching = std::thread::Builder::new()
        .name("stdout-watch".to_owned())
        .spawn(move || {
            let stdout = std::io::stdout();
            loop {
                let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
                match poll(&mut watched, None) {
                    Err(rustix::io::Errno::INTR) => {}
                    Err(_) => return,
                    Ok(_) => break,
                }
            }
            // Nobody may be waiting any more.
            let _ = gone.send(());
        });
    if watching.is_err() || told.await.is_err() {
        std::future::pending().await
    }
}
