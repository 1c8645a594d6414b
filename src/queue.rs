//! The bounded queue in front of one sink: a channel of chunks beside a budget of bytes.
//!
//! Memory is charged before the read and freed when the chunk is settled. It knows no concrete
//! source or sink.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::model::{Ack, Lines, Origin, Weight};

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
    let (sender, receiver) = mpsc::channel(SLOTS);
    let budget = Arc::new(Semaphore::new(budget_bytes));
    let queue = Queue {
        sender,
        budget: Arc::clone(&budget),
        budget_bytes,
    };
    (queue, Receiver { receiver, budget })
}

/// The sending side, before it is handed to sources.
#[derive(Debug)]
pub struct Queue {
    sender: mpsc::Sender<Chunk>,
    budget: Arc<Semaphore>,
    budget_bytes: usize,
}

impl Queue {
    /// A sender for one source, with a reserved chunk of its own.
    pub fn sender(&self) -> Sender {
        Sender {
            sender: self.sender.clone(),
            budget: Arc::clone(&self.budget),
            budget_bytes: self.budget_bytes,
            reserved: Arc::new(Semaphore::new(1)),
            share: None,
        }
    }
}

/// One source's way into one sink's queue.
#[derive(Clone, Debug)]
pub struct Sender {
    sender: mpsc::Sender<Chunk>,
    budget: Arc<Semaphore>,
    budget_bytes: usize,
    /// One chunk beside the budget, so that a flood from another source never starves this one.
    reserved: Arc<Semaphore>,
    /// What this sender may have in flight, where that is less than the budget.
    share: Option<Share>,
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
        self.sender.send(chunk).await.map_err(|_| Closed)
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

/// The sink's end of its queue.
#[derive(Debug)]
pub struct Receiver {
    receiver: mpsc::Receiver<Chunk>,
    budget: Arc<Semaphore>,
}

impl Receiver {
    /// The next chunk; `None` when every sender is gone and the queue is empty. Cancel safe.
    pub async fn recv(&mut self) -> Option<Chunk> {
        self.receiver.recv().await
    }

    /// A chunk that is already there.
    pub fn try_recv(&mut self) -> Option<Chunk> {
        self.receiver.try_recv().ok()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // Readers that wait for room would wait for ever.
        self.budget.close();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn the_budget_bounds_what_is_charged_and_each_sender_has_one_chunk_more() {
        let (queue, _receiver) = bounded(10_000);
        let (one, two) = (queue.sender(), queue.sender());

        let mut first = one.charge(10_000).await.unwrap();
        let _reserved = one.charge(10_000).await.unwrap();
        assert!(one.charge(10).now_or_never().is_none());
        let _other = two
            .charge(10_000)
            .now_or_never()
            .expect("its own reserve")
            .unwrap();
        assert!(two.charge(10).now_or_never().is_none());

        first.shrink_to(1000);
        assert!(one.charge(10_000).now_or_never().is_none());
        assert!(one.charge(5000).now_or_never().is_some());

        let more = one.try_charge(5000).expect("there is room");
        assert!(one.try_charge(5000).is_none());
        drop((more, _reserved));
        // Only the reserve is left of so much room.
        assert!(one.try_charge(10_000).is_none());
    }

    #[tokio::test]
    async fn a_limited_sender_holds_its_share_and_ends_with_the_delivery() {
        let (queue, receiver) = bounded(10_000);
        let sender = queue.sender().limited(2000);

        let first = sender.charge(4000).await.unwrap();
        assert!(sender.charge(10).now_or_never().is_none());
        drop(first);
        let _second = sender.charge(1400).await.unwrap();

        let waiting = sender.charge(1400);
        drop(receiver);
        assert_eq!(waiting.await.err(), Some(Closed));
    }

    #[tokio::test]
    async fn waiting_for_room_ends_when_delivery_ends() {
        let (queue, receiver) = bounded(1000);
        let sender = queue.sender();
        let _all = (
            sender.charge(1000).await.unwrap(),
            sender.charge(1).await.unwrap(),
        );

        let waiting = sender.charge(1000);
        drop(receiver);

        assert_eq!(waiting.await.err(), Some(Closed));
    }
}
