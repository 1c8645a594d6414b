//! Reads `[sink]`: which kind an entry is, and the keys that all kinds share.

mod file;
mod format;
mod http;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use toml::de::DeValue;

use super::cx::Cx;
use super::diagnostics::Place;
use super::location::{Location, is_name};
use super::references::From;
use super::table::Table;
use super::value::{Pair, Value};
use crate::model::BatchLimits;
use crate::sink::{SinkConfig, SinkKind};

/// Keys of every sink that are described and do not exist yet.
const LATER_KEYS: [&str; 3] = ["fields", "full", "max_line"];

const BATCH_BYTES: usize = 1 << 20;

/// An entry of `[sink]`.
pub(super) struct SinkEntry {
    pub(super) name: Arc<str>,
    /// Where the name stands.
    pub(super) place: Place,
    /// `None`: it has errors, which were reported. `from` and, where `memory` is `None`,
    /// `memory_bytes` are still to be filled in.
    pub(super) config: Option<SinkConfig>,
    /// Names and globs, with their places; `None`: every source.
    pub(super) from: Option<Vec<(String, Place)>>,
    /// Bytes in flight; `None`: as the agent says.
    pub(super) memory: Option<u64>,
    /// Where a batch that is too big for the memory is reported.
    pub(super) budget: Place,
    /// The files it writes.
    pub(super) outputs: Vec<(PathBuf, Place)>,
}

/// What a kind of sink is called and which it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KindName {
    Stdout,
    File,
    Http,
}

/// Reads one entry: `NAME = "path, stdout or URL"` or a table.
pub(super) fn read(pair: Pair, cx: &mut Cx) -> SinkEntry {
    let mut value = pair.value;
    value.subject = format!("sink `{}`", pair.key);
    if !is_name(pair.key) {
        cx.error(
            value.key_span.clone(),
            format!("{}: not a valid name", value.subject),
        )
        .label("1 to 64 of A-Z a-z 0-9 _ . -");
    }
    let place = cx.place(value.key_span.clone());
    let mut entry = SinkEntry {
        name: Arc::from(pair.key),
        budget: place.clone(),
        place,
        config: None,
        from: None,
        memory: None,
        outputs: Vec::new(),
    };
    entry.config = match value.de.get_ref() {
        DeValue::String(_) => {
            value.path.clear();
            from_text(&value, &mut entry, cx)
        }
        DeValue::Table(_) => value
            .table(cx)
            .and_then(|table| from_table(table, &mut entry, cx)),
        _ => {
            let message = format!("{}: must be a string or a table", value.subject);
            cx.error(value.span(), message)
                .label("for example \"/var/log/all.ndjson\"; options go into [sink.NAME]");
            None
        }
    };
    entry
}

fn from_text(value: &Value, entry: &mut SinkEntry, cx: &mut Cx) -> Option<SinkConfig> {
    let kind = if value.raw_text() == Some("stdout") {
        KindName::Stdout
    } else {
        kind_of(value, cx)?
    };
    let what = match kind {
        KindName::Stdout => SinkKind::Stdout,
        KindName::File => SinkKind::File(file::of_path(output(value, entry, cx)?)),
        KindName::Http => SinkKind::Http(Box::new(http::of_url(http::url(value, cx)?.text.value))),
    };
    Some(SinkConfig {
        name: entry.name.clone(),
        from: Vec::new(),
        format: format::default(kind),
        batch: default_batch(kind),
        memory_bytes: 0,
        kind: what,
    })
}

/// File or http, by the look of a path or URL.
fn kind_of(value: &Value, cx: &mut Cx) -> Option<KindName> {
    let text = value.raw_text().unwrap_or_default();
    match Location::of(text) {
        Location::Http => Some(KindName::Http),
        Location::Path => Some(KindName::File),
        Location::Stdin => {
            value
                .fail(cx, "is no place to write to")
                .label("standard output is \"stdout\"");
            None
        }
        _ => {
            value
                .fail(cx, "has a scheme that no sink speaks")
                .label("a path, \"stdout\", or an http:// or https:// URL");
            None
        }
    }
}

fn from_table(mut table: Table, entry: &mut SinkEntry, cx: &mut Cx) -> Option<SinkConfig> {
    table.set_kind("a sink");
    let kind = match table.take("type") {
        Some(value) => value.choice(
            &[
                ("stdout", KindName::Stdout),
                ("file", KindName::File),
                ("http", KindName::Http),
            ],
            &[],
            cx,
        )?,
        None if table.has("url") => KindName::Http,
        None if table.has("path") => KindName::File,
        None => {
            table.missing_one_of("`type`, `path` or `url`", cx);
            return None;
        }
    };
    let what = match kind {
        KindName::Stdout => {
            table.set_kind("a stdout sink");
            Some(SinkKind::Stdout)
        }
        KindName::File => {
            table.set_kind("a file sink");
            file::read(&mut table, entry, cx).map(SinkKind::File)
        }
        KindName::Http => {
            table.set_kind("an http sink");
            http::read(&mut table, entry, cx).map(|config| SinkKind::Http(Box::new(config)))
        }
    };
    let format = format::read(&mut table, kind, cx);
    let batch = table
        .take("batch")
        .and_then(|value| batch(&value, kind, entry, cx));
    if let Some(value) = table.take("memory") {
        // Less than a read's worth would let no chunk through at full size.
        entry.memory = value.size(64 << 10..=16 << 30, cx);
    }
    entry.from = table.take("from").and_then(|value| from(&value, cx));
    table.later(&LATER_KEYS, cx);
    table.finish(cx);
    Some(SinkConfig {
        name: entry.name.clone(),
        from: Vec::new(),
        format,
        batch: batch.unwrap_or_else(|| default_batch(kind)),
        memory_bytes: 0,
        kind: what?,
    })
}

/// The path of a file that the sink writes.
fn output(value: &Value, entry: &mut SinkEntry, cx: &mut Cx) -> Option<PathBuf> {
    let text = value.filled_text(cx)?;
    if text.from != From::Placeholder {
        if Location::of(&text.value) != Location::Path {
            value.fail(cx, "must be a path");
            return None;
        }
        if text.value.ends_with('/') {
            value.fail(cx, "must name a file, not a directory");
            return None;
        }
        if text.value.contains('\0') {
            value.fail(cx, "must not contain a NUL byte");
            return None;
        }
        if ["{source}", "{host}", "{date:"]
            .iter()
            .any(|it| text.value.contains(it))
        {
            value.later(cx);
            return None;
        }
        entry
            .outputs
            .push((PathBuf::from(&text.value), cx.place(value.span())));
    }
    Some(PathBuf::from(text.value))
}

/// Bytes end a batch of a file or of standard output: short lines must not make it small.
fn default_batch(kind: KindName) -> BatchLimits {
    match kind {
        KindName::Stdout | KindName::File => BatchLimits {
            bytes: BATCH_BYTES,
            lines: 1_000_000,
            linger: Duration::ZERO,
        },
        KindName::Http => BatchLimits {
            bytes: BATCH_BYTES,
            lines: 10_000,
            linger: Duration::from_millis(250),
        },
    }
}

fn batch(value: &Value, kind: KindName, entry: &mut SinkEntry, cx: &mut Cx) -> Option<BatchLimits> {
    let mut table = value.table(cx)?;
    let mut limits = default_batch(kind);
    if let Some(value) = table.take("bytes") {
        entry.budget = cx.place(value.span());
        if let Some(bytes) = value.size(1..=1 << 30, cx) {
            limits.bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        }
    }
    if let Some(lines) = table
        .take("lines")
        .and_then(|it| it.count(1..=1_000_000_000, cx))
    {
        limits.lines = lines;
    }
    let lingers = Duration::ZERO..=Duration::from_secs(3_600);
    if let Some(linger) = table.take("linger").and_then(|it| it.duration(lingers, cx)) {
        limits.linger = linger;
    }
    table.finish(cx);
    Some(limits)
}

/// `None` if a pattern cannot be judged: every source, so that nothing else seems to be wrong.
fn from(value: &Value, cx: &mut Cx) -> Option<Vec<(String, Place)>> {
    let values = value.list(cx)?;
    let pattern = |value: &Value, cx: &mut Cx| -> Option<(String, Place)> {
        Some((value.known_text(cx)?.value, cx.place(value.span())))
    };
    let patterns: Vec<_> = values.iter().map(|value| pattern(value, cx)).collect();
    patterns.into_iter().collect()
}
