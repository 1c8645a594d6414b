//! Where reading of a stream stands, and whose place it is.
//!
//! Pure: no I/O, no clock.

use std::fmt;
use std::sync::Arc;

use twox_hash::XxHash3_64;

/// How many bytes before an offset its guard covers, at most.
pub const GUARD_BYTES: usize = 256;

/// Hashes the bytes right before an offset (the last [`GUARD_BYTES`] of `before`).
///
/// The hash is part of the checkpoint format: XXH3-64 with seed 0.
pub fn guard_of(before: &[u8]) -> u64 {
    XxHash3_64::oneshot(&before[before.len().saturating_sub(GUARD_BYTES)..])
}

/// Names one stream that can be resumed on its own: a file generation's random id, a URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey(Arc<str>);

impl StreamKey {
    /// Wraps a name that is unique among the streams of one source.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name, shared.
    pub fn name(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A place in a stream up to which everything has been read (or, in a ledger, settled).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// A byte offset in a file generation.
    File {
        /// Bytes from the start of the generation.
        offset: u64,
        /// [`guard_of`] the bytes before `offset`, known when they were read.
        guard: u64,
        /// True where `offset` lies inside a line whose start was already delivered (cut at
        /// `max_line`): what follows up to the next newline is skipped.
        mid_line: bool,
        /// Lines behind `offset` that were taken before others in front of them; `None` where
        /// there are none, as nearly always.
        ahead: Option<Ahead>,
        /// Records behind `offset` that were taken: a sink owns a part of a chunk. `None` where it
        /// owns none, as mostly.
        begun: Option<Begun>,
    },
    /// A token that the server understands, and how many lines after it were already taken.
    Token {
        /// An SSE event id, an ETag and cursor, or a time.
        cursor: Arc<str>,
        /// Lines at `cursor` that were already taken.
        skip: u32,
    },
    /// A stream that cannot be resumed; it settles when a sink owns the lines.
    Live,
}

/// One of the two streams that a container writes, which its log file interleaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StdStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl StdStream {
    /// As container runtimes write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    /// The stream of that name.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            b"stdout" => Some(Self::Stdout),
            b"stderr" => Some(Self::Stderr),
            _ => None,
        }
    }
}

/// How far one stream of a container's log was taken while a record of the other one, further in
/// front, is not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// Which of the two.
    pub stream: StdStream,
    /// Its lines that begin before this offset were taken.
    pub offset: u64,
}

/// How far the records behind an offset were taken, by where they begin.
///
/// Reading starts at the offset again, so that records are made of the same bytes in the same way,
/// and passes over those that were taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    /// Those that begin before this offset; in a container's log those of standard output.
    pub stdout: u64,
    /// Of a container's standard error, those that begin before this offset.
    pub stderr: u64,
    /// How many they are.
    pub lines: u64,
}

impl Begun {
    /// True where a record of that stream that begins at `offset` was taken.
    pub fn has(&self, stream: Option<StdStream>, offset: u64) -> bool {
        offset
            < match stream {
                Some(StdStream::Stderr) => self.stderr,
                Some(StdStream::Stdout) | None => self.stdout,
            }
    }

    /// The same with a record of that stream, which begins at `offset`.
    pub fn with(mut self, stream: Option<StdStream>, offset: u64) -> Self {
        let place = match stream {
            Some(StdStream::Stderr) => &mut self.stderr,
            Some(StdStream::Stdout) | None => &mut self.stdout,
        };
        *place = (*place).max(offset + 1);
        self.lines += 1;
        self
    }

    /// The same with those of `next`, which stand behind these.
    pub fn then(self, next: Self) -> Self {
        Self {
            lines: self.lines + next.lines,
            ..self.or(next)
        }
    }

    /// What is left of it for reading that goes on at `offset`: no record behind begins before it.
    pub fn behind(self, offset: u64) -> Option<Self> {
        (offset < self.stdout.max(self.stderr)).then_some(self)
    }

    /// What either of the two has.
    pub fn or(self, other: Self) -> Self {
        Self {
            stdout: self.stdout.max(other.stdout),
            stderr: self.stderr.max(other.stderr),
            lines: self.lines.max(other.lines),
        }
    }
}

impl Position {
    /// The same position in a file once the records behind it are taken that `begun` names; `None`
    /// for one that cannot say so.
    pub fn with_begun(&self, begun: Begun) -> Option<Self> {
        match self {
            Self::File {
                offset,
                guard,
                mid_line,
                ahead,
                begun: before,
            } => Some(Self::File {
                offset: *offset,
                guard: *guard,
                mid_line: *mid_line,
                ahead: *ahead,
                begun: Some(before.map_or(begun, |before| before.or(begun))),
            }),
            Self::Token { .. } | Self::Live => None,
        }
    }
}

/// Whose position it is: one cursor per (source, stream, sink).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CursorKey {
    /// Configured name of the source.
    pub source: Arc<str>,
    /// The stream inside the source.
    pub stream: StreamKey,
    /// Configured name of the sink.
    pub sink: Arc<str>,
}

/// What encoders print about where a chunk came from, once per chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The label shown as `_source`: the source's name, or the file's label in `tail`.
    pub source: Arc<str>,
    /// The stream inside the source.
    pub stream: StreamKey,
    /// The file's path, shown as `_file`.
    pub path: Option<Arc<str>>,
    /// Configured labels, shown as `_labels`.
    pub labels: Arc<[(Arc<str>, Arc<str>)]>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guard_covers_the_last_256_bytes_only() {
        let mut long = vec![b'x'; 1000];
        let guard = guard_of(&long);

        long[0] = b'y';
        assert_eq!(guard_of(&long), guard);

        long[999] = b'y';
        assert_ne!(guard_of(&long), guard);
    }

    #[test]
    fn guard_is_a_stable_format() {
        assert_eq!(guard_of(b""), 0x2d06_8005_38d3_94c2);
    }
}
