//! Raw bytes in, records out: what charset, container format and joining of lines make of a stream.
//!
//! A container's log interleaves the lines of two streams, so a record of one can be finished while
//! one of the other, which began before it, is not. Finished records are handed out at once; where
//! reading would go on is then the first line that is in none, and how far the other stream was
//! taken beyond it ([`Ahead`]).
//!
//! Pure: no I/O, no clock.

use bytes::Bytes;

use super::charset::{Charset, Unit};
use super::container;
use super::grouping::{Finished, Logical, Multiline};
use super::newline::{Start, Taken};
use super::pool::Pool;
use super::splitter::{RawLine, Splitter};
use super::track::{Joining, Track};
use crate::model::{Ahead, Lines, StdStream};

/// How the lines of a source are made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// `None`: bytes stay as they are.
    pub charset: Option<Charset>,
    /// What each line is wrapped in.
    pub container: Option<Container>,
    /// Which lines are one record.
    pub multiline: Multiline,
}

/// The format of a container's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// What Kubernetes' runtimes write.
    Cri,
    /// Docker's `json-file` driver.
    Docker,
}

/// What is handed out at once, at most.
#[derive(Clone, Copy, Debug)]
pub struct RecordLimits {
    /// A longer line is cut, in bytes of UTF-8.
    pub line_bytes_max: usize,
    /// Records in one piece.
    pub records: usize,
    /// Bytes in one piece; a record is never divided.
    pub bytes: usize,
}

/// What a container's line has beside its text: time and the like.
const CONTAINER_BYTES: usize = 64 * 1024;

/// Collects bytes of one stream and makes records of them.
#[derive(Debug)]
pub struct RecordBuffer {
    splitter: Splitter,
    rules: Recording,
    limits: RecordLimits,
    /// Of standard output (or all there is) and standard error.
    tracks: [Track; 2],
    /// Lines that were taken before this buffer began.
    ahead: Option<Ahead>,
    out: Finished,
    /// A line as UTF-8; kept for its capacity.
    decoded: String,
    unparsed: u64,
}

/// A record that is not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenRecord {
    /// Whose it is.
    pub stream: StdStream,
    /// Offset of its first line.
    pub start: u64,
    /// Offset after its last one.
    pub end: u64,
}

impl RecordBuffer {
    /// Makes an empty buffer that stands at `start`.
    pub fn new(pool: Pool, start: Start, rules: Recording, limits: RecordLimits) -> Self {
        let unit = rules.charset.map_or(Unit::Byte, Charset::unit);
        let raw_max = match rules.container {
            // An escape is longer than what it stands for.
            Some(Container::Docker) => limits.line_bytes_max * 2 + CONTAINER_BYTES,
            Some(Container::Cri) => limits.line_bytes_max + CONTAINER_BYTES,
            None => limits.line_bytes_max * unit.bytes(),
        };
        Self {
            splitter: Splitter::new(pool, (start.offset, start.mid_line), unit, raw_max),
            rules,
            limits,
            tracks: Default::default(),
            ahead: start.ahead,
            out: Finished::default(),
            decoded: String::new(),
            unparsed: 0,
        }
    }

    /// Free space to read into, never empty.
    pub fn spare(&mut self) -> &mut [u8] {
        self.splitter.spare()
    }

    /// Notes that `len` bytes were read into [`RecordBuffer::spare`].
    pub fn commit(&mut self, len: usize) {
        self.splitter.commit(len);
    }

    /// Stream offset of the next byte to read.
    pub fn read_offset(&self) -> u64 {
        self.splitter.read_offset()
    }

    /// Bytes held of a line that has no newline yet.
    pub fn held(&self) -> usize {
        self.splitter.held()
    }

    /// The records that are not finished.
    pub fn open(&self) -> impl Iterator<Item = OpenRecord> {
        [StdStream::Stdout, StdStream::Stderr]
            .into_iter()
            .zip(&self.tracks)
            .filter_map(|(stream, track)| {
                let (start, end) = (track.start()?, track.end()?);
                Some(OpenRecord { stream, start, end })
            })
    }

    /// Lines so far that were not in the container's format, and so were passed on as they are.
    pub fn take_unparsed(&mut self) -> u64 {
        std::mem::take(&mut self.unparsed)
    }

    /// Takes the next finished records; `None` where there is none and nothing was passed over.
    pub fn take(&mut self) -> Option<Taken> {
        let before = self.place();
        while !self.is_full()
            && let Some(line) = self.splitter.next()
        {
            self.line(&line);
        }
        if !self.is_full() {
            self.splitter.compact();
        }
        self.taken(before)
    }

    /// Takes a line that has no newline as if it had one.
    pub fn take_unterminated(&mut self) -> Option<Taken> {
        let before = self.place();
        let line = self.splitter.finish()?;
        self.line(&line);
        self.splitter.compact();
        self.taken(before)
    }

    /// Finishes the open record of one stream.
    pub fn close(&mut self, stream: StdStream) -> Option<Taken> {
        let before = self.place();
        self.close_track(stream);
        self.taken(before)
    }

    /// Finishes the open records of both streams.
    pub fn close_all(&mut self) -> Option<Taken> {
        let before = self.place();
        for open in self.open().collect::<Vec<_>>() {
            self.close_track(open.stream);
        }
        self.taken(before)
    }

    /// Takes everything, finished or not.
    pub fn finish(&mut self) -> Option<Taken> {
        let before = self.place();
        if let Some(line) = self.splitter.finish() {
            self.line(&line);
            self.splitter.compact();
        }
        for open in self.open().collect::<Vec<_>>() {
            self.close_track(open.stream);
        }
        self.taken(before)
    }

    fn is_full(&self) -> bool {
        self.out.records.len() >= self.limits.records || self.out.bytes.len() >= self.limits.bytes
    }

    /// Where reading would go on: the first line that is in no finished record.
    fn place(&self) -> Start {
        let done = self.splitter.offset();
        let [out, err] = [0, 1].map(|track| self.tracks[track].start().unwrap_or(done));
        let ahead = |stream, offset| Some(Ahead { stream, offset });
        let ahead = match out.cmp(&err) {
            std::cmp::Ordering::Less => ahead(StdStream::Stderr, err),
            std::cmp::Ordering::Greater => ahead(StdStream::Stdout, out),
            std::cmp::Ordering::Equal => None,
        };
        // What was taken before this buffer began still is.
        let ahead = self.ahead.filter(|old| old.offset > done).or(ahead);
        let ahead = ahead.filter(|_| self.rules.container.is_some());
        let offset = out.min(err);
        Start {
            offset,
            mid_line: self.splitter.is_skipping() && offset == done,
            ahead,
        }
    }

    /// Hands out what is finished; `None` where nothing is and the place is that of `before`.
    fn taken(&mut self, before: Start) -> Option<Taken> {
        let place = self.place();
        if self.out.records.is_empty() && place == before {
            return None;
        }
        let records = std::mem::take(&mut self.out.records);
        // Without spare room: what is charged is what is held.
        let bytes = Bytes::from(std::mem::take(&mut self.out.bytes).into_boxed_slice());
        let lines = (!records.is_empty()).then(|| Lines::from_records(bytes, records.into()));
        Some(Taken {
            lines,
            end: place.offset,
            mid_line: place.mid_line,
            ahead: place.ahead,
        })
    }

    fn close_track(&mut self, stream: StdStream) {
        let joining = Joining {
            multiline: &self.rules.multiline,
            line_bytes_max: self.limits.line_bytes_max,
            out: &mut self.out,
        };
        self.tracks[stream as usize].close(joining);
    }

    fn line(&mut self, raw: &RawLine) {
        let mut bytes = self.splitter.bytes(raw);
        if let Some(charset) = self.rules.charset {
            if raw.start == 0 {
                bytes = charset.without_mark(bytes);
            }
            charset.decode(bytes, &mut self.decoded);
            bytes = self.decoded.as_bytes();
        }
        let piece = match self.rules.container {
            Some(Container::Cri) => container::cri(bytes),
            Some(Container::Docker) => container::docker(bytes),
            None => None,
        };
        let stream = piece
            .as_ref()
            .map_or(StdStream::Stdout, |piece| piece.stream);
        if let Some(ahead) = self.ahead
            && ahead.stream == stream
            && raw.start < ahead.offset
        {
            return;
        }
        let line = Logical {
            text: bytes,
            start: raw.start,
            end: raw.end,
            truncated: raw.cut,
            time_ns: piece.as_ref().and_then(|piece| piece.time_ns),
            stream: piece.as_ref().map(|piece| piece.stream),
        };
        let joining = Joining {
            multiline: &self.rules.multiline,
            line_bytes_max: self.limits.line_bytes_max,
            out: &mut self.out,
        };
        let track = &mut self.tracks[stream as usize];
        match piece {
            Some(piece) => track.piece(&piece, line, joining),
            None if self.rules.container.is_some() => {
                self.unparsed += 1;
                track.stranger(line, joining);
            }
            None => track.line(line, joining),
        }
    }
}
