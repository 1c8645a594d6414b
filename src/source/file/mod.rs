//! The file source: follows files by name through rotation and truncation.

use std::time::Duration;

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
    /// How long the handle of a renamed or deleted file is kept after its end was reached.
    pub rotate_grace: Duration,
    /// How long the position of a file that is gone is remembered.
    pub forget_after: Duration,
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
