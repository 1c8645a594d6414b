//! One file as long as it stays the same file: from its creation or truncation to its end.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::Inode;
use super::found::UNKNOWN_LEN;
use super::identity::Head;
use super::pump::{Cursor, LastLine, Location, Pumped};
use super::resting::Resting;
use super::tail::Place;
use crate::checkpoint::StreamRecord;
use crate::model::Origin;
use crate::queue::Behind;

/// Numbers the generations of this process.
pub(super) type GenerationId = u64;

/// One file generation and each sink's place in it.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) record: Arc<StreamRecord>,
    pub(super) origin: Arc<Origin>,
    pub(super) path: Arc<Path>,
    pub(super) inode: Inode,
    pub(super) file: Option<Arc<File>>,
    pub(super) phase: Phase,
    /// The generation that must be drained first: it was at the same path before.
    pub(super) after: Option<GenerationId>,
    /// One per outlet of the source.
    pub(super) places: Vec<Slot>,
    /// Until then it stays open although nothing is to be read: it is being written to.
    pub(super) hot_until: Instant,
    /// True once it was read to its end for the first time: what comes after that is growth.
    pub(super) caught_up: bool,
    /// Its length when it was last read to the end, in bytes.
    pub(super) len: u64,
    /// True for a compressed file: `len` is about what was read of its content.
    pub(super) is_packed: bool,
    /// True once a compressed file was read to its end: nothing will follow.
    pub(super) is_finite: bool,
    /// True where `record` is not in the journal as it is.
    pub(super) unsaved: bool,
}

/// A file of which nothing is to be read now. Of very many files nearly all are like this, so it is
/// small and holds no descriptor.
#[derive(Debug)]
pub(super) struct Sleeper {
    pub(super) record: Arc<StreamRecord>,
    pub(super) path: Arc<Path>,
    pub(super) places: Resting,
    /// Its length as last seen, in bytes.
    pub(super) len: u64,
    pub(super) after: Option<GenerationId>,
    /// True where it was not compared with what is known of it: it can have been written anew.
    pub(super) doubtful: bool,
}

impl Sleeper {
    pub(super) fn inode(&self) -> Inode {
        Inode::of_record(&self.record)
    }

    /// True where something of it is unread.
    pub(super) fn has_unread(&self) -> bool {
        !self.places.all(|place| place.offset == self.len)
    }
}

/// Whether a generation still gets new lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is at its path.
    Current,
    /// Another file is at its path, or none. Its handle is kept until `until`, because a slow
    /// writer may still hold it.
    Replaced { until: Instant },
    /// The grace is over: what is left of it is sent, its unterminated last line included.
    Ending,
}

/// One sink's place in a generation.
#[derive(Debug)]
pub(super) struct Slot {
    /// Absent while a pump has it.
    pub(super) cursor: Option<Cursor>,
    /// Where the cursor stands, or stood when a pump took it.
    pub(super) place: Place,
    /// The cursor's, whoever has it.
    pub(super) progress: Arc<Mutex<Place>>,
    /// True where it waits for its turn.
    pub(super) queued: bool,
    /// True where it was asked for while a pump had it.
    pub(super) again: bool,
    /// True once it reached the end since the generation was replaced.
    pub(super) drained: bool,
    /// Once it was read it is not read again before, so that a fast writer is read in large pieces.
    pub(super) not_before: Option<Instant>,
    /// True when its sink is gone.
    pub(super) closed: bool,
    /// Where it was announced as a part of the backlog, until it is read: the sink waits for it.
    pub(super) behind: Option<Behind>,
}

impl Slot {
    pub(super) fn new(cursor: Cursor) -> Self {
        Self {
            place: cursor.place,
            progress: Arc::clone(&cursor.progress),
            cursor: Some(cursor),
            queued: false,
            again: false,
            drained: false,
            not_before: None,
            closed: false,
            behind: None,
        }
    }
}

/// A file that grew is kept open for so long, because it may be deleted before it is read again.
pub(super) const HOT_FOR: Duration = Duration::from_secs(300);

impl Generation {
    /// Where each sink stands, once nothing is being read, queued or in flight.
    pub(super) fn settled_places(&self) -> Option<Box<[Place]>> {
        let still = |slot: &Slot| {
            let cursor = slot.cursor.as_ref()?;
            let busy = slot.queued || slot.again || slot.closed || cursor.ledger.is_broken();
            let settled = cursor.ledger.unsettled() == 0;
            (!busy && slot.drained && settled).then_some(cursor.place)
        };
        self.places.iter().map(still).collect()
    }

    /// True where something unfinished at its end waits for more, or for its time.
    pub(super) fn is_waiting(&self) -> bool {
        let cursors = self.places.iter().filter_map(|slot| slot.cursor.as_ref());
        cursors.into_iter().any(|cursor| !cursor.quiet.is_idle())
    }

    /// Where each sink stands, or stood when its read began.
    pub(super) fn places(&self) -> Vec<Place> {
        self.places.iter().map(|slot| slot.place).collect()
    }

    /// Where it can be opened.
    pub(super) fn location(&self) -> Location {
        Location {
            path: self.path.clone(),
            inode: self.inode,
        }
    }

    /// What happens to its unterminated last line.
    pub(super) fn last_line(&self) -> LastLine {
        if self.phase == Phase::Ending {
            LastLine::IsSent
        } else {
            LastLine::Waits
        }
    }

    /// Notes that another file is at its path.
    pub(super) fn replaced(&mut self, now: Instant, grace: Duration) {
        if self.phase == Phase::Current {
            self.phase = Phase::Replaced { until: now + grace };
            self.places.iter_mut().for_each(|slot| slot.drained = false);
        }
    }

    /// True once every sink has everything that was in it.
    pub(super) fn is_drained(&self) -> bool {
        self.places.iter().all(|slot| slot.drained || slot.closed)
    }

    /// The length of its content, as far as that is known.
    pub(super) fn content_len(&self) -> u64 {
        if self.is_packed && !self.is_finite {
            UNKNOWN_LEN
        } else {
            self.len
        }
    }

    /// Takes a cursor back from its pump.
    pub(super) fn take_back(
        &mut self,
        outlet: usize,
        pumped: Pumped,
        now: Instant,
    ) -> Option<Head> {
        let slot = &mut self.places[outlet];
        let moved = pumped.cursor.place.offset != self.len;
        self.len = self.len.max(pumped.cursor.place.offset);
        slot.place = pumped.cursor.place;
        slot.cursor = Some(pumped.cursor);
        if moved && self.caught_up {
            self.hot_until = now + HOT_FOR;
        }
        if self.file.is_none() && pumped.inode == self.inode {
            self.file = pumped.file;
        }
        pumped.head
    }

    /// Takes a longer fingerprint over into the record.
    pub(super) fn grow(&mut self, head: &Head) {
        if head.len() > self.record.head_len && head.continues(&self.record) {
            let record = Arc::make_mut(&mut self.record);
            record.head_len = head.len();
            record.head_hash = head.hash();
            self.unsaved = true;
        }
    }

    /// True where its fingerprint can still grow.
    pub(super) fn wants_head(&self) -> bool {
        (self.record.head_len as usize) < super::identity::HEAD_BYTES
    }
}
