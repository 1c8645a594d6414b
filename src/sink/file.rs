//! The file sink: appends, and is exactly once for input that comes from files.

use std::path::PathBuf;

/// Which file is appended to, and how safely.
#[derive(Clone, Debug, PartialEq)]
pub struct FileSinkConfig {
    /// The output file; created with `mode` where it is missing.
    pub path: PathBuf,
    /// When written bytes are forced to disk.
    pub fsync: Fsync,
    /// Permission bits of a new file.
    pub mode: u32,
}

/// When written bytes are forced to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// By the operating system alone.
    Never,
    /// Once a second.
    Interval,
    /// After every batch, before it is acknowledged.
    Batch,
}
