//! A file as it was found at a path: opened, and looked at.

use std::fs::{File, Metadata};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::identity::Head;
use super::packed::packing_of;
use super::{Inode, open};
use crate::checkpoint::StreamRecord;
use crate::framing::Packing;
use crate::model::StreamKey;
use crate::outputs::OwnFiles;

/// A change that is older than a record by less than this may have been missed in it.
pub(super) const SEEN_SLACK_S: u64 = 2;

/// A file as it was found at a path.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) file: Arc<File>,
    pub(super) inode: Inode,
    /// See [`born_of`].
    pub(super) born: Option<NonZeroU64>,
    pub(super) len: u64,
    /// When it was last written to.
    pub(super) modified: SystemTime,
    pub(super) head: Head,
    /// How it is compressed, if it is.
    pub(super) packing: Option<Packing>,
}

/// The length of a compressed file's content before it was read to its end.
pub(super) const UNKNOWN_LEN: u64 = u64::MAX;

impl Found {
    /// Bytes of content, as far as that is known.
    pub(super) fn content_len(&self) -> u64 {
        self.packing.map_or(self.len, |_| UNKNOWN_LEN)
    }

    /// Opens and looks; `None` for what is not a regular file. Blocks.
    pub(super) fn look(path: &Path) -> io::Result<Option<Self>> {
        Self::of(Arc::new(open(path)?), path)
    }

    /// Looks at an open file, wherever it is now; `None` for what is not a regular file. Blocks.
    pub(super) fn of(file: Arc<File>, path: &Path) -> io::Result<Option<Self>> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(None);
        }
        let head = Head::read(&file)?;
        let packing = packing_of(&file)?;
        let inode = Inode {
            dev: metadata.dev(),
            ino: metadata.ino(),
        };
        let path = path.to_owned();
        Ok(Some(Self {
            path,
            file,
            inode,
            born: born_of(&metadata),
            len: metadata.len(),
            modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            head,
            packing,
        }))
    }

    /// True where a path names it now. Blocks.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        path.metadata()
            .is_ok_and(|it| Inode::of_metadata(&it) == self.inode)
    }

    /// True where its inode was made after that of a known file, which it may look like: that one was
    /// deleted. A file that a backup brought back is told by its time, which is older than its inode:
    /// it goes on where its content is that of the known one.
    pub(super) fn is_reborn(&self, known: &StreamRecord) -> bool {
        let (Some(born), Some(known_born)) = (self.born, known.born) else {
            return false;
        };
        let is_brought_back = self.modified < UNIX_EPOCH + Duration::from_nanos(born.get());
        born != known_born && (known.head_len == 0 || !is_brought_back)
    }

    /// True where this process writes the file itself. Blocks.
    pub(super) fn is_own(&self, own: &OwnFiles) -> bool {
        own.contain(&self.path, (self.inode.dev, self.inode.ino))
    }
}

/// True where a known stream's own file is still at its path.
pub(super) fn still_there(known: &StreamRecord) -> bool {
    Path::new(&*known.path)
        .metadata()
        .is_ok_and(|there| there.dev() == known.dev && there.ino() == known.ino)
}

/// True where a known file's path names another one, to which its inode was given when it was gone.
/// Blocks.
pub(super) fn is_reborn(known: &StreamRecord) -> bool {
    let now = Path::new(&*known.path).metadata();
    now.is_ok_and(|it| {
        let born = born_of(&it);
        let is_same = Inode::of_metadata(&it) == Inode::of_record(known);
        is_same && born.is_some() && known.born.is_some() && born != known.born
    })
}

/// When a record was made or last confirmed, with some slack: what was rotated away before that is
/// older than its stream, or known itself.
pub(super) fn noted_at(record: &StreamRecord) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(record.seen.saturating_sub(SEEN_SLACK_S))
}

/// When a file's inode was made, in nanoseconds since 1970; `None` where the file system does not
/// tell.
pub(super) fn born_of(metadata: &Metadata) -> Option<NonZeroU64> {
    let born = metadata.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
    NonZeroU64::new(u64::try_from(born.as_nanos()).ok()?)
}

/// The stream that a record speaks of.
pub(super) fn key_of(record: &StreamRecord) -> StreamKey {
    StreamKey::new(Arc::clone(&record.id))
}

/// The time, in seconds since 1970.
pub(super) fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
