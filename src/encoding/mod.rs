//! Lines to bodies: what a line looks like outside.
//!
//! An [`Encoder`] is built once per sink and called once per body. It must not know sinks. To add a
//! format: one file, one variant of [`Format`], one arm of each match below.
//!
//! Pure: no I/O, no clock.

mod array;
mod compress;
mod content;
mod datadog;
mod decimal;
mod elasticsearch;
pub mod escape;
mod head;
mod json;
mod kafka;
pub mod level;
mod loki;
mod otlp;
mod reserved;
mod scan;
mod splunk;
mod stamp;
mod template;
mod text;

pub use compress::{Compression, Compressor};
pub use elasticsearch::Elasticsearch;
pub use loki::Loki;
pub use otlp::{Otlp, OtlpEncoding};
pub use reserved::{Fields, NotAField};
pub use splunk::Splunk;
pub use template::Template;

use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::model::{Line, Lines, Origin};

/// What a line looks like outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    /// The original bytes.
    Raw,
    /// One JSON object per line.
    Json(JsonOptions),
    /// The same objects as one JSON array per body.
    JsonArray(JsonOptions),
    /// For people: label, time and line.
    Text(Text),
    /// In a form of their own (`tail --template`).
    Template(Template),
    /// `_bulk` of Elasticsearch and OpenSearch.
    Elasticsearch(Elasticsearch),
    /// Loki's push.
    Loki(Loki),
    /// OpenTelemetry's logs.
    Otlp(Otlp),
    /// Events of Splunk's HTTP Event Collector.
    Splunk(Splunk),
    /// Datadog's intake.
    Datadog,
    /// Kafka's REST Proxy.
    Kafka(JsonOptions),
}

/// What a JSON object has beside the line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonOptions {
    /// Which keys about the origin.
    pub meta: Meta,
    /// What those keys and the others are called.
    pub fields: Fields,
}

/// Which keys about the origin a JSON line carries beside `_time` and `_source`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// `_host`
    pub host: bool,
    /// `_file`
    pub file: bool,
    /// `_offset`
    pub offset: bool,
    /// `_labels`
    pub labels: bool,
}

/// How `text` looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// True to colour labels and dim times.
    pub color: bool,
    /// Sources known from the start: their colours and the width of the labels do not depend on
    /// who speaks first. Others are added as they are seen.
    pub labels: Vec<Arc<str>>,
}

impl Format {
    /// JSON lines with these keys under their usual names.
    pub fn json(meta: Meta) -> Self {
        let fields = Fields::default();
        Self::Json(JsonOptions { meta, fields })
    }
}

/// Lines of one stream that go into a body.
#[derive(Clone, Debug)]
pub struct Piece<'a> {
    /// Where they came from.
    pub origin: &'a Origin,
    /// The first line's time in nanoseconds since 1970 (UTC); line *i* has this plus *i*.
    pub time_ns: i64,
    /// The lines.
    pub lines: Lines,
    /// True where the same lines can be read again at the same offsets: then they have an id that is
    /// the same on every resend.
    pub is_replayable: bool,
}

/// Writes lines in one format.
#[derive(Debug)]
pub struct Encoder {
    kind: Kind,
    line_bytes_max: Option<usize>,
}

#[derive(Debug)]
enum Kind {
    Raw,
    Json(json::Json),
    JsonArray(json::Json),
    Text(text::Screen),
    Template(template::Forms),
    Elasticsearch(elasticsearch::Bulk),
    Loki(loki::Streams),
    Otlp(otlp::Logs),
    Splunk(splunk::Events),
    Datadog(datadog::Entries),
    Kafka(json::Json),
}

impl Encoder {
    /// Builds the encoder of one sink.
    ///
    /// `host` is what `_host` shows; `zone` is the time zone of `text` (json is always in UTC).
    pub fn new(format: &Format, host: &str, zone: TimeZone) -> Self {
        let kind = match format {
            Format::Raw => Kind::Raw,
            Format::Json(options) => Kind::Json(json::Json::new(options, host)),
            Format::JsonArray(options) => Kind::JsonArray(json::Json::new(options, host)),
            Format::Text(text) => Kind::Text(text::Screen::new(text, zone)),
            Format::Template(template) => {
                Kind::Template(template::Forms::new(template, host, zone))
            }
            Format::Elasticsearch(it) => Kind::Elasticsearch(elasticsearch::Bulk::new(it, host)),
            Format::Loki(options) => Kind::Loki(loki::Streams::new(options, host)),
            Format::Otlp(options) => Kind::Otlp(otlp::Logs::new(options, host)),
            Format::Splunk(options) => Kind::Splunk(splunk::Events::new(options, host)),
            Format::Datadog => Kind::Datadog(datadog::Entries::new(host)),
            Format::Kafka(options) => Kind::Kafka(json::Json::new(options, host)),
        };
        Self {
            kind,
            line_bytes_max: None,
        }
    }

    /// With a limit for lines, for the caller of [`Encoder::append`] to keep.
    pub fn with_line_bytes_max(mut self, most: Option<usize>) -> Self {
        self.line_bytes_max = most;
        self
    }

    /// Longer lines must be cut ([`Lines::cut`]) before they are encoded.
    pub fn line_bytes_max(&self) -> Option<usize> {
        self.line_bytes_max
    }

    /// True where the output is the lines' own bytes, so that a caller can take
    /// [`Lines::bytes`] without a copy.
    pub fn is_raw(&self) -> bool {
        matches!(self.kind, Kind::Raw)
    }

    /// Appends one body that holds every line of `pieces`, in order.
    ///
    /// In json every line becomes exactly one line of output that is one valid JSON object, whatever
    /// its bytes are; in raw each is ended by a newline; in text a record that holds newlines takes
    /// one row for each of its lines.
    pub fn append(&self, out: &mut Vec<u8>, pieces: &[Piece]) {
        match &self.kind {
            Kind::Raw => each(pieces, |it| out.extend_from_slice(it.lines.bytes())),
            Kind::Json(json) => each(pieces, |it| {
                json.append(out, it.origin, it.time_ns, &it.lines);
            }),
            Kind::JsonArray(json) => array::append(json, out, pieces),
            Kind::Text(screen) => each(pieces, |it| {
                screen.append(out, it.origin, it.time_ns, &it.lines);
            }),
            Kind::Template(forms) => each(pieces, |it| {
                forms.append(out, it.origin, it.time_ns, &it.lines);
            }),
            Kind::Elasticsearch(bulk) => each(pieces, |it| bulk.append(out, it)),
            Kind::Loki(streams) => streams.append(out, pieces),
            Kind::Otlp(logs) => logs.append(out, pieces),
            Kind::Splunk(events) => each(pieces, |it| events.append(out, it)),
            Kind::Datadog(entries) => entries.append(out, pieces),
            Kind::Kafka(json) => kafka::append(json, out, pieces),
        }
    }
}

fn each(pieces: &[Piece], append: impl FnMut(&Piece)) {
    pieces.iter().for_each(append);
}

#[cfg(test)]
mod formats;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
