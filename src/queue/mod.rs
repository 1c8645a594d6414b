//! The bounded queue in front of one sink: a channel of chunks beside a budget of bytes.
//!
//! Memory is charged before the read and freed when the chunk is settled. It knows no concrete
//! source or sink.

mod lane;
mod order;
#[cfg(test)]
mod ordered;
mod progress;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use order::Merger;
pub use order::Order;
pub use progress::{Behind, Room};
use progress::{News, Progress, Stream};

use futures::FutureExt as _;

use crate::model::{Ack, Lines, Origin, StreamKey, Weight};

/// Chunks that can wait in a queue, whatever their size.
const SLOTS: usize = 256;

/// What a chunk costs beside its lines: the structures around it, in bytes.
const CHUNK_OVERHEAD_BYTES: usize = 512;

/// Lines of one stream on their way to one sink.
#[derive(Debug)]
pub struct Chunk {
    /// Where the lines came from.
    pub origin: Arc<Origin>,
    /// The lines.
    pub lines: Lines,
    /// When the first line was read, in nanoseconds since 1970; line `i` has this plus `i`.
    pub time_ns: i64,
    /// Settles the lines once the sink owns them.
    pub ack: Ack,
    /// The chunk's part of the sink's memory budget, freed with the chunk; absent where another
    /// chunk that shares the same buffer pays.
    pub charge: Option<Charge>,
}

impl Chunk {
    /// What the chunk adds to a batch.
    pub fn weight(&self) -> Weight {
        Weight {
            bytes: self.lines.bytes().len(),
            lines: u64::from(self.lines.count()),
        }
    }
}

impl Chunk {
    /// Takes the first `n_lines` out of it, of more, with an ack of their own.
    pub fn split_lines(&mut self, n_lines: u32) -> Chunk {
        let first = self.lines.slice(0..n_lines);
        self.split_front(n_lines, first.bytes().len())
    }

    /// Takes the first `n_lines` out of it, which are `n_bytes` long, with an ack of their own. The
    /// rest pays for both.
    fn split_front(&mut self, n_lines: u32, n_bytes: usize) -> Chunk {
        let lines = self.lines.split_front_at(n_lines, n_bytes);
        let front = Chunk {
            origin: Arc::clone(&self.origin),
            ack: self.ack.fork(lines.begun()),
            lines,
            time_ns: self.time_ns,
            charge: None,
        };
        self.time_ns += i64::from(n_lines);
        front
    }
}

/// A part of a sink's memory budget.
#[derive(Debug)]
pub struct Charge(OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

impl Charge {
    /// Gives back what was charged beyond `bytes` of lines.
    pub fn shrink_to(&mut self, bytes: usize) {
        let keep = bytes + CHUNK_OVERHEAD_BYTES;
        for permit in [Some(&mut self.0), self.1.as_mut()].into_iter().flatten() {
            if let Some(excess) = permit.num_permits().checked_sub(keep) {
                drop(permit.split(excess));
            }
        }
    }
}

/// Delivery has ended; the source should stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("delivery has ended")]
pub struct Closed;

/// Makes the queue of one sink. `budget_bytes` bounds what is in flight from the read to the
/// acknowledgement, beside one reserved chunk per [`Sender`].
pub fn bounded(budget_bytes: usize) -> (Queue, Receiver) {
    queue(budget_bytes, None)
}

/// The same of a sink that merges by time, with what is in the queue for it.
pub fn ordered(budget_bytes: usize, order: Order) -> (Queue, Receiver) {
    queue(budget_bytes, Some(order))
}

fn queue(budget_bytes: usize, order: Option<Order>) -> (Queue, Receiver) {
    let (sender, receiver) = mpsc::channel(SLOTS);
    let budget = Arc::new(Semaphore::new(budget_bytes));
    let queue = Queue {
        sender,
        budget: Arc::clone(&budget),
        budget_bytes,
        sources: Arc::default(),
        news: Arc::default(),
        merges: order.is_some(),
    };
    let receiver = Receiver {
        receiver,
        budget,
        merger: order.map(Merger::new),
        has_ended: false,
        sources: Arc::clone(&queue.sources),
        news: Arc::clone(&queue.news),
        seen_changes: None,
    };
    (queue, receiver)
}

/// The progress of every source of one sink, in their order.
type Sources = Arc<Mutex<Vec<Arc<Progress>>>>;

/// The sending side, before it is handed to sources.
#[derive(Debug)]
pub struct Queue {
    sender: mpsc::Sender<(usize, Chunk)>,
    budget: Arc<Semaphore>,
    budget_bytes: usize,
    sources: Sources,
    news: Arc<News>,
    merges: bool,
}

impl Queue {
    /// A sender for one source, with a reserved chunk of its own.
    pub fn sender(&self) -> Sender {
        let progress = Arc::new(Progress::new(Arc::clone(&self.news)));
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.push(Arc::clone(&progress));
        self.news.note();
        Sender {
            source: Arc::new(SourceEnd {
                number: sources.len() - 1,
                progress,
            }),
            sender: self.sender.clone(),
            budget: Arc::clone(&self.budget),
            budget_bytes: self.budget_bytes,
            reserved: Arc::new(Semaphore::new(1)),
            room: Room::Shared,
            merges: self.merges,
            share: None,
        }
    }
}

/// One source's way into one sink's queue.
#[derive(Clone, Debug)]
pub struct Sender {
    /// Dropped last of all that a clone has: the source has ended then.
    source: Arc<SourceEnd>,
    sender: mpsc::Sender<(usize, Chunk)>,
    budget: Arc<Semaphore>,
    budget_bytes: usize,
    /// One chunk beside the budget, so that a flood from another source never starves this one.
    reserved: Arc<Semaphore>,
    /// Who that chunk is reserved for.
    room: Room,
    merges: bool,
    /// What this sender may have in flight, where that is less than the budget.
    share: Option<Share>,
}

/// Which source it is, and how far.
#[derive(Debug)]
struct SourceEnd {
    number: usize,
    progress: Arc<Progress>,
}

impl Drop for SourceEnd {
    fn drop(&mut self) {
        self.progress.close();
    }
}

#[derive(Clone, Debug)]
struct Share {
    budget: Arc<Semaphore>,
    budget_bytes: usize,
}

impl Sender {
    /// The same sender with at most `bytes` in flight: whoever comes after waits for no more of it.
    pub fn limited(mut self, bytes: usize) -> Self {
        self.share = Some(Share {
            budget: Arc::new(Semaphore::new(bytes)),
            budget_bytes: bytes,
        });
        self
    }

    /// Waits for room for a read of `bytes`, and charges it. A charge larger than the whole budget
    /// counts as the budget.
    ///
    /// Cancel safe: if dropped before it returns, nothing was charged.
    ///
    /// # Errors
    /// [`Closed`] when delivery has ended.
    pub async fn charge(&self, bytes: usize) -> Result<Charge, Closed> {
        let mut charged = std::pin::pin!(self.charged(bytes));
        if let Some(charged) = charged.as_mut().now_or_never() {
            return charged;
        }
        let _starving = (self.room == Room::Shared).then(|| self.source.progress.starves());
        charged.await
    }

    /// True where the sink merges by time.
    pub fn merges(&self) -> bool {
        self.merges
    }

    /// Says that a stream is being read to its end, for as long as the guard lives: a sink that
    /// merges by time waits for it. `None`: one of the source's, and it is not known which.
    pub fn behind(&self, stream: Option<StreamKey>, room: Room) -> Behind {
        let stream = Stream {
            key: stream,
            room,
            is_over: false,
        };
        Behind::new(&self.source.progress, stream)
    }

    /// The same sender for one stream, with a reserved chunk of its own.
    pub fn with_own_room(&self) -> Self {
        Self {
            reserved: Arc::new(Semaphore::new(1)),
            room: Room::Own,
            ..self.clone()
        }
    }

    /// Streams of this source that are behind and have room of their own.
    pub fn n_with_own_room(&self) -> usize {
        self.source.progress.n_with_own_room()
    }

    /// Says that it is being looked which streams there are: a sink that merges by time waits for it.
    pub fn looks(&self) {
        self.source.progress.set_looks(true);
    }

    /// Says that those streams were announced that are behind.
    pub fn has_looked(&self) {
        self.source.progress.set_looks(false);
    }

    /// Says that its streams are read one after the other: to a sink that merges by time they are one.
    pub fn in_sequence(&self) {
        self.source.progress.set_sequence();
    }

    async fn charged(&self, bytes: usize) -> Result<Charge, Closed> {
        let own_share = match &self.share {
            Some(share) => {
                let permits = (bytes + CHUNK_OVERHEAD_BYTES).min(share.budget_bytes);
                let permits = u32::try_from(permits).unwrap_or(u32::MAX);
                let room = Arc::clone(&share.budget).acquire_many_owned(permits);
                tokio::select! {
                    biased;
                    room = room => Some(room.map_err(|_| Closed)?),
                    () = self.closed() => return Err(Closed),
                }
            }
            None => None,
        };
        let permits = (bytes + CHUNK_OVERHEAD_BYTES).min(self.budget_bytes);
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        tokio::select! {
            biased;
            shared = Arc::clone(&self.budget).acquire_many_owned(permits) => {
                shared.map(|it| Charge(it, own_share)).map_err(|_| Closed)
            }
            own = Arc::clone(&self.reserved).acquire_owned() => {
                own.map(|it| Charge(it, own_share)).map_err(|_| Closed)
            }
        }
    }

    /// Charges a read of `bytes` if there is room for it now; the reserved chunk is left alone.
    pub fn try_charge(&self, bytes: usize) -> Option<Charge> {
        let try_acquire = |budget: &Arc<Semaphore>, budget_bytes: usize| {
            let permits = (bytes + CHUNK_OVERHEAD_BYTES).min(budget_bytes);
            let permits = u32::try_from(permits).unwrap_or(u32::MAX);
            Arc::clone(budget).try_acquire_many_owned(permits).ok()
        };
        let own_share = match &self.share {
            Some(share) => Some(try_acquire(&share.budget, share.budget_bytes)?),
            None => None,
        };
        let shared = try_acquire(&self.budget, self.budget_bytes)?;
        Some(Charge(shared, own_share))
    }

    /// Queues a chunk.
    ///
    /// Not cancel safe: if dropped before it returns, the chunk is gone and its ledger broken.
    ///
    /// # Errors
    /// [`Closed`] when delivery has ended; the source should stop.
    pub async fn send(&self, chunk: Chunk) -> Result<(), Closed> {
        let queued = (self.source.number, chunk);
        self.sender.send(queued).await.map_err(|_| Closed)
    }

    /// Waits for a place in the queue. Cancel safe.
    ///
    /// # Errors
    /// [`Closed`] when delivery has ended.
    pub async fn slot(&self) -> Result<Slot<'_>, Closed> {
        let permit = self.sender.reserve().await.map_err(|_| Closed)?;
        let source = self.source.number;
        Ok(Slot { permit, source })
    }

    /// True when delivery has ended.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Completes when delivery has ended.
    pub async fn closed(&self) {
        self.sender.closed().await;
    }
}

/// A place in a queue that nobody else gets: so an ack need not be opened before there is one.
#[derive(Debug)]
pub struct Slot<'a> {
    permit: mpsc::Permit<'a, (usize, Chunk)>,
    source: usize,
}

impl Slot<'_> {
    /// Queues a chunk.
    pub fn send(self, chunk: Chunk) {
        self.permit.send((self.source, chunk));
    }
}

/// The sink's end of its queue.
#[derive(Debug)]
pub struct Receiver {
    receiver: mpsc::Receiver<(usize, Chunk)>,
    budget: Arc<Semaphore>,
    merger: Option<Merger>,
    /// Every sender is gone.
    has_ended: bool,
    sources: Sources,
    news: Arc<News>,
    /// The changes of sources that the merger knows.
    seen_changes: Option<usize>,
}

impl Receiver {
    /// The next chunk; `None` when every sender is gone and the queue is empty. Cancel safe.
    pub async fn recv(&mut self) -> Option<Chunk> {
        if self.merger.is_none() {
            return self.receiver.recv().await.map(|(_, chunk)| chunk);
        }
        loop {
            let wake = match self.pop() {
                Ok(chunk) => return chunk,
                Err(wake) => wake,
            };
            tokio::select! {
                queued = self.receiver.recv() => match queued {
                    Some((source, chunk)) => self.take_in(source, chunk),
                    None => self.has_ended = true,
                },
                () = sleep_until(wake) => {}
                () = self.news.told() => {}
            }
        }
    }

    /// A chunk that is already there.
    pub fn try_recv(&mut self) -> Option<Chunk> {
        if self.merger.is_none() {
            return self.receiver.try_recv().ok().map(|(_, chunk)| chunk);
        }
        self.pop().ok().flatten()
    }

    /// Takes no more: senders find that delivery has ended. Dropping it does the same.
    pub fn close(&mut self) {
        self.receiver.close();
        // Readers that wait for room would wait for ever.
        self.budget.close();
    }

    fn take_in(&mut self, source: usize, chunk: Chunk) {
        self.look();
        if let Some(merger) = &mut self.merger {
            merger.push(source, chunk, now());
        }
    }

    /// Has the merger look how far the sources are, where that changed.
    fn look(&mut self) {
        let changes = Some(self.news.changes());
        if self.seen_changes != changes
            && let Some(merger) = &mut self.merger
        {
            let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
            merger.look(&sources, now());
            self.seen_changes = changes;
        }
    }

    /// The next chunk by time, or when to ask again.
    fn pop(&mut self) -> Result<Option<Chunk>, Option<Instant>> {
        self.look();
        let Some(merger) = &mut self.merger else {
            return Ok(None);
        };
        while let Ok((source, chunk)) = self.receiver.try_recv() {
            merger.push(source, chunk, now());
        }
        if self.has_ended {
            return Ok(merger.pop_any());
        }
        merger.pop(now).map(Some)
    }
}

/// The time as timers know it, which tests can pause.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake.into()).await,
        None => std::future::pending().await,
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.close();
    }
}
