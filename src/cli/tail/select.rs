//! Which lines are shown: how far back, from when to when, and what they say.

use clap::Args;
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::encoding::level::Level;
use crate::filter::Filter;
use crate::framing::{GroupLimits, Multiline, Patterns};
use crate::model::Pattern;
use crate::source::file::Start;
use crate::source::{RecordRules, Selection};

#[derive(Debug, Args)]
#[command(next_help_heading = "Which lines")]
pub(super) struct SelectArgs {
    /// Lines from before now that are shown of each file: a number or `all` [default: 10]
    #[arg(short = 'n', long, value_name = "N|all")]
    #[arg(value_parser = parse_lines, allow_negative_numbers = true)]
    lines: Option<Start>,
    /// Lines from then on: 15m, 2026-11-22T18:00:00Z, `2026-11-22 18:00` or 18:00
    ///
    /// What counts is the time that a line carries itself; a line without one goes with the line
    /// before it. Unless -n says otherwise, files are read from their beginning.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Lines until then, in the same forms
    ///
    /// A time in the past ends at the end of every file, as --no-follow does; one in the future
    /// ends then.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Keep lines that match the expression (repeat: any of them)
    #[arg(short = 'g', long = "grep", value_name = "RE", value_parser = parse_pattern)]
    grep: Vec<Pattern>,
    /// Drop lines that match the expression (repeat); wins over -g
    #[arg(short = 'v', long = "drop", value_name = "RE", value_parser = parse_pattern)]
    drop: Vec<Pattern>,
    /// Keep lines of this level and above: trace, debug, info, warn, error or fatal
    ///
    /// The level is looked for in JSON keys (level, severity, …), in logfmt and in the usual prefixes.
    /// A line that names none goes with the line before it, as a stack trace does.
    #[arg(short, long, value_name = "LEVEL", value_parser = parse_level)]
    level: Option<Level>,
    /// Lines that are one record: `auto` (stack traces), `off`, or what matches a first line
    #[arg(long, value_name = "auto|off|RE", value_parser = parse_multiline)]
    multiline: Option<Multiline>,
}

/// The flags with their times looked up.
#[derive(Clone, Debug)]
pub(super) struct Selected {
    /// Where files start.
    pub(super) start: Start,
    pub(super) records: RecordRules,
    /// When the last line wanted was written, in nanoseconds since 1970.
    pub(super) until_ns: Option<i64>,
}

impl SelectArgs {
    /// Looks the times up as seen from `now`.
    ///
    /// # Errors
    /// One message for each flag that cannot be used.
    pub(super) fn selected(&self, now: &Zoned) -> Result<Selected, Vec<String>> {
        let at = |flag: &str, text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => parse_time(text, now)
                .map(Some)
                .map_err(|why| format!("{flag} {text}: {why}")),
        };
        let (since_ns, until_ns) = match (at("--since", &self.since), at("--until", &self.until)) {
            (Ok(since), Ok(until)) => (since, until),
            (since, until) => {
                return Err([since.err(), until.err()].into_iter().flatten().collect());
            }
        };
        if let (Some(since), Some(until)) = (since_ns, until_ns)
            && since >= until
        {
            return Err(vec![
                "--since is not before --until: nothing lies between them".to_owned(),
            ]);
        }
        let times = (since_ns.is_some() || until_ns.is_some())
            .then(|| since_ns.unwrap_or(i64::MIN)..until_ns.unwrap_or(i64::MAX));
        let default = match (since_ns, &times) {
            (Some(since_ns), _) => Start::NotBefore(since_ns),
            (None, Some(_)) => Start::Beginning,
            (None, None) => Start::LastLines(10),
        };
        Ok(Selected {
            start: self.lines.unwrap_or(default),
            records: RecordRules {
                multiline: self.multiline.clone().unwrap_or_default(),
                filter: Filter {
                    include: self.grep.clone(),
                    exclude: self.drop.clone(),
                },
                selection: Selection {
                    level: self.level,
                    times,
                },
                ..RecordRules::default()
            },
            until_ns,
        })
    }

    /// Which lines are one record, where that was said.
    pub(super) fn multiline(&self) -> Option<&Multiline> {
        self.multiline.as_ref()
    }

    /// `--since` as a span before now, where it was given so.
    pub(super) fn since_span(&self) -> Option<&str> {
        let since = self.since.as_deref()?;
        let since = since.strip_prefix('-').unwrap_or(since);
        crate::config::parse_duration(since)
            .is_ok()
            .then_some(since)
    }
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

fn parse_pattern(text: &str) -> Result<Pattern, String> {
    Pattern::new(text).map_err(|why| why.to_string())
}

fn parse_level(text: &str) -> Result<Level, String> {
    Level::of_word(text.as_bytes())
        .ok_or_else(|| "one of trace, debug, info, warn, error and fatal".to_owned())
}

fn parse_multiline(text: &str) -> Result<Multiline, String> {
    let limits = GroupLimits::default();
    Ok(match text {
        "off" => Multiline::Off,
        "auto" => Multiline::Auto(limits),
        _ => {
            let patterns = Patterns {
                start: Some(parse_pattern(text)?),
                continues: None,
                negate: false,
            };
            Multiline::Patterns(patterns, limits)
        }
    })
}

/// A span before now, a time, a local date with or without time, or a time of today; in nanoseconds
/// since 1970.
fn parse_time(text: &str, now: &Zoned) -> Result<i64, String> {
    let zone = now.time_zone().clone();
    let timestamp =
        if let Ok(span) = crate::config::parse_duration(text.strip_prefix('-').unwrap_or(text)) {
            let span = jiff::SignedDuration::try_from(span).unwrap_or(jiff::SignedDuration::MAX);
            now.timestamp().checked_sub(span).unwrap_or(Timestamp::MIN)
        } else if let Ok(timestamp) = text.parse::<Timestamp>() {
            timestamp
        } else if let Ok(local) = text.parse::<DateTime>() {
            in_zone(local, &zone)?
        } else if let (true, Ok(time)) = (text.contains(':'), text.parse::<Time>()) {
            in_zone(now.date().to_datetime(time), &zone)?
        } else {
            return Err("is no time; for example 15m, 2026-11-22T18:00:00Z, \
                    \"2026-11-22 18:00\" or 18:00"
                .to_owned());
        };
    i64::try_from(timestamp.as_nanosecond()).map_err(|_| "is out of range".to_owned())
}

fn in_zone(local: DateTime, zone: &TimeZone) -> Result<Timestamp, String> {
    let zoned = local.to_zoned(zone.clone());
    zoned
        .map(|it| it.timestamp())
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_span_a_stamp_or_local() {
        let now: Zoned = "2026-11-22T18:30:00+01:00[Europe/Berlin]".parse().unwrap();
        let parsed = |text: &str| {
            let time_ns = parse_time(text, &now)?;
            Ok::<_, String>(
                Timestamp::from_nanosecond(i128::from(time_ns))
                    .unwrap()
                    .to_string(),
            )
        };

        for (text, expected) in [
            ("15m", "2026-11-22T17:15:00Z"),
            ("2d", "2026-11-20T17:30:00Z"),
            ("2026-11-22T18:00:00Z", "2026-11-22T18:00:00Z"),
            ("2026-11-22T18:00:00+02:00", "2026-11-22T16:00:00Z"),
            ("2026-11-22 18:00", "2026-11-22T17:00:00Z"),
            ("2026-11-22", "2026-11-21T23:00:00Z"),
            ("18:00", "2026-11-22T17:00:00Z"),
        ] {
            assert_eq!(parsed(text).as_deref(), Ok(expected), "{text}");
        }
        for text in ["15", "soon", "", "5 mi", "2026-13-01"] {
            assert!(parsed(text).is_err(), "{text}");
        }
    }
}
