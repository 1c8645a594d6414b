//! Whole lines of one stream in one shared buffer.
//!
//! There is no owned line type: a line is a `&[u8]` borrowed from a chunk's bytes, so the raw path
//! allocates nothing per line.
//!
//! Pure: no I/O, no clock.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::{Begun, StdStream};

/// Where one record lies when the bytes are not simply untouched lines of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// End of the record in the shared bytes, its final newline included.
    pub end: u32,
    /// Offset in the stream, in bytes, of the record's first raw byte.
    pub offset: u64,
    /// True where the record was cut at the source's `max_line`.
    pub truncated: bool,
    /// True where the source sent bytes that are not meant as text.
    pub binary: bool,
    /// The record's own time in nanoseconds since 1970, where the source was told to find it.
    pub time_ns: Option<i64>,
    /// Which of a container's two streams wrote it, where that is known.
    pub stream: Option<StdStream>,
}

/// One line as encoders see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The line without its final newline. It can hold newlines where several were joined into one
    /// record, and any other byte at all.
    pub text: &'a [u8],
    /// Offset in the stream, in bytes, of the line's first raw byte.
    pub offset: u64,
    /// True where the line was cut at the source's `max_line`.
    pub truncated: bool,
    /// True where the source sent bytes that are not meant as text.
    pub binary: bool,
    /// What the source calls this kind of event.
    pub event: Option<&'a str>,
    /// The line's own time in nanoseconds since 1970; it counts instead of when it was read.
    pub time_ns: Option<i64>,
    /// Which of a container's two streams wrote it.
    pub stream: Option<StdStream>,
}

impl Line<'_> {
    /// The record of this line where it ends at `end`.
    fn record(&self, end: usize) -> Record {
        Record {
            end: u32::try_from(end).expect("a chunk is smaller than 4 GiB"),
            offset: self.offset,
            truncated: self.truncated,
            binary: self.binary,
            time_ns: self.time_ns,
            stream: self.stream,
        }
    }
}

/// What the source calls the kind of each record, where it names one.
pub type EventNames = Arc<[Option<Arc<str>>]>;

/// Whole lines of one stream, in order, in one shared buffer.
///
/// Every line in `bytes` ends with a newline; framing adds one to an unterminated tail. Writing
/// `bytes` as they are is therefore always the correct raw output.
#[derive(Clone, Debug)]
pub struct Lines {
    bytes: Bytes,
    count: u32,
    /// Offset in the stream of the first byte; unused where `records` are present.
    base: u64,
    /// Absent: untouched bytes of the stream, so a line's offset is `base` + its index.
    records: Option<Arc<[Record]>>,
    /// As long as `records`; absent where no record is named.
    events: Option<EventNames>,
    /// Index in `records` of the first line of this part.
    first: u32,
    /// Where this part starts in the bytes that `records` speak of.
    shift: u32,
}

impl Lines {
    /// Wraps untouched bytes of a stream: `count` lines, each ended by a newline, the first one at
    /// stream offset `base`.
    pub fn untouched(bytes: Bytes, count: u32, base: u64) -> Self {
        debug_assert!(bytes.last().is_none_or(|byte| *byte == b'\n'));
        debug_assert_eq!(memchr::memchr_iter(b'\n', &bytes).count(), count as usize);
        Self {
            bytes,
            count,
            base,
            records: None,
            events: None,
            first: 0,
            shift: 0,
        }
    }

    /// Wraps bytes that framing put together, with one [`Record`] per line.
    pub fn from_records(bytes: Bytes, records: Arc<[Record]>) -> Self {
        debug_assert_eq!(records.last().map_or(0, |r| r.end as usize), bytes.len());
        let count = u32::try_from(records.len()).expect("a chunk holds fewer than 2^32 lines");
        Self {
            bytes,
            count,
            base: 0,
            records: Some(records),
            events: None,
            first: 0,
            shift: 0,
        }
    }

    /// The same lines, each with the time that `time_of` finds in it.
    pub fn with_times(&self, mut time_of: impl FnMut(&Line) -> Option<i64>) -> Lines {
        let mut end = 0;
        let mut records = Vec::with_capacity(self.count as usize);
        for line in self.iter() {
            end += line.text.len() + 1;
            records.push(Record {
                time_ns: time_of(&line).or(line.time_ns),
                ..line.record(end)
            });
        }
        let lines = Lines::from_records(self.bytes.clone(), records.into());
        match &self.events {
            Some(events) => lines.with_events(events[self.own_range()].into()),
            None => lines,
        }
    }

    /// The same lines, each written by one of a container's two streams.
    pub fn with_stream(&self, stream: StdStream) -> Lines {
        let mut end = 0;
        let mut records = Vec::with_capacity(self.count as usize);
        for line in self.iter() {
            end += line.text.len() + 1;
            records.push(Record {
                stream: Some(stream),
                ..line.record(end)
            });
        }
        Lines::from_records(self.bytes.clone(), records.into())
    }

    /// The lines that `keep` holds for, copied; `None` where it holds for none. Where it holds for
    /// all, these are the same lines.
    pub fn filtered(&self, mut keep: impl FnMut(&Line) -> bool) -> Option<Lines> {
        let kept: Vec<bool> = self.iter().map(|line| keep(&line)).collect();
        if kept.iter().all(|kept| *kept) {
            return Some(self.clone());
        }
        let (mut bytes, mut records, mut events) = (Vec::new(), Vec::new(), Vec::new());
        let own_events = self.events.as_deref().map(|it| &it[self.own_range()]);
        for (index, line) in self.iter().enumerate().filter(|(index, _)| kept[*index]) {
            bytes.extend_from_slice(line.text);
            bytes.push(b'\n');
            records.push(line.record(bytes.len()));
            events.extend(own_events.map(|own| own[index].clone()));
        }
        if records.is_empty() {
            return None;
        }
        // Without spare room: what is charged is what is held.
        let bytes = Bytes::from(bytes.into_boxed_slice());
        let lines = Lines::from_records(bytes, records.into());
        Some(if events.is_empty() {
            lines
        } else {
            lines.with_events(events.into())
        })
    }

    /// Names the records that [`Lines::from_records`] was given.
    pub fn with_events(mut self, events: EventNames) -> Self {
        debug_assert_eq!(self.records.as_ref().map(|it| it.len()), Some(events.len()));
        self.events = Some(events);
        self
    }

    /// The lines with their newlines: the raw output.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Number of lines.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// True where there is no line at all.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// True where the bytes are the stream's own, one to one.
    pub fn is_untouched(&self) -> bool {
        self.records.is_none()
    }

    /// Number of lines that were cut at `max_line`.
    pub fn truncated(&self) -> u64 {
        self.own_records()
            .map_or(0, |own| own.iter().filter(|r| r.truncated).count() as u64)
    }

    /// The lines in order.
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            bytes: &self.bytes,
            at: 0,
            base: self.base,
            shift: self.shift,
            records: self.own_records(),
            events: self
                .events
                .as_deref()
                .map(|events| &events[self.own_range()]),
            newlines: memchr::memchr_iter(b'\n', &self.bytes),
        }
    }

    /// The part that holds lines `range` (indices of this `Lines`), sharing the same bytes.
    ///
    /// # Panics
    /// If the range reaches past the last line.
    pub fn slice(&self, range: Range<u32>) -> Lines {
        assert!(
            range.start <= range.end && range.end <= self.count,
            "slice past the last line"
        );
        if range == (0..self.count) {
            return self.clone();
        }
        let (start, end) = (self.start_of(range.start), self.start_of(range.end));
        Lines {
            bytes: self.bytes.slice(start..end),
            count: range.end - range.start,
            base: self.base + start as u64,
            records: self.records.clone(),
            events: self.events.clone(),
            first: self.first + range.start,
            shift: self.shift + u32::try_from(start).expect("a chunk is smaller than 4 GiB"),
        }
    }

    /// Takes the first `n` lines out of these. It takes time linear in what is taken, not in what
    /// is left.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn split_front(&mut self, n: u32) -> Lines {
        assert!(n <= self.count, "split past the last line");
        self.split_front_at(n, self.start_of(n))
    }

    /// The same where it is known that the lines end at the index `at` of the bytes: they are not
    /// looked for.
    pub fn split_front_at(&mut self, n: u32, at: usize) -> Lines {
        debug_assert_eq!(at, self.start_of(n), "no line ends there");
        let front = Lines {
            bytes: self.bytes.slice(..at),
            count: n,
            records: self.records.clone(),
            events: self.events.clone(),
            ..*self
        };
        self.bytes = self.bytes.slice(at..);
        self.count -= n;
        self.base += at as u64;
        self.first += n;
        self.shift += u32::try_from(at).expect("a chunk is smaller than 4 GiB");
        front
    }

    /// The same lines, those of more than `most` bytes cut to that and marked, and how many were cut.
    /// A cut is never inside a character of UTF-8, so it may be up to three bytes shorter.
    pub fn cut(&self, most: usize) -> (Lines, u64) {
        // No line of a chunk is longer than the chunk.
        if self.bytes.len() <= most || self.iter().all(|line| line.text.len() <= most) {
            return (self.clone(), 0);
        }
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut records = Vec::with_capacity(self.count as usize);
        let mut n_cut = 0;
        for line in self.iter() {
            let is_cut = line.text.len() > most;
            n_cut += u64::from(is_cut);
            bytes.extend_from_slice(if is_cut {
                &line.text[..boundary(line.text, most)]
            } else {
                line.text
            });
            bytes.push(b'\n');
            records.push(Record {
                truncated: line.truncated || is_cut,
                ..line.record(bytes.len())
            });
        }
        let lines = Lines::from_records(bytes.into(), records.into());
        let events = self.events.as_deref();
        let lines = match events.map(|events| events[self.own_range()].into()) {
            Some(events) => lines.with_events(events),
            None => lines,
        };
        (lines, n_cut)
    }

    /// Up to where records are taken by their beginnings once these are.
    pub fn begun(&self) -> Begun {
        match self.own_records() {
            Some(records) => records.iter().fold(Begun::default(), |begun, record| {
                begun.with(record.stream, record.offset)
            }),
            // The last line begins before the end.
            None => Begun {
                stdout: self.base + self.bytes.len() as u64,
                stderr: 0,
                lines: u64::from(self.count),
            },
        }
    }

    fn own_records(&self) -> Option<&[Record]> {
        let records = self.records.as_deref()?;
        Some(&records[self.own_range()])
    }

    fn own_range(&self) -> Range<usize> {
        self.first as usize..(self.first + self.count) as usize
    }

    /// Byte index at which line `index` starts; `index == count` is the end of the bytes.
    fn start_of(&self, index: u32) -> usize {
        if index == 0 {
            return 0;
        }
        if let Some(records) = self.own_records() {
            return (records[index as usize - 1].end - self.shift) as usize;
        }
        memchr::memchr_iter(b'\n', &self.bytes)
            .nth(index as usize - 1)
            .map_or(self.bytes.len(), |newline| newline + 1)
    }
}

/// The last index up to `most` where no character of UTF-8 is cut.
fn boundary(text: &[u8], most: usize) -> usize {
    const CONTINUATIONS_MAX: usize = 3;
    let is_inside = |at: &usize| text[*at] & 0xc0 == 0x80;
    (most.saturating_sub(CONTINUATIONS_MAX)..=most)
        .rev()
        .find(|at| !is_inside(at))
        .unwrap_or(most)
}

/// Iterator over the lines of a [`Lines`].
pub struct Iter<'a> {
    bytes: &'a [u8],
    at: usize,
    base: u64,
    shift: u32,
    records: Option<&'a [Record]>,
    events: Option<&'a [Option<Arc<str>>]>,
    newlines: memchr::Memchr<'a>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Line<'a>;

    #[inline]
    fn next(&mut self) -> Option<Line<'a>> {
        let Some(records) = &mut self.records else {
            let newline = self.newlines.next()?;
            let text = &self.bytes[self.at..newline];
            let offset = self.base + self.at as u64;
            self.at = newline + 1;
            return Some(Line {
                text,
                offset,
                truncated: false,
                binary: false,
                event: None,
                time_ns: None,
                stream: None,
            });
        };
        let (record, rest) = records.split_first()?;
        *records = rest;
        let newline = (record.end - self.shift) as usize - 1;
        let text = &self.bytes[self.at..newline];
        self.at = newline + 1;
        let event = self.events.as_mut().and_then(|events| {
            let (event, rest) = events.split_first()?;
            *events = rest;
            event.as_deref()
        });
        Some(Line {
            text,
            offset: record.offset,
            truncated: record.truncated,
            binary: record.binary,
            event,
            time_ns: record.time_ns,
            stream: record.stream,
        })
    }
}

#[cfg(test)]
mod tests;
