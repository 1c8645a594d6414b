//! Reads `[sink]`: which kind an entry is, and the keys that all kinds share.

mod collector;
mod file;
mod format;
mod http;
pub(super) mod of_location;

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
use collector::Options;
use format::FormatName;

/// Keys of every sink that are described and do not exist yet.
const LATER_KEYS: [&str; 1] = ["full"];

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
        KindName::File => SinkKind::File(file::of_path(file::path(value, entry, cx)?)),
        KindName::Http => SinkKind::Http(Box::new(http::of_url(http::url(value, cx)?.text.value))),
    };
    Some(SinkConfig {
        name: entry.name.clone(),
        from: Vec::new(),
        format: format::default(kind),
        line_bytes_max: match &what {
            SinkKind::Http(config) => http::line_bytes_max(config),
            SinkKind::Stdout | SinkKind::File(_) => None,
        },
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
    table.set_kind(match kind {
        KindName::Stdout => "a stdout sink",
        KindName::File => "a file sink",
        KindName::Http => "an http sink",
    });
    let name = format::name(&mut table, kind, cx);
    let mut options = Options::default();
    let mut line_bytes_max = None;
    let what = match kind {
        KindName::Stdout => Some(SinkKind::Stdout),
        KindName::File => file::read(&mut table, entry, cx).map(SinkKind::File),
        KindName::Http => {
            let config = http::read(&mut table, name, &mut options, entry, cx);
            line_bytes_max = config.as_ref().and_then(http::line_bytes_max);
            config.map(|config| SinkKind::Http(Box::new(config)))
        }
    };
    let format = format::read(&mut table, (kind, name), options, cx);
    let batch = batch_of(&mut table, (kind, name), entry, cx);
    if let Some(value) = table.take("max_line") {
        let most = value.size(1..=64 << 20, cx);
        line_bytes_max = most.map(|most| usize::try_from(most).unwrap_or(usize::MAX));
    }
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
        line_bytes_max,
        batch,
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
        entry
            .outputs
            .push((PathBuf::from(&text.value), cx.place(value.span())));
    }
    Some(PathBuf::from(text.value))
}

/// The same of a path that has no placeholders.
fn plain_output(value: &Value, entry: &mut SinkEntry, cx: &mut Cx) -> Option<PathBuf> {
    let path = output(value, entry, cx)?;
    let text = path.to_string_lossy();
    if ["{source}", "{host}", "{date"]
        .iter()
        .any(|it| text.contains(it))
    {
        value.fail(cx, "must not have placeholders: it is one file");
        return None;
    }
    Some(path)
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

/// `batch`, within what the format's collector takes.
fn batch_of(
    table: &mut Table,
    (kind, name): (KindName, Option<FormatName>),
    entry: &mut SinkEntry,
    cx: &mut Cx,
) -> BatchLimits {
    /// Datadog takes no more entries in one request.
    const DATADOG_LINES_MAX: u64 = 1_000;
    let mut default = default_batch(kind);
    let is_datadog = name == Some(FormatName::Datadog);
    if is_datadog {
        default.lines = DATADOG_LINES_MAX;
    }
    let Some(value) = table.take("batch") else {
        return default;
    };
    let limits = batch(&value, default, entry, cx).unwrap_or(default);
    if is_datadog && limits.lines > DATADOG_LINES_MAX {
        let message = format!("{}: batch.lines is over Datadog's limit", value.subject);
        cx.error(value.span(), message).label(format!(
            "at most {DATADOG_LINES_MAX} for format = \"datadog\""
        ));
    }
    limits
}

fn batch(
    value: &Value,
    mut limits: BatchLimits,
    entry: &mut SinkEntry,
    cx: &mut Cx,
) -> Option<BatchLimits> {
    let mut table = value.table(cx)?;
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
