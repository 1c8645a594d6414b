//! Lines to bodies: what a line looks like outside.
//!
//! An [`Encoder`] is built once per sink and called once per chunk. It must not know sinks.
//!
//! Pure: no I/O, no clock.

mod compress;
pub mod escape;
mod json;
mod reserved;
mod scan;
mod stamp;
mod text;

pub use compress::gzip;

use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::model::{Lines, Origin};

/// What a line looks like outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    /// The original bytes.
    Raw,
    /// One JSON object per line.
    Json(Meta),
    /// For people: label, time and line.
    Text(Text),
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

/// Writes lines in one format.
#[derive(Debug)]
pub struct Encoder(Kind);

#[derive(Debug)]
enum Kind {
    Raw,
    Json(json::Json),
    Text(text::Screen),
}

impl Encoder {
    /// Builds the encoder of one sink.
    ///
    /// `host` is what `_host` shows; `zone` is the time zone of `text` (json is always in UTC).
    pub fn new(format: &Format, host: &str, zone: TimeZone) -> Self {
        Self(match format {
            Format::Raw => Kind::Raw,
            Format::Json(meta) => Kind::Json(json::Json::new(*meta, host)),
            Format::Text(text) => Kind::Text(text::Screen::new(text, zone)),
        })
    }

    /// True where the output is the lines' own bytes, so that a caller can take
    /// [`Lines::bytes`] without a copy.
    pub fn is_raw(&self) -> bool {
        matches!(self.0, Kind::Raw)
    }

    /// Appends every line of `lines`, each ended by a newline.
    ///
    /// `time_ns` is the first line's time in nanoseconds since 1970 (UTC); line *i* of the call has
    /// the time `time_ns` + *i*. In json every line becomes exactly one line of output that is one
    /// valid JSON object, whatever its bytes are; in text a record that holds newlines takes one row
    /// for each of its lines.
    pub fn append(&self, out: &mut Vec<u8>, origin: &Origin, time_ns: i64, lines: &Lines) {
        match &self.0 {
            Kind::Raw => out.extend_from_slice(lines.bytes()),
            Kind::Json(json) => json.append(out, origin, time_ns, lines),
            Kind::Text(screen) => screen.append(out, origin, time_ns, lines),
        }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
