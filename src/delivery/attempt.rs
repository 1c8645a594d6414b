//! One job: a part of a batch is delivered, retried, halved or set aside until it is settled.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::Sink;
use super::dead_letter::{DeadLetter, Refusal};
use super::error::{Failure, Items, SinkError};
use super::job::Job;
use crate::backoff::Backoff;
use crate::blocking::{Crew, Failed};
use crate::model::LineSet;
use crate::telemetry::SinkCounters;

/// What every job of one sink shares.
#[derive(Debug)]
pub(super) struct Shared<S> {
    pub(super) sink: S,
    pub(super) name: Arc<str>,
    pub(super) backoff: Mutex<Backoff>,
    pub(super) outage: Mutex<Option<Instant>>,
    pub(super) refusals: Mutex<Refusals>,
    pub(super) dead_letter: Option<DeadLetter>,
    pub(super) counters: Arc<SinkCounters>,
    pub(super) draining: CancellationToken,
    /// Encodes what is large.
    pub(super) crew: Crew,
}

/// When refusals were last said: each line of a bad batch can be one, and all have the same reason.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    said: Option<Instant>,
    unsaid: u64,
}

impl Refusals {
    /// The number of refused lines to be said now; `None` while the last word is fresh.
    fn due(&mut self, lines: u64, now: Instant) -> Option<u64> {
        const INTERVAL: Duration = Duration::from_secs(5);
        self.unsaid += lines;
        if self.said.is_some_and(|said| now < said + INTERVAL) {
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// Encodes a job's payload, off the async threads where it is large: it begins at once, whether or
/// not the future is polled.
pub(super) fn encode<S: Sink>(
    shared: &Arc<Shared<S>>,
    job: Job,
) -> impl Future<Output = (Job, S::Payload)> + Send + use<S> {
    /// Smaller batches are encoded in place: a hop to another thread costs 25 µs.
    const INLINE_BYTES_MAX: usize = 64 * 1024;
    let is_quick = shared.sink.hands_on() || job.bytes() <= INLINE_BYTES_MAX;
    let (small, large) = if is_quick {
        let payload = shared.sink.encode(&job.batch, &job.part);
        (Some((job, payload)), None)
    } else {
        let shared = Arc::clone(shared);
        let encoding = shared.crew.clone().run(move || {
            let payload = shared.sink.encode(&job.batch, &job.part);
            (job, payload)
        });
        (None, Some(encoding))
    };
    async move {
        match (small, large) {
            (Some(encoded), _) => encoded,
            (None, Some(encoding)) => match encoding.await {
                Ok(encoded) => encoded,
                Err(Failed::Panicked(panic)) => std::panic::resume_unwind(panic),
                Err(Failed::Ended) => std::future::pending().await,
            },
            (None, None) => unreachable!("one of the two is there"),
        }
    }
}

/// A job that can never be delivered: its lines are given up when it is dropped.
#[derive(Debug)]
pub(super) struct GivenUp {
    pub(super) failure: Failure,
    pub(super) job: Job,
    /// So many lines of its batch, from the front, are the sink's.
    pub(super) owned: u64,
}

/// Delivers a job whose payload is encoded; returns it once every line is settled.
pub(super) async fn settle<S: Sink>(
    shared: Arc<Shared<S>>,
    job: Job,
    payload: S::Payload,
) -> Result<Job, GivenUp> {
    let mut waiting = Vec::new();
    let mut current = (job.clone(), payload);
    loop {
        let (part, payload) = &current;
        match shared.deliver(part, payload).await {
            Ok(()) => {
                shared.count_cut(shared.sink.n_cut(payload));
            }
            Err(error) => {
                let owned = match &error {
                    // Of a part it is not known what became of the lines before it.
                    SinkError::Ended { owned } if part.part.which == LineSet::All => *owned,
                    _ => 0,
                };
                match shared.failed(part, error).await {
                    Ok(left) => waiting.extend(left),
                    Err(failure) => {
                        return Err(GivenUp {
                            failure,
                            job,
                            owned,
                        });
                    }
                }
            }
        }
        let Some(next) = waiting.pop() else {
            return Ok(job);
        };
        current = encode(&shared, next).await;
    }
}

impl<S: Sink> Shared<S> {
    /// Acts on a final answer: what is left to be delivered, the last one first.
    async fn failed(&self, job: &Job, error: SinkError) -> Result<Vec<Job>, Failure> {
        let all = |status, reason| Refusal {
            which: job.part.which.clone(),
            status,
            reason,
        };
        match error {
            SinkError::TooLarge { cause } => match job.halve() {
                Some([left, right]) => return Ok(vec![right, left]),
                None => self.set_aside(job, vec![all(413, cause)], 1).await?,
            },
            SinkError::Unacceptable { status, cause } => match job.halve() {
                Some([left, right]) => return Ok(vec![right, left]),
                None => self.set_aside(job, vec![all(status, cause)], 1).await?,
            },
            SinkError::Rejected { status, cause } => {
                self.set_aside(job, vec![all(status, cause)], job.lines())
                    .await?;
            }
            SinkError::PartlyRejected {
                status,
                lines,
                cause,
            } => {
                let lines = lines.unwrap_or(job.lines());
                self.set_aside(job, vec![all(status, cause)], lines).await?;
            }
            SinkError::Items(items) => return self.items_failed(job, *items).await,
            SinkError::Ended { .. } => return Err(Failure::Ended),
            SinkError::Fatal { cause } => return Err(Failure::Fatal(cause)),
            SinkError::Retryable { cause, .. } | SinkError::Paused { cause } => {
                return Err(Failure::GaveUp(cause));
            }
        }
        Ok(Vec::new())
    }

    /// Sets refused lines aside and waits until failed ones may be sent again.
    async fn items_failed(&self, job: &Job, items: Items) -> Result<Vec<Job>, Failure> {
        if !items.rejected.is_empty() {
            let refusals: Vec<Refusal> = items
                .rejected
                .iter()
                .map(|line| Refusal {
                    which: job.part.which.pick(&[line.line]),
                    status: line.status,
                    reason: line.reason.clone(),
                })
                .collect();
            let lines = refusals.len() as u64;
            self.set_aside(job, refusals, lines).await?;
        }
        if items.failed.is_empty() {
            self.outage_ends();
            return Ok(Vec::new());
        }
        if self.draining.is_cancelled() {
            return Err(Failure::GaveUp(items.retry.to_string()));
        }
        self.wait(&items.retry).await;
        self.counters.retries.add(1);
        Ok(vec![job.narrowed(&items.failed)])
    }

    /// Tries until the answer is final. While draining, a retryable error is final.
    async fn deliver(&self, job: &Job, payload: &S::Payload) -> Result<(), SinkError> {
        loop {
            let last = self.draining.is_cancelled();
            self.counters.requests.add(1);
            let error = match self.attempt(job, payload).await {
                Err(error @ (SinkError::Retryable { .. } | SinkError::Paused { .. })) => error,
                // Part of it may fail again and again: that is no end of an outage.
                items @ Err(SinkError::Items(_)) => return items,
                done => {
                    self.outage_ends();
                    return done;
                }
            };
            if last {
                return Err(error);
            }
            self.wait(&error).await;
            self.counters.retries.add(1);
        }
    }

    /// Tries once. At the end of the process an answer is waited for as long as it takes, unless the sink
    /// is known to be out of order and the lines are read again at the next start.
    async fn attempt(&self, job: &Job, payload: &S::Payload) -> Result<(), SinkError> {
        let attempt = self.sink.deliver(payload);
        if !job.is_replayable() {
            return attempt.await;
        }
        tokio::select! {
            biased;
            done = attempt => done,
            () = self.hopeless() => Err(SinkError::Retryable {
                cause: "no answer by then".to_owned(),
                after: None,
            }),
        }
    }

    /// Completes when the process drains and a sink that is out of order had its last chance.
    async fn hopeless(&self) {
        /// A sink that is well again answers by then.
        const LAST_CHANCE: Duration = Duration::from_secs(1);
        self.draining.cancelled().await;
        let is_out = self.outage.lock().is_ok_and(|outage| outage.is_some());
        if !is_out {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(LAST_CHANCE).await;
    }

    /// Counts lines that were cut for this sink, and says it the first time.
    fn count_cut(&self, lines: u64) {
        if lines > 0 && self.counters.truncated.get() == 0 {
            warn!(sink = %self.name, "lines are cut at this sink's max_line: they are counted");
        }
        self.counters.truncated.add(lines);
    }

    /// Says an outage and backs off; one last attempt is made when draining begins.
    async fn wait(&self, error: &SinkError) {
        self.outage_begins(error);
        let delay = self.delay(error);
        let _ = tokio::time::timeout(delay, self.draining.cancelled()).await;
    }

    fn delay(&self, error: &SinkError) -> Duration {
        let mut backoff = self.backoff.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            SinkError::Retryable { after, .. } => backoff.next(*after),
            _ => backoff.longest(),
        }
    }

    /// Writes lines of a job to the dead-letter file, however long that takes. `lines` of them count
    /// as refused.
    async fn set_aside(
        &self,
        job: &Job,
        refusals: Vec<Refusal>,
        lines: u64,
    ) -> Result<(), Failure> {
        let Some(first) = refusals.first() else {
            return Ok(());
        };
        let Some(dead_letter) = &self.dead_letter else {
            return Err(Failure::Fatal(first.reason.clone()));
        };
        loop {
            let last = self.draining.is_cancelled();
            let written = dead_letter.write(&self.name, &job.batch, &refusals).await;
            let Err(cause) = written else {
                break;
            };
            let cause = format!("dead letter {}: {cause}", dead_letter.path().display());
            if last {
                return Err(Failure::GaveUp(cause));
            }
            self.wait(&SinkError::Paused { cause }).await;
        }
        self.counters.rejected.add(lines);
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lines) = refusals.due(lines, Instant::now()) {
            let (status, reason) = (first.status, &first.reason);
            warn!(
                sink = %self.name, status, lines, reason,
                dead_letter = %dead_letter.path().display(), "refused for good"
            );
        }
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
