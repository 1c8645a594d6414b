//! Files of which nothing is to be read sleep: they hold no descriptor and little memory. Files with
//! something unread at the first look are woken a few at a time.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{FileSource, OPEN_MAX};
use crate::model::{Ledger, Origin, StreamKey};
use crate::source::Outlet;
use crate::source::file::Follow;
use crate::source::file::adopt::Registry;
use crate::source::file::found::UNKNOWN_LEN;
use crate::source::file::generation::{Generation, GenerationId, Phase, Sleeper, Slot};
use crate::source::file::pump::Cursor;
use crate::source::file::resting::Resting;
use crate::source::quiet::Quiet;
use crate::source::refine::Refined;

/// Files of the backlog that wait for a read of one sink at most; more would only take memory.
const ADMITTED_MAX: usize = 128;

/// Files of the backlog that were read and wait to be settled at most, while that goes on.
const DROWSY_MAX: usize = 512;

/// A file that was read to its end is usually settled within this.
const SETTLES_WITHIN: Duration = Duration::from_secs(1);

/// Whether a file fell asleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sleep {
    /// It did, or it is not there any more.
    Sound,
    /// It is kept open, because it is being written to.
    Hot,
    /// Something of it is being read, in flight or to be journalled.
    Busy,
}

impl FileSource {
    /// Puts to sleep what is through, and wakes what waits for that. Called at every turn of the
    /// loop, so it does little.
    pub(super) fn settle_down(&mut self) {
        let now = Instant::now();
        while let Some((_, id)) = self.drowsy.front() {
            if self.fall_asleep(*id, now) == Sleep::Busy {
                break;
            }
            self.drowsy.pop_front();
        }
        while self.has_room(now)
            && let Some(id) = self.backlog.pop_front()
        {
            self.want_all(id, now);
        }
    }

    /// True where a sink can be given more to wait for, and not too much waits to fall asleep. For a
    /// sink that does not settle at all the others do not wait: it costs memory, not their lines.
    fn has_room(&self, now: Instant) -> bool {
        let settles = |since: Instant| now.duration_since(since) < SETTLES_WITHIN;
        let oldest = self.drowsy.front();
        if self.drowsy.len() >= DROWSY_MAX && oldest.is_some_and(|(since, _)| settles(*since)) {
            return false;
        }
        let waiting = |outlet: usize| self.ready[outlet].len() + self.running[outlet];
        let mut outlets = self.cx.outlets.iter().enumerate();
        outlets.any(|(n, outlet)| !outlet.sender.is_closed() && waiting(n) < ADMITTED_MAX)
    }

    /// Puts a file to sleep where nothing of it is unread, in flight or expected soon.
    pub(super) fn fall_asleep(&mut self, id: GenerationId, now: Instant) -> Sleep {
        let Some(generation) = self.generations.get(&id) else {
            return Sleep::Sound;
        };
        let stays = generation.phase != Phase::Current || self.config.follow == Follow::UntilEnd;
        let hot = now < generation.hot_until && self.generations.len() <= OPEN_MAX;
        if stays || hot || generation.is_packed || generation.is_waiting() {
            return Sleep::Hot;
        }
        let Some(places) = generation.settled_places().filter(|_| !generation.unsaved) else {
            return Sleep::Busy;
        };
        let Some(generation) = self.generations.remove(&id) else {
            return Sleep::Sound;
        };
        let generation = *generation;
        let len = generation.content_len();
        // The journal's copy of the record serves both.
        let known = self.cx.checkpoints.stream(&generation.record);
        let record = known.unwrap_or(generation.record);
        let sleeper = Sleeper {
            record,
            path: generation.path,
            places: Resting::new(&places),
            len,
            after: None,
            doubtful: false,
        };
        self.sleepers.insert(id, sleeper);
        Sleep::Sound
    }

    /// Makes a generation of a file that sleeps.
    pub(super) fn wake(&mut self, id: GenerationId) {
        let Some(sleeper) = self.sleepers.remove(&id) else {
            return;
        };
        // It may be woken only to be looked at: what waits for it must not wait for a read.
        let is_drained = !sleeper.has_unread();
        let mut generation = self.generation_of(sleeper);
        let slots = generation.places.iter_mut();
        slots.for_each(|slot| slot.drained = is_drained);
        self.generations.insert(id, Box::new(generation));
    }

    pub(super) fn generation_of(&self, sleeper: Sleeper) -> Generation {
        let now = Instant::now();
        let registry = self
            .registry
            .as_ref()
            .expect("it comes back from every call");
        let slot = |(n, outlet): (usize, &Outlet)| {
            let place = sleeper.places.of(n);
            let key = Arc::new(Registry::key(registry, &sleeper.record, &outlet.sink));
            let ledger = Ledger::new(key, place.position());
            let cursor = Cursor {
                place,
                progress: Arc::new(Mutex::new(place)),
                ledger,
                next_time_ns: 0,
                refined: Refined::default(),
                quiet: Quiet::default(),
                whole: None,
            };
            Slot::new(cursor)
        };
        let places = self.cx.outlets.iter().enumerate().map(slot).collect();
        let origin = Origin {
            source: self.label(&sleeper.path),
            stream: StreamKey::new(Arc::clone(&sleeper.record.id)),
            path: Some(Arc::clone(&sleeper.record.path)),
            labels: Arc::clone(&self.common.labels),
        };
        let is_packed = sleeper.len == UNKNOWN_LEN;
        Generation {
            origin: Arc::new(origin),
            inode: sleeper.inode(),
            path: sleeper.path,
            file: None,
            phase: Phase::Current,
            after: sleeper.after,
            places,
            hot_until: now,
            caught_up: false,
            len: if is_packed { 0 } else { sleeper.len },
            is_packed,
            is_finite: false,
            unsaved: false,
            record: sleeper.record,
        }
    }

    /// Which file has a path, asleep or not.
    pub(super) fn at_path(&self, path: &Path) -> Option<GenerationId> {
        self.paths.get(path).map(|named| named.generation)
    }
}
