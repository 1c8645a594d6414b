//! Looking at many paths in one go: what each of them names, as far as it can be told by itself.
//!
//! Of 100,000 known files nearly all are as they were: for those a `stat` is all that is done.

use std::collections::HashSet;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use foldhash::HashMap as QuickMap;

use super::adopt::{Decision, Registry, Rotated};
use super::discover::{Match, was_renamed};
use super::found::Found;
use super::generation::GenerationId;
use super::resting::Resting;
use super::since::Since;
use super::{Inode, Start};
use crate::checkpoint::StreamRecord;
use crate::outputs::OwnFiles;

/// What a path names.
#[derive(Debug)]
pub(super) enum Examined {
    /// A known file at whose end every sink stands.
    Asleep {
        record: Arc<StreamRecord>,
        places: Resting,
        len: u64,
        doubtful: bool,
    },
    /// Another file than the one that was listed there: that one was renamed since.
    Moved,
    /// A file that a generation of this process has.
    Known,
    /// A file to decide on, and the copies of those that had its inode before.
    Taken {
        displaced: Vec<Rotated>,
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
    pub(super) living: QuickMap<Inode, GenerationId>,
    /// What this process writes.
    pub(super) own: Arc<OwnFiles>,
    pub(super) origins: Origins,
}

/// Where files are read from that were never seen.
#[derive(Clone, Debug)]
pub(super) struct Origins {
    pub(super) start: Start,
    pub(super) since: Option<Since>,
    pub(super) ignore_older: Option<Duration>,
    /// True at the first look of a process.
    pub(super) is_first: bool,
}

/// A path, and what the system says of what it names.
pub(super) type Stated = (Match, io::Result<Metadata>);

/// Asks the system about paths. Blocks.
pub(super) fn stat_all(candidates: Vec<Match>) -> Vec<Stated> {
    let stated = candidates.into_iter().map(|candidate| {
        let metadata = candidate.path.metadata();
        (candidate, metadata)
    });
    stated.collect()
}

/// Looks at paths that nothing is known of in this process. Blocks.
pub(super) fn examine_all(
    registry: &mut Registry,
    sight: &Sight,
    candidates: Vec<Stated>,
) -> Vec<(Match, Option<PathBuf>, Examined)> {
    let own = sight.own.inodes();
    // Two names of one file that are both new.
    let mut taken = HashSet::new();
    let examined = candidates.into_iter().map(|(candidate, metadata)| {
        let looked =
            metadata.and_then(|it| examine(registry, sight, (&own, &mut taken), (&candidate, &it)));
        match looked {
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
    (own, taken): (&HashSet<(u64, u64)>, &mut HashSet<Inode>),
    (candidate, metadata): (&Match, &Metadata),
) -> io::Result<(Inode, Examined)> {
    let path = &*candidate.path;
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
    if !is_living && let Some((record, places, doubtful)) = registry.asleep(path, inode, metadata) {
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
    if !is_living && registry.is_copy(inode, (metadata.len(), metadata.modified()?)) {
        let examined = Examined::Taken {
            displaced: Vec::new(),
            decision: Decision::Copy,
        };
        return Ok((inode, examined));
    }
    let Some(found) = Found::look(path)? else {
        return Ok((inode, Examined::NotAFile));
    };
    if sight.living.contains_key(&found.inode) || !taken.insert(found.inode) {
        return Ok((found.inode, Examined::Known));
    }
    let inode = found.inode;
    if sight.origins.is_first && was_renamed(candidate) {
        return Ok((inode, Examined::Moved));
    }
    let displaced = registry.displaced(&found, &sight.living)?;
    let start = sight.origins.start_of(&found, registry)?;
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
    target.filter(|target| **target != *candidate.path)
}

impl Origins {
    /// Where a file is read from that was never seen: one that is older than `ignore_older` at its
    /// end. But one whose path had a known file before goes on where that one ended, at its first
    /// byte. Blocks.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn start_of(&self, found: &Found, registry: &mut Registry) -> io::Result<Start> {
        let is_whole = self.start == Start::Beginning && self.ignore_older.is_none();
        if is_whole || self.is_first && registry.knew(&found.path) {
            return Ok(Start::Beginning);
        }
        let old = |older: Duration| {
            let age = SystemTime::now().duration_since(found.modified);
            age.is_ok_and(|age| age > older)
        };
        if self.ignore_older.is_some_and(old) {
            return Ok(Start::End);
        }
        match (self.start, &self.since) {
            (Start::Since(_) | Start::NotBefore(_), Some(since)) => since.start(found),
            _ => Ok(self.start),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::DirEntryExt as _;
    use std::path::Path;

    use super::*;
    use crate::checkpoint::Checkpoints;

    fn listed(path: &Path) -> Match {
        let mut entries = path.parent().unwrap().read_dir().unwrap();
        let entry = entries.find(|it| it.as_ref().unwrap().path() == path);
        Match {
            path: path.into(),
            entry_ino: entry.unwrap().unwrap().ino(),
        }
    }

    fn examine_one(candidate: &Match, is_first: bool) -> Examined {
        let none = Checkpoints::none();
        let sinks = vec!["out".into()];
        let mut registry = Registry::new("app".into(), sinks, none, Duration::MAX);
        let sight = Sight {
            living: QuickMap::default(),
            own: Arc::new(OwnFiles::new("host")),
            origins: Origins {
                start: Start::Beginning,
                since: None,
                ignore_older: None,
                is_first,
            },
        };
        let mut examined = examine_all(&mut registry, &sight, stat_all(vec![candidate.clone()]));
        examined.pop().unwrap().2
    }

    // Regression. Scenario: a file of which something is unread is renamed between its listing and
    // its opening, in the first look of a process. Bug: the file that has its path now was taken in,
    // and the rest of the renamed one came behind it, or never where no process was started again.
    // Fix: what is not what was listed waits for another listing.
    #[test]
    fn another_file_than_the_listed_one_waits_for_the_next_listing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.log");
        std::fs::write(&path, "old\n").unwrap();
        let candidate = listed(&path);
        assert!(matches!(
            examine_one(&candidate, true),
            Examined::Taken { .. }
        ));

        std::fs::rename(&path, dir.path().join("app.log.1")).unwrap();
        std::fs::write(&path, "new\n").unwrap();

        assert!(matches!(examine_one(&candidate, true), Examined::Moved));
        let later = examine_one(&candidate, false);
        assert!(matches!(later, Examined::Taken { .. }), "{later:?}");
        assert!(matches!(
            examine_one(&listed(&path), true),
            Examined::Taken { .. }
        ));
    }
}
