//! Reads `[source]`: which kind an entry is, and the keys that all kinds share.

mod file;

pub(super) use file::of_paths;

use std::sync::Arc;

use toml::de::DeValue;

use super::cx::Cx;
use super::diagnostics::Place;
use super::location::{Location, is_name};
use super::references::From;
use super::table::Table;
use super::value::{Pair, Value};
use crate::source::{SourceConfig, SourceKind};

/// The longest line that is kept whole, where the config does not say.
pub(super) const LINE_BYTES: usize = 1 << 20;

/// Types that are described and do not exist yet.
const LATER_TYPES: [&str; 6] = ["stream", "poll", "range", "health", "websocket", "stdin"];

/// Keys of every source that are described and do not exist yet.
const LATER_KEYS: [&str; 7] = [
    "include",
    "exclude",
    "parse",
    "time",
    "multiline",
    "was",
    "backfill",
];

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
    let paths = vec![file::path(value, cx)?];
    Some(SourceConfig {
        name: name.clone(),
        labels: Arc::from([]),
        line_bytes_max: LINE_BYTES,
        kind: SourceKind::File(file::of_paths(paths)),
    })
}

/// True if a location names files; reports it otherwise.
fn is_path(value: &Value, location: &str, cx: &mut Cx) -> bool {
    let kind = match Location::of(location) {
        Location::Path => return true,
        Location::Http => "stream",
        Location::Stdin => "stdin",
        Location::Later(kind) => kind,
        Location::UnknownScheme => {
            value
                .fail(cx, "has an unknown scheme")
                .label("a path, a glob or a directory");
            return false;
        }
    };
    let message = format!(
        "{}: a {kind} source is not supported by this version",
        value.subject
    );
    cx.error(value.span(), message);
    false
}

fn from_table(mut table: Table, name: &Arc<str>, cx: &mut Cx) -> Option<SourceConfig> {
    let kind = table.take("type");
    if let Some(kind) = kind {
        kind.choice(&[("file", ())], &LATER_TYPES, cx)?;
    } else if !table.has("path") {
        return without_type(&mut table, cx);
    }
    table.set_kind("a file source");
    let config = file::read(&mut table, cx);
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
    table.later(&LATER_KEYS, cx);
    table.finish(cx);
    Some(SourceConfig {
        name: name.clone(),
        labels: Arc::from(labels),
        line_bytes_max,
        kind: SourceKind::File(config?),
    })
}

/// A table that names no file: one of the kinds that do not exist yet, or nothing at all.
fn without_type(table: &mut Table, cx: &mut Cx) -> Option<SourceConfig> {
    let Some(url) = table.take("url").or_else(|| table.take("urls")) else {
        table.set_kind("a file source");
        table.missing("path", cx);
        return None;
    };
    for one in url.one_or_many() {
        let Some(text) = one.text(cx) else { continue };
        if text.from == From::Placeholder {
            one.later(cx);
        } else if is_path(&one, &text.value, cx) {
            one.fail(cx, "must be a URL")
                .label("files are named by `path`");
        }
    }
    None
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
