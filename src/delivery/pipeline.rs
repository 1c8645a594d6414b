//! The loop of one sink: while payloads are in flight the next ones are encoded and the batch after
//! them collected.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, FuturesUnordered};
use futures::{FutureExt as _, StreamExt as _};

use super::attempt::{GivenUp, Shared, encode, settle};
use super::error::Failure;
use super::job::{Job, jobs};
use super::{Flow, Sink};
use crate::checkpoint::Checkpoints;
use crate::framing::SHARED_ABOVE_BYTES;
use crate::model::{Ack, Batch, Batcher};
use crate::queue::{Chunk, Receiver};

type Encoding<S> = BoxFuture<'static, (Job, <S as Sink>::Payload)>;
type Settling = BoxFuture<'static, Result<Job, GivenUp>>;

pub(super) struct Pipeline<'a, S: Sink> {
    shared: Arc<Shared<S>>,
    receiver: &'a mut Receiver,
    open: bool,
    part_lines_max: u64,
    concurrency: usize,
    checkpoints: Checkpoints,
    batcher: Batcher<Chunk>,
    /// Batches that wait for the encoder: at most the parts of two.
    ready: VecDeque<Job>,
    /// Payloads being encoded and encoded ones that wait for their turn, in order.
    encoding: FuturesOrdered<Encoding<S>>,
    encoders: usize,
    in_flight: FuturesUnordered<Settling>,
}

impl<'a, S: Sink> Pipeline<'a, S> {
    pub(super) fn new(
        shared: Arc<Shared<S>>,
        receiver: &'a mut Receiver,
        flow: &Flow,
        checkpoints: Checkpoints,
    ) -> Self {
        Self {
            shared,
            receiver,
            open: true,
            part_lines_max: flow.part_lines_max,
            concurrency: flow.concurrency.max(1),
            checkpoints,
            batcher: Batcher::new(flow.limits),
            ready: VecDeque::new(),
            encoding: FuturesOrdered::new(),
            encoders: flow.encoders.max(1),
            in_flight: FuturesUnordered::new(),
        }
    }

    pub(super) async fn run(mut self) -> Result<(), Failure> {
        loop {
            self.close_if_worth_it();
            self.move_forward();
            let wants_more = self.open && self.ready.is_empty();
            if !self.open && self.is_idle() {
                return Ok(());
            }
            // A due batch waits while the encoders are busy: it goes on growing up to its limits.
            let due = self.batcher.deadline().filter(|_| self.ready.is_empty());
            tokio::select! {
                biased;
                settled = self.in_flight.next(), if !self.in_flight.is_empty() => {
                    match settled {
                        Some(Ok(job)) => self.settled(job),
                        Some(Err(given_up)) => {
                            let failure = given_up.failure.clone();
                            // Before the queue is closed: then sources drop acks that they cannot send.
                            let _left = self.give_up(given_up);
                            // Before the acks in flight are dropped, those of this job, too: sources
                            // see an end, not an interruption.
                            self.receiver.close();
                            return Err(failure);
                        }
                        None => {}
                    }
                }
                encoded = self.encoding.next(), if self.has_room() => {
                    if let Some((job, payload)) = encoded {
                        self.send(job, payload);
                    }
                }
                chunk = self.receiver.recv(), if wants_more => self.received(chunk),
                () = sleep_until(due), if due.is_some() => {
                    let batch = self.batcher.flush();
                    self.close(batch);
                }
            }
        }
    }

    /// Closes a batch that is due and large enough to be worth its costs, where the sink waits for one.
    ///
    /// The runtime's timers count milliseconds and round up. For a few lines of many streams that is a
    /// good time to gather more; a flood would be held to one read a millisecond by it.
    fn close_if_worth_it(&mut self) {
        let waits = self.ready.is_empty()
            && self.encoding.is_empty()
            && self.in_flight.len() < self.concurrency;
        if waits
            && self.batcher.weight().bytes >= SHARED_ABOVE_BYTES
            && self
                .batcher
                .deadline()
                .is_some_and(|due| due <= Instant::now())
        {
            let batch = self.batcher.flush();
            self.close(batch);
        }
    }

    fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.encoding.is_empty() && self.in_flight.is_empty()
    }

    /// True where an encoded payload can be sent.
    fn has_room(&self) -> bool {
        !self.encoding.is_empty() && self.in_flight.len() < self.concurrency
    }

    fn send(&mut self, job: Job, payload: S::Payload) {
        let settling = settle(Arc::clone(&self.shared), job, payload);
        self.in_flight.push(settling.boxed());
    }

    /// Starts what can be started.
    fn move_forward(&mut self) {
        loop {
            // A small batch is encoded in place and is there at once.
            while self.has_room()
                && let Some(Some((job, payload))) = self.encoding.next().now_or_never()
            {
                self.send(job, payload);
            }
            if self.encoding.len() >= self.encoders {
                return;
            }
            let Some(job) = self.ready.pop_front() else {
                return;
            };
            self.encoding.push_back(encode(&self.shared, job).boxed());
        }
    }

    /// Takes in a chunk and those right behind it.
    fn received(&mut self, first: Option<Chunk>) {
        let Some(first) = first else {
            self.open = false;
            let batch = self.batcher.flush();
            self.close(batch);
            return;
        };
        let now = Instant::now();
        let mut next = Some(first);
        while let Some(chunk) = next {
            // The cursor of a broken ledger reads these lines again.
            if !chunk.ack.is_stale() {
                let weight = chunk.weight();
                let batch = self.batcher.push(chunk, weight, now);
                self.close(batch);
            }
            next = if self.ready.is_empty() {
                self.receiver.try_recv()
            } else {
                None
            };
        }
    }

    fn close(&mut self, batch: Option<Batch<Chunk>>) {
        if let Some(batch) = batch {
            self.ready.extend(jobs(batch, self.part_lines_max));
        }
    }

    /// Settles the batch once its last part has come back.
    fn settled(&self, job: Job) {
        let Some(batch) = Arc::into_inner(job.batch) else {
            return;
        };
        self.shared.counters.lines.add(batch.weight.lines);
        self.shared.counters.bytes.add(batch.weight.bytes as u64);
        // With each chunk goes what it held of the budget; none of it before all are settled.
        let (acks, _charges): (Vec<Ack>, Vec<_>) = batch
            .items
            .into_iter()
            .map(|chunk| (chunk.ack, chunk.charge))
            .unzip();
        self.checkpoints.advance(Ack::settle_all(acks));
    }

    /// Settles the lines of a batch that are the sink's although it wants no more. Returns the others,
    /// whose ledgers break when they are dropped.
    fn give_up(&self, given_up: GivenUp) -> Vec<Chunk> {
        let Some(batch) = Arc::into_inner(given_up.job.batch) else {
            return Vec::new();
        };
        let mut owned = given_up.owned;
        self.shared.counters.lines.add(owned);
        let (mut acks, mut left) = (Vec::new(), Vec::new());
        for mut chunk in batch.items {
            let n_lines = chunk.weight().lines;
            if n_lines <= owned {
                owned -= n_lines;
                acks.push(chunk.ack);
                continue;
            }
            if owned > 0 {
                let n_lines = u32::try_from(owned).expect("fewer than the chunk has");
                acks.push(chunk.split_lines(n_lines).ack);
                owned = 0;
            }
            left.push(chunk);
        }
        self.checkpoints.advance(Ack::settle_all(acks));
        left
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
