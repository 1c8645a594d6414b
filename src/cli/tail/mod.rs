//! `logweir tail`: follows sources and merges them to stdout.

mod print;
mod select;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use jiff::Zoned;

use super::network::{self, NetworkArgs};
use super::output::OutputArgs;
use super::{Exit, say, show, stderr_color};
use crate::agent::{Inputs, Plan};
use crate::config::{
    Apart, ArgumentOptions, ConfigInput, LoadOptions, ProcessEnvironment, References, apart, load,
    sink_from_argument, sources_from_arguments,
};
use crate::framing::Multiline;
use crate::source::file::{Follow, Start};
use crate::source::{SourceConfig, SourceKind};
use select::{SelectArgs, Selected};

const EXAMPLES: &str = "Examples:
  logweir tail /var/log/nginx/*.log               follow files, merged by time
  logweir tail app.log | jq -r ._msg              JSON lines in a pipe
  logweir tail -g timeout -l warn app.log         what matters
  logweir tail --since 15m --no-follow app.log    the last quarter of an hour
  logweir tail https://host/stream wss://host/feed app.log
  some-command | logweir tail - app.log           standard input, too
";

#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct TailArgs {
    /// What to read, as [NAME=]LOCATION: a path, a quoted glob, a directory, a URL, or `-`
    ///
    /// https:// is one long response, read as it arrives (sse+https:// and lines+https:// force its
    /// framing), wss:// a WebSocket; `-` is standard input. NAME is the label of its lines. With -c:
    /// names of the configuration's sources.
    #[arg(required_unless_present = "config", value_name = "SOURCE")]
    sources: Vec<String>,
    /// End at the end of every file
    #[arg(long)]
    no_follow: bool,
    #[command(flatten)]
    select: SelectArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    more: MoreArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "More")]
struct MoreArgs {
    /// Remember in this file what was shown, and go on there the next time
    #[arg(long, value_name = "FILE")]
    cursor_file: Option<PathBuf>,
    /// Send it all there, too: a path or an http(s) URL
    #[arg(long, value_name = "URL|FILE")]
    to: Option<String>,
    /// Exit with 1 if a source fails for good
    #[arg(long)]
    strict: bool,
    /// The sources of a configuration instead; SOURCE then names some of them
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the same as a configuration for `logweir run`, and exit
    #[arg(long, conflicts_with = "config")]
    print_config: bool,
}

/// Runs until the sources end, a limit is reached or a signal comes. Blocks.
pub(super) fn tail(args: &TailArgs) -> Exit {
    show::init_log(&args.output);
    let now = Zoned::now();
    let planned = args
        .select
        .selected(&now)
        .map_err(Refused::Usage)
        .and_then(|selected| {
            if args.more.print_config {
                return print::config(args, &selected)
                    .map_err(Refused::Usage)
                    .map(Planned::Printed);
            }
            plan(args, selected, &now)
                .map(|(plan, ends_after)| Planned::Runs(Box::new(plan), ends_after))
        });
    match planned {
        Ok(Planned::Runs(plan, ends_after)) => {
            if !args.output.quiet {
                network::advice(&args.network, &args.sources)
                    .iter()
                    .for_each(|line| crate::terminal::note(line));
            }
            let watch = show::Watch {
                quiet: args.output.quiet,
                ends_after,
                strict: args.more.strict,
            };
            show::block_on(|signals| show::show(*plan, watch, signals))
        }
        Ok(Planned::Printed(text)) => super::print(&text),
        Err(Refused::Usage(errors)) => {
            errors
                .iter()
                .for_each(|error| say(format_args!("error: {error}")));
            Exit::Usage
        }
        Err(Refused::Config(rendered)) => {
            say(format_args!("{}", rendered.trim_end()));
            Exit::Config
        }
    }
}

/// What is to be done.
enum Planned {
    Runs(Box<Plan>, Option<Duration>),
    Printed(String),
}

/// Why nothing is done.
enum Refused {
    /// One message for each flag that cannot be used.
    Usage(Vec<String>),
    /// The findings in a configuration.
    Config(String),
}

/// What is run, and for how long at most.
fn plan(
    args: &TailArgs,
    selected: Selected,
    now: &Zoned,
) -> Result<(Plan, Option<Duration>), Refused> {
    let now_ns = i64::try_from(now.timestamp().as_nanosecond()).unwrap_or(i64::MAX);
    let left_ns = selected.until_ns.map(|until| until.saturating_sub(now_ns));
    let is_over = left_ns.is_some_and(|left| left <= 0);
    let follow = if args.no_follow || is_over {
        Follow::UntilEnd
    } else {
        Follow::Forever
    };
    let sources = match &args.more.config {
        Some(path) => configured(args, path, &selected, follow)?,
        None => {
            let options = options(args, selected, follow).map_err(Refused::Usage)?;
            sources_from_arguments(&args.sources, &options).map_err(|errors| {
                Refused::Usage(errors.iter().map(ToString::to_string).collect())
            })?
        }
    };
    let sources = if follow == Follow::UntilEnd && args.more.cursor_file.is_none() {
        merged_apart(args, sources)
    } else {
        sources
    };
    let mut plan = args.output.plan(sources);
    plan.inputs = match follow {
        Follow::Forever => Inputs::Live,
        Follow::UntilEnd => Inputs::Finite,
    };
    if let Some(to) = &args.more.to {
        let names = plan.sources.iter().map(|it| it.name.clone()).collect();
        let sink = sink_from_argument(to, names)
            .map_err(|why| Refused::Usage(vec![format!("--to {why}")]))?;
        plan.sinks.push(sink);
    }
    plan.cursor_file.clone_from(&args.more.cursor_file);
    let until = left_ns
        .and_then(|left| u64::try_from(left).ok())
        .filter(|left| *left > 0);
    let ends_after = [until.map(Duration::from_nanos), args.output.duration];
    Ok((plan, ends_after.into_iter().flatten().min()))
}

fn options(
    args: &TailArgs,
    selected: Selected,
    follow: Follow,
) -> Result<ArgumentOptions, Vec<String>> {
    Ok(ArgumentOptions {
        start: selected.start,
        follow,
        network: network::options(&args.network)?,
        records: selected.records,
    })
}

/// The sources of a configuration, or those of them that were named.
fn configured(
    args: &TailArgs,
    path: &std::path::Path,
    selected: &Selected,
    follow: Follow,
) -> Result<Vec<SourceConfig>, Refused> {
    let given = args.network.given();
    if !given.is_empty() {
        return Err(Refused::Usage(vec![format!(
            "{}: what sources of a configuration are asked with stands there, in {}",
            given.join(", "),
            path.display()
        )]));
    }
    let options = LoadOptions {
        references: References::Resolve,
        environment: &ProcessEnvironment,
    };
    let input = ConfigInput::from_argument(Some(path));
    let (config, _) =
        load(&[input], options).map_err(|found| Refused::Config(found.render(stderr_color())))?;
    let all: Vec<String> = config
        .sources
        .iter()
        .map(|it| it.name.to_string())
        .collect();
    let unknown = args.sources.iter().filter(|name| !all.contains(name));
    let unknown: Vec<String> = unknown
        .map(|name| {
            format!(
                "`{name}`: no source of {} has this name; there are: {}",
                path.display(),
                all.join(", ")
            )
        })
        .collect();
    if !unknown.is_empty() {
        return Err(Refused::Usage(unknown));
    }
    let is_wanted = |source: &SourceConfig| {
        args.sources.is_empty() || args.sources.iter().any(|it| **it == *source.name)
    };
    let mut sources: Vec<SourceConfig> = config.sources.into_iter().filter(is_wanted).collect();
    for source in &mut sources {
        narrow(source, selected, args.select.multiline(), follow);
    }
    Ok(sources)
}

/// Sources that end, each file as one of its own where they are merged. With a cursor file they stay
/// together: places are kept by the names of sources.
fn merged_apart(args: &TailArgs, sources: Vec<SourceConfig>) -> Vec<SourceConfig> {
    if args.output.is_unordered() {
        return sources;
    }
    let Apart { sources, too_many } = apart(sources);
    for (name, n_files) in too_many.iter().filter(|_| !args.output.quiet) {
        crate::terminal::note(&format!(
            "! {name} has {n_files} files: they are read one after the other, not merged by time"
        ));
    }
    sources
}

/// What the flags say is asked beside what the configuration says.
fn narrow(
    source: &mut SourceConfig,
    selected: &Selected,
    multiline: Option<&Multiline>,
    follow: Follow,
) {
    let (own, asked) = (&mut source.records, &selected.records);
    if !asked.filter.include.is_empty() {
        own.filter.include.clone_from(&asked.filter.include);
    }
    own.filter
        .exclude
        .extend(asked.filter.exclude.iter().cloned());
    own.selection.clone_from(&asked.selection);
    if let Some(multiline) = multiline
        && !matches!(source.kind, SourceKind::WebSocket(_))
    {
        own.multiline.clone_from(multiline);
    }
    if let SourceKind::File(file) = &mut source.kind {
        file.follow = follow;
        if file.start != Start::End || selected.start != Start::LastLines(10) {
            file.start = selected.start;
        }
    }
}
