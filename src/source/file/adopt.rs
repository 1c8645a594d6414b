//! Deciding what a file is when it is first seen at a path: one that is known from before, or a new
//! one, and where each sink's reading of it starts.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::{info, warn};

use super::discover::find_inode;
use super::found::{Found, SEEN_SLACK_S, key_of, noted_at, now_s, still_there};
use super::generation::GenerationId;
use super::rotation::{
    CopyOf, Living, age_key, copy_of, ended_last, find_copy, find_missed, find_rewritten,
    named_path,
};
use super::tail::Place;
use super::{Inode, Start, open};
use crate::checkpoint::{Checkpoints, CursorRecord, StreamRecord, to_record};
use crate::model::CursorKey;

/// So many files that may have been missed are compared with what is known of them at the first
/// look, before what rotation made of them is judged. The others are looked at in their turn.
const VERIFIED_MAX: usize = 1_000;

/// What a found file turned out to be.
#[derive(Debug)]
pub(super) enum Decision {
    /// A stream to read.
    Read(Box<Adopted>),
    /// A copy of a file that is read already.
    Copy,
    /// It cannot be told before what it may be a copy of has been looked at.
    Later,
}

/// A file that is read from now on.
#[derive(Debug)]
pub(super) struct Adopted {
    pub(super) found: Found,
    pub(super) record: Arc<StreamRecord>,
    /// Where each sink starts, in the order of the sinks.
    pub(super) places: Vec<Place>,
}

/// Knows the streams of one source from before, until each is claimed by a file.
///
/// What it decides is journalled by [`Registry::write`], before the first line is sent.
#[derive(Debug)]
pub(super) struct Registry {
    source: Arc<str>,
    sinks: Vec<Arc<str>>,
    checkpoints: Checkpoints,
    /// Streams that no file has claimed in this process. Several can have had the same inode.
    by_inode: HashMap<Inode, Vec<Arc<StreamRecord>>>,
    /// The inodes of those that were last seen at a path; made when it is needed first.
    by_path: Option<HashMap<Arc<str>, Vec<Inode>>>,
    /// When the last of the ended streams was noted; made when it is needed first.
    ended: Option<HashMap<PathBuf, SystemTime>>,
    unwritten: (Vec<StreamRecord>, Vec<CursorRecord>),
    /// See [`VERIFIED_MAX`].
    n_verified: usize,
}

impl Registry {
    /// Loads what is known. Ended streams that were not seen for `forget_after` are forgotten.
    pub(super) fn new(
        source: Arc<str>,
        sinks: Vec<Arc<str>>,
        checkpoints: Checkpoints,
        forget_after: Duration,
    ) -> Self {
        let mut this = Self {
            source,
            sinks,
            checkpoints,
            by_inode: HashMap::new(),
            by_path: None,
            ended: None,
            unwritten: Default::default(),
            n_verified: 0,
        };
        let oldest = now_s().saturating_sub(forget_after.as_secs());
        for stream in this.checkpoints.streams(&this.source) {
            if stream.ended && stream.seen < oldest {
                if let Err(error) = this.checkpoints.forget(&this.source, &stream.id) {
                    warn!(source = %this.source, %error, "cannot forget a file that is long gone");
                }
            } else {
                let inode = Inode::of_record(&stream);
                this.by_inode.entry(inode).or_default().push(stream);
            }
        }
        this
    }

    fn remove(&mut self, record: &StreamRecord) {
        let inode = Inode::of_record(record);
        if let Some(same) = self.by_inode.get_mut(&inode) {
            same.retain(|other| other.id != record.id);
            if same.is_empty() {
                self.by_inode.remove(&inode);
            }
        }
        let at_path = self
            .by_path
            .as_mut()
            .and_then(|it| it.get_mut(&record.path));
        if let Some(same) = at_path
            && let Some(at) = same.iter().position(|it| *it == inode)
        {
            same.swap_remove(at);
        }
    }

    /// The inodes of unclaimed streams that were last seen at a path.
    fn inodes_at(&mut self, path: &str) -> Vec<Inode> {
        let by_inode = &self.by_inode;
        let by_path = self.by_path.get_or_insert_with(|| {
            let mut by_path: HashMap<Arc<str>, Vec<Inode>> = HashMap::new();
            for (inode, record) in by_inode
                .iter()
                .flat_map(|(i, all)| all.iter().map(move |it| (i, it)))
            {
                by_path
                    .entry(Arc::clone(&record.path))
                    .or_default()
                    .push(*inode);
            }
            by_path
        });
        by_path.get(path).cloned().unwrap_or_default()
    }

    /// The unclaimed streams that were last seen at a path and have not ended.
    fn at(&mut self, path: &Path) -> Vec<Arc<StreamRecord>> {
        let path = path.to_string_lossy();
        let inodes = self.inodes_at(&path);
        let known = inodes
            .iter()
            .filter_map(|it| self.by_inode.get(it))
            .flatten();
        let is_there = |it: &&Arc<StreamRecord>| *it.path == *path && !it.ended;
        known.filter(is_there).cloned().collect()
    }

    /// Gives back the memory that unclaimed streams took.
    pub(super) fn shrink(&mut self) {
        self.by_inode.shrink_to_fit();
        self.by_path = None;
        self.ended = None;
    }

    /// When the last file at a path was noted that has ended.
    pub(super) fn last_ended(&mut self, path: &Path) -> Option<SystemTime> {
        let known = self.by_inode.values().flatten();
        let ended = self.ended.get_or_insert_with(|| ended_last(known));
        ended.get(path).copied()
    }

    /// Journals what was decided since the last call. Blocks for an append.
    ///
    /// # Errors
    /// The journal cannot be written; the next call tries it again.
    pub(super) fn write(&mut self) -> io::Result<()> {
        let (streams, cursors) = &self.unwritten;
        if streams.is_empty() {
            return Ok(());
        }
        self.checkpoints
            .register(streams.clone(), cursors.clone())?;
        self.unwritten = Default::default();
        Ok(())
    }

    /// A known stream that stands at the end of this very file, whose state tells that nothing was
    /// done to it since: it need not be opened. With it where each sink stands, and whether it can
    /// have been written anew all the same.
    pub(super) fn asleep(
        &mut self,
        path: &Path,
        inode: Inode,
        (len, changed_s): (u64, u64),
    ) -> Option<(Arc<StreamRecord>, Box<[Place]>, bool)> {
        let path = path.to_str()?;
        let same = self.by_inode.get(&inode)?;
        let is_it = |it: &&Arc<StreamRecord>| {
            !it.ended && *it.path == *path && u64::from(it.head_len) <= len
        };
        let record = same.iter().find(is_it)?;
        let known = self.checkpoints.positions(&self.source, &key_of(record));
        let place = |sink: &Arc<str>| {
            let (_, at) = known.iter().find(|(known, _)| known == sink)?;
            Place::from_position(at).filter(|place| place.offset == len)
        };
        let places: Box<[Place]> = self.sinks.iter().map(place).collect::<Option<_>>()?;
        // What was done right before it was noted may not have been seen.
        let mut doubtful = changed_s + SEEN_SLACK_S >= record.seen;
        if doubtful && self.n_verified < VERIFIED_MAX {
            self.n_verified += 1;
            let file = open(Path::new(path)).ok()?;
            let holds = |place: &Place| place.is_held_by(&file, len).unwrap_or(false);
            if !places.iter().all(holds) {
                return None;
            }
            doubtful = false;
        }
        let asleep = (Arc::clone(record), places, doubtful);
        self.remove(&asleep.0);
        Some(asleep)
    }

    /// Decides what a file is. `living` are the generations that it may be a copy of. Blocks.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn adopt(
        &mut self,
        found: Found,
        start: Start,
        living: &[Living],
    ) -> io::Result<Decision> {
        if let Some(record) = self.claim(&found)? {
            return Ok(Decision::Read(Box::new(self.resume_as(&record, found)?)));
        }
        for other in living {
            match copy_of(&found, other)? {
                CopyOf::Yes => return Ok(Decision::Copy),
                CopyOf::Perhaps => return Ok(Decision::Later),
                CopyOf::No => {}
            }
        }
        let place = match start {
            Start::Beginning | Start::Since(_) | Start::NotBefore(_) => Place::beginning(),
            Start::At(offset) => Place::at(&found.file, offset)?,
            Start::End => Place::end(&found.file)?,
            Start::LastLines(count) => Place::last_lines(&found.file, count)?,
        };
        Ok(Decision::Read(Box::new(self.begin(found, place))))
    }

    /// Goes on with a known stream in the file that was found.
    fn resume_as(&mut self, record: &StreamRecord, found: Found) -> io::Result<Adopted> {
        let places = self.resume(record, &found);
        let record = self.record_of(&found, Arc::clone(&record.id));
        Ok(self.remember(found, record, places))
    }

    /// Makes a new stream of a file, whatever was known of it.
    pub(super) fn begin(&mut self, found: Found, place: Place) -> Adopted {
        let record = self.record_of(&found, crate::random::id().into());
        let places = vec![place; self.sinks.len()];
        self.remember(found, record, places)
    }

    fn record_of(&self, found: &Found, id: Arc<str>) -> StreamRecord {
        StreamRecord {
            source: Arc::clone(&self.source),
            id,
            path: found.path.to_string_lossy().into(),
            dev: found.inode.dev,
            ino: found.inode.ino,
            head_len: found.head.len(),
            head_hash: found.head.hash(),
            len: found.len,
            seen: now_s(),
            ended: false,
        }
    }

    /// Has a stream journalled, and where its cursors start.
    fn remember(&mut self, found: Found, record: StreamRecord, places: Vec<Place>) -> Adopted {
        let cursors = self.cursors(&record, &places);
        self.unwritten.0.push(record.clone());
        self.unwritten.1.extend(cursors);
        Adopted {
            found,
            record: Arc::new(record),
            places,
        }
    }

    /// Has it journalled that a stream gets no new lines.
    fn ended(&mut self, record: &StreamRecord) {
        let mut ended = record.clone();
        ended.ended = true;
        self.unwritten.0.push(ended);
    }

    /// Finds known streams that are not ended and whose files none of the paths in `named` has (each
    /// with its directory entry's inode):
    /// they were renamed inside their folder, or copied there before they were truncated. Each
    /// comes with the named path that it was at, oldest first. Blocks.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn adopt_moved(
        &mut self,
        named: &HashMap<OsString, u64>,
    ) -> io::Result<Vec<(PathBuf, Adopted)>> {
        let known = self.by_inode.values().flatten();
        // What has its path and its inode is decided on when its path is taken in.
        let in_place = |it: &StreamRecord| {
            let entry_ino = named.get(OsStr::new(&*it.path));
            // Of one that was empty nothing tells whether it is as it was.
            it.head_len > 0 && entry_ino.is_some_and(|entry| *entry == it.ino || still_there(it))
        };
        let moved = known.filter(|it| !it.ended && !in_place(it));
        let moved: Vec<Arc<StreamRecord>> = moved.cloned().collect();
        let mut traces = Vec::new();
        for record in moved {
            let path = PathBuf::from(&*record.path);
            let is_at = self.is_at(&record, &path)?;
            let in_place = is_at && named.contains_key(path.as_os_str());
            let found = match is_at {
                // It is taken in with its path, behind what came before.
                true if in_place => None,
                true => Found::look(&path).ok().flatten(),
                false => self.moved_to(&record, &path)?,
            };
            let mut adopted = Vec::new();
            if let Some(found) = found {
                self.remove(&record);
                adopted.push(self.resume_as(&record, found)?);
            }
            let was_at = named_path(path, named);
            traces.push(Trace {
                record,
                was_at,
                in_place,
                adopted,
            });
        }
        // What nobody knows is judged when everything that is known has been found.
        let mut taken: HashSet<Inode> = traces.iter().filter_map(Trace::inode).collect();
        for trace in &mut traces {
            self.follow_up(trace, &mut taken)?;
        }
        let mut adopted = Vec::new();
        for trace in traces {
            // What was written to a file after it was copied is younger than the copy.
            let mut least = None;
            for (n, it) in trace.adopted.into_iter().enumerate() {
                let (born, number) = age_key(&it.found);
                let born = if n == 1 { born.max(least) } else { born };
                least = born;
                adopted.push(((born, number), (trace.was_at.clone(), it)));
            }
        }
        adopted.sort_by_key(|(age, _)| *age);
        Ok(adopted.into_iter().map(|(_, it)| it).collect())
    }

    /// Takes in what came to a known stream's path after it and was rotated away unseen.
    fn follow_up(&mut self, trace: &mut Trace, taken: &mut HashSet<Inode>) -> io::Result<()> {
        let (record, path) = (&trace.record, Path::new(&*trace.record.path));
        let known = Inode::of_record(record);
        let mut later = Vec::new();
        if trace.inode() != Some(known) {
            // Its inode can hold something else now.
            let rewritten = find_rewritten(path, known);
            if trace.adopted.is_empty() && (rewritten.is_some() || still_there(record)) {
                self.remove(record);
                self.ended(record);
            }
            if let Some(rewritten) = rewritten.filter(|_| !taken.contains(&known)) {
                self.tell_displaced(record, &rewritten, None);
                later.push(rewritten);
            }
        }
        // What is copied is older than its copies.
        taken.insert(known);
        let present = Found::look(&trace.was_at).ok().flatten();
        let present = present.filter(|it| it.inode != known);
        let mut missed = find_missed(&trace.was_at, noted_at(record), present.as_ref(), taken);
        // The copy of what is at its path goes on there, when that is taken in.
        let unclaimed = self.at(&trace.was_at);
        let unclaimed = unclaimed.iter();
        let unclaimed = unclaimed.map(|it| Living::known(it, self.resume_places(it)));
        let unclaimed: Vec<Living> = unclaimed.collect();
        missed.retain(|it| {
            let is_copy = |of| matches!(copy_of(it, of), Ok(CopyOf::Yes | CopyOf::Perhaps));
            !unclaimed.iter().any(is_copy)
        });
        taken.extend(missed.iter().map(|it| it.inode));
        later.extend(missed);
        for found in later {
            if let Decision::Read(new) = self.adopt(found, Start::Beginning, &[])? {
                trace.adopted.push(*new);
            }
        }
        Ok(())
    }

    /// Known streams that no file has claimed: their files are gone, at least for now. Should one
    /// come back to its path it goes on. Each comes with how many bytes of it are known to be unread.
    pub(super) fn gone(&mut self) -> Vec<(Arc<StreamRecord>, u64)> {
        let known = self.by_inode.values().flatten().filter(|it| !it.ended);
        let known: Vec<Arc<StreamRecord>> = known.cloned().collect();
        let mut gone = Vec::new();
        for record in known {
            let least = self.resume_places(&record).iter().map(|it| it.offset).min();
            let unread = record.len.saturating_sub(least.unwrap_or(0));
            // It is said once, and forgotten as what has ended is.
            self.unwritten.0.push(StreamRecord {
                ended: true,
                seen: now_s(),
                ..StreamRecord::clone(&record)
            });
            gone.push((record, unread));
        }
        gone
    }

    /// Known streams that had the file's inode and whose content it has not: each goes on in the
    /// copy that was made of it, or has ended. `living` are the files that are read already. Blocks.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn displaced(
        &mut self,
        found: &Found,
        living: &HashMap<Inode, GenerationId>,
    ) -> io::Result<Vec<Adopted>> {
        let same_inode = self.by_inode.get(&found.inode).into_iter().flatten();
        let known: Vec<Arc<StreamRecord>> = same_inode.filter(|it| !it.ended).cloned().collect();
        let mut adopted = Vec::new();
        let mut noted: Option<SystemTime> = None;
        for record in known {
            if self.is_continued(&record, found)? {
                continue;
            }
            let at = noted_at(&record);
            noted = Some(noted.map_or(at, |noted| noted.min(at)));
            self.remove(&record);
            let path = PathBuf::from(&*record.path);
            let copy = find_copy(&path, &record, &self.resume_places(&record));
            self.tell_displaced(&record, found, copy.as_ref());
            match copy {
                Some(copy) => adopted.push(self.resume_as(&record, copy)?),
                None => self.ended(&record),
            }
        }
        adopted.sort_by_cached_key(|adopted| age_key(&adopted.found));
        // What came after them and was copied or renamed away before it was seen.
        let Some(since) = noted else {
            return Ok(adopted);
        };
        let mut known: HashSet<Inode> = living.keys().copied().collect();
        known.extend(adopted.iter().map(|it| it.found.inode));
        known.insert(found.inode);
        for missed in find_missed(&found.path, since, None, &known) {
            if let Decision::Read(missed) = self.adopt(missed, Start::Beginning, &[])? {
                adopted.push(*missed);
            }
        }
        Ok(adopted)
    }

    /// Operators ask why a file was read again: this is the answer.
    fn tell_displaced(&self, known: &StreamRecord, found: &Found, copy: Option<&Found>) {
        let what = match copy {
            Some(_) => {
                "a known file was truncated or written anew: the rest of it is read first, from its copy"
            }
            None => "another content has the inode of a known file: it is read from its start",
        };
        info!(
            source = %self.source, path = %found.path.display(), dev = found.inode.dev,
            ino = found.inode.ino, len = found.len, head_len = found.head.len(),
            head_hash = found.head.hash(), known_path = &*known.path, known_dev = known.dev,
            known_ino = known.ino, known_len = known.len, known_head_len = known.head_len,
            known_head_hash = known.head_hash,
            known_offset = self.resume_places(known).iter().map(|it| it.offset).min(),
            copy = copy.map(|it| it.path.display().to_string()),
            "{what}"
        );
    }

    /// True where the stream's own file is at its path and still holds what was read of it.
    fn is_at(&self, record: &StreamRecord, path: &Path) -> io::Result<bool> {
        // What cannot be looked at now is not judged.
        let Ok(Some(found)) = Found::look(path) else {
            return Ok(path.exists());
        };
        Ok(found.inode == Inode::of_record(record) && self.is_continued(record, &found)?)
    }

    /// Where a stream's content is now: the same inode under another name, or a copy.
    fn moved_to(&self, record: &StreamRecord, path: &Path) -> io::Result<Option<Found>> {
        let dir = path.parent().unwrap_or(Path::new("/"));
        if let Some(path) = find_inode(dir, record.dev, record.ino)
            && let Ok(Some(found)) = Found::look(&path)
            && self.is_continued(record, &found)?
        {
            return Ok(Some(found));
        }
        let places = self.resume_places(record);
        Ok(find_copy(path, record, &places))
    }

    /// The known stream that this file continues: the same inode, the same beginning, and what was
    /// read of it unchanged.
    fn claim(&mut self, found: &Found) -> io::Result<Option<Arc<StreamRecord>>> {
        let known = self.by_inode.get(&found.inode).cloned().unwrap_or_default();
        for record in known {
            if self.is_continued(&record, found)? {
                self.remove(&record);
                return Ok(Some(record));
            }
        }
        self.claim_by_path(found)
    }

    /// Device numbers change over a reboot and restores change inodes: then path and content decide
    /// together. Content alone never suffices, many files begin alike.
    fn claim_by_path(&mut self, found: &Found) -> io::Result<Option<Arc<StreamRecord>>> {
        let path = found.path.to_string_lossy();
        if self.by_inode.is_empty() {
            return Ok(None);
        }
        let inodes = self.inodes_at(&path);
        for inode in inodes.into_iter().filter(|it| *it != found.inode) {
            let known = self.by_inode.get(&inode).cloned().unwrap_or_default();
            for record in known {
                if *record.path != *path || record.head_len == 0 {
                    continue;
                }
                let read = self.resume_places(&record).iter().any(|it| it.offset > 0);
                if read && !still_there(&record) && self.is_continued(&record, found)? {
                    self.remove(&record);
                    info!(
                        source = %self.source, path = %found.path.display(),
                        dev = found.inode.dev, ino = found.inode.ino, known_dev = record.dev,
                        known_ino = record.ino, known_head_len = record.head_len,
                        "a known file has another inode: it goes on, its content is the same"
                    );
                    return Ok(Some(record));
                }
            }
        }
        Ok(None)
    }

    /// True where the file begins as the stream did and still holds what was read of it.
    fn is_continued(&self, known: &StreamRecord, found: &Found) -> io::Result<bool> {
        if !found.head.continues(known) {
            return Ok(false);
        }
        for place in self.resume_places(known) {
            if !place.is_held_by(&found.file, found.len)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn resume_places(&self, record: &StreamRecord) -> Vec<Place> {
        let positions = self.checkpoints.positions(&record.source, &key_of(record));
        let places = positions.iter();
        places
            .filter_map(|(_, at)| Place::from_position(at))
            .collect()
    }

    /// Each sink's place in a known stream. A sink that is new to it starts where the others are.
    fn resume(&self, record: &StreamRecord, found: &Found) -> Vec<Place> {
        let known = self.checkpoints.positions(&record.source, &key_of(record));
        let places = known
            .iter()
            .filter_map(|(sink, at)| Some((sink, Place::from_position(at)?)));
        let places: HashMap<&Arc<str>, Place> = places.collect();
        let highest = places.values().max_by_key(|place| place.offset).copied();
        let start = |sink| match (places.get(sink), highest) {
            (Some(place), _) => *place,
            (None, Some(highest)) => {
                info!(
                    source = %self.source, %sink, path = %found.path.display(),
                    offset = highest.offset, "new sink: it starts where the others are"
                );
                highest
            }
            (None, None) => Place::beginning(),
        };
        self.sinks.iter().map(start).collect()
    }

    fn cursors(&self, record: &StreamRecord, places: &[Place]) -> Vec<CursorRecord> {
        let cursor = |(sink, place): (&Arc<str>, &Place)| {
            to_record(&self.key(record, sink), &place.position())
        };
        self.sinks.iter().zip(places).filter_map(cursor).collect()
    }

    /// Whose cursor one sink's place in a stream is.
    pub(super) fn key(&self, record: &StreamRecord, sink: &Arc<str>) -> CursorKey {
        CursorKey {
            source: Arc::clone(&self.source),
            stream: key_of(record),
            sink: Arc::clone(sink),
        }
    }
}

/// A known stream whose file is not where it was or may be another one, the path that it was at, and what is read of both,
/// in order.
struct Trace {
    record: Arc<StreamRecord>,
    was_at: PathBuf,
    /// True where it is at its path and nothing tells that it is another one.
    in_place: bool,
    adopted: Vec<Adopted>,
}

impl Trace {
    /// The file that the stream goes on in.
    fn inode(&self) -> Option<Inode> {
        if self.in_place {
            return Some(Inode::of_record(&self.record));
        }
        let first = self.adopted.first()?;
        (first.record.id == self.record.id).then_some(first.found.inode)
    }
}
