//! Regular upkeep of the generations: grace, broken ledgers, sleep, records.

use std::time::Instant;

use tracing::warn;

use super::{FileSource, OPEN_MAX};
use crate::checkpoint::StreamRecord;
use crate::source::file::found::now_s;
use crate::source::file::generation::{Generation, GenerationId, Phase};

use crate::source::file::tail::Place;

impl FileSource {
    /// Ends what had its grace, restarts what broke, puts to sleep what is quiet.
    pub(super) fn look_after_files(&mut self, now: Instant) {
        let mut wanted = Vec::new();
        let mut broken = Vec::new();
        for (id, generation) in &mut self.generations {
            if let Phase::Replaced { until } = generation.phase
                && until <= now
                && generation.is_drained()
            {
                wanted.push(*id);
                generation.phase = Phase::Ending;
                generation
                    .places
                    .iter_mut()
                    .for_each(|slot| slot.drained = false);
            }
            for (outlet, slot) in generation.places.iter().enumerate() {
                if slot
                    .cursor
                    .as_ref()
                    .is_some_and(|cursor| cursor.ledger.is_broken())
                {
                    broken.push((*id, outlet));
                }
            }
        }
        wanted.into_iter().for_each(|id| self.want_all(id, now));
        broken
            .into_iter()
            .for_each(|(id, outlet)| self.restart(id, outlet));
        self.rest(now);
    }

    /// Puts to sleep what is not written to; of too many, those that were quiet longest.
    fn rest(&mut self, now: Instant) {
        let current = |it: &Generation| it.phase == Phase::Current;
        let awake = self.generations.iter().filter(|(_, it)| current(it));
        let mut awake: Vec<(Instant, GenerationId)> =
            awake.map(|(id, it)| (it.hot_until, *id)).collect();
        awake.sort_unstable();
        let excess = awake.len().saturating_sub(OPEN_MAX);
        for (n, (hot_until, id)) in awake.into_iter().enumerate() {
            if hot_until > now && n >= excess {
                break;
            }
            if let Some(generation) = self.generations.get_mut(&id) {
                generation.hot_until = now;
            }
            // What is busy is asked again at the next look.
            self.fall_asleep(id, now);
        }
        self.give_back();
    }

    /// Gives back the memory that very many files took at once.
    fn give_back(&mut self) {
        if self.generations.capacity() > 4 * self.generations.len() + OPEN_MAX {
            self.generations.shrink_to(self.generations.len());
        }
        if self.later.capacity() > 4 * self.later.len() + OPEN_MAX {
            self.later.shrink_to(self.later.len());
        }
        if self.unwritten.capacity() > 4 * self.unwritten.len() + OPEN_MAX {
            self.unwritten.shrink_to(self.unwritten.len());
        }
        for queue in self.ready.iter_mut().chain([&mut self.backlog]) {
            if queue.capacity() > 4 * queue.len() + OPEN_MAX {
                queue.shrink_to(queue.len());
            }
        }
        if self.pumps.is_empty() {
            self.pool.trim();
        }
    }

    /// Journals fingerprints and paths that changed.
    pub(super) async fn save_records(&mut self) {
        let unsaved: Vec<StreamRecord> = self
            .generations
            .values_mut()
            .filter_map(|it| std::mem::take(&mut it.unsaved).then(|| record_now(it)))
            .collect();
        if unsaved.is_empty() {
            return;
        }
        let checkpoints = self.cx.checkpoints.clone();
        if let Err(error) = self
            .cx
            .crew
            .io(move || checkpoints.register(unsaved, Vec::new()))
            .await
        {
            // The shorter fingerprint still holds.
            warn!(source = %self.common.name, %error, "cannot note a longer fingerprint");
        }
    }

    /// Journals how long the files are of which something is unread, so that it is known how much is
    /// lost should they be gone at the next start.
    pub(super) fn note_lengths(&mut self) {
        let unread = |it: &&Generation| {
            let places = it.places.iter().filter_map(|slot| slot.cursor.as_ref());
            places.map(|it| it.ledger.committed()).any(|at| {
                let place = Place::from_position(&at);
                place.is_some_and(|place| place.offset < it.len)
            })
        };
        let awake = self.generations.values().map(Box::as_ref);
        let awake = awake.filter(unread).map(record_now);
        let waiting = self.backlog.iter().filter_map(|id| self.sleepers.get(id));
        let waiting = waiting.map(|it| StreamRecord {
            len: it.len,
            ..StreamRecord::clone(&it.record)
        });
        let records: Vec<StreamRecord> = awake.chain(waiting).collect();
        // The process is ending: without it only a number is missing from a message.
        let _ = self.cx.checkpoints.register(records, Vec::new());
    }
}

/// What is to be remembered of a generation now.
fn record_now(generation: &Generation) -> StreamRecord {
    StreamRecord {
        len: generation.content_len(),
        seen: now_s(),
        ..StreamRecord::clone(&generation.record)
    }
}
