//! Acknowledgement: the ledger of one cursor, and the acks that its chunks carry.
//!
//! A chunk's [`Ack`] is settled once the sink owns every line of it. The ledger commits only the
//! longest settled prefix, so settling out of order is correct by construction.
//!
//! Pure: no I/O, no clock.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::position::{Begun, CursorKey, Position};

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
    /// Whether its last part is settled: all of it, where it was not cut.
    settled: bool,
    /// The parts in front of the last one, in order.
    parts: VecDeque<Part>,
    /// Number of the first of `parts`: those before it are settled.
    first_part: usize,
}

/// A part of a chunk, from its front.
#[derive(Debug)]
struct Part {
    /// The records of the chunk up to the end of this part.
    begun: Begun,
    settled: bool,
}

impl Entry {
    fn is_done(&self) -> bool {
        self.settled && self.parts.iter().all(|part| part.settled)
    }
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
            parts: VecDeque::new(),
            first_part: 0,
        });
        Ack {
            shared: Arc::clone(&self.0),
            seq,
            end,
            settled: false,
            part: None,
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
            .filter(|entry| !entry.is_done())
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

    /// Cuts a part off the front of what is left of an entry that is not settled yet: the number of
    /// the part, and where the stream stands behind it.
    fn cut(&self, seq: u64, begun: Begun) -> (usize, Position) {
        let mut entries = self.lock();
        let index = entries.index(seq);
        let before = match index.checked_sub(1) {
            Some(before) => entries.open[before].end.clone(),
            None => entries.committed.clone(),
        };
        let parts = &mut entries.open[index].parts;
        let begun = parts.back().map_or(begun, |last| last.begun.then(begun));
        parts.push_back(Part {
            begun,
            settled: false,
        });
        let end = before.with_begun(begun).unwrap_or(before);
        let entry = &entries.open[index];
        (entry.first_part + entry.parts.len() - 1, end)
    }

    fn tell(&self) {
        if let Some(Watcher(told)) = &self.watcher {
            told();
        }
    }

    /// Marks entries and parts of them settled and returns the new frontier where it moved.
    fn settle(&self, settled: impl Iterator<Item = (u64, Option<usize>)>) -> Option<Position> {
        if self.broken.load(Ordering::Acquire) {
            return None;
        }
        let mut entries = self.lock();
        for (seq, part) in settled {
            let index = entries.index(seq);
            let entry = &mut entries.open[index];
            match part {
                Some(part) => entry.parts[part - entry.first_part].settled = true,
                None => entry.settled = true,
            }
        }
        let moved = entries.advance().then(|| entries.committed.clone());
        drop(entries);
        if moved.is_some() {
            self.tell();
        }
        moved
    }
}

impl Entries {
    fn index(&self, seq: u64) -> usize {
        usize::try_from(seq - self.first).expect("fewer than 2^32 open acks")
    }

    /// Commits the longest settled prefix; true where that moved the position.
    fn advance(&mut self) -> bool {
        let mut moved = false;
        while let Some(first) = self.open.front_mut() {
            while let Some(part) = first.parts.pop_front_if(|part| part.settled) {
                first.first_part += 1;
                if let Some(position) = self.committed.with_begun(part.begun) {
                    (self.committed, moved) = (position, true);
                }
            }
            if !first.is_done() {
                break;
            }
            if let Some(entry) = self.open.pop_front() {
                self.first += 1;
                (self.committed, moved) = (entry.end, true);
            }
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
    /// Which part of its chunk it settles; `None`: the last one, or all of it.
    part: Option<usize>,
}

impl Ack {
    /// Cuts a part off the front of the chunk: all records up to the last one of `begun`. Returns
    /// its ack; this one goes on for the rest.
    ///
    /// Each part of a file moves the position. What is not read from a file moves when all of its
    /// parts are settled, in whatever order.
    pub fn fork(&mut self, begun: Begun) -> Ack {
        let (part, end) = self.shared.cut(self.seq, begun);
        Ack {
            shared: Arc::clone(&self.shared),
            seq: self.seq,
            end,
            settled: false,
            part: Some(part),
        }
    }

    /// States that the sink owns every line of the chunk, or of its part. Returns the cursor's new
    /// committed position where the settled prefix grew.
    pub fn settle(mut self) -> Option<Moved> {
        self.settled = true;
        let one = std::iter::once((self.seq, self.part));
        let position = self.shared.settle(one)?;
        Some((Arc::clone(&self.shared.key), position))
    }

    /// Settles all of them: where each cursor stands afterwards, of those that moved. A batch of
    /// merged lines has thousands of acks of a few ledgers: each ledger is looked at once.
    pub fn settle_all(mut acks: Vec<Ack>) -> Vec<Moved> {
        for ack in &mut acks {
            ack.settled = true;
        }
        acks.sort_unstable_by_key(|ack| Arc::as_ptr(&ack.shared));
        let of_one = acks.chunk_by(|a, b| Arc::ptr_eq(&a.shared, &b.shared));
        let moved = of_one.filter_map(|acks| {
            let shared = &acks.first()?.shared;
            let position = shared.settle(acks.iter().map(|ack| (ack.seq, ack.part)))?;
            Some((Arc::clone(&shared.key), position))
        });
        moved.collect()
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

    use std::sync::atomic::AtomicUsize;

    use super::super::position::StreamKey;
    use super::*;

    fn at(offset: u64) -> Position {
        Position::File {
            offset,
            guard: 0,
            mid_line: false,
            ahead: None,
            begun: None,
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
    fn many_acks_move_each_ledger_once() {
        let (one, two, broken) = (ledger(), ledger(), ledger());
        let mut acks = vec![two.open(at(5)), broken.open(at(1)), one.open(at(1))];
        acks.extend([one.open(at(2)), two.open(at(7)), broken.open(at(2))]);
        let late = one.open(at(3));
        acks.push(one.open(at(4)));
        drop(broken.open(at(3)));

        let moved = Ack::settle_all(acks);

        let mut ends: Vec<Position> = moved.into_iter().map(|(_, end)| end).collect();
        ends.sort_by_key(|end| match end {
            Position::File { offset, .. } => *offset,
            _ => 0,
        });
        assert_eq!(ends, [at(2), at(7)]);
        assert_eq!(one.unsettled(), 1);
        assert_eq!(late.settle().map(|(_, end)| end), Some(at(4)));
        assert!(broken.is_broken() && broken.committed() == at(0));
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

    fn with(offset: u64, begun: u64) -> Position {
        let begun = Begun {
            stdout: begun,
            ..Begun::default()
        };
        at(offset).with_begun(begun).unwrap()
    }

    fn begun(stdout: u64) -> Begun {
        Begun {
            stdout,
            ..Begun::default()
        }
    }

    #[test]
    fn parts_of_a_chunk_move_the_position_in_their_order() {
        let ledger = ledger();
        let (mut one, mut two) = (ledger.open(at(10)), ledger.open(at(20)));
        let two_front = two.fork(begun(13));
        let (one_front, one_middle) = (one.fork(begun(4)), one.fork(begun(7)));
        let settled = |ack: Ack| ack.settle().map(|(_, position)| position);

        assert_eq!(one_middle.end(), &with(0, 7));
        assert_eq!(two_front.end(), &with(10, 13));
        assert_eq!(settled(two_front), None);
        assert_eq!(settled(one_middle), None);
        assert_eq!(settled(one_front), Some(with(0, 7)));
        // The part of the next chunk came before.
        assert_eq!(settled(one), Some(with(10, 13)));
        assert_eq!(settled(two.fork(begun(16))), Some(with(10, 16)));
        assert_eq!(settled(two), Some(at(20)));
        assert_eq!(ledger.unsettled(), 0);
    }

    #[test]
    fn parts_of_a_chunk_without_offsets_move_the_position_together() {
        let ledger = ledger();
        let mut ack = ledger.open(Position::Live);
        let token = Position::Token {
            cursor: "7".into(),
            skip: 0,
        };
        assert!(ack.fork(begun(3)).settle().is_some());
        assert!(ack.settle().is_some());
        let mut next = ledger.open(token.clone());

        let front = next.fork(begun(5));

        assert_eq!(front.end(), &Position::Live);
        assert_eq!(front.settle(), None);
        assert_eq!(next.settle().map(|(_, position)| position), Some(token));
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
