//! Deciding what a file is when it is first seen at a path: one that is known from before, or a new
//! one, and where each sink's reading of it starts.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing::info;

use super::discover::find_inode;
use super::found::Found;
use super::rotation::{CopyOf, Living, age_key, copy_of, find_copy, named_path};
use super::tail::Place;
use super::{Inode, Start};
use crate::checkpoint::{Checkpoints, CursorRecord, StreamRecord, to_record};
use crate::model::{CursorKey, StreamKey};

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
    pub(super) record: StreamRecord,
    /// Where each sink starts, in the order of the sinks.
    pub(super) places: Vec<Place>,
}

/// Knows the streams of one source from before, until each is claimed by a file.
#[derive(Debug)]
pub(super) struct Registry {
    source: Arc<str>,
    sinks: Vec<Arc<str>>,
    checkpoints: Checkpoints,
    /// Streams that no file has claimed in this process. Several can have had the same inode.
    by_inode: HashMap<Inode, Vec<StreamRecord>>,
}

impl Registry {
    /// Loads what is known. Ended streams that were not seen for `forget_after` are forgotten.
    pub(super) fn new(
        source: Arc<str>,
        sinks: Vec<Arc<str>>,
        checkpoints: Checkpoints,
        forget_after: Duration,
    ) -> io::Result<Self> {
        let mut by_inode: HashMap<Inode, Vec<StreamRecord>> = HashMap::new();
        let oldest = now_s().saturating_sub(forget_after.as_secs());
        for stream in checkpoints.streams(&source) {
            if stream.ended && stream.seen < oldest {
                checkpoints.forget(&source, &stream.id)?;
            } else {
                by_inode
                    .entry(Inode::of_record(&stream))
                    .or_default()
                    .push(stream);
            }
        }
        Ok(Self {
            source,
            sinks,
            checkpoints,
            by_inode,
        })
    }

    /// Decides what a file is, and remembers it before its first line is sent. `living` are the
    /// generations that it may be a copy of. Blocks.
    ///
    /// # Errors
    /// The file cannot be read, or the journal cannot be written.
    pub(super) fn adopt(
        &mut self,
        found: Found,
        start: Start,
        living: &[Living],
    ) -> io::Result<Decision> {
        if let Some(record) = self.claim(&found)? {
            return Ok(Decision::Read(Box::new(self.resume_as(record, found)?)));
        }
        for other in living {
            match copy_of(&found, other)? {
                CopyOf::Yes => return Ok(Decision::Copy),
                CopyOf::Perhaps => return Ok(Decision::Later),
                CopyOf::No => {}
            }
        }
        let place = match start {
            Start::Beginning => Place::beginning(),
            Start::End => Place::end(&found.file)?,
            Start::LastLines(count) => Place::last_lines(&found.file, count)?,
        };
        Ok(Decision::Read(Box::new(self.begin(found, place)?)))
    }

    /// Goes on with a known stream in the file that was found.
    fn resume_as(&mut self, record: StreamRecord, found: Found) -> io::Result<Adopted> {
        let places = self.resume(&record, &found)?;
        let record = StreamRecord {
            path: found.path.display().to_string(),
            dev: found.inode.dev,
            ino: found.inode.ino,
            head_len: found.head.len(),
            head_hash: found.head.hash(),
            seen: now_s(),
            ended: false,
            ..record
        };
        self.remember(found, record, places)
    }

    /// Makes a new stream of a file, whatever was known of it.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub(super) fn begin(&mut self, found: Found, place: Place) -> io::Result<Adopted> {
        let record = StreamRecord {
            source: self.source.to_string(),
            id: crate::random::id(),
            path: found.path.display().to_string(),
            dev: found.inode.dev,
            ino: found.inode.ino,
            head_len: found.head.len(),
            head_hash: found.head.hash(),
            seen: now_s(),
            ended: false,
        };
        let places = vec![place; self.sinks.len()];
        self.remember(found, record, places)
    }

    /// Journals a stream and where its cursors start, before its first line is sent.
    fn remember(
        &self,
        found: Found,
        record: StreamRecord,
        places: Vec<Place>,
    ) -> io::Result<Adopted> {
        self.checkpoints
            .register(vec![record.clone()], self.cursors(&record, &places))?;
        Ok(Adopted {
            found,
            record,
            places,
        })
    }

    /// Finds known streams that are not ended and whose files none of the paths in `named` has:
    /// they were renamed inside their folder, or copied there before they were truncated. Each
    /// comes with the named path that it was at, oldest first. Blocks.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub(super) fn adopt_moved(
        &mut self,
        named: &HashSet<PathBuf>,
    ) -> io::Result<Vec<(PathBuf, Adopted)>> {
        let known: Vec<StreamRecord> = self
            .by_inode
            .values()
            .flatten()
            .filter(|known| !known.ended)
            .cloned()
            .collect();
        let mut adopted = Vec::new();
        for record in known {
            let path = PathBuf::from(&record.path);
            let is_at = self.is_at(&record, &path)?;
            if is_at && named.contains(&path) {
                continue;
            }
            let found = if is_at {
                Found::look(&path).ok().flatten()
            } else {
                self.moved_to(&record, &path)?
            };
            if let Some(found) = found {
                self.remove(&record);
                let was_at = named_path(path, named);
                adopted.push((was_at, self.resume_as(record, found)?));
            } else if still_there(&record) {
                // Its inode holds something else now, and what it held is nowhere.
                self.remove(&record);
                let ended = StreamRecord {
                    ended: true,
                    ..record
                };
                self.checkpoints.register(vec![ended], Vec::new())?;
            }
        }
        adopted.sort_by_cached_key(|(_, adopted)| age_key(&adopted.found));
        Ok(adopted)
    }

    /// Known streams that had the file's inode and whose content it has not: each goes on in the
    /// copy that was made of it, or has ended. Blocks.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub(super) fn displaced(&mut self, found: &Found) -> io::Result<Vec<Adopted>> {
        let same_inode = self.by_inode.get(&found.inode).into_iter().flatten();
        let known: Vec<StreamRecord> = same_inode.filter(|it| !it.ended).cloned().collect();
        let mut adopted = Vec::new();
        for record in known {
            if self.is_continued(&record, found)? {
                continue;
            }
            self.remove(&record);
            let path = PathBuf::from(&record.path);
            match find_copy(&path, &record, &self.resume_places(&record)) {
                Some(copy) => adopted.push(self.resume_as(record, copy)?),
                None => {
                    let ended = StreamRecord {
                        ended: true,
                        ..record
                    };
                    self.checkpoints.register(vec![ended], Vec::new())?;
                }
            }
        }
        adopted.sort_by_cached_key(|adopted| age_key(&adopted.found));
        Ok(adopted)
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

    fn remove(&mut self, record: &StreamRecord) {
        if let Some(same) = self.by_inode.get_mut(&Inode::of_record(record)) {
            same.retain(|other| other.id != record.id);
        }
    }

    /// The known stream that this file continues: the same inode, the same beginning, and what was
    /// read of it unchanged.
    fn claim(&mut self, found: &Found) -> io::Result<Option<StreamRecord>> {
        let Some(known) = self.by_inode.get(&found.inode) else {
            return self.claim_by_path(found);
        };
        for (index, record) in known.iter().enumerate() {
            if self.is_continued(record, found)? {
                let same = self.by_inode.get_mut(&found.inode);
                return Ok(same.map(|same| same.swap_remove(index)));
            }
        }
        if let Some(known) = known.first() {
            info!(
                source = %self.source, path = %found.path.display(), ino = found.inode.ino,
                known_path = known.path, known_head_len = known.head_len,
                known_head_hash = known.head_hash, head_len = found.head.len(),
                head_hash = found.head.hash(), len = found.len,
                "another file has the inode of a known one: it is read from its start"
            );
        }
        Ok(None)
    }

    /// Device numbers change over a reboot and restores change inodes: then path and content decide
    /// together. Content alone never suffices, many files begin alike.
    fn claim_by_path(&mut self, found: &Found) -> io::Result<Option<StreamRecord>> {
        let path = found.path.display().to_string();
        let same_path = |it: &&StreamRecord| it.path == path && it.head_len > 0;
        let known = self.by_inode.values().flatten().filter(same_path);
        for record in known {
            let read = self.resume_places(record).iter().any(|it| it.offset > 0);
            if read && !still_there(record) && self.is_continued(record, found)? {
                let record = record.clone();
                self.remove(&record);
                return Ok(Some(record));
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
        let positions = self.checkpoints.positions(&record.source, &record.id);
        let places = positions.iter();
        places
            .filter_map(|(_, at)| Place::from_position(at))
            .collect()
    }

    /// Each sink's place in a known stream. A sink that is new to it starts where the others are.
    fn resume(&self, record: &StreamRecord, found: &Found) -> io::Result<Vec<Place>> {
        let known = self.checkpoints.positions(&record.source, &record.id);
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
        Ok(self.sinks.iter().map(start).collect())
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
            stream: StreamKey::new(record.id.as_str()),
            sink: Arc::clone(sink),
        }
    }
}

/// True where a known stream's own file is still at its path.
fn still_there(known: &StreamRecord) -> bool {
    Path::new(&known.path)
        .metadata()
        .is_ok_and(|there| there.dev() == known.dev && there.ino() == known.ino)
}

/// The time, in seconds since 1970.
pub(super) fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
