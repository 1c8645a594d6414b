//! Deciding what a compressed file is: a copy of a file that is known, or one of its own.
//!
//! Its content decides, by fingerprint and guards, as for every other file. To look at a guard is to
//! decompress what stands before it, so that is done only for a file that begins as a known one does,
//! and once.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::info;

use super::adopt::{Decision, Registry};
use super::ending::TORN_PATIENCE;
use super::found::{Found, SEEN_SLACK_S, key_of};
use super::identity::HEAD_BYTES;
use super::packed::{Ending, Step, Unpacker};
use super::rotation::{bases, is_compressed};
use super::tail::Place;
use super::{Inode, Start};
use crate::checkpoint::StreamRecord;
use crate::framing::MAGIC_BYTES;
use crate::model::guard_of;

/// Compressed files that are copies of what is read already, with their length and time then.
pub(super) type Copies = HashMap<Inode, (u64, SystemTime)>;

/// Whether a compressed file holds what was read of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Yes,
    No,
    /// It ends before that, and may not be written to its end yet.
    NotYet,
}

impl Registry {
    /// Decides what a compressed file is; `None` for one that is not. Blocks.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn adopt_packed(
        &mut self,
        found: &Found,
        start: Start,
    ) -> io::Result<Option<Decision>> {
        if found.packing.is_some() {
            return self.judge_packed(found.clone(), start).map(Some);
        }
        // What it will hold is told by its first bytes.
        let begins = found.len < MAGIC_BYTES as u64 && is_compressed(&found.path);
        Ok((begins && is_young(found)).then_some(Decision::Later))
    }

    fn judge_packed(&mut self, found: Found, start: Start) -> io::Result<Decision> {
        let state = (found.len, found.modified);
        if self.copies.get(&found.inode) == Some(&state) {
            return Ok(Decision::Copy);
        }
        // What was decided a moment ago counts, too. What cannot be journalled now stays to be, and is
        // said at the end of the look.
        let _ = self.write();
        let known = self.checkpoints.streams(&self.source);
        let is_read =
            |it: &Arc<StreamRecord>| is_ended_and_unchanged(it, &found) && self.is_delivered(it);
        if known.iter().any(is_read) {
            self.copies.insert(found.inode, state);
            return Ok(Decision::Copy);
        }
        // The very file, of which perhaps nothing was read yet.
        if let Some(record) = self.claim(&found)? {
            return Ok(Decision::Read(Box::new(self.resume_as(&record, found)?)));
        }
        let is_young = is_young(&found);
        let is_short = (found.head.len() as usize) < HEAD_BYTES;
        if is_young && is_short && !is_whole(&found)? {
            // Its beginning is not there yet.
            return Ok(Decision::Later);
        }
        // Of a stream that had nothing when it was noted, the name must say that it may be its file.
        let family = family(&found.path);
        let may_be = |it: &StreamRecord| {
            it.head_len > 0 || family_of(it).iter().any(|path| family.contains(path))
        };
        let alike = known
            .iter()
            .filter(|it| may_be(it) && found.head.continues(it));
        for record in alike {
            let is_read_here = !record.ended && !self.is_unclaimed(record);
            if is_read_here && self.resume_places(record).iter().all(|it| it.offset == 0) {
                // Nothing of it was delivered yet that could be compared.
                return Ok(Decision::Later);
            }
            match self.holds(record, &found)? {
                Holds::No => {}
                Holds::NotYet if is_young => return Ok(Decision::Later),
                Holds::NotYet => {}
                Holds::Yes => return self.continue_in(record, found),
            }
        }
        let place = match start {
            Start::Beginning | Start::Since(_) | Start::NotBefore(_) => Place::beginning(),
            Start::At(offset) => Place::at(&found.file, offset)?,
            Start::LastLines(count) => Place::last_lines(&found.file, count)?,
            Start::End => {
                info!(
                    source = %self.source, path = %found.path.display(),
                    "compressed file was there before: it is not read"
                );
                self.copies.insert(found.inode, state);
                return Ok(Decision::Copy);
            }
        };
        info!(
            source = %self.source, path = %found.path.display(), dev = found.inode.dev,
            ino = found.inode.ino, len = found.len, head_len = found.head.len(),
            head_hash = found.head.hash(),
            "compressed file holds nothing that is known: it is read as a new one"
        );
        Ok(Decision::Read(Box::new(self.begin(found, place))))
    }

    /// Notes that a compressed file was read to its end: under another name it is not read again.
    pub(super) fn note_read(&mut self, inode: Inode, file: &File) {
        if let Ok(metadata) = file.metadata()
            && let Ok(modified) = metadata.modified()
        {
            self.copies.insert(inode, (metadata.len(), modified));
        }
    }

    /// A compressed file holds what was read of a stream, and perhaps more.
    fn continue_in(&mut self, record: &Arc<StreamRecord>, found: Found) -> io::Result<Decision> {
        if !self.is_unclaimed(record) && !record.ended {
            // Its own file is read in this process.
            self.copies.insert(found.inode, (found.len, found.modified));
            return Ok(Decision::Copy);
        }
        info!(
            source = %self.source, path = %found.path.display(), dev = found.inode.dev,
            ino = found.inode.ino, known_path = &*record.path, known_dev = record.dev,
            known_ino = record.ino, known_head_len = record.head_len,
            "compressed file holds what was read of a known one: it goes on there"
        );
        self.remove(record);
        Ok(Decision::Read(Box::new(self.resume_as(record, found)?)))
    }

    /// Where the sinks stand in a known stream.
    pub(super) fn resume_places(&self, record: &StreamRecord) -> Vec<Place> {
        let positions = self.checkpoints.positions(&record.source, &key_of(record));
        let places = positions.iter();
        places
            .filter_map(|(_, at)| Place::from_position(at))
            .collect()
    }

    /// True where every sink has settled all of a stream that has ended. One that is new to it starts
    /// where the others are.
    fn is_delivered(&self, record: &StreamRecord) -> bool {
        let mut settled = self.settled(record).peekable();
        settled.peek().is_some() && settled.all(|it| it.offset >= record.len)
    }

    /// True where no file of this process has the stream.
    fn is_unclaimed(&self, record: &StreamRecord) -> bool {
        let same = self.by_inode.get(&Inode::of_record(record));
        same.is_some_and(|all| all.iter().any(|it| it.id == record.id))
    }

    /// Whether the file holds what every sink has read of a stream, and that is anything at all:
    /// many files begin alike.
    fn holds(&self, record: &StreamRecord, found: &Found) -> io::Result<Holds> {
        let mut places = self.resume_places(record);
        places.retain(|place| place.offset > 0);
        places.sort_by_key(|place| place.offset);
        let (Some(packing), false) = (found.packing, places.is_empty()) else {
            return Ok(Holds::No);
        };
        let mut unpacker = Unpacker::new(packing);
        for place in places {
            match unpacker.skip_to(&found.file, place.offset, u64::MAX)? {
                Step::Ended(Ending::Torn) => return Ok(Holds::NotYet),
                Step::Ended(_) => return Ok(Holds::No),
                Step::Content(_) => {}
            }
            if guard_of(unpacker.guarded(place.offset)) != place.guard {
                return Ok(Holds::No);
            }
        }
        Ok(Holds::Yes)
    }
}

/// True where a file may still be being written.
fn is_young(found: &Found) -> bool {
    let age = found.modified.elapsed();
    age.map_or(true, |age| age < TORN_PATIENCE)
}

/// A path, and those that rotation may have made it from.
fn family(path: &Path) -> Vec<PathBuf> {
    let mut family = bases(path);
    family.push(path.to_owned());
    family
}

fn family_of(record: &StreamRecord) -> Vec<PathBuf> {
    family(Path::new(&*record.path))
}

/// True where a stream was read from this very file to its end, and nothing was done to it since.
fn is_ended_and_unchanged(record: &StreamRecord, found: &Found) -> bool {
    let modified = found.modified.duration_since(UNIX_EPOCH);
    let modified_s = modified.map_or(0, |it| it.as_secs());
    record.ended
        && Inode::of_record(record) == found.inode
        && modified_s + SEEN_SLACK_S < record.seen
        && found.head.continues(record)
}

/// True where the file can be decompressed to its end, or no more will come of it.
fn is_whole(found: &Found) -> io::Result<bool> {
    let Some(packing) = found.packing else {
        return Ok(true);
    };
    let mut unpacker = Unpacker::new(packing);
    // It is known to be short.
    let end = unpacker.skip_to(&found.file, 2 * HEAD_BYTES as u64, u64::MAX)?;
    Ok(end != Step::Ended(Ending::Torn))
}
