//! Reads `[source]`: which kind an entry is, and the keys that all kinds share.

mod file;
mod health;
mod network;
mod poll;
mod range;
mod records;
mod spool;
mod stdin;
mod stream;
mod targets;
mod websocket;

pub(super) use file::of_paths;

use std::sync::Arc;

use toml::de::DeValue;

use super::cx::Cx;
use super::diagnostics::Place;
use super::location::{Location, is_name};
use super::references::{From, Text};
use super::table::Table;
use super::value::{Pair, Value};
use crate::source::{RecordRules, SourceConfig, SourceKind};

/// The longest line that is kept whole, where the config does not say.
pub(super) const LINE_BYTES: usize = 1 << 20;

/// What a kind of source is called and which it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KindName {
    File,
    Health,
    Poll,
    Range,
    Stream,
    WebSocket,
    Stdin,
}

/// Keys of every source that are described and do not exist yet.
const LATER_KEYS: [&str; 2] = ["was", "backfill"];

/// An entry of `[source]`.
pub(super) struct SourceEntry {
    pub(super) name: Arc<str>,
    /// Where the name stands.
    pub(super) place: Place,
    /// `None`: it has errors, which were reported.
    pub(super) config: Option<SourceConfig>,
}

/// Reads one entry: `NAME = "location"` or a table.
pub(super) fn read(pair: Pair, cx: &mut Cx) -> SourceEntry {
    let subject = format!("source `{}`", pair.key);
    let mut value = pair.value;
    value.subject.clone_from(&subject);
    if !is_name(pair.key) {
        cx.error(
            value.key_span.clone(),
            format!("{subject}: not a valid name"),
        )
        .label("1 to 64 of A-Z a-z 0-9 _ . -");
    }
    let name: Arc<str> = Arc::from(pair.key);
    let place = cx.place(value.key_span.clone());
    let config = match value.de.get_ref() {
        DeValue::String(_) => {
            value.path.clear();
            from_text(&value, &name, cx)
        }
        DeValue::Table(_) => value.table(cx).and_then(|mut table| {
            table.set_kind("a source");
            from_table(table, &name, cx)
        }),
        _ => {
            let message = format!("{subject}: must be a string or a table");
            cx.error(value.span(), message)
                .label("for example \"/var/log/app/*.log\"; options go into [source.NAME]");
            None
        }
    };
    SourceEntry {
        name,
        place,
        config,
    }
}

fn from_text(value: &Value, name: &Arc<str>, cx: &mut Cx) -> Option<SourceConfig> {
    let text = value.text(cx)?;
    let kind = match Location::of(&text.value) {
        Location::Stdin => SourceKind::Stdin(stdin::of_stdin()),
        Location::Http | Location::Framed(_) => {
            SourceKind::Stream(stream::of_url(value, text, cx)?.0)
        }
        Location::Poll => SourceKind::Poll(Box::new(poll::of_url(value, text, cx)?)),
        Location::Range => SourceKind::Range(range::of_url(value, text, cx)?.0),
        Location::WebSocket => SourceKind::WebSocket(websocket::of_url(value, text, cx)?.0),
        _ => {
            let paths = vec![file::path_of(value, text, cx)?];
            SourceKind::File(file::of_paths(paths))
        }
    };
    Some(SourceConfig {
        name: name.clone(),
        labels: Arc::from([]),
        line_bytes_max: LINE_BYTES,
        records: RecordRules::default(),
        spool: None,
        kind,
    })
}

/// True if a location names files; reports it otherwise.
fn is_path(value: &Value, location: &str, cx: &mut Cx) -> bool {
    let label = match Location::of(location) {
        Location::Path => return true,
        Location::Http
        | Location::Framed(_)
        | Location::Poll
        | Location::Range
        | Location::WebSocket => {
            value
                .fail(cx, "is not a path")
                .label("a URL is named by `url`");
            return false;
        }
        Location::Stdin => {
            value
                .fail(cx, "is not a path")
                .label("standard input is `type = \"stdin\"`");
            return false;
        }
        Location::UnknownScheme => "a path, a glob or a directory",
    };
    value.fail(cx, "has an unknown scheme").label(label);
    false
}

fn from_table(mut table: Table, name: &Arc<str>, cx: &mut Cx) -> Option<SourceConfig> {
    let kinds = [
        ("file", KindName::File),
        ("stream", KindName::Stream),
        ("poll", KindName::Poll),
        ("range", KindName::Range),
        ("health", KindName::Health),
        ("websocket", KindName::WebSocket),
        ("stdin", KindName::Stdin),
    ];
    let given = match table.take("type") {
        Some(value) => Some(value.choice(&kinds, &[], cx)?),
        None => table.has("path").then_some(KindName::File),
    };
    let (kind, url) = match given {
        Some(kind @ (KindName::File | KindName::Stdin | KindName::Poll | KindName::Health)) => {
            (kind, None)
        }
        Some(kind) => (kind, Some(url(&mut table, cx)?)),
        None => {
            let (value, text) = url(&mut table, cx)?;
            (kind_of_url(&value, &text, cx)?, Some((value, text)))
        }
    };
    let what = read_kind(kind, url, &mut table, cx);
    let line_bytes_max = table
        .take("max_line")
        .and_then(|value| value.size(1..=64 << 20, cx))
        .map_or(LINE_BYTES, |bytes| {
            usize::try_from(bytes).unwrap_or(usize::MAX)
        });
    let labels = table
        .take("labels")
        .and_then(|value| labels(&value, cx))
        .unwrap_or_default();
    let records = records::read((kind, what.as_ref()), &mut table, cx);
    let spool = spool::read(kind == KindName::File, line_bytes_max, &mut table, cx);
    table.later(&LATER_KEYS, cx);
    table.finish(cx);
    Some(SourceConfig {
        name: name.clone(),
        labels: Arc::from(labels),
        line_bytes_max,
        records,
        spool,
        kind: what?,
    })
}

fn read_kind(
    kind: KindName,
    url: Option<(Value, Text)>,
    table: &mut Table,
    cx: &mut Cx,
) -> Option<SourceKind> {
    match (kind, url) {
        (KindName::Health, url) => {
            table.set_kind("a health source");
            let health = health::read(url, table, cx);
            health.map(|it| SourceKind::Health(Box::new(it)))
        }
        (KindName::Poll, url) => {
            table.set_kind("a poll source");
            let poll = poll::read(url, table, cx);
            poll.map(|it| SourceKind::Poll(Box::new(it)))
        }
        (KindName::Range, Some(url)) => {
            table.set_kind("a range source");
            range::read(url, table, cx).map(SourceKind::Range)
        }
        (KindName::Stream, Some(url)) => {
            table.set_kind("a stream source");
            stream::read(url, table, cx).map(SourceKind::Stream)
        }
        (KindName::WebSocket, Some(url)) => {
            table.set_kind("a websocket source");
            websocket::read(url, table, cx).map(SourceKind::WebSocket)
        }
        (KindName::Stdin, _) => {
            table.set_kind("a stdin source");
            Some(SourceKind::Stdin(stdin::of_stdin()))
        }
        _ => {
            table.set_kind("a file source");
            file::read(table, cx).map(SourceKind::File)
        }
    }
}

/// The `url` of a table, its references resolved; `None`: it was reported.
fn url<'t>(table: &mut Table<'t>, cx: &mut Cx) -> Option<(Value<'t>, Text)> {
    let Some(value) = table.take("url") else {
        table.set_kind("a source");
        match table.take("urls") {
            // What is done with several, their locations do not tell.
            Some(urls) => {
                let message = format!("missing key `type` in {}", urls.subject);
                cx.error(urls.key_span.clone(), message)
                    .label("several URLs are those of type = \"poll\" or \"health\"");
            }
            None => table.missing_one_of("`type`, `path` or `url`", cx),
        }
        return None;
    };
    let text = value.filled_text(cx)?;
    Some((value, text))
}

/// Which kind of source a URL means; `None`: it was reported, or it is unknown to a check that looks
/// up no references.
fn kind_of_url(value: &Value, text: &Text, cx: &mut Cx) -> Option<KindName> {
    match Location::of(&text.value) {
        Location::Http | Location::Framed(_) => Some(KindName::Stream),
        Location::Poll => Some(KindName::Poll),
        Location::Range => Some(KindName::Range),
        Location::WebSocket => Some(KindName::WebSocket),
        _ if text.from == From::Placeholder => None,
        location => {
            if matches!(location, Location::Stdin | Location::Path) {
                value
                    .fail(cx, "must be a URL")
                    .label("files are named by `path`");
            } else {
                is_path(value, &text.value, cx);
            }
            None
        }
    }
}

fn labels(value: &Value, cx: &mut Cx) -> Option<Vec<(Arc<str>, Arc<str>)>> {
    let mut labels = Vec::new();
    for pair in value.pairs(cx)? {
        if pair.key.is_empty() {
            cx.error(
                pair.value.key_span.clone(),
                format!("{}: a label without name", value.subject),
            );
        }
        if let Some(text) = pair.value.text(cx) {
            labels.push((Arc::from(pair.key), Arc::from(text.value)));
        }
    }
    Some(labels)
}
