//! One job: a part of a batch is delivered, retried, halved or set aside until it is settled.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::dead_letter::{DeadLetter, Refusal};
use super::error::{Failure, SinkError};
use super::{Part, Sink};
use crate::backoff::Backoff;
use crate::model::{Batch, LineSet};
use crate::queue::Chunk;
use crate::telemetry::SinkCounters;

/// What every job of one sink shares.
#[derive(Debug)]
pub(super) struct Shared<S> {
    pub(super) sink: S,
    pub(super) name: Arc<str>,
    pub(super) backoff: Mutex<Backoff>,
    pub(super) outage: Mutex<Option<Instant>>,
    pub(super) dead_letter: Option<DeadLetter>,
    pub(super) counters: Arc<SinkCounters>,
    pub(super) draining: CancellationToken,
}

/// A part of a batch on its way.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) batch: Arc<Batch<Chunk>>,
    pub(super) part: Part,
}

impl Job {
    fn lines(&self) -> u64 {
        self.part.which.len(self.batch.weight.lines)
    }

    /// The job's two halves; `None` for a single line.
    fn halve(&self) -> Option<[Job; 2]> {
        let (left, right) = self.part.which.halve(self.batch.weight.lines)?;
        let half = |which, n| {
            let suffix = format!("{}.{n}", self.part.suffix);
            Job {
                batch: Arc::clone(&self.batch),
                part: Part { which, suffix },
            }
        };
        Some([half(left, 0), half(right, 1)])
    }
}

/// Encodes a job's payload, off the async threads where it is large.
pub(super) async fn encode<S: Sink>(shared: Arc<Shared<S>>, job: Job) -> (Job, S::Payload) {
    /// Smaller batches are encoded in place: a hop to another thread costs 25 µs.
    const INLINE_BYTES_MAX: usize = 64 * 1024;
    if job.batch.weight.bytes <= INLINE_BYTES_MAX {
        let payload = shared.sink.encode(&job.batch, &job.part);
        return (job, payload);
    }
    let encoding = tokio::task::spawn_blocking(move || {
        let payload = shared.sink.encode(&job.batch, &job.part);
        (job, payload)
    });
    match encoding.await {
        Ok(encoded) => encoded,
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}

/// Delivers a job whose payload is encoded; returns it once every line is settled.
pub(super) async fn settle<S: Sink>(
    shared: Arc<Shared<S>>,
    job: Job,
    payload: S::Payload,
) -> Result<Job, Failure> {
    let mut waiting = Vec::new();
    let mut current = (job.clone(), payload);
    loop {
        let (part, payload) = &current;
        match shared.deliver(payload).await {
            Ok(()) => {}
            Err(SinkError::TooLarge { cause }) => match part.halve() {
                Some(halves) => waiting.extend(halves.into_iter().rev()),
                None => shared.set_aside(part, 413, cause).await?,
            },
            Err(SinkError::Unacceptable { status, cause }) => match part.halve() {
                Some(halves) => waiting.extend(halves.into_iter().rev()),
                None => shared.set_aside(part, status, cause).await?,
            },
            Err(SinkError::Rejected { status, cause }) => {
                shared.set_aside(part, status, cause).await?;
            }
            Err(SinkError::Ended) => return Err(Failure::Ended),
            Err(SinkError::Fatal { cause }) => return Err(Failure::Fatal(cause)),
            Err(SinkError::Retryable { cause, .. } | SinkError::Paused { cause }) => {
                return Err(Failure::GaveUp(cause));
            }
        }
        let Some(next) = waiting.pop() else {
            return Ok(job);
        };
        current = encode(Arc::clone(&shared), next).await;
    }
}

impl<S: Sink> Shared<S> {
    /// Tries until the answer is final. While draining, a retryable error is final.
    async fn deliver(&self, payload: &S::Payload) -> Result<(), SinkError> {
        loop {
            let last = self.draining.is_cancelled();
            self.counters.requests.add(1);
            let error = match self.sink.deliver(payload).await {
                Err(error @ (SinkError::Retryable { .. } | SinkError::Paused { .. })) => error,
                done => {
                    self.outage_ends();
                    return done;
                }
            };
            if last {
                return Err(error);
            }
            self.outage_begins(&error);
            let delay = self.delay(&error);
            // One last attempt is made when draining begins.
            let _ = tokio::time::timeout(delay, self.draining.cancelled()).await;
            self.counters.retries.add(1);
        }
    }

    fn delay(&self, error: &SinkError) -> Duration {
        let mut backoff = self.backoff.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            SinkError::Retryable { after, .. } => backoff.next(*after),
            _ => backoff.longest(),
        }
    }

    /// Writes a part's lines to the dead-letter file, however long that takes.
    async fn set_aside(&self, job: &Job, status: u16, reason: String) -> Result<(), Failure> {
        let Some(dead_letter) = &self.dead_letter else {
            return Err(Failure::Fatal(reason));
        };
        let refusal = Refusal {
            sink: Arc::clone(&self.name),
            status,
            reason,
        };
        loop {
            let last = self.draining.is_cancelled();
            match dead_letter
                .write(&job.batch, &job.part.which, &refusal)
                .await
            {
                Ok(()) => break,
                Err(cause) => {
                    let cause = format!("dead letter {}: {cause}", dead_letter.path().display());
                    if last {
                        return Err(Failure::GaveUp(cause));
                    }
                    let error = SinkError::Paused { cause };
                    self.outage_begins(&error);
                    let delay = self.delay(&error);
                    let _ = tokio::time::timeout(delay, self.draining.cancelled()).await;
                }
            }
        }
        let lines = job.lines();
        self.counters.rejected.add(lines);
        warn!(
            sink = %self.name, status, lines, reason = refusal.reason,
            dead_letter = %dead_letter.path().display(), "refused for good"
        );
        Ok(())
    }

    /// Says an outage once, however many attempts it takes.
    fn outage_begins(&self, cause: &SinkError) {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        if outage.is_some() {
            return;
        }
        *outage = Some(Instant::now());
        match cause {
            SinkError::Paused { cause } => {
                error!(sink = %self.name, %cause, "paused: nothing is lost, trying again slowly");
            }
            other => warn!(sink = %self.name, cause = %other, "not delivered, trying again"),
        }
    }

    fn outage_ends(&self) {
        self.backoff
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .reset();
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = outage.take() {
            let seconds = since.elapsed().as_secs_f64();
            info!(sink = %self.name, after_s = format!("{seconds:.1}"), "delivered again");
        }
    }
}

/// The parts that a batch is delivered in: more than one only where a single chunk holds more lines
/// than a batch may.
pub(super) fn jobs(batch: Batch<Chunk>, lines_max: u64) -> Vec<Job> {
    let batch = Arc::new(batch);
    let total = batch.weight.lines;
    if total <= lines_max {
        let part = Part {
            which: LineSet::All,
            suffix: String::new(),
        };
        return vec![Job { batch, part }];
    }
    let parts = LineSet::All.parts(lines_max, total);
    let with_suffix = parts.into_iter().enumerate().map(|(n, which)| {
        let part = Part {
            which,
            suffix: format!(".{n}"),
        };
        Job {
            batch: Arc::clone(&batch),
            part,
        }
    });
    with_suffix.collect()
}
