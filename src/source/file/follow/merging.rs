//! Sinks that merge by time: what lies there already is announced to them before any of it is read, so
//! that they know whose lines to wait for.
//!
//! All files that were announced are read at the same time, by turns. Each has room for a read of its
//! own, so that a sink can hold back the lines of all others while it waits for one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::{FileSource, PUMPS_MAX};
use crate::framing::CHUNK_BYTES;
use crate::notes::Note;
use crate::queue::{Behind, Room};
use crate::source::SourceError;
use crate::source::file::Follow;
use crate::source::file::found::UNKNOWN_LEN;
use crate::source::file::generation::GenerationId;
use crate::source::file::pump::{End, Pump, Pumped};

/// Files whose backlog is merged: each is open, and has room for a read.
const MERGED_MAX: usize = 256;

/// Bytes of one read of a file, where more than a few are merged: together no more than 8 MiB. It is
/// small enough to be copied out of the read buffer.
const TURN_BYTES: usize = 32 * 1024;

/// A first look that takes longer than this hangs, with its disk or server: others do not wait.
const LOOKS_FOR: Duration = Duration::from_secs(10);

/// How the backlog is merged.
#[derive(Debug)]
pub(super) struct Merging {
    /// Bytes of one read.
    read_bytes: usize,
    /// So many pumps read at the same time.
    turns: Arc<Semaphore>,
    /// Those of pumps that came back. A file that is read behind one of them is announced before the
    /// sink goes on.
    done: Vec<Behind>,
}

impl Default for Merging {
    fn default() -> Self {
        Self {
            read_bytes: CHUNK_BYTES,
            turns: Arc::new(Semaphore::new(PUMPS_MAX)),
            done: Vec::new(),
        }
    }
}

impl Merging {
    /// Has the sinks go on that waited for files which were read.
    pub(super) fn go_on(&mut self) {
        self.done.clear();
    }

    /// A pump whose lines the sink waits for, where it merges; `announced` as a part of the backlog.
    pub(super) fn merged(&self, mut pump: Pump, announced: Option<Behind>) -> Pump {
        let sender = &mut pump.outlet.sender;
        if announced.is_some() {
            *sender = sender.with_own_room();
            pump.read_bytes = self.read_bytes;
            pump.turns = Some(Arc::clone(&self.turns));
        }
        if sender.merges() {
            let stream = || Some(pump.origin.stream.clone());
            pump.behind = announced.or_else(|| Some(sender.behind(stream(), Room::Shared)));
        }
        pump
    }
}

impl FileSource {
    /// Takes in what there is, and announces what is unread of it to sinks that merge by time. They
    /// wait for that.
    pub(super) async fn look_and_announce(&mut self) -> Result<(), SourceError> {
        let senders = self.cx.outlets.iter().map(|it| it.sender.clone());
        let senders: Vec<_> = senders.filter(|it| it.merges()).collect();
        let go_on = || senders.iter().for_each(|it| it.has_looked());
        if self.config.follow == Follow::UntilEnd {
            // One after the other.
            senders.iter().for_each(|it| it.in_sequence());
            go_on();
        }
        let hangs = async {
            tokio::time::sleep(LOOKS_FOR).await;
            go_on();
            std::future::pending().await
        };
        tokio::select! {
            biased;
            looked = self.look_first() => looked?,
            () = hangs => {}
        }
        if self.config.follow == Follow::Forever {
            (0..self.cx.outlets.len()).for_each(|outlet| self.announce_backlog(outlet));
        }
        go_on();
        Ok(())
    }

    /// Announces what is unread to one sink, in the order of the paths: that is the order of lines
    /// that have the same time.
    fn announce_backlog(&mut self, outlet: usize) {
        if !self.cx.outlets[outlet].sender.merges() {
            return;
        }
        let mut unread = self.unread(outlet);
        if unread.len() > MERGED_MAX {
            let text = &format!(
                "has {} files with something to read: that is not merged by time, for they are more \
                 than {MERGED_MAX}",
                unread.len()
            );
            self.cx.notes.tell(&self.common.name, &Note::Hint { text });
            return;
        }
        if unread.len() > PUMPS_MAX {
            self.merging.read_bytes = TURN_BYTES;
        }
        unread.sort();
        for (_, id) in unread {
            self.want_all(id, std::time::Instant::now());
            self.announce(id, outlet);
        }
        let sleepers = &self.sleepers;
        self.backlog.retain(|id| sleepers.contains_key(id));
    }

    /// Files of which one sink has not everything.
    fn unread(&self, outlet: usize) -> Vec<(Arc<Path>, GenerationId)> {
        let asleep = self
            .sleepers
            .iter()
            .filter(|(_, it)| it.len == UNKNOWN_LEN || it.places.of(outlet).offset < it.len);
        let asleep = asleep.map(|(id, it)| (Arc::clone(&it.path), *id));
        let awake = self
            .generations
            .iter()
            .filter(|(_, it)| it.is_packed || it.places[outlet].place.offset < it.len);
        awake
            .map(|(id, it)| (Arc::clone(&it.path), *id))
            .chain(asleep)
            .collect()
    }

    /// Announces a file that can be read. One that is read behind another one is announced at the end
    /// of that: its lines come later, and would be waited for in vain.
    fn announce(&mut self, id: GenerationId, outlet: usize) {
        let known = self.generations.get(&id);
        if !known.is_some_and(|it| self.may_start(it, id, outlet)) {
            return;
        }
        let Some(generation) = self.generations.get_mut(&id) else {
            return;
        };
        let slot = &mut generation.places[outlet];
        if slot.cursor.is_some() && slot.behind.is_none() && !slot.closed {
            let stream = Some(generation.origin.stream.clone());
            let sender = &self.cx.outlets[outlet].sender;
            slot.behind = Some(sender.behind(stream, Room::Own));
        }
    }

    /// Takes over what had a sink wait for a pump that came back.
    pub(super) fn keep_behind(&mut self, id: GenerationId, outlet: usize, pumped: &mut Pumped) {
        let Some(behind) = pumped.behind.take() else {
            return;
        };
        let (caught_up, is_open) = match pumped.end {
            End::CaughtUp { is_open, wake, .. } => (true, is_open && wake.is_some()),
            _ => (false, false),
        };
        let slot = self.generations.get_mut(&id);
        match slot.map(|it| &mut it.places[outlet]) {
            // It was read for the first time. What came meanwhile is a part of the backlog, too, and
            // so is its last record, although it may get further lines and waits for them; but not
            // what comes after that, for it would never end.
            Some(slot)
                if behind.room() == Room::Own
                    && caught_up
                    && match slot.not_before {
                        None => is_open || slot.again,
                        Some(_) => is_open && slot.place == pumped.cursor.place,
                    } =>
            {
                slot.behind = Some(behind);
            }
            _ => self.merging.done.push(behind),
        }
    }

    /// Announces what is read behind a file of the backlog that was read to its end.
    pub(super) fn announce_successors(&mut self, id: GenerationId, outlet: usize) {
        if self.merging.done.iter().all(|it| it.room() != Room::Own) {
            return;
        }
        let behind = self.generations.iter();
        let behind = behind.filter(|(_, it)| it.after == Some(id) && !it.caught_up);
        for next in behind.map(|(next, _)| *next).collect::<Vec<_>>() {
            self.announce(next, outlet);
        }
    }
}
