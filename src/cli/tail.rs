//! `logweir tail`: follows sources and merges them to stdout.

use clap::Args;
use jiff::Timestamp;

use super::network::{self, NetworkArgs};
use super::output::OutputArgs;
use super::{Exit, say, show};
use crate::agent::{Plan, Turns};
use crate::config::{ArgumentOptions, parse_duration, sources_from_arguments};
use crate::source::file::{Follow, Start};

#[derive(Debug, Args)]
pub(super) struct TailArgs {
    /// What to read, as [NAME=]LOCATION: a path, a quoted glob, a directory, an http(s):// stream
    /// (sse+ or lines+ in front forces its framing), a ws(s):// feed, or - for standard input
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<String>,
    /// Lines from before now that are shown of each file: a number or `all`
    #[arg(short = 'n', long, value_name = "N|all", default_value = "10")]
    #[arg(value_parser = parse_lines, allow_negative_numbers = true)]
    lines: Start,
    /// Begin with the first line of each file that is not older: 15m, 1h 30m or a time such as
    /// 2026-11-25T12:00:00Z
    #[arg(long, value_name = "AGO|TIME", value_parser = parse_since)]
    #[arg(allow_hyphen_values = true, conflicts_with = "lines")]
    since: Option<Start>,
    /// End at the end of every file
    #[arg(long)]
    no_follow: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    network: NetworkArgs,
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

fn parse_since(text: &str) -> Result<Start, String> {
    if let Ok(ago) = parse_duration(text.strip_prefix('-').unwrap_or(text)) {
        return Ok(Start::Since(ago));
    }
    let Ok(time) = text.parse::<Timestamp>() else {
        return Err("a time ago such as 15m, or a time such as 2026-11-25T12:00:00Z".to_owned());
    };
    let time_ns = i64::try_from(time.as_nanosecond());
    Ok(Start::NotBefore(time_ns.unwrap_or(i64::MAX)))
}

/// Runs until the sources end, a limit is reached or a signal comes. Blocks.
pub(super) fn tail(args: TailArgs) -> Exit {
    show::init_log(&args.output);
    match plan(&args) {
        Ok(plan) => show::block_on(show::show(plan, &args.output)),
        Err(errors) => {
            errors
                .iter()
                .for_each(|error| say(format_args!("error: {error}")));
            Exit::Usage
        }
    }
}

fn plan(args: &TailArgs) -> Result<Plan, Vec<String>> {
    let follow = if args.no_follow {
        Follow::UntilEnd
    } else {
        Follow::Forever
    };
    let options = ArgumentOptions {
        start: args.since.unwrap_or(args.lines),
        follow,
        network: network::options(&args.network)?,
    };
    let sources = sources_from_arguments(&args.sources, &options)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let plan = args.output.plan(sources);
    Ok(Plan {
        turns: match follow {
            Follow::Forever => Turns::Together,
            Follow::UntilEnd => Turns::InOrder,
        },
        ..plan
    })
}
