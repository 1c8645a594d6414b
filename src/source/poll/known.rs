//! Which records came last: those that a server gives again are passed over.
//!
//! No I/O, no clock.

use std::collections::HashSet;

/// Ids that are known while it runs.
pub(super) const KNOWN_MAX: usize = 10_000;

/// Ids that are saved with a position at least. Where the last round had more records, so many are: what
/// a server gave it may give again after a restart.
const SAVED_MIN: usize = 1_000;

/// The ids of the last records, by when they were last given: one that a server gives again and again is
/// not forgotten, however many others came since.
#[derive(Debug, Default)]
pub(super) struct Known {
    all: HashSet<u64>,
    /// Those of earlier rounds, the oldest first.
    before: Vec<u64>,
    /// Those of this round, as they came.
    round: Vec<u64>,
    in_round: HashSet<u64>,
    /// Records with an id in this round, and in the one before.
    n_round: usize,
    n_before: usize,
}

impl Known {
    /// Knows these, the oldest first.
    pub(super) fn of(ids: impl Iterator<Item = u64>) -> Self {
        let mut known = Self::default();
        ids.for_each(|id| {
            known.see(id);
        });
        known.begin_round();
        known
    }

    /// Begins a round.
    pub(super) fn begin_round(&mut self) {
        self.merge();
        self.n_before = std::mem::take(&mut self.n_round);
    }

    /// Notes a record of this round; false where it came before.
    pub(super) fn see(&mut self, id: u64) -> bool {
        self.n_round += 1;
        if !self.in_round.insert(id) {
            return false;
        }
        self.round.push(id);
        let is_new = self.all.insert(id);
        if self.round.len() >= KNOWN_MAX {
            self.merge();
        }
        is_new
    }

    /// Records with an id in this round so far.
    pub(super) fn n_round(&self) -> usize {
        self.n_round
    }

    /// The ids to save, the oldest first.
    pub(super) fn saved(&self) -> impl Iterator<Item = u64> {
        let n = self.n_round.max(self.n_before);
        let n = n.clamp(SAVED_MIN, KNOWN_MAX);
        let n_round = self.round.len().min(n);
        let before = self.before.iter();
        let before = before.rev().filter(|id| !self.in_round.contains(id));
        let mut before: Vec<u64> = before.take(n - n_round).copied().collect();
        before.reverse();
        let round = self.round[self.round.len() - n_round..].iter().copied();
        before.into_iter().chain(round)
    }

    /// What this round gave is the newest from now on, and the oldest are forgotten.
    fn merge(&mut self) {
        let in_round = std::mem::take(&mut self.in_round);
        self.before.retain(|id| !in_round.contains(id));
        self.before.append(&mut self.round);
        let n_over = self.before.len().saturating_sub(KNOWN_MAX);
        for id in self.before.drain(..n_over) {
            self.all.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One round of these; those of them that are new.
    fn round(known: &mut Known, ids: impl Iterator<Item = u64>) -> Vec<u64> {
        known.begin_round();
        ids.filter(|id| known.see(*id)).collect()
    }

    fn saved(known: &Known) -> Vec<u64> {
        known.saved().collect()
    }

    #[test]
    fn a_record_is_new_once() {
        let mut known = Known::of([7].into_iter());

        assert_eq!(round(&mut known, [7, 8, 8, 9].into_iter()), [8, 9]);
        assert_eq!(round(&mut known, [9, 7, 10].into_iter()), [10]);
        assert_eq!(saved(&known), [8, 9, 7, 10]);
    }

    // Scenario: an API gives one old record in every answer, beside new ones. Bug: ids were forgotten by
    // when they came first, so the old one was new again after ten thousand others. Fix: by when they
    // came last.
    #[test]
    fn what_is_given_again_and_again_is_never_new_again() {
        let mut known = Known::default();
        round(&mut known, [0].into_iter());
        let mut id = 1;
        while id < 3 * KNOWN_MAX as u64 {
            let new = round(&mut known, std::iter::once(0).chain(id..id + 100));
            assert_eq!(new, (id..id + 100).collect::<Vec<_>>());
            id += 100;
        }
        // What is not given any more is forgotten at last.
        assert_eq!(round(&mut known, [1].into_iter()), [1]);
        assert!(known.all.len() <= KNOWN_MAX + 1, "{}", known.all.len());
    }

    // Scenario: an API without a cursor gives its last 1,001 records each time, and logweir is started
    // again. Bug: a thousand ids were saved, so the first record came twice, and more of a longer answer.
    // Fix: as many are saved as the last round had.
    #[test]
    fn as_many_are_saved_as_a_server_may_give_again() {
        for n in [1, 1_000, 1_001, 5_000, KNOWN_MAX as u64] {
            let mut known = Known::default();
            round(&mut known, 0..n);
            let mut again = Known::of(known.saved());
            assert!(round(&mut again, 0..n).is_empty(), "{n} records");
        }
    }

    #[test]
    fn a_longer_round_than_can_be_known_costs_no_more_memory() {
        let mut known = Known::default();
        let n = 3 * KNOWN_MAX as u64;

        assert_eq!(round(&mut known, 0..n).len(), 3 * KNOWN_MAX);

        assert!(known.all.len() <= 2 * KNOWN_MAX, "{}", known.all.len());
        assert_eq!(known.n_round(), 3 * KNOWN_MAX);
        let last: Vec<u64> = (n - KNOWN_MAX as u64..n).collect();
        assert_eq!(saved(&known), last);
    }
}
