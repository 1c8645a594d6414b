//! Messages that arrive whole: a message that is one JSON value is one line, other text splits at
//! newlines, and what is no text is one binary record.
//!
//! Pure: no I/O, no clock.

use bytes::Bytes;
use memchr::{memchr, memchr_iter};
use serde::de::IgnoredAny;

use super::newline::index;
use crate::model::{Lines, Record};

/// Collects messages of one stream as lines.
#[derive(Debug)]
pub struct MessageBuffer {
    line_bytes_max: usize,
    bytes: Vec<u8>,
    records: Vec<Record>,
    /// Bytes of messages so far: where the next one starts.
    offset: u64,
}

impl MessageBuffer {
    /// Makes an empty buffer. A line longer than `line_bytes_max` bytes is cut.
    pub fn new(line_bytes_max: usize) -> Self {
        Self {
            line_bytes_max,
            bytes: Vec::new(),
            records: Vec::new(),
            offset: 0,
        }
    }

    /// Takes in a message that is text.
    pub fn text(&mut self, message: &str) {
        let text = message.strip_suffix('\n').unwrap_or(message);
        let is_one = memchr(b'\n', text.as_bytes()).is_none();
        if is_one {
            self.line(text.as_bytes(), 0);
        } else if serde_json::from_str::<IgnoredAny>(text).is_ok() {
            // Line breaks of valid JSON are white space between tokens.
            self.line(text.replace(['\n', '\r'], " ").as_bytes(), 0);
        } else {
            let mut start = 0;
            let ends = memchr_iter(b'\n', text.as_bytes()).chain([text.len()]);
            for end in ends {
                self.line(&text.as_bytes()[start..end], start);
                start = end + 1;
            }
        }
        self.offset += message.len() as u64;
    }

    /// Takes in a message of bytes, which may be text.
    pub fn binary(&mut self, message: &[u8]) {
        if let Ok(text) = simdutf8::basic::from_utf8(message) {
            return self.text(text);
        }
        self.line(message, 0);
        if let Some(record) = self.records.last_mut() {
            record.binary = true;
        }
        self.offset += message.len() as u64;
    }

    /// Bytes that wait to be taken.
    pub fn ready(&self) -> usize {
        self.bytes.len()
    }

    /// Takes every line; `None` where there is none.
    pub fn take(&mut self) -> Option<Lines> {
        if self.records.is_empty() {
            return None;
        }
        let records = std::mem::take(&mut self.records);
        // Without spare room: what is charged is what is held.
        let bytes = std::mem::take(&mut self.bytes).into_boxed_slice();
        Some(Lines::from_records(Bytes::from(bytes), records.into()))
    }

    fn line(&mut self, text: &[u8], start: usize) {
        let kept = text.len().min(self.line_bytes_max);
        self.bytes.extend_from_slice(&text[..kept]);
        self.bytes.push(b'\n');
        self.records.push(Record {
            end: index(self.bytes.len()),
            offset: self.offset + start as u64,
            truncated: kept < text.len(),
            ..Record::default()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(messages: &[&str], lines: &[(&str, u64)]) {
        let mut buffer = MessageBuffer::new(64);
        messages.iter().for_each(|message| buffer.text(message));

        let taken = buffer.take().expect("lines");

        let found: Vec<_> = taken
            .iter()
            .map(|line| (std::str::from_utf8(line.text).unwrap(), line.offset))
            .collect();
        assert_eq!(found, lines);
        assert!(buffer.take().is_none());
    }

    #[test]
    fn text_splits_at_newlines() {
        check(&["a", "b\n", ""], &[("a", 0), ("b", 1), ("", 3)]);
        check(&["a\r\nb\n\nc"], &[("a\r", 0), ("b", 3), ("", 5), ("c", 6)]);
        check(
            &["{\"a\":1}\n{\"b\":2}\n"],
            &[("{\"a\":1}", 0), ("{\"b\":2}", 8)],
        );
    }

    #[test]
    fn one_json_value_is_one_line() {
        check(
            &["{\n  \"a\": \"x\\ny\",\r\n  \"b\": [1,\n2]\n}\n", "x"],
            &[("{   \"a\": \"x\\ny\",    \"b\": [1, 2] }", 0), ("x", 34)],
        );
    }

    #[test]
    fn long_lines_are_cut_and_bytes_that_are_no_text_are_marked() {
        let mut buffer = MessageBuffer::new(4);
        buffer.binary(b"12345");
        buffer.binary(b"\xff\n\x00");
        buffer.binary("\u{e9}".as_bytes());

        let lines = buffer.take().unwrap();

        let found: Vec<_> = lines
            .iter()
            .map(|it| (it.text, it.truncated, it.binary))
            .collect();
        let expected = [
            (&b"1234"[..], true, false),
            (b"\xff\n\x00", false, true),
            ("\u{e9}".as_bytes(), false, false),
        ];
        assert_eq!(found, expected);
    }
}
