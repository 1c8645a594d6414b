//! Delivery: takes chunks out of one sink's queue, batches, encodes, delivers and settles them.
//!
//! It retries for ever, splits what is too large and sets aside what is refused for good. It knows
//! no concrete sink.

mod attempt;
mod dead_letter;
mod error;
mod job;
mod pipeline;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;

use tokio_util::sync::CancellationToken;
use tracing::error;

pub use dead_letter::DeadLetter;
pub use error::{Failure, Items, Refused, SinkError};
use pipeline::Pipeline;

use crate::backoff::Backoff;
use crate::blocking::Crew;
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

    /// True where encoding is only handing on what is there: it needs no thread of its own.
    fn hands_on(&self) -> bool {
        false
    }

    /// Lines of a payload that were cut because this sink takes no longer ones.
    fn n_cut(&self, _payload: &Self::Payload) -> u64 {
        0
    }
}

/// Some lines of a batch that are delivered as one body.
#[derive(Clone, Debug)]
pub struct Part {
    /// Which lines.
    pub which: LineSet,
    /// Tells this body from the others of its batch: empty for the whole batch, then `.0` and `.1`
    /// for its halves, `.0.1` for a half's half, `.r1` for what failed of it the first time. The
    /// same on every retry of the same body.
    pub suffix: String,
}

/// How one sink's delivery behaves.
#[derive(Debug)]
pub struct Settings {
    /// The sink's configured name.
    pub name: Arc<str>,
    /// How lines become payloads.
    pub flow: Flow,
    /// Delays between retries, shared by everything in flight at this sink.
    pub backoff: Backoff,
    /// Where refused lines go; absent for sinks that refuse nothing.
    pub dead_letter: Option<DeadLetter>,
    /// What the sink did.
    pub counters: Arc<SinkCounters>,
    /// Where settled positions go.
    pub checkpoints: Checkpoints,
    /// Where what is large is encoded.
    pub crew: Crew,
    /// Cancelled when the process drains: back-off is cut short and one last attempt is made.
    pub draining: CancellationToken,
}

/// How lines become payloads.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// When a batch is closed.
    pub limits: BatchLimits,
    /// Lines in one body. More, where a single chunk holds them, are delivered in parts.
    pub part_lines_max: u64,
    /// Payloads in flight at once.
    pub concurrency: usize,
    /// Payloads encoded at once, ahead of those in flight: more than one where that is slow.
    pub encoders: usize,
}

/// Delivers until every sender is gone and everything is settled.
///
/// # Errors
/// [`Failure`] when the sink can never go on, or when the process drains and the last attempt
/// failed. What was not settled then is read again at the next start.
///
/// A panic ends what is in flight, not the sink: its acks are dropped, so that the cursors go back
/// to what is settled, and delivery starts anew.
pub async fn run<S: Sink>(
    sink: S,
    mut receiver: Receiver,
    settings: Settings,
) -> Result<(), Failure> {
    /// Whatever panicked may do so again: not at full speed.
    const RESTART_AFTER: Duration = Duration::from_secs(1);
    let shared = Arc::new(attempt::Shared {
        sink,
        name: settings.name,
        backoff: Mutex::new(settings.backoff),
        outage: Mutex::new(None),
        refusals: Mutex::default(),
        dead_letter: settings.dead_letter,
        counters: settings.counters,
        draining: settings.draining,
        crew: settings.crew,
    });
    loop {
        let checkpoints = settings.checkpoints.clone();
        let pipeline = Pipeline::new(
            Arc::clone(&shared),
            &mut receiver,
            &settings.flow,
            checkpoints,
        );
        // Nothing of a pipeline that panicked is used again but its queue and the shared part,
        // whose locks recover from poison.
        match AssertUnwindSafe(pipeline.run()).catch_unwind().await {
            Ok(ended) => return ended,
            Err(_) if shared.draining.is_cancelled() => {
                return Err(Failure::GaveUp("a bug interrupted its delivery".to_owned()));
            }
            Err(_) => error!(sink = %shared.name, "a bug interrupted delivery: it starts anew"),
        }
        tokio::time::sleep(RESTART_AFTER).await;
    }
}
