//! The file source: follows files by name through rotation and truncation.
//!
//! `pattern` reads what is configured, `discover` finds the files that it names, `identity` tells which is which, `adopt`
//! decides whether a file is known, `intake` does so for many at once, `rotation` knows what rotation
//! does to names and copies. `follow` is the loop that owns all of them, `pump` moves lines of one
//! file into one sink's queue, `tail` is what one blocking read does and `place` where one starts,
//! `since` looks for a time, `watch` brings hints. Of compressed files, `packed` reads the content,
//! `input` does what `tail` does for others, `ending` judges how it ended, and `archive` does what `adopt` does.

mod adopt;
mod archive;
mod discover;
mod ending;
mod folders;
mod follow;
mod found;
mod generation;
mod identity;
mod input;
mod intake;
mod packed;
mod pattern;
mod place;
mod pump;
mod resting;
mod rotation;
mod since;
mod tail;
#[cfg(test)]
mod tests;
mod watch;

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use pattern::PatternError;

use super::{Common, SourceContext, SourceError};
use crate::checkpoint::StreamRecord;
use crate::framing::Charset;

/// Which files to read, and from where.
#[derive(Clone, Debug, PartialEq)]
pub struct FileConfig {
    /// Paths, globs and directories, as written. A directory means the regular files directly
    /// inside it, no dotfiles.
    pub paths: Vec<String>,
    /// Where reading of a file starts that is there when logweir first sees its path.
    pub start: Start,
    /// True to wait for more; false to end at the end of every file.
    pub follow: Follow,
    /// What the lines' `_source` is.
    pub label: Label,
    /// Names and paths that are left out although a pattern names them.
    pub exclude: Vec<String>,
    /// Files older than this at their first sight are read from their end.
    pub ignore_older: Option<Duration>,
    /// How changes are noticed.
    pub watch: WatchMode,
    /// How long the handle of a renamed or deleted file is kept after its end was reached.
    pub rotate_grace: Duration,
    /// How long the position of a file that is gone is remembered.
    pub forget_after: Duration,
    /// What its bytes mean; `None`: they stay as they are.
    pub charset: Option<Charset>,
    /// How long the last line waits for its newline while the file is quiet; `None`: as long as the
    /// file is at its path.
    pub partial: Option<Duration>,
}

/// Where reading of a file starts at its first sight; a saved position wins over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At byte 0.
    Beginning,
    /// At the end: only what is written from now on.
    End,
    /// At the last so many lines.
    LastLines(u64),
    /// At the first line whose time is not longer ago; a file that was not written to for so long at
    /// its end.
    Since(Duration),
    /// The same with the time itself, in nanoseconds since 1970.
    NotBefore(i64),
    /// At a byte: where one of these turned out to begin.
    At(u64),
}

/// How changes of files are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchMode {
    /// By events where the file system has them, by looking where it has not.
    Auto,
    /// By events, and by looking at files in turn.
    Events,
    /// By looking at every file once a second.
    Poll,
}

/// Whether a source goes on when it has read what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// It waits for more, for ever.
    Forever,
    /// It ends, in the order in which the files were named.
    UntilEnd,
}

/// What names the lines of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// The source's name.
    Source,
    /// The file's stem; equal stems get their folder's name in front.
    FileStem,
}

/// Reads the files until told to stop; with [`Follow::UntilEnd`], until each was read to its end.
pub(super) async fn run(
    common: Common,
    config: FileConfig,
    cx: SourceContext,
) -> Result<(), SourceError> {
    follow::FileSource::new(common, config, cx)?.run().await
}

/// The files that a source names now, in its order. Blocks.
pub fn files_of(config: &FileConfig) -> Vec<PathBuf> {
    let Ok(names) = pattern::Names::parse(&config.paths, &config.exclude) else {
        return Vec::new();
    };
    let found = discover::Scanner::new(std::sync::Arc::new(names)).look();
    let found = found.unwrap_or_default().into_iter();
    found.map(|it| it.path.to_path_buf()).collect()
}

/// True where a path, glob or directory can be understood.
///
/// # Errors
/// [`PatternError`] says what is wrong with it.
pub fn check_pattern(text: &str) -> Result<(), PatternError> {
    pattern::Pattern::parse(text).map(drop)
}

/// True where a glob of files to leave out can be understood.
///
/// # Errors
/// [`PatternError`] says what is wrong with it.
pub fn check_exclude(text: &str) -> Result<(), PatternError> {
    pattern::Exclude::parse(&[text.to_owned()]).map(drop)
}

/// A file's device and inode number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Inode {
    dev: u64,
    ino: u64,
}

impl Inode {
    fn of_record(record: &StreamRecord) -> Self {
        Self {
            dev: record.dev,
            ino: record.ino,
        }
    }

    fn of(file: &File) -> io::Result<Self> {
        Ok(Self::of_metadata(&file.metadata()?))
    }

    fn of_metadata(metadata: &Metadata) -> Self {
        Self {
            dev: metadata.dev(),
            ino: metadata.ino(),
        }
    }
}

/// Opens a file for reading. Opening a FIFO that nobody writes to must not hang.
fn open(path: &Path) -> io::Result<File> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits();
    let flags = i32::try_from(nonblocking).expect("an open(2) flag");
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}
