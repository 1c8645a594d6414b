//! Delivery: takes chunks out of one sink's queue, batches, encodes, delivers and settles them.
//!
//! It retries for ever, splits what is too large and sets aside what is refused for good. It knows
//! no concrete sink.

mod attempt;
mod dead_letter;
mod error;
mod pipeline;

use std::future::Future;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use dead_letter::DeadLetter;
pub use error::{Failure, SinkError};

use crate::backoff::Backoff;
use crate::checkpoint::Checkpoints;
use crate::model::{Batch, BatchLimits, LineSet};
use crate::queue::{Chunk, Receiver};
use crate::telemetry::SinkCounters;

/// Where batches go.
pub trait Sink: Send + Sync + 'static {
    /// A part of a batch, encoded once and delivered as often as it takes.
    type Payload: Send + Sync + 'static;

    /// Encodes a part of a batch. Pure and possibly slow: it runs off the async threads.
    fn encode(&self, batch: &Batch<Chunk>, part: &Part) -> Self::Payload;

    /// Delivers a payload. `Ok` means that the sink owns every line of it.
    ///
    /// Called again with the same payload after a retryable error.
    fn deliver(
        &self,
        payload: &Self::Payload,
    ) -> impl Future<Output = Result<(), SinkError>> + Send;
}

/// Some lines of a batch that are delivered as one body.
#[derive(Clone, Debug)]
pub struct Part {
    /// Which lines.
    pub which: LineSet,
    /// Tells this body from the others of its batch: empty for the whole batch, then `.0` and `.1`
    /// for its halves, `.0.1` for a half's half. The same on every retry of the same body.
    pub suffix: String,
}

/// How one sink's delivery behaves.
#[derive(Debug)]
pub struct Settings {
    /// The sink's configured name.
    pub name: Arc<str>,
    /// When a batch is closed.
    pub limits: BatchLimits,
    /// Lines in one body. More, where a single chunk holds them, are delivered in parts.
    pub part_lines_max: u64,
    /// Payloads in flight at once.
    pub concurrency: usize,
    /// Delays between retries, shared by everything in flight at this sink.
    pub backoff: Backoff,
    /// Where refused lines go; absent for sinks that refuse nothing.
    pub dead_letter: Option<DeadLetter>,
    /// What the sink did.
    pub counters: Arc<SinkCounters>,
    /// Where settled positions go.
    pub checkpoints: Checkpoints,
    /// Cancelled when the process drains: back-off is cut short and one last attempt is made.
    pub draining: CancellationToken,
}

/// Delivers until every sender is gone and everything is settled.
///
/// # Errors
/// [`Failure`] when the sink can never go on, or when the process drains and the last attempt
/// failed. What was not settled then is read again at the next start.
pub async fn run<S: Sink>(sink: S, receiver: Receiver, settings: Settings) -> Result<(), Failure> {
    pipeline::Pipeline::new(sink, receiver, settings)
        .run()
        .await
}
