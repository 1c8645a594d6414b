//! Server-sent events: the parser of the WHATWG HTML standard (§9.2.6), with bounds.
//!
//! Pure: no I/O, no clock.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use memchr::memchr2;

use super::newline::index;
use crate::model::{Lines, Record};

/// What a line can hold beside its value: a field's name, a colon and a space.
const FIELD_BYTES: usize = 16;

/// A longer id is not one: it must fit a request header and a checkpoint.
const ID_BYTES_MAX: usize = 4096;

/// Longer names of events are cut.
const NAME_BYTES_MAX: usize = 256;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Collects bytes of one event stream and cuts them into events.
///
/// An event is one record: its data lines joined by newlines. Every byte is looked at once, and no
/// more is held than one event of `line_bytes_max` bytes and one line.
#[derive(Debug)]
pub struct SseBuffer {
    line_bytes_max: usize,
    /// A line whose end has not come yet, cut where it can no longer matter.
    line: Vec<u8>,
    /// Offset in the stream of the next byte.
    offset: u64,
    /// Offset in the stream of the first byte of the current line.
    line_offset: u64,
    /// True where the last byte was a carriage return: a newline right after it belongs to it.
    after_return: bool,
    /// True until the first line has ended: it may begin with a byte order mark.
    is_first_line: bool,
    /// Whole events, and from `event_start` on the data of the current one.
    out: Vec<u8>,
    event_start: usize,
    event_offset: u64,
    truncated: bool,
    records: Vec<Record>,
    /// As long as `records` where one is named, else empty.
    names: Vec<Option<Arc<str>>>,
    /// What the current event is called, and what the last named one was.
    name: Option<Arc<str>>,
    last_name: Option<Arc<str>>,
    /// As of the last `id` line.
    id: Option<Arc<str>>,
    /// As of the last event's end.
    last_id: Option<Arc<str>>,
    moved: bool,
    retry: Option<Duration>,
}

/// Whole events, and where the stream stands after them.
#[derive(Debug)]
pub struct Events {
    /// One record per event; `None` where only the id moved.
    pub lines: Option<Lines>,
    /// The id to resume after; `None` where the server has given none, or taken it back.
    pub last_id: Option<Arc<str>>,
}

impl SseBuffer {
    /// Makes an empty buffer that stands at stream offset `base`, after the event `last_id`. An
    /// event longer than `line_bytes_max` bytes is cut.
    pub fn new(base: u64, last_id: Option<Arc<str>>, line_bytes_max: usize) -> Self {
        Self {
            line_bytes_max,
            line: Vec::new(),
            offset: base,
            line_offset: base,
            after_return: false,
            is_first_line: true,
            out: Vec::new(),
            event_start: 0,
            event_offset: base,
            truncated: false,
            records: Vec::new(),
            names: Vec::new(),
            name: None,
            last_name: None,
            id: last_id.clone(),
            last_id,
            moved: false,
            retry: None,
        }
    }

    /// Takes bytes in.
    pub fn extend(&mut self, mut bytes: &[u8]) {
        if self.after_return && !bytes.is_empty() {
            self.after_return = false;
            if bytes[0] == b'\n' {
                self.advance(1);
                self.line_offset = self.offset;
                bytes = &bytes[1..];
            }
        }
        while let Some(end) = memchr2(b'\n', b'\r', bytes) {
            let is_return = bytes[end] == b'\r';
            let is_pair = is_return && bytes.get(end + 1) == Some(&b'\n');
            self.after_return = is_return && end + 1 == bytes.len();
            self.end_line(&bytes[..end]);
            let used = end + 1 + usize::from(is_pair);
            self.advance(used);
            self.line_offset = self.offset;
            bytes = &bytes[used..];
        }
        self.keep(bytes);
        self.advance(bytes.len());
    }

    /// Bytes of whole events that wait to be taken.
    pub fn ready(&self) -> usize {
        self.event_start
    }

    /// Bytes of an event that has not ended yet.
    pub fn held(&self) -> usize {
        self.out.len() - self.event_start
    }

    /// Stream offset of the next byte.
    pub fn read_offset(&self) -> u64 {
        self.offset
    }

    /// The delay before reconnecting that the server last asked for.
    pub fn take_retry(&mut self) -> Option<Duration> {
        self.retry.take()
    }

    /// Takes every whole event; `None` where there is none and the id has not moved.
    pub fn take(&mut self) -> Option<Events> {
        if self.records.is_empty() && !self.moved {
            return None;
        }
        self.moved = false;
        let records = std::mem::take(&mut self.records);
        let rest = self.out.split_off(self.event_start);
        // Without spare room: what is charged is what is held.
        let bytes = std::mem::replace(&mut self.out, rest).into_boxed_slice();
        self.event_start = 0;
        let names = std::mem::take(&mut self.names);
        let lines = (!records.is_empty()).then(|| {
            let lines = Lines::from_records(Bytes::from(bytes), records.into());
            if names.is_empty() {
                lines
            } else {
                lines.with_events(names.into())
            }
        });
        Some(Events {
            lines,
            last_id: self.last_id.clone(),
        })
    }

    fn advance(&mut self, len: usize) {
        self.offset += len as u64;
    }

    /// Keeps the beginning of a line, no more than can matter.
    fn keep(&mut self, bytes: &[u8]) {
        let room = (self.line_bytes_max + FIELD_BYTES).max(ID_BYTES_MAX + FIELD_BYTES);
        let room = room.saturating_sub(self.line.len());
        // One byte more than matters tells that there was more.
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end_line(&mut self, end: &[u8]) {
        if self.line.is_empty() {
            self.line_is(end);
        } else {
            self.keep(end);
            let line = std::mem::take(&mut self.line);
            self.line_is(&line);
            // Its room is used again; a long line's is not kept.
            if line.capacity() <= ID_BYTES_MAX {
                self.line = line;
                self.line.clear();
            }
        }
        self.is_first_line = false;
    }

    fn line_is(&mut self, line: &[u8]) {
        let line = match line.strip_prefix(BYTE_ORDER_MARK) {
            Some(rest) if self.is_first_line => rest,
            _ => line,
        };
        if line.is_empty() {
            return self.dispatch();
        }
        let (name, value) = match memchr::memchr(b':', line) {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &b""[..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => self.data(value),
            b"id" if !value.contains(&0) && value.len() <= ID_BYTES_MAX => self.id_is(value),
            b"retry" => self.retry_is(value),
            b"event" => self.event_is(value),
            // Comments (an empty name) and what nobody knows.
            _ => {}
        }
    }

    fn data(&mut self, value: &[u8]) {
        let held = self.held();
        if held == 0 {
            self.event_offset = self.line_offset;
        }
        if held > self.line_bytes_max {
            self.truncated = true;
            return;
        }
        let kept = value.len().min(self.line_bytes_max - held);
        self.truncated |= kept < value.len();
        self.out.extend_from_slice(&value[..kept]);
        self.out.push(b'\n');
    }

    fn id_is(&mut self, value: &[u8]) {
        if self.id.as_deref().map(str::as_bytes) == Some(value) {
            return;
        }
        // Decoding never fails in the standard: what is not UTF-8 is replaced.
        let value = String::from_utf8_lossy(value);
        self.id = (!value.is_empty()).then(|| Arc::from(value));
    }

    fn event_is(&mut self, value: &[u8]) {
        let value = &value[..value.len().min(NAME_BYTES_MAX)];
        if self.last_name.as_deref().map(str::as_bytes) != Some(value) {
            self.last_name = Some(Arc::from(String::from_utf8_lossy(value)));
        }
        // The name of all events that have none.
        let is_named = !value.is_empty() && value != b"message";
        self.name = self.last_name.clone().filter(|_| is_named);
    }

    fn retry_is(&mut self, value: &[u8]) {
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let ms = std::str::from_utf8(value)
            .ok()
            .filter(|_| digits)
            .and_then(|text| text.parse().ok());
        self.retry = ms.map(Duration::from_millis).or(self.retry);
    }

    fn dispatch(&mut self) {
        if self.last_id != self.id {
            self.last_id.clone_from(&self.id);
            self.moved = true;
        }
        let name = self.name.take();
        if self.held() == 0 {
            return;
        }
        if name.is_some() || !self.names.is_empty() {
            self.names.resize(self.records.len(), None);
            self.names.push(name);
        }
        self.event_start = self.out.len();
        self.records.push(Record {
            end: index(self.out.len()),
            offset: self.event_offset,
            truncated: std::mem::take(&mut self.truncated),
            ..Record::default()
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Texts of all events with their offsets and cuts, the last id, and the delay.
    #[derive(Debug, PartialEq)]
    struct Parsed {
        events: Vec<(Vec<u8>, u64, bool)>,
        last_id: Option<Arc<str>>,
        retry: Option<Duration>,
    }

    fn parse(parts: &[&[u8]], line_bytes_max: usize) -> Parsed {
        let mut buffer = SseBuffer::new(0, None, line_bytes_max);
        let mut parsed = Parsed {
            events: Vec::new(),
            last_id: None,
            retry: None,
        };
        for part in parts {
            buffer.extend(part);
            if let Some(events) = buffer.take() {
                parsed.last_id = events.last_id;
                for line in events.lines.iter().flat_map(Lines::iter) {
                    parsed
                        .events
                        .push((line.text.to_vec(), line.offset, line.truncated));
                }
            }
            parsed.retry = buffer.take_retry().or(parsed.retry);
        }
        parsed
    }

    #[track_caller]
    fn check(text: &str, events: &[&str], last_id: Option<&str>) {
        let parsed = parse(&[text.as_bytes()], 1024);

        let texts: Vec<_> = parsed
            .events
            .iter()
            .map(|(text, ..)| std::str::from_utf8(text).unwrap())
            .collect();
        assert_eq!(texts, events, "{text:?}");
        assert_eq!(parsed.last_id.as_deref(), last_id, "{text:?}");
    }

    #[test]
    fn the_examples_of_the_standard() {
        check(
            "data: YHOO\ndata: +2\ndata: 10\n\n",
            &["YHOO\n+2\n10"],
            None,
        );
        check(
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            &["first event", "second event", " third event"],
            None,
        );
        check("data\n\ndata\ndata\n\ndata:", &["", "\n"], None);
        check("data:test\n\ndata: test\n\n", &["test", "test"], None);
    }

    #[test]
    fn line_ends_marks_and_unknown_fields() {
        check(
            "data: a\r\rdata: b\r\n\r\ndata: c\n\r\n",
            &["a", "b", "c"],
            None,
        );
        check("\u{feff}data: a\n\n\u{feff}data: b\n\n", &["a"], None);
        check("Data: a\ndatas: b\n data: c\n\n", &[], None);
        check("event: x\ndata: a\n\nevent: y\n\n", &["a"], None);
        check("data: not ended\n", &[], None);
    }

    #[test]
    fn an_id_counts_from_its_blank_line_on() {
        check("id: 1\ndata: a\n\nid: 2\ndata: b\n", &["a"], Some("1"));
        check("id: 1\ndata: a\n\nid: 2\n\n", &["a"], Some("2"));
        check(
            "id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n",
            &["a", "b"],
            Some("1"),
        );
        check("id: 1\ndata: a\n\ndata: b\n\n", &["a", "b"], Some("1"));
    }

    #[test]
    fn named_events_carry_their_names() {
        let mut buffer = SseBuffer::new(0, None, 99);
        buffer.extend(b"data: a\n\nevent: x\ndata: b\n\nevent: y\n\ndata: c\n\n");
        buffer.extend(b"event: message\ndata: d\n\n");

        let events = buffer.take().unwrap().lines.unwrap();

        let names: Vec<_> = events.iter().map(|line| line.event).collect();
        assert_eq!(names, [None, Some("x"), None, None]);
    }

    #[test]
    fn a_delay_is_all_digits() {
        let retry = |text: &str| parse(&[text.as_bytes()], 99).retry;

        assert_eq!(retry("retry: 1500\n"), Some(Duration::from_millis(1500)));
        assert_eq!(retry("retry: 1.5\n"), None);
        assert_eq!(retry("retry: +5\n"), None);
        assert_eq!(retry("retry:\n"), None);
    }

    #[test]
    fn a_long_event_is_cut_marked_and_bounded() {
        let mut buffer = SseBuffer::new(0, None, 8);
        buffer.extend(b"data: 12345\ndata: 67890\ndata: x\n\ndata: 12345678\n\n");
        let events = buffer.take().unwrap().lines.unwrap();

        let lines: Vec<_> = events.iter().map(|l| (l.text, l.truncated)).collect();
        assert_eq!(lines, [(&b"12345\n67"[..], true), (b"12345678", false)]);

        for _ in 0..1000 {
            buffer.extend(&[b'x'; 1000]);
        }
        buffer.extend(b"\n");
        for _ in 0..1000 {
            buffer.extend(b"data: y\n");
        }
        assert!(buffer.line.capacity() < 16_384 && buffer.out.capacity() < 16_384);
    }

    proptest! {
        #[test]
        fn any_split_of_the_input_gives_the_same_events(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "data: a", "data:bcdefghij", "data", "id: 1", "id", "id: 2", "retry: 7", ": c",
                "event: e", "\n", "\r", "\r\n", "\n\n", "\u{feff}", "x",
            ]), 0..60),
            cuts in prop::collection::vec(0..400usize, 0..20),
            line_bytes_max in 1..12usize,
        ) {
            let text = pieces.concat().into_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let parts: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();

            let split = parse(&parts, line_bytes_max);

            prop_assert_eq!(split, parse(&[&text], line_bytes_max));
        }
    }
}
