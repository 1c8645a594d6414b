//! Deciding what a file is when it is first seen at a path: one that is known from before, or a new
//! one, and where each sink's reading of it starts.

mod moved;

pub(super) use moved::Rotated;

use std::collections::{HashMap, HashSet};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use foldhash::HashMap as QuickMap;
use smallvec::SmallVec;
use tracing::{info, warn};

use crate::checkpoint::{Checkpoints, CursorRecord, StreamRecord, to_record};
use crate::model::{CursorKey, Position};
use crate::source::file::archive::{Copies, Heads};
use crate::source::file::found::{Found, SEEN_SLACK_S, born_of, key_of, now_s, still_there};
use crate::source::file::resting::Resting;
use crate::source::file::rotation::{CopyOf, Living, bases, copy_of, ended_last};
use crate::source::file::tail::Place;
use crate::source::file::{Inode, Start, open};

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
    pub(super) source: Arc<str>,
    sinks: Vec<Arc<str>>,
    pub(super) checkpoints: Checkpoints,
    /// Streams that no file has claimed in this process. Several can have had the same inode.
    pub(super) by_inode: QuickMap<Inode, SmallVec<[Arc<StreamRecord>; 1]>>,
    /// The inodes of those that were last seen at a path; made when it is needed first.
    by_path: Option<HashMap<Arc<str>, Vec<Inode>>>,
    /// When the last of the ended streams was noted; made when it is needed first.
    ended: Option<HashMap<PathBuf, SystemTime>>,
    /// Paths that known streams were at, and those that rotation may have made them from; made when
    /// it is needed first.
    knew: Option<HashSet<PathBuf>>,
    pub(super) copies: Copies,
    /// What is known, for one look; made when it is needed first.
    pub(super) heads: Option<Heads>,
    pub(super) unwritten: (Vec<StreamRecord>, Vec<CursorRecord>),
    /// See [`VERIFIED_MAX`].
    n_verified: usize,
    /// Where sinks stand in the file that is looked at: room that is used again, for there may be
    /// very many of those.
    known_places: Vec<(Arc<str>, Position)>,
    places: Vec<Place>,
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
            by_inode: QuickMap::default(),
            by_path: None,
            ended: None,
            knew: None,
            copies: Copies::new(),
            heads: None,
            unwritten: Default::default(),
            n_verified: 0,
            known_places: Vec::new(),
            places: Vec::new(),
        };
        let oldest = now_s().saturating_sub(forget_after.as_secs());
        let streams = this.checkpoints.streams(&this.source);
        this.by_inode.reserve(streams.len());
        for stream in streams {
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

    pub(super) fn remove(&mut self, record: &StreamRecord) {
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
        self.knew = None;
    }

    /// True where a path had a known file before this process began.
    pub(super) fn knew(&mut self, path: &Path) -> bool {
        let knew = self.knew.get_or_insert_with(|| {
            let streams = self.checkpoints.streams(&self.source);
            let paths = streams.iter().flat_map(|it| {
                let path = PathBuf::from(&*it.path);
                bases(&path).into_iter().chain([path])
            });
            paths.collect()
        });
        knew.contains(path)
    }

    /// When the last file at a path was noted that has ended.
    pub(super) fn last_ended(&mut self, path: &Path) -> Option<SystemTime> {
        self.all_ended().get(path).copied()
    }

    /// When the last file was noted that has ended, of each path that had one.
    fn all_ended(&mut self) -> &HashMap<PathBuf, SystemTime> {
        let known = self.by_inode.values().flatten();
        self.ended.get_or_insert_with(|| ended_last(known))
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
        metadata: &Metadata,
    ) -> Option<(Arc<StreamRecord>, Resting, bool)> {
        let path = path.to_str()?;
        let same = self.by_inode.get(&inode)?;
        let (len, born) = (metadata.len(), born_of(metadata));
        let is_it = |it: &&Arc<StreamRecord>| {
            let is_reborn = born.is_some() && it.born.is_some() && born != it.born;
            let is_open = !it.ended && !is_reborn;
            is_open && *it.path == *path && u64::from(it.head_len) <= len
        };
        let record = same.iter().find(is_it)?;
        let known = &mut self.known_places;
        known.clear();
        let told = |sink: &Arc<str>, at| known.push((Arc::clone(sink), at));
        self.checkpoints
            .each_position(&self.source, &key_of(record), told);
        let places = &mut self.places;
        places.clear();
        for sink in &self.sinks {
            let (_, at) = known.iter().find(|(known, _)| known == sink)?;
            places.push(Place::from_position(at).filter(|place| place.offset == len)?);
        }
        // What was done right before it was noted may not have been seen.
        let changed_s = u64::try_from(metadata.ctime()).unwrap_or(0);
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
        let asleep = (Arc::clone(record), Resting::new(places), doubtful);
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
        if let Some(decision) = self.adopt_packed(&found, start, living)? {
            return Ok(decision);
        }
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
    pub(super) fn resume_as(&mut self, record: &StreamRecord, found: Found) -> io::Result<Adopted> {
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
            born: found.born,
            head_len: found.head.len(),
            head_hash: found.head.hash(),
            len: found.content_len(),
            seen: now_s(),
            ended: false,
        }
    }

    /// Has a stream journalled, and where its cursors start.
    fn remember(&mut self, found: Found, record: StreamRecord, places: Vec<Place>) -> Adopted {
        let cursors = self.cursors(&record, &places);
        self.note(record.clone());
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
        self.note(ended);
    }

    /// Has a record journalled.
    fn note(&mut self, record: StreamRecord) {
        if let Some(heads) = &mut self.heads {
            heads.add(Arc::new(record.clone()));
        }
        self.unwritten.0.push(record);
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
    pub(super) fn claim_by_path(&mut self, found: &Found) -> io::Result<Option<Arc<StreamRecord>>> {
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

    /// True where the file begins as the stream did and still holds what was read of it, and where
    /// its inode was not made anew since.
    pub(super) fn is_continued(&self, known: &StreamRecord, found: &Found) -> io::Result<bool> {
        let is_reborn = found.inode == Inode::of_record(known) && found.is_reborn(known);
        if is_reborn || !found.head.continues(known) {
            return Ok(false);
        }
        for place in self.resume_places(known) {
            if !place.is_held_by(&found.file, found.len)? {
                return Ok(false);
            }
        }
        Ok(true)
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

    /// Where the sinks of the source stand in a known stream.
    pub(super) fn settled(&self, record: &StreamRecord) -> impl Iterator<Item = Place> {
        let known = self.checkpoints.positions(&record.source, &key_of(record));
        let known = known
            .into_iter()
            .filter(|(sink, _)| self.sinks.contains(sink));
        known.filter_map(|(_, at)| Place::from_position(&at))
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
