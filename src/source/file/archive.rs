//! Deciding what a compressed file is: a copy of a file that is known, or one of its own.
//!
//! Its content decides, by fingerprint and guards, as for every other file. To look at a guard is to
//! decompress what stands before it, so that is done only for a file that begins as a known one does,
//! and once.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::info;

use super::adopt::{Decision, Registry};
use super::ending::may_grow_for;
use super::found::{Found, SEEN_SLACK_S, key_of};
use super::identity::{HEAD_BYTES, Head};
use super::packed::{Ending, Step, Unpacker};
use super::pump::{locate, lock};
use super::rotation::{Living, bases, is_compressed};
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

/// Known streams by how they began. Of very many nearly all begin otherwise than a certain file.
#[derive(Debug, Default)]
pub(super) struct Heads {
    /// Lengths of fingerprints.
    lens: BTreeSet<u32>,
    by_head: HashMap<(u32, u64), Vec<Arc<StreamRecord>>>,
}

impl Heads {
    fn of(streams: Vec<Arc<StreamRecord>>) -> Self {
        let mut this = Self::default();
        streams.into_iter().for_each(|it| this.add(it));
        this
    }

    /// Adds a stream, in place of what was known of it.
    pub(super) fn add(&mut self, stream: Arc<StreamRecord>) {
        self.lens.insert(stream.head_len);
        let alike = self.by_head.entry(Self::key(&stream)).or_default();
        alike.retain(|it| it.id != stream.id);
        alike.push(stream);
    }

    /// Files begin alike where nothing is known of how they begin.
    fn key(stream: &StreamRecord) -> (u32, u64) {
        match stream.head_len {
            0 => (0, 0),
            len => (len, stream.head_hash),
        }
    }

    /// Those that a file may be which begins like this, the most alike first.
    fn that_begin(&self, head: &Head) -> impl Iterator<Item = &Arc<StreamRecord>> {
        let lens = self.lens.range(..=head.len()).rev();
        let alike = lens.filter_map(|len| {
            let hash = if *len == 0 {
                0
            } else {
                head.first(*len).hash()
            };
            self.by_head.get(&(*len, hash))
        });
        alike.flatten()
    }
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
        living: &[Living],
    ) -> io::Result<Option<Decision>> {
        if found.packing.is_some() {
            return self.judge_packed(found.clone(), start, living).map(Some);
        }
        // What it will hold is told by its first bytes.
        let begins = found.len < MAGIC_BYTES as u64 && is_compressed(&found.path);
        Ok((begins && may_grow_for(found.modified).is_some()).then_some(Decision::Later))
    }

    fn judge_packed(
        &mut self,
        found: Found,
        start: Start,
        living: &[Living],
    ) -> io::Result<Decision> {
        if self.is_copy(found.inode, (found.len, found.modified)) {
            return Ok(Decision::Copy);
        }
        let known = self.known_to_begin_like(&found);
        let is_read =
            |it: &Arc<StreamRecord>| is_ended_and_unchanged(it, &found) && self.is_delivered(it);
        if known.iter().any(is_read) {
            return Ok(self.copy(&found));
        }
        // The very file, of which perhaps nothing was read yet.
        if let Some(record) = self.claim_packed(&found)? {
            return Ok(Decision::Read(Box::new(self.resume_as(&record, found)?)));
        }
        let is_young = may_grow_for(found.modified).is_some();
        let is_short = (found.head.len() as usize) < HEAD_BYTES;
        if is_young && is_short && !(is_whole(&found)? && is_unchanged(&found)?) {
            // Its beginning is not there yet, or was not when it was looked at.
            return Ok(Decision::Later);
        }
        for other in living {
            if !found.head.continues(&other.record) {
                if begins_as_now(&found, other)? == Some(true) {
                    // It was written anew, and is read as what it is now in a moment.
                    return Ok(Decision::Later);
                }
                continue;
            }
            let read = other.progress.iter().map(|it| *lock(it)).collect();
            match holds(&found, read)? {
                Holds::Yes => return Ok(self.copy(&found)),
                Holds::NotYet if is_young => return Ok(Decision::Later),
                Holds::No | Holds::NotYet => {}
            }
        }
        let mut unread = Vec::new();
        for record in &known {
            let places = self.resume_places(record);
            if places.iter().all(|it| it.offset == 0) {
                unread.push(record);
                continue;
            }
            match holds(&found, places)? {
                Holds::Yes => return self.continue_in(record, found),
                Holds::NotYet if is_young => return Ok(Decision::Later),
                Holds::No | Holds::NotYet => {}
            }
        }
        for record in unread.into_iter().filter(|it| !it.ended) {
            if !self.is_unclaimed(record) {
                let other = living.iter().find(|it| it.record.id == record.id);
                let known = || Living::known(record, self.resume_places(record));
                let other = other.cloned().unwrap_or_else(known);
                if begins_as_now(&found, &other)? == Some(false) {
                    // What that held before it was truncated is nowhere else.
                    continue;
                }
                if record.head_len == 0 && self.has_its_file(record)? {
                    // It was empty and is where it was: this is not made of it.
                    continue;
                }
                // Nothing of it was delivered yet that could be compared.
                return Ok(Decision::Later);
            }
            let family = family(&found.path);
            let is_family = family_of(record).iter().any(|it| family.contains(it));
            if record.head_len > 0 && is_family && !self.has_its_file(record)? {
                // Nothing of it was ever read, and its file is gone: this begins as it did.
                return self.continue_in(record, found);
            }
        }
        self.begin_packed(found, start)
    }

    /// As [`Registry::claim`]. That nothing is known of a stream but its inode is no sign: compressed
    /// files get those of files that are gone.
    fn claim_packed(&mut self, found: &Found) -> io::Result<Option<Arc<StreamRecord>>> {
        let same = self.by_inode.get(&found.inode).cloned().unwrap_or_default();
        for record in same.into_iter().filter(|it| it.head_len > 0) {
            if self.is_continued(&record, found)? {
                self.remove(&record);
                return Ok(Some(record));
            }
        }
        self.claim_by_path(found)
    }

    /// A compressed file that holds nothing that is known begins a stream, unless all that was there
    /// at the start is to be passed over.
    fn begin_packed(&mut self, found: Found, start: Start) -> io::Result<Decision> {
        let place = match start {
            Start::Beginning | Start::Since(_) | Start::NotBefore(_) => Place::beginning(),
            Start::At(offset) => Place::at(&found.file, offset)?,
            Start::LastLines(count) => Place::last_lines(&found.file, count)?,
            // More may come to it.
            Start::End if may_grow_for(found.modified).is_some() => {
                Place::last_lines(&found.file, 0)?
            }
            Start::End => {
                info!(
                    source = %self.source, path = %found.path.display(),
                    "compressed file was there before: it is not read"
                );
                return Ok(self.copy(&found));
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

    /// True for a compressed file that needs no reading, and was in this state when that was found.
    pub(super) fn is_copy(&self, inode: Inode, state: (u64, SystemTime)) -> bool {
        self.copies.get(&inode) == Some(&state)
    }

    fn copy(&mut self, found: &Found) -> Decision {
        self.remember_copy(found.inode, (found.len, found.modified));
        Decision::Copy
    }

    /// The known streams that a compressed file may hold.
    fn known_to_begin_like(&mut self, found: &Found) -> Vec<Arc<StreamRecord>> {
        let heads = self.heads.get_or_insert_with(|| {
            let mut heads = Heads::of(self.checkpoints.streams(&self.source));
            // What was decided a moment ago counts, too. It is journalled together, at the end of the
            // look: that a stream has ended is not to be known without what came after it.
            let decided = self.unwritten.0.iter().cloned();
            decided.map(Arc::new).for_each(|it| heads.add(it));
            heads
        });
        // Of a stream that had nothing when it was noted, the name must say that it may be its file.
        let family = family(&found.path);
        let may_be = |it: &&Arc<StreamRecord>| {
            it.head_len > 0 || family_of(it).iter().any(|path| family.contains(path))
        };
        heads
            .that_begin(&found.head)
            .filter(may_be)
            .cloned()
            .collect()
    }

    /// Notes that a compressed file was read to its end: under another name it is not read again.
    pub(super) fn note_read(&mut self, inode: Inode, file: &File) {
        if let Ok(metadata) = file.metadata()
            && let Ok(modified) = metadata.modified()
        {
            self.remember_copy(inode, (metadata.len(), modified));
        }
    }

    fn remember_copy(&mut self, inode: Inode, state: (u64, SystemTime)) {
        /// What is forgotten is looked at again.
        const COPIES_MAX: usize = 10_000;
        if self.copies.len() >= COPIES_MAX {
            self.copies.clear();
        }
        self.copies.insert(inode, state);
    }

    /// A compressed file holds what was read of a stream, and perhaps more.
    fn continue_in(&mut self, record: &Arc<StreamRecord>, found: Found) -> io::Result<Decision> {
        // Its own file is read in this process, or will be: it is where it was.
        if !record.ended && (!self.is_unclaimed(record) || self.has_its_file(record)?) {
            return Ok(self.copy(&found));
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

    fn has_its_file(&self, record: &StreamRecord) -> io::Result<bool> {
        let there = self.at_its_path(record, Path::new(&*record.path))?;
        Ok(there.is_some())
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
}

/// Whether the file holds what was read of a stream, and that is anything at all: many files begin
/// alike.
fn holds(found: &Found, mut places: Vec<Place>) -> io::Result<Holds> {
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

/// Whether a compressed file begins as a file does now that is read, which can have grown or been
/// written anew since it was noted, and can be renamed or gone; `None` where that cannot be looked at.
fn begins_as_now(found: &Found, other: &Living) -> io::Result<Option<bool>> {
    let original = other.file.clone();
    let original = original.map_or_else(|| locate(&other.location), |it| Ok(Some(it)))?;
    let Some(original) = original else {
        return Ok(None);
    };
    let head = Head::read(&original)?;
    let alike = head.starts_with(&found.head) || found.head.starts_with(&head);
    // All begin like nothing.
    let both = head.len() > 0 && found.head.len() > 0;
    Ok(Some(both && alike))
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
        && !found.is_reborn(record)
        && modified_s + SEEN_SLACK_S < record.seen
        && found.head.continues(record)
}

/// True where a file begins as it did when it was found.
fn is_unchanged(found: &Found) -> io::Result<bool> {
    let now = Found::of(Arc::clone(&found.file), &found.path)?;
    let head = now.map(|it| (it.head.len(), it.head.hash()));
    Ok(head == Some((found.head.len(), found.head.hash())))
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
