//! Raw bytes in, raw lines out, in the charset's units: what the records of a source are made of.
//!
//! Pure: no I/O, no clock.

use std::ops::Range;

use super::charset::Unit;
use super::pool::{Buffer, Pool};

/// Collects bytes of one stream and cuts them into lines, one at a time.
///
/// Invariants: `buffer[..filled]` starts at stream offset `base`, which is a unit's start;
/// `buffer[..at]` is done with, and no newline starts in `buffer[at..scanned]`.
#[derive(Debug)]
pub(super) struct Splitter {
    pool: Pool,
    buffer: Buffer,
    filled: usize,
    at: usize,
    scanned: usize,
    base: u64,
    skipping: bool,
    unit: Unit,
    line_bytes_max: usize,
}

/// One raw line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawLine {
    /// Where its bytes are, without the newline.
    range: Range<usize>,
    /// Offset of its first byte in the stream.
    pub(super) start: u64,
    /// Offset after it.
    pub(super) end: u64,
    /// True where bytes are missing at its end.
    pub(super) cut: bool,
}

impl Splitter {
    /// Stands at stream offset `base`; with `mid_line` everything up to the next newline is passed
    /// over first. A line of more than `line_bytes_max` bytes is cut.
    pub(super) fn new(
        pool: Pool,
        (base, mid_line): (u64, bool),
        unit: Unit,
        line_bytes_max: usize,
    ) -> Self {
        Self {
            pool,
            buffer: Buffer::Empty,
            filled: 0,
            at: 0,
            scanned: 0,
            base: unit.align(base),
            skipping: mid_line,
            unit,
            line_bytes_max: line_bytes_max.next_multiple_of(unit.bytes()),
        }
    }

    pub(super) fn spare(&mut self) -> &mut [u8] {
        if self.buffer.is_empty() {
            self.buffer = self.pool.take();
        } else if self.filled == self.buffer.len() {
            // A line longer than the buffer: bounded, since it is cut at `line_bytes_max`.
            self.buffer.grow(self.buffer.len() * 2);
        }
        &mut self.buffer[self.filled..]
    }

    pub(super) fn commit(&mut self, len: usize) {
        debug_assert!(self.filled + len <= self.buffer.len());
        self.filled += len;
    }

    pub(super) fn read_offset(&self) -> u64 {
        self.base + self.filled as u64
    }

    /// Offset of the first byte that is not done with.
    pub(super) fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// Bytes held that are no whole line.
    pub(super) fn held(&self) -> usize {
        self.filled - self.at
    }

    /// True inside a line that was cut.
    pub(super) fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// The bytes of a line, until [`Splitter::compact`] is called.
    pub(super) fn bytes(&self, line: &RawLine) -> &[u8] {
        &self.buffer[line.range.clone()]
    }

    /// The next line; `None` where there is no whole one.
    pub(super) fn next(&mut self) -> Option<RawLine> {
        if self.skipping {
            self.skip_to_newline();
            if self.skipping {
                return None;
            }
        }
        let found = self
            .unit
            .find_newline(&self.buffer[self.scanned..self.filled]);
        let Some(newline) = found.map(|at| self.scanned + at) else {
            self.scanned = self.aligned(self.filled);
            return self.cut_overlong();
        };
        let cut = newline - self.at > self.line_bytes_max;
        let stop = if cut {
            self.at + self.line_bytes_max
        } else {
            newline
        };
        Some(self.take(stop, newline + self.unit.bytes(), cut))
    }

    /// Takes what is left as a line that has no newline.
    pub(super) fn finish(&mut self) -> Option<RawLine> {
        if self.skipping || self.held() == 0 {
            return None;
        }
        let filled = self.filled;
        Some(self.take(filled, filled, false))
    }

    /// Makes room: bytes that are done with go.
    pub(super) fn compact(&mut self) {
        self.buffer.copy_within(self.at..self.filled, 0);
        self.base += self.at as u64;
        self.filled -= self.at;
        self.scanned -= self.at;
        self.at = 0;
        if self.filled == 0 {
            self.pool.put(std::mem::take(&mut self.buffer));
        }
    }

    fn take(&mut self, stop: usize, next: usize, cut: bool) -> RawLine {
        let line = RawLine {
            range: self.at..stop,
            start: self.base + self.at as u64,
            end: self.base + next as u64,
            cut,
        };
        self.at = next;
        self.scanned = next;
        line
    }

    /// A line whose newline has not come yet; its rest will be passed over.
    fn cut_overlong(&mut self) -> Option<RawLine> {
        if self.held() <= self.line_bytes_max {
            return None;
        }
        self.skipping = true;
        let next = self.aligned(self.filled);
        Some(self.take(self.at + self.line_bytes_max, next, true))
    }

    fn skip_to_newline(&mut self) {
        let next = match self.unit.find_newline(&self.buffer[self.at..self.filled]) {
            Some(newline) => {
                self.skipping = false;
                self.at + newline + self.unit.bytes()
            }
            None => self.aligned(self.filled),
        };
        self.at = next;
        self.scanned = next;
    }

    /// The last start of a unit in the buffer, up to `index`. `base` is one itself.
    fn aligned(&self, index: usize) -> usize {
        index - index % self.unit.bytes()
    }
}

impl Drop for Splitter {
    fn drop(&mut self) {
        self.pool.put(std::mem::take(&mut self.buffer));
    }
}
