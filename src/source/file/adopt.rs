//! Deciding what a file is when it is first seen at a path: one that is known from before, or a new
//! one, and where each sink's reading of it starts.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::{info, warn};

use super::discover::find_inode;
use super::identity::{Head, holds};
use super::tail::Place;
use super::{Inode, Start, open};
use crate::checkpoint::{Checkpoints, CursorRecord, StreamRecord, to_record};
use crate::model::{CursorKey, StreamKey};

/// A file as it was found at a path.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) file: Arc<File>,
    pub(super) inode: Inode,
    pub(super) len: u64,
    pub(super) head: Head,
}

impl Found {
    /// Opens and looks; `None` for what is not a regular file. Blocks.
    pub(super) fn look(path: &Path) -> io::Result<Option<Self>> {
        let file = open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(None);
        }
        let head = Head::read(&file)?;
        let inode = Inode {
            dev: metadata.dev(),
            ino: metadata.ino(),
        };
        let path = path.to_owned();
        Ok(Some(Self {
            path,
            file: Arc::new(file),
            inode,
            len: metadata.len(),
            head,
        }))
    }
}

/// What a found file turned out to be.
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
    by_inode: HashMap<Inode, StreamRecord>,
}

impl Registry {
    pub(super) fn new(source: Arc<str>, sinks: Vec<Arc<str>>, checkpoints: Checkpoints) -> Self {
        let known = checkpoints
            .streams(&source)
            .into_iter()
            .filter(|stream| !stream.ended);
        let by_inode = known.map(|stream| (inode_of(&stream), stream)).collect();
        Self {
            source,
            sinks,
            checkpoints,
            by_inode,
        }
    }

    /// Decides what a file is, and remembers it before its first line is sent. Blocks.
    ///
    /// # Errors
    /// The file cannot be read, or the journal cannot be written.
    pub(super) fn adopt(&mut self, found: Found, start: Start) -> io::Result<Adopted> {
        if let Some(record) = self.claim(&found)? {
            let places = self.resume(&record, &found)?;
            let record = StreamRecord {
                path: found.path.display().to_string(),
                dev: found.inode.dev,
                ino: found.inode.ino,
                head_len: found.head.len(),
                head_hash: found.head.hash(),
                seen: now_s(),
                ..record
            };
            self.checkpoints
                .register(vec![record.clone()], self.cursors(&record, &places))?;
            return Ok(Adopted {
                found,
                record,
                places,
            });
        }
        let place = match start {
            Start::Beginning => Place::beginning(),
            Start::End => Place::end(&found.file)?,
            Start::LastLines(count) => Place::last_lines(&found.file, count)?,
        };
        self.begin(found, place)
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
        self.checkpoints
            .register(vec![record.clone()], self.cursors(&record, &places))?;
        Ok(Adopted {
            found,
            record,
            places,
        })
    }

    /// Finds known streams that were renamed inside their folder while nobody watched, each with
    /// the path that it was known by. Blocks.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub(super) fn adopt_moved(&mut self) -> io::Result<Vec<(PathBuf, Adopted)>> {
        let moved: Vec<StreamRecord> = self
            .by_inode
            .values()
            .filter(|known| !still_there(known))
            .cloned()
            .collect();
        let mut adopted = Vec::new();
        for known in moved {
            let old_path = PathBuf::from(&known.path);
            let dir = old_path.parent().unwrap_or(Path::new("/"));
            let Some(path) = find_inode(dir, known.dev, known.ino) else {
                continue;
            };
            // A file that cannot be read is left for the next start.
            let Ok(Some(found)) = Found::look(&path) else {
                continue;
            };
            if self.is_continued(&known, &found)? {
                adopted.push((old_path, self.adopt(found, Start::Beginning)?));
            }
        }
        Ok(adopted)
    }

    /// The known stream that this file continues.
    fn claim(&mut self, found: &Found) -> io::Result<Option<StreamRecord>> {
        if let Some(known) = self.by_inode.get(&found.inode) {
            if self.is_continued(known, found)? {
                return Ok(self.by_inode.remove(&found.inode));
            }
            warn!(
                source = %self.source, path = %found.path.display(), ino = found.inode.ino,
                known_path = known.path, known_head_len = known.head_len,
                known_head_hash = known.head_hash, head_len = found.head.len(),
                head_hash = found.head.hash(), len = found.len,
                "another file has the inode of a known one: it is read from its start"
            );
            return Ok(None);
        }
        // Device numbers change over a reboot, and copies have other inodes: then the content
        // decides. Fingerprint alone never suffices, many files begin alike.
        let mut same = None;
        for known in self.by_inode.values().filter(|known| known.head_len > 0) {
            if found.head.continues(known) && self.is_continued(known, found)? {
                let gone = !still_there(known);
                if gone {
                    same = Some(inode_of(known));
                    break;
                }
            }
        }
        Ok(same.and_then(|inode| self.by_inode.remove(&inode)))
    }

    /// True where the file begins as the stream did and still holds what was read of it.
    fn is_continued(&self, known: &StreamRecord, found: &Found) -> io::Result<bool> {
        if !found.head.continues(known) {
            return Ok(false);
        }
        for (_, position) in self.checkpoints.positions(&known.source, &known.id) {
            if !holds(&found.file, found.len, &position)? {
                return Ok(false);
            }
        }
        Ok(true)
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

fn inode_of(record: &StreamRecord) -> Inode {
    Inode {
        dev: record.dev,
        ino: record.ino,
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
