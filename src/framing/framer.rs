//! Bytes in, lines out, as a source is configured: plainly at newlines, or by [`RecordBuffer`].
//!
//! Pure: no I/O, no clock.

use std::time::Duration;

use super::grouping::Multiline;
use super::newline::{LineBuffer, Start, Taken};
use super::pool::Pool;
use super::records::{OpenRecord, RecordBuffer, RecordLimits, Recording};
use crate::model::StdStream;

/// How long a part of a container's line waits for the next one, where `multiline` does not say.
const PART_TIMEOUT: Duration = Duration::from_secs(1);

/// Makes lines of the bytes of one stream.
#[derive(Debug)]
pub enum Framer {
    /// Untouched bytes, cut at newlines only: the fast way.
    Lines(LineBuffer),
    /// Everything else.
    Records(Box<RecordBuffer>),
}

impl Recording {
    /// True where lines are nothing but what is between newlines.
    pub fn is_plain(&self) -> bool {
        self.charset.is_none() && self.container.is_none() && self.multiline == Multiline::Off
    }

    /// How long an unfinished record waits for more.
    pub fn timeout(&self) -> Duration {
        let limits = self.multiline.limits();
        limits.map_or(PART_TIMEOUT, |limits| limits.timeout)
    }
}

impl Framer {
    /// Makes an empty framer that stands at `start`.
    pub fn new(pool: Pool, start: Start, rules: &Recording, limits: RecordLimits) -> Self {
        if rules.is_plain() {
            let max = limits.line_bytes_max;
            return Self::Lines(LineBuffer::new(pool, start.offset, start.mid_line, max));
        }
        let records = RecordBuffer::new(pool, start, rules.clone(), limits);
        Self::Records(Box::new(records))
    }

    /// Free space to read into, never empty.
    pub fn spare(&mut self) -> &mut [u8] {
        match self {
            Self::Lines(lines) => lines.spare(),
            Self::Records(records) => records.spare(),
        }
    }

    /// Notes that `len` bytes were read into [`Framer::spare`].
    pub fn commit(&mut self, len: usize) {
        match self {
            Self::Lines(lines) => lines.commit(len),
            Self::Records(records) => records.commit(len),
        }
    }

    /// Copies bytes in; for sources that do not read into [`Framer::spare`] themselves.
    pub fn extend(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let spare = self.spare();
            let len = spare.len().min(bytes.len());
            spare[..len].copy_from_slice(&bytes[..len]);
            self.commit(len);
            bytes = &bytes[len..];
        }
    }

    /// Stream offset of the next byte to read.
    pub fn read_offset(&self) -> u64 {
        match self {
            Self::Lines(lines) => lines.read_offset(),
            Self::Records(records) => records.read_offset(),
        }
    }

    /// Bytes held of a line that has no newline yet.
    pub fn held(&self) -> usize {
        match self {
            Self::Lines(lines) => lines.held(),
            Self::Records(records) => records.held(),
        }
    }

    /// Takes what is finished; `None` where nothing is and nothing was passed over.
    pub fn take(&mut self) -> Option<Taken> {
        match self {
            Self::Lines(lines) => lines.take(),
            Self::Records(records) => records.take(),
        }
    }

    /// Takes the unterminated last line as if it had its newline.
    pub fn take_unterminated(&mut self) -> Option<Taken> {
        match self {
            Self::Lines(lines) => lines.finish(),
            Self::Records(records) => records.take_unterminated(),
        }
    }

    /// Takes everything that is held, finished or not.
    pub fn finish(&mut self) -> Option<Taken> {
        match self {
            Self::Lines(lines) => lines.finish(),
            Self::Records(records) => records.finish(),
        }
    }

    /// The records that are not finished.
    pub fn open(&self) -> impl Iterator<Item = OpenRecord> {
        let records = match self {
            Self::Lines(_) => None,
            Self::Records(records) => Some(records.open()),
        };
        records.into_iter().flatten()
    }

    /// Finishes all records but what has no newline.
    pub fn close_all(&mut self) -> Option<Taken> {
        match self {
            Self::Lines(_) => None,
            Self::Records(records) => records.close_all(),
        }
    }

    /// Finishes the open record of one stream.
    pub fn close(&mut self, stream: StdStream) -> Option<Taken> {
        match self {
            Self::Lines(_) => None,
            Self::Records(records) => records.close(stream),
        }
    }

    /// Lines so far that were not in the format that they should have.
    pub fn take_unparsed(&mut self) -> u64 {
        match self {
            Self::Lines(_) => 0,
            Self::Records(records) => records.take_unparsed(),
        }
    }
}
