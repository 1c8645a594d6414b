//! Sinks: each delivers batches to one kind of place.

mod body;
pub mod file;
pub mod http;
pub mod stdout;

use std::sync::Arc;

use crate::encoding::Format;
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
    /// Longer lines are cut and marked; `None`: as long as the source lets them be.
    pub line_bytes_max: Option<usize>,
    /// When a batch is closed.
    pub batch: BatchLimits,
    /// Bytes of lines in flight, from the read to the acknowledgement.
    pub memory_bytes: usize,
    /// Where it delivers.
    pub kind: SinkKind,
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
