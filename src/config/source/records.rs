//! Reads the keys that say how a source's records are made of its lines.

use std::time::Duration;

use super::super::cx::Cx;
use super::super::table::Table;
use super::super::value::Value;
use super::KindName;
use super::network::MS;
use crate::filter::Filter;
use crate::framing::{Container, GroupLimits, Multiline, Patterns, Pointer, TimeFrom};
use crate::model::Pattern;
use crate::source::{RecordRules, SourceKind};

const HOUR: Duration = Duration::from_secs(3_600);

/// What `parse` names.
#[derive(Clone, Copy)]
enum Parse {
    None,
    Json,
    Within(Container),
}

/// Why lines of a source are not joined, and what its records are instead.
fn unjoined(kind: KindName, what: Option<&SourceKind>) -> Option<[&'static str; 2]> {
    if let Some(SourceKind::Stream(stream)) = what
        && stream.resume.is_some()
    {
        return Some(["cannot be together with `resume`", "it counts lines"]);
    }
    match kind {
        KindName::File | KindName::Range | KindName::Stream | KindName::Stdin => None,
        KindName::Health => Some(["has no meaning for checks", "each is one line"]),
        KindName::Poll => Some(["has no meaning for an API", "its records come whole"]),
        KindName::WebSocket => Some(["has no meaning for a WebSocket", "its messages come whole"]),
    }
}

/// The rules of one source, `what`; what has errors is at its default.
pub(super) fn read(
    (kind, what): (KindName, Option<&SourceKind>),
    table: &mut Table,
    cx: &mut Cx,
) -> RecordRules {
    let parse = table
        .take("parse")
        .and_then(|value| parse(unjoined(kind, None), &value, cx));
    let multiline = table
        .take("multiline")
        .map(|value| (multiline(&value, cx), value));
    if let Some((Some(Multiline::Auto(_) | Multiline::Patterns(..)), value)) = &multiline
        && let Some([why, instead]) = unjoined(kind, what)
    {
        value.fail(cx, why).label(instead);
    }
    let time = table.take("time").and_then(|value| time_from(&value, cx));
    let filter = Filter {
        include: patterns("include", table, cx),
        exclude: patterns("exclude", table, cx),
    };
    let (container, known) = match parse.unwrap_or(Parse::None) {
        Parse::None => (None, None),
        Parse::Json => (None, Some(TimeFrom::Known)),
        Parse::Within(container) => (Some(container), None),
    };
    RecordRules {
        container,
        multiline: multiline.and_then(|(rules, _)| rules).unwrap_or_default(),
        time: time.or(known),
        filter,
        ..RecordRules::default()
    }
}

fn parse(unjoined: Option<[&str; 2]>, value: &Value, cx: &mut Cx) -> Option<Parse> {
    let words = [
        ("none", Parse::None),
        ("json", Parse::Json),
        ("cri", Parse::Within(Container::Cri)),
        ("docker", Parse::Within(Container::Docker)),
    ];
    let parse = value.choice(&words, &[], cx)?;
    if let (Parse::Within(_), Some([why, _])) = (parse, unjoined) {
        value.fail(cx, why).label("container runtimes write files");
        return None;
    }
    Some(parse)
}

fn multiline(value: &Value, cx: &mut Cx) -> Option<Multiline> {
    if value.raw_text().is_some() {
        let words = [("off", false), ("auto", true)];
        let auto = value.choice(&words, &[], cx)?;
        return Some(if auto {
            Multiline::Auto(GroupLimits::default())
        } else {
            Multiline::Off
        });
    }
    let mut table = value.table(cx)?;
    let has_pattern = table.has("start") || table.has("continue");
    let start = table.take("start").and_then(|it| pattern(&it, cx));
    let continues = table.take("continue").and_then(|it| pattern(&it, cx));
    let negate = table.take("negate").map(|it| (it.flag(cx), it));
    let mut limits = GroupLimits::default();
    if let Some(timeout) = table
        .take("timeout")
        .and_then(|it| it.duration(MS..=HOUR, cx))
    {
        limits.timeout = timeout;
    }
    if let Some(lines) = table
        .take("max_lines")
        .and_then(|it| it.count(1..=100_000, cx))
    {
        limits.lines_max = u32::try_from(lines).unwrap_or(u32::MAX);
    }
    let bytes = table
        .take("max_bytes")
        .and_then(|it| it.size(1..=64 << 20, cx));
    limits.bytes_max = bytes.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    table.finish(cx);
    if !has_pattern {
        value
            .fail(cx, "needs `start` or `continue`")
            .label("for example { start = '^\\d{4}-' }, or \"auto\" for stack traces");
        return None;
    }
    if let (Some((Some(true), negate)), true) = (&negate, start.is_some() && continues.is_some()) {
        negate
            .fail(
                cx,
                "says nothing where both `start` and `continue` are given",
            )
            .label("turn the patterns themselves around");
        return None;
    }
    let negate = negate.and_then(|(flag, _)| flag).unwrap_or(false);
    let patterns = Patterns {
        start,
        continues,
        negate,
    };
    Some(Multiline::Patterns(patterns, limits))
}

/// Where a record's time is.
pub(super) fn time_from(value: &Value, cx: &mut Cx) -> Option<TimeFrom> {
    let text = value.known_text(cx)?.value;
    if text == "leading" {
        return Some(TimeFrom::Leading);
    }
    let pointer = Pointer::new(&text).map(TimeFrom::Pointer);
    if pointer.is_none() {
        value
            .fail(cx, "must be a JSON pointer or `leading`")
            .label("for example \"/timestamp\"; `leading` is the time at a line's start");
    }
    pointer
}

fn patterns(key: &'static str, table: &mut Table, cx: &mut Cx) -> Vec<Pattern> {
    let Some(value) = table.take(key) else {
        return Vec::new();
    };
    let values = value.one_or_many();
    values.iter().filter_map(|it| pattern(it, cx)).collect()
}

/// A regular expression; references in it are resolved as in every string.
pub(super) fn pattern(value: &Value, cx: &mut Cx) -> Option<Pattern> {
    let text = value.known_text(cx)?.value;
    match Pattern::new(&text) {
        Ok(pattern) => Some(pattern),
        Err(why) => {
            value
                .fail(cx, "is no regular expression")
                .label(why.to_string());
            None
        }
    }
}
