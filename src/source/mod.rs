//! Sources: each reads one kind of input and pushes lines into its sinks' queues.

pub mod file;

use std::sync::Arc;

/// One configured source, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceConfig {
    /// The name: label, checkpoint key and metric label.
    pub name: Arc<str>,
    /// Configured labels, shown as `_labels`.
    pub labels: Arc<[(Arc<str>, Arc<str>)]>,
    /// A longer line is cut, marked and counted; in bytes, without the newline.
    pub line_bytes_max: usize,
    /// What it reads.
    pub kind: SourceKind,
}

/// What a source reads: one variant per kind.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceKind {
    /// Files named by paths, globs and directories.
    File(file::FileConfig),
}
