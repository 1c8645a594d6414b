//! JSON text sequences (RFC 7464): a record separator, a JSON text, a newline. A text may hold
//! newlines itself; each text is one line.
//!
//! Pure: no I/O, no clock.

use bytes::Bytes;
use memchr::memchr2;
use serde::de::IgnoredAny;

use super::newline::index;
use crate::model::{Lines, Record};

const SEPARATOR: u8 = 0x1e;

/// Collects bytes of one sequence and cuts them into texts.
#[derive(Debug)]
pub struct SeqBuffer {
    line_bytes_max: usize,
    /// The text that has not ended, cut where it is too long.
    text: Vec<u8>,
    truncated: bool,
    /// Offset in the stream of the next byte, and of the current text's first.
    offset: u64,
    start: u64,
    nesting: Nesting,
    out: Vec<u8>,
    records: Vec<Record>,
    unparsed: u64,
}

/// Where in a JSON text we are, as far as brackets and strings tell.
#[derive(Debug, Default)]
struct Nesting {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Nesting {
    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.escaped {
                self.escaped = false;
            } else if self.in_string {
                self.escaped = *byte == b'\\';
                self.in_string = *byte != b'"';
            } else {
                match byte {
                    b'"' => self.in_string = true,
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                    _ => {}
                }
            }
        }
    }

    fn is_closed(&self) -> bool {
        self.depth == 0 && !self.in_string
    }
}

impl SeqBuffer {
    /// Makes an empty buffer that stands at stream offset `base`. A text longer than
    /// `line_bytes_max` bytes is cut.
    pub fn new(base: u64, line_bytes_max: usize) -> Self {
        Self {
            line_bytes_max,
            text: Vec::new(),
            truncated: false,
            offset: base,
            start: base,
            nesting: Nesting::default(),
            out: Vec::new(),
            records: Vec::new(),
            unparsed: 0,
        }
    }

    /// Takes bytes in.
    pub fn extend(&mut self, mut bytes: &[u8]) {
        while let Some(at) = memchr2(SEPARATOR, b'\n', bytes) {
            self.keep(&bytes[..at]);
            let is_separator = bytes[at] == SEPARATOR;
            self.offset += 1;
            // A newline ends a text only where none of its brackets is open.
            if is_separator || self.nesting.is_closed() {
                self.end();
            } else {
                self.keep_space();
            }
            bytes = &bytes[at + 1..];
        }
        self.keep(bytes);
    }

    /// Bytes of whole texts that wait to be taken.
    pub fn ready(&self) -> usize {
        self.out.len()
    }

    /// Stream offset of the next byte.
    pub fn read_offset(&self) -> u64 {
        self.offset
    }

    /// Texts so far that were no JSON: torn ones, for the most part. They were passed on as they are.
    pub fn take_unparsed(&mut self) -> u64 {
        std::mem::take(&mut self.unparsed)
    }

    /// Takes every whole text; `None` where there is none.
    pub fn take(&mut self) -> Option<Lines> {
        if self.records.is_empty() {
            return None;
        }
        let records = std::mem::take(&mut self.records);
        // Without spare room: what is charged is what is held.
        let bytes = std::mem::take(&mut self.out).into_boxed_slice();
        Some(Lines::from_records(Bytes::from(bytes), records.into()))
    }

    /// Ends a text that has no end.
    pub fn finish(&mut self) {
        self.end();
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.nesting.take(bytes);
        self.offset += bytes.len() as u64;
        let room = self.line_bytes_max.saturating_sub(self.text.len());
        self.truncated |= bytes.len() > room;
        self.text.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// A line break between tokens is white space.
    fn keep_space(&mut self) {
        if self.text.len() < self.line_bytes_max {
            self.text.push(b' ');
        }
    }

    fn end(&mut self) {
        let text = self.text.trim_ascii();
        if !text.is_empty() {
            if self.truncated || serde_json::from_slice::<IgnoredAny>(text).is_err() {
                self.unparsed += 1;
            }
            self.out.extend_from_slice(text);
            self.out.push(b'\n');
            self.records.push(Record {
                end: index(self.out.len()),
                offset: self.start,
                truncated: self.truncated,
                ..Record::default()
            });
        }
        self.text.clear();
        // The room of a long text is not kept.
        if self.text.capacity() > 4096 {
            self.text = Vec::new();
        }
        self.truncated = false;
        self.nesting = Nesting::default();
        self.start = self.offset;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(input: &str, part: usize) -> (Vec<String>, u64) {
        let mut buffer = SeqBuffer::new(0, 40);
        input
            .as_bytes()
            .chunks(part)
            .for_each(|it| buffer.extend(it));
        let lines = buffer.take();
        let lines = lines.iter().flat_map(Lines::iter);
        let texts = lines.map(|it| String::from_utf8_lossy(it.text).into_owned());
        (texts.collect(), buffer.take_unparsed())
    }

    #[test]
    fn texts_are_lines_wherever_they_are_cut() {
        let input = "\u{1e}{\"a\": 1}\n\u{1e}{\n \"b\": \"x]\\\"}\\n\"\n}\n\u{1e}\u{1e}3\n\u{1e}[1,\n2]\n\u{1e}{\"torn\": \u{1e}\"s\"\n\u{1e}{\"open\"";
        let expected = [
            "{\"a\": 1}",
            "{  \"b\": \"x]\\\"}\\n\" }",
            "3",
            "[1, 2]",
            "{\"torn\":",
            "\"s\"",
        ];
        for part in 1..input.len() {
            let (texts, unparsed) = taken(input, part);
            assert_eq!(texts, expected, "{part}");
            assert_eq!(unparsed, 1);
        }
    }

    #[test]
    fn a_long_text_is_cut_and_what_has_no_end_is_taken_in_the_end() {
        let mut buffer = SeqBuffer::new(0, 8);
        buffer.extend(b"\x1e\"0123456789\"\n\x1e{\"a\"");
        buffer.finish();

        let lines = buffer.take().unwrap();

        let found: Vec<_> = lines.iter().map(|it| (it.text, it.truncated)).collect();
        assert_eq!(found, [(&b"\"0123456"[..], true), (b"{\"a\"", false)]);
        assert_eq!(buffer.take_unparsed(), 2);
    }
}
