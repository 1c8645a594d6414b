//! Sinks: each delivers batches to one kind of place.

pub mod file;
pub mod http;
pub mod stdout;

use std::sync::Arc;

use crate::model::BatchLimits;

/// One configured sink, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkConfig {
    /// The name: checkpoint key and metric label.
    pub name: Arc<str>,
    /// Names of the sources that feed it, in the order of the config (`from`, resolved).
    pub from: Vec<Arc<str>>,
    /// What a line looks like outside; `None` (stdout only): text on a terminal, else JSON.
    pub format: Option<Format>,
    /// When a batch is closed.
    pub batch: BatchLimits,
    /// Bytes of lines in flight, from the read to the acknowledgement.
    pub memory_bytes: usize,
    /// Where it delivers.
    pub kind: SinkKind,
}

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// True to colour labels and dim times.
    pub color: bool,
}

/// Where a sink delivers: one variant per kind.
#[derive(Clone, Debug, PartialEq)]
pub enum SinkKind {
    /// This process's standard output.
    Stdout,
    /// A file that is appended to.
    File(file::FileSinkConfig),
    /// An HTTP collector.
    Http(Box<http::HttpConfig>),
}
