//! Acknowledgement: the ledger of one cursor, and the acks that its chunks carry.
//!
//! A chunk's [`Ack`] is settled once the sink owns every line of it. The ledger commits only the
//! longest settled prefix, so settling out of order is correct by construction.
//!
//! Pure: no I/O, no clock.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::position::{CursorKey, Position};

/// A cursor's new committed position, to be written to the checkpoint.
pub type Moved = (Arc<CursorKey>, Position);

/// The ledger of one (stream, sink): which positions were opened, and up to where all are settled.
#[derive(Clone, Debug)]
pub struct Ledger(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    key: Arc<CursorKey>,
    entries: Mutex<Entries>,
    /// Set when an ack was dropped without being settled; checked without taking the lock.
    broken: AtomicBool,
    /// Told after each change.
    watcher: Option<Watcher>,
}

/// Who wants to know when a ledger moved or broke; called by whoever settles or drops an ack, so it
/// must be quick.
#[derive(Clone)]
pub struct Watcher(Arc<dyn Fn() + Send + Sync>);

impl Watcher {
    /// Calls `told` after each change.
    pub fn new(told: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(told))
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watcher")
    }
}

#[derive(Debug)]
struct Entries {
    committed: Position,
    /// Sequence number of the first entry in `open`.
    first: u64,
    open: VecDeque<Entry>,
}

#[derive(Debug)]
struct Entry {
    end: Position,
    settled: bool,
}

impl Ledger {
    /// Opens a ledger for a cursor that stands at `committed`.
    pub fn new(key: Arc<CursorKey>, committed: Position) -> Self {
        Self::make(key, committed, None)
    }

    /// The same, and `watcher` is told of every change.
    pub fn watched(key: Arc<CursorKey>, committed: Position, watcher: Watcher) -> Self {
        Self::make(key, committed, Some(watcher))
    }

    fn make(key: Arc<CursorKey>, committed: Position, watcher: Option<Watcher>) -> Self {
        let entries = Entries {
            committed,
            first: 0,
            open: VecDeque::new(),
        };
        Self(Arc::new(Shared {
            key,
            entries: Mutex::new(entries),
            broken: AtomicBool::new(false),
            watcher,
        }))
    }

    /// Notes that lines up to `end` were read, and returns the ack that settles them.
    pub fn open(&self, end: Position) -> Ack {
        let mut entries = self.0.lock();
        let seq = entries.first + entries.open.len() as u64;
        entries.open.push_back(Entry {
            end: end.clone(),
            settled: false,
        });
        Ack {
            shared: Arc::clone(&self.0),
            seq,
            end,
            settled: false,
            parts: None,
        }
    }

    /// Whose ledger it is.
    pub fn key(&self) -> &Arc<CursorKey> {
        &self.0.key
    }

    /// The position up to which everything is settled.
    pub fn committed(&self) -> Position {
        self.0.lock().committed.clone()
    }

    /// How many acks are not settled yet.
    pub fn unsettled(&self) -> usize {
        self.0
            .lock()
            .open
            .iter()
            .filter(|entry| !entry.settled)
            .count()
    }

    /// True where an ack was dropped unsettled: the cursor must be restarted from
    /// [`Ledger::committed`] with a new ledger, and chunks of this one are stale.
    pub fn is_broken(&self) -> bool {
        self.0.broken.load(Ordering::Acquire)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        // Nothing panics while the lock is held, so a poisoned state is still consistent.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the stream stood before an entry that is not settled yet.
    fn before(&self, seq: u64) -> Position {
        let entries = self.lock();
        let index = usize::try_from(seq - entries.first).expect("fewer than 2^32 open acks");
        match index.checked_sub(1) {
            Some(index) => entries.open[index].end.clone(),
            None => entries.committed.clone(),
        }
    }

    fn tell(&self) {
        if let Some(Watcher(told)) = &self.watcher {
            told();
        }
    }

    /// Marks one entry settled and returns the new frontier where it moved.
    fn settle(&self, seq: u64) -> Option<Position> {
        if self.broken.load(Ordering::Acquire) {
            return None;
        }
        let mut entries = self.lock();
        let index = usize::try_from(seq - entries.first).expect("fewer than 2^32 open acks");
        entries.open[index].settled = true;
        let mut moved = None;
        while entries.open.front().is_some_and(|entry| entry.settled) {
            moved = entries.open.pop_front().map(|entry| entry.end);
            entries.first += 1;
        }
        if let Some(position) = &moved {
            entries.committed = position.clone();
            drop(entries);
            self.tell();
        }
        moved
    }
}

/// The right to settle one chunk. Dropping it without settling breaks its ledger: nothing is ever
/// acknowledged by accident.
#[must_use = "an ack that is dropped unsettled breaks its cursor"]
#[derive(Debug)]
pub struct Ack {
    shared: Arc<Shared>,
    seq: u64,
    end: Position,
    settled: bool,
    /// How many acks the chunk has; absent for one.
    parts: Option<Arc<AtomicUsize>>,
}

impl Ack {
    /// The ack of a first part of the chunk. The chunk is settled when all of its parts are, in
    /// whatever order; its end stays that of this ack, and a part before it moves nothing.
    pub fn fork(&mut self) -> Ack {
        let parts = self
            .parts
            .get_or_insert_with(|| Arc::new(AtomicUsize::new(1)));
        parts.fetch_add(1, Ordering::AcqRel);
        Ack {
            shared: Arc::clone(&self.shared),
            seq: self.seq,
            end: self.shared.before(self.seq),
            settled: false,
            parts: Some(Arc::clone(parts)),
        }
    }

    /// States that the sink owns every line of the chunk. Returns the cursor's new committed
    /// position where the settled prefix grew.
    pub fn settle(mut self) -> Option<Moved> {
        self.settled = true;
        if let Some(parts) = &self.parts
            && parts.fetch_sub(1, Ordering::AcqRel) > 1
        {
            return None;
        }
        let position = self.shared.settle(self.seq)?;
        Some((Arc::clone(&self.shared.key), position))
    }

    /// Whose cursor it moves.
    pub fn key(&self) -> &Arc<CursorKey> {
        &self.shared.key
    }

    /// The position at the end of the chunk.
    pub fn end(&self) -> &Position {
        &self.end
    }

    /// True where the ledger broke: the cursor reads these lines again, so they must not be
    /// delivered from here.
    pub fn is_stale(&self) -> bool {
        self.shared.broken.load(Ordering::Acquire)
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        if !self.settled {
            self.shared.broken.store(true, Ordering::Release);
            self.shared.tell();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::position::StreamKey;
    use super::*;

    fn at(offset: u64) -> Position {
        Position::File {
            offset,
            guard: 0,
            mid_line: false,
            ahead: None,
        }
    }

    fn ledger() -> Ledger {
        let key = CursorKey {
            source: "app".into(),
            stream: StreamKey::new("id"),
            sink: "out".into(),
        };
        Ledger::new(Arc::new(key), at(0))
    }

    #[test]
    fn only_the_settled_prefix_is_committed() {
        let ledger = ledger();
        let (one, two, three) = (ledger.open(at(1)), ledger.open(at(2)), ledger.open(at(3)));

        assert_eq!(two.settle(), None);
        assert_eq!(ledger.committed(), at(0));
        assert_eq!(ledger.unsettled(), 2);

        assert_eq!(one.settle().map(|(_, position)| position), Some(at(2)));
        assert_eq!(three.settle().map(|(_, position)| position), Some(at(3)));
        assert_eq!(ledger.committed(), at(3));
    }

    #[test]
    fn a_dropped_ack_breaks_the_ledger_and_settles_nothing() {
        let ledger = ledger();
        let (one, two) = (ledger.open(at(1)), ledger.open(at(2)));

        drop(one);

        assert!(ledger.is_broken());
        assert!(two.is_stale());
        assert_eq!(two.settle(), None);
        assert_eq!(ledger.committed(), at(0));
    }

    #[test]
    fn a_watcher_is_told_when_the_ledger_moves_and_when_it_breaks() {
        let told = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&told);
        let watcher = Watcher::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let ledger = Ledger::watched(Arc::clone(ledger().key()), at(0), watcher);
        let (one, two, three) = (ledger.open(at(1)), ledger.open(at(2)), ledger.open(at(3)));

        let _ = two.settle();
        assert_eq!(told.load(Ordering::Relaxed), 0);
        let _ = one.settle();
        assert_eq!(told.load(Ordering::Relaxed), 1);
        drop(three);
        assert_eq!(told.load(Ordering::Relaxed), 2);
    }

    proptest! {
        #[test]
        fn any_order_of_settling_commits_the_longest_prefix(
            order in Just((0..12usize).collect::<Vec<_>>()).prop_shuffle()
        ) {
            let ledger = ledger();
            let mut acks: Vec<_> = (1..=12).map(|n| Some(ledger.open(at(n)))).collect();
            let mut settled = [false; 12];

            for index in order {
                let ack = acks[index].take().expect("each index once");
                let moved = ack.settle();
                settled[index] = true;

                let prefix = settled.iter().take_while(|done| **done).count() as u64;
                prop_assert_eq!(ledger.committed(), at(prefix));
                prop_assert_eq!(moved.is_some(), prefix > index as u64);
            }
        }
    }
}
