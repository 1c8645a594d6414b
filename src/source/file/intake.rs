//! Looking at many paths in one go: what each of them names, as far as it can be told by itself.
//!
//! Of 100,000 known files nearly all are as they were: for those a `stat` is all that is done.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::adopt::{Adopted, Decision, Registry};
use super::discover::Match;
use super::found::Found;
use super::generation::GenerationId;
use super::since::Since;
use super::tail::Place;
use super::{Inode, Start};
use crate::checkpoint::StreamRecord;
use crate::outputs::OwnFiles;

/// What a path names.
#[derive(Debug)]
pub(super) enum Examined {
    /// A known file at whose end every sink stands.
    Asleep {
        record: Arc<StreamRecord>,
        places: Box<[Place]>,
        len: u64,
        doubtful: bool,
    },
    /// A file that a generation of this process has.
    Known,
    /// A file to decide on, and the copies of those that had its inode before.
    Taken {
        displaced: Vec<Adopted>,
        decision: Decision,
    },
    /// A file that this process writes itself.
    Own,
    /// A directory, a FIFO or a device.
    NotAFile,
    /// It cannot be read.
    Failed(io::Error),
}

/// What the source knows when it looks.
#[derive(Debug)]
pub(super) struct Sight {
    /// The generations of this process.
    pub(super) living: HashMap<Inode, GenerationId>,
    /// What this process writes.
    pub(super) own: Arc<OwnFiles>,
    pub(super) start: Start,
    pub(super) since: Option<Since>,
    pub(super) ignore_older: Option<Duration>,
}

/// Looks at paths that nothing is known of in this process. Blocks.
pub(super) fn examine_all(
    registry: &mut Registry,
    sight: &Sight,
    candidates: Vec<Match>,
) -> Vec<(Match, Option<PathBuf>, Examined)> {
    let own = sight.own.inodes();
    // Two names of one file that are both new.
    let mut taken = HashSet::new();
    let examined = candidates.into_iter().map(|candidate| {
        match examine(registry, sight, &own, &mut taken, &candidate.path) {
            Ok((inode, examined)) => {
                let alias = alias_of(&candidate, inode);
                (candidate, alias, examined)
            }
            Err(error) => (candidate, None, Examined::Failed(error)),
        }
    });
    examined.collect()
}

fn examine(
    registry: &mut Registry,
    sight: &Sight,
    own: &HashSet<(u64, u64)>,
    taken: &mut HashSet<Inode>,
    path: &Path,
) -> io::Result<(Inode, Examined)> {
    let metadata = path.metadata()?;
    let inode = Inode {
        dev: metadata.dev(),
        ino: metadata.ino(),
    };
    if !metadata.is_file() {
        return Ok((inode, Examined::NotAFile));
    }
    let id = (inode.dev, inode.ino);
    if own.contains(&id) || sight.own.name(path) || sight.own.have_noted(path, id) {
        return Ok((inode, Examined::Own));
    }
    let is_living = sight.living.contains_key(&inode) || taken.contains(&inode);
    if !is_living {
        let changed_s = u64::try_from(metadata.ctime()).unwrap_or(0);
        let state = (metadata.len(), changed_s);
        if let Some((record, places, doubtful)) = registry.asleep(path, inode, state) {
            taken.insert(inode);
            let len = metadata.len();
            let asleep = Examined::Asleep {
                record,
                places,
                len,
                doubtful,
            };
            return Ok((inode, asleep));
        }
    }
    let Some(found) = Found::look(path)? else {
        return Ok((inode, Examined::NotAFile));
    };
    if sight.living.contains_key(&found.inode) || !taken.insert(found.inode) {
        return Ok((found.inode, Examined::Known));
    }
    let inode = found.inode;
    let displaced = registry.displaced(&found, &sight.living)?;
    let since = sight.since.as_ref();
    let start = first_start(sight.start, since, sight.ignore_older, &found)?;
    let decision = registry.adopt(found, start, &[])?;
    let taken = Examined::Taken {
        displaced,
        decision,
    };
    Ok((inode, taken))
}

/// What events call a file that is named through a symbolic link, since they come from the directory
/// that it lies in. Blocks.
pub(super) fn alias_of(candidate: &Match, inode: Inode) -> Option<PathBuf> {
    let linked = candidate.entry_ino != 0 && candidate.entry_ino != inode.ino;
    let target = linked.then(|| candidate.path.canonicalize().ok()).flatten();
    target.filter(|target| *target != candidate.path)
}

/// Where a file is read from that was never seen: one that is older than `ignore_older` at its end.
/// Blocks.
///
/// # Errors
/// The file cannot be read.
pub(super) fn first_start(
    start: Start,
    since: Option<&Since>,
    ignore_older: Option<Duration>,
    found: &Found,
) -> io::Result<Start> {
    let old = |older: Duration| {
        let age = SystemTime::now().duration_since(found.modified);
        age.is_ok_and(|age| age > older)
    };
    if ignore_older.is_some_and(old) {
        return Ok(Start::End);
    }
    match (start, since) {
        (Start::Since(_) | Start::NotBefore(_), Some(since)) => since.start(found),
        _ => Ok(start),
    }
}
