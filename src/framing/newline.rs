//! Newline framing over a reusable buffer. Each byte is scanned once for newlines, and a short read
//! is forwarded at once.
//!
//! Pure: no I/O, no clock.

use std::sync::Arc;

use bytes::Bytes;
use memchr::{memchr, memchr_iter, memrchr};

use super::pool::{Buffer, CHUNK_BYTES, Pool};
use crate::model::{Ahead, Lines, Record};

/// Lines that fill less of their buffer than this are copied out, so that they do not pin the rest;
/// more share it.
pub const SHARED_ABOVE_BYTES: usize = CHUNK_BYTES / 4;

/// Collects bytes of one stream and cuts them into whole lines.
///
/// Invariants: `buffer[..filled]` starts at stream offset `base`, and `buffer[..scanned]` holds no
/// newline. While `skipping`, nothing is held between calls.
#[derive(Debug)]
pub struct LineBuffer {
    pool: Pool,
    buffer: Buffer,
    filled: usize,
    scanned: usize,
    base: u64,
    skipping: bool,
    line_bytes_max: usize,
}

/// What [`LineBuffer::take`] found, and where the stream stands after it.
#[derive(Debug)]
pub struct Taken {
    /// Whole lines; `None` where only the rest of an overlong line was passed over.
    pub lines: Option<Lines>,
    /// Stream offset after what was taken.
    pub end: u64,
    /// True where `end` lies inside a line that was cut; its rest will be passed over.
    pub mid_line: bool,
    /// Lines behind `end` that were taken nevertheless.
    pub ahead: Option<Ahead>,
}

/// Where a stream is taken up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// In bytes.
    pub offset: u64,
    /// True inside a line whose rest is passed over.
    pub mid_line: bool,
    /// Lines behind `offset` that were taken already.
    pub ahead: Option<Ahead>,
}

impl LineBuffer {
    /// Makes an empty buffer that stands at stream offset `base`. With `mid_line`, everything up to
    /// the next newline is passed over first. A line longer than `line_bytes_max` bytes is cut.
    pub fn new(pool: Pool, base: u64, mid_line: bool, line_bytes_max: usize) -> Self {
        Self {
            pool,
            buffer: Buffer::Empty,
            filled: 0,
            scanned: 0,
            base,
            skipping: mid_line,
            line_bytes_max,
        }
    }

    /// Free space to read into, never empty.
    pub fn spare(&mut self) -> &mut [u8] {
        if self.buffer.is_empty() {
            self.buffer = self.pool.take();
        } else if self.filled == self.buffer.len() {
            // A line longer than the buffer: bounded, since `take` cuts it at `line_bytes_max`.
            self.buffer.grow(self.buffer.len() * 2);
        }
        &mut self.buffer[self.filled..]
    }

    /// Notes that `len` bytes were read into [`LineBuffer::spare`].
    pub fn commit(&mut self, len: usize) {
        debug_assert!(self.filled + len <= self.buffer.len());
        self.filled += len;
    }

    /// Copies bytes in; for sources that do not read into [`LineBuffer::spare`] themselves.
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
        self.base + self.filled as u64
    }

    /// Bytes held of a line that has no newline yet.
    pub fn held(&self) -> usize {
        self.filled
    }

    /// Takes every whole line; `None` where there is none and nothing was passed over.
    pub fn take(&mut self) -> Option<Taken> {
        let passed_over = self.skipping && self.skip_to_newline();
        if self.skipping {
            return passed_over.then(|| self.taken(None));
        }
        match memrchr(b'\n', &self.buffer[self.scanned..self.filled]) {
            Some(at) => {
                let lines = self.cut(self.scanned + at + 1);
                Some(self.taken(Some(lines)))
            }
            None if self.filled > self.line_bytes_max => {
                let lines = self.cut_overlong();
                Some(self.taken(Some(lines)))
            }
            None => {
                self.scanned = self.filled;
                passed_over.then(|| self.taken(None))
            }
        }
    }

    /// Takes the unterminated rest as a line of its own, with a newline added.
    pub fn finish(&mut self) -> Option<Taken> {
        if self.filled == 0 {
            return None;
        }
        let record = Record {
            end: 0,
            offset: self.base,
            truncated: false,
            ..Record::default()
        };
        let mut bytes = self.buffer[..self.filled].to_vec();
        bytes.push(b'\n');
        let end = index(bytes.len());
        self.consume(self.filled);
        let lines = Lines::from_records(bytes.into(), Arc::new([Record { end, ..record }]));
        Some(self.taken(Some(lines)))
    }

    fn taken(&self, lines: Option<Lines>) -> Taken {
        let end = if self.skipping {
            self.read_offset()
        } else {
            self.base
        };
        Taken {
            lines,
            end,
            mid_line: self.skipping,
            ahead: None,
        }
    }

    /// Passes over bytes up to and including the next newline; false where there were none.
    fn skip_to_newline(&mut self) -> bool {
        let held = self.filled;
        match memchr(b'\n', &self.buffer[..held]) {
            Some(newline) => {
                self.skipping = false;
                self.consume(newline + 1);
            }
            None => self.consume(held),
        }
        held > 0
    }

    /// Hands out `buffer[..end]`, which ends with a newline.
    fn cut(&mut self, end: usize) -> Lines {
        let region = &self.buffer[..end];
        let fits =
            end <= self.line_bytes_max + 1 || self.longest_line(region) <= self.line_bytes_max;
        if !fits {
            let lines = self.cut_long_lines(end);
            self.consume(end);
            return lines;
        }
        let count = index(memchr_iter(b'\n', region).count());
        let base = self.base;
        if end < SHARED_ABOVE_BYTES {
            let bytes = Bytes::copy_from_slice(region);
            self.consume(end);
            return Lines::untouched(bytes, count, base);
        }
        let mut next = Buffer::Empty;
        let carry = self.filled - end;
        if carry > 0 {
            next = self.pool.take();
            next.grow(carry);
            next[..carry].copy_from_slice(&self.buffer[end..self.filled]);
        }
        let full = std::mem::replace(&mut self.buffer, next);
        self.filled = carry;
        self.scanned = 0;
        self.base += end as u64;
        let bytes = self.pool.share(full, end);
        Lines::untouched(bytes, count, base)
    }

    fn longest_line(&self, region: &[u8]) -> usize {
        let mut start = 0;
        let mut longest = 0;
        for newline in memchr_iter(b'\n', region) {
            longest = longest.max(newline - start);
            start = newline + 1;
        }
        longest
    }

    /// Copies `buffer[..end]` out with every overlong line cut and marked.
    fn cut_long_lines(&self, end: usize) -> Lines {
        let mut bytes = Vec::with_capacity(end.min(CHUNK_BYTES));
        let mut records = Vec::new();
        let mut start = 0;
        for newline in memchr_iter(b'\n', &self.buffer[..end]) {
            let truncated = newline - start > self.line_bytes_max;
            let stop = if truncated {
                start + self.line_bytes_max
            } else {
                newline
            };
            bytes.extend_from_slice(&self.buffer[start..stop]);
            bytes.push(b'\n');
            let offset = self.base + start as u64;
            records.push(Record {
                end: index(bytes.len()),
                offset,
                truncated,
                ..Record::default()
            });
            start = newline + 1;
        }
        Lines::from_records(bytes.into(), records.into())
    }

    /// Cuts a line whose newline has not come yet; its rest will be passed over.
    fn cut_overlong(&mut self) -> Lines {
        let mut bytes = Vec::with_capacity(self.line_bytes_max + 1);
        bytes.extend_from_slice(&self.buffer[..self.line_bytes_max]);
        bytes.push(b'\n');
        let record = Record {
            end: index(bytes.len()),
            offset: self.base,
            truncated: true,
            ..Record::default()
        };
        self.skipping = true;
        self.consume(self.filled);
        Lines::from_records(bytes.into(), Arc::new([record]))
    }

    /// Drops the first `len` bytes.
    fn consume(&mut self, len: usize) {
        self.buffer.copy_within(len..self.filled, 0);
        self.filled -= len;
        self.scanned = 0;
        self.base += len as u64;
        if self.filled == 0 {
            self.pool.put(std::mem::take(&mut self.buffer));
        }
    }
}

impl Drop for LineBuffer {
    fn drop(&mut self) {
        self.pool.put(std::mem::take(&mut self.buffer));
    }
}

pub(super) fn index(len: usize) -> u32 {
    u32::try_from(len).expect("a chunk is smaller than 4 GiB")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn buffer(line_bytes_max: usize) -> LineBuffer {
        LineBuffer::new(Pool::default(), 0, false, line_bytes_max)
    }

    /// Every line as (text, offset, truncated), and the final (end, mid_line).
    type Cut = (Vec<(Vec<u8>, u64, bool)>, Option<(u64, bool)>);

    fn feed(mut buffer: LineBuffer, parts: &[&[u8]]) -> Cut {
        let (mut lines, mut end) = (Vec::new(), None);
        for part in parts {
            buffer.extend(part);
            while let Some(taken) = buffer.take() {
                end = Some((taken.end, taken.mid_line));
                for line in taken.lines.iter().flat_map(Lines::iter) {
                    lines.push((line.text.to_vec(), line.offset, line.truncated));
                }
            }
        }
        (lines, end)
    }

    fn line(text: &[u8], offset: u64) -> (Vec<u8>, u64, bool) {
        (text.to_vec(), offset, false)
    }

    #[test]
    fn carriage_return_is_kept() {
        let (lines, end) = feed(buffer(1024), &[b"one\r\ntwo"]);

        assert_eq!(lines, [line(b"one\r", 0)]);
        assert_eq!(end, Some((5, false)));
    }

    #[test]
    fn a_partial_line_waits_for_its_newline() {
        let (lines, end) = feed(buffer(1024), &[b"one", b"", b" more\n\n"]);

        assert_eq!(lines, [line(b"one more", 0), line(b"", 9)]);
        assert_eq!(end, Some((10, false)));
    }

    #[test]
    fn an_overlong_line_is_cut_and_its_rest_passed_over() {
        let (lines, end) = feed(buffer(4), &[b"ab\n12345", b"678", b"9\ncd\n"]);

        assert_eq!(
            lines,
            [line(b"ab", 0), (b"1234".to_vec(), 3, true), line(b"cd", 13)]
        );
        assert_eq!(end, Some((16, false)));
    }

    #[test]
    fn an_overlong_line_without_newline_leaves_the_position_in_mid_line() {
        let (lines, end) = feed(buffer(4), &[b"12345"]);

        assert_eq!(lines, [(b"1234".to_vec(), 0, true)]);
        assert_eq!(end, Some((5, true)));
    }

    #[test]
    fn a_buffer_that_starts_in_mid_line_passes_over_the_rest() {
        let start = LineBuffer::new(Pool::default(), 5, true, 4);

        let (lines, end) = feed(start, &[b"678", b"9\ncd\n"]);

        assert_eq!(lines, [line(b"cd", 10)]);
        assert_eq!(end, Some((13, false)));
    }

    #[test]
    fn finish_adds_the_missing_newline() {
        let mut buffer = buffer(1024);
        buffer.extend(b"one\ntwo");
        buffer.take();

        let taken = buffer.finish().expect("an unterminated line");

        assert_eq!(taken.lines.expect("one").bytes().as_ref(), b"two\n");
        assert_eq!(taken.end, 7);
        assert!(buffer.finish().is_none());
    }

    #[test]
    fn a_line_longer_than_the_buffer_is_one_line() {
        let mut text = vec![b'x'; 3 * CHUNK_BYTES];
        text.push(b'\n');

        let (lines, end) = feed(buffer(1 << 20), &[&text]);

        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].0.len(), 3 * CHUNK_BYTES);
        assert_eq!(end, Some((text.len() as u64, false)));
    }

    #[test]
    fn a_large_chunk_shares_the_read_buffer_and_carries_the_rest() {
        let mut text = b"0123456\n".repeat(SHARED_ABOVE_BYTES / 8 + 10);
        text.extend_from_slice(b"rest");

        let (lines, _) = feed(buffer(1 << 20), &[&text, b" of it\n"]);

        assert_eq!(lines.len(), SHARED_ABOVE_BYTES / 8 + 11);
        assert_eq!(
            lines.last().map(|l| l.0.clone()),
            Some(b"rest of it".to_vec())
        );
    }

    proptest! {
        #[test]
        fn any_split_of_the_input_gives_the_same_lines(
            text in prop::collection::vec(prop_oneof![3 => Just(b'a'), 1 => Just(b'\n')], 0..200),
            cuts in prop::collection::vec(0..200usize, 0..12),
            line_bytes_max in 1..9usize,
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let parts: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();

            let (lines, _) = feed(buffer(line_bytes_max), &parts);

            let mut expected = Vec::new();
            let mut offset = 0;
            for line in text.split_inclusive(|byte| *byte == b'\n') {
                let whole = line.len() - usize::from(line.ends_with(b"\n"));
                let truncated = whole > line_bytes_max;
                if truncated || line.ends_with(b"\n") {
                    let kept = &line[..whole.min(line_bytes_max)];
                    expected.push((kept.to_vec(), offset, truncated));
                }
                offset += line.len() as u64;
            }
            prop_assert_eq!(lines, expected);
        }
    }
}
