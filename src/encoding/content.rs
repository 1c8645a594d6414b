//! What the bytes of a line are: text, something like text, or neither.
//!
//! Pure: no I/O, no clock.

use std::borrow::Cow;

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::escape::{escape, escape_lossy};
use super::scan::{self, Object};
use super::{Line, Lines};

/// Whether every line of a piece is UTF-8; looked at once for all of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Validity {
    is_all_valid: bool,
}

/// The content of one line, without the carriage return that may end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content<'a> {
    /// Valid UTF-8.
    Text(&'a [u8]),
    /// Meant as text, but not valid: what is wrong is shown as U+FFFD.
    Damaged(&'a [u8]),
    /// Not meant as text: shown as base64 (RFC 4648 §4).
    Binary(&'a [u8]),
}

impl Validity {
    pub(super) fn of(lines: &Lines) -> Self {
        // A newline is never part of a longer character: if the whole is valid, every line is.
        let is_all_valid = is_utf8(lines.bytes());
        Self { is_all_valid }
    }

    #[inline]
    pub(super) fn content<'a>(&self, line: &Line<'a>) -> Content<'a> {
        if line.binary {
            return Content::Binary(line.text);
        }
        let mut text = line.text;
        if line.offset == 0 {
            text = without_byte_order_mark(text);
        }
        if self.is_all_valid || is_utf8(text) {
            Content::Text(text)
        } else {
            Content::Damaged(text)
        }
    }
}

impl<'a> Content<'a> {
    /// Appends the content as the inside of a JSON string.
    #[inline]
    pub(super) fn append(&self, out: &mut Vec<u8>) {
        match self {
            Content::Text(text) => escape(out, without_return(text)),
            Content::Damaged(text) => escape_lossy(out, without_return(text)),
            Content::Binary(bytes) => {
                out.extend_from_slice(BASE64_STANDARD.encode(bytes).as_bytes());
            }
        }
    }

    /// The content as a string.
    pub(super) fn to_text(self) -> Cow<'a, [u8]> {
        match self {
            Content::Text(text) => Cow::Borrowed(without_return(text)),
            Content::Damaged(text) => match String::from_utf8_lossy(without_return(text)) {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            },
            Content::Binary(bytes) => Cow::Owned(BASE64_STANDARD.encode(bytes).into_bytes()),
        }
    }

    /// The JSON object that the content is, if it is one; `key` is called as by [`scan::object`].
    #[inline]
    pub(super) fn object(&self, key: impl FnMut(&'a [u8])) -> Option<(&'a [u8], Object)> {
        let Content::Text(text) = *self else {
            return None;
        };
        if !may_be_object(text) {
            return None;
        }
        let mut key = key;
        Some((text, scan::object(text, |place| key(&text[place]))?))
    }

    /// True where the content is text and, as its first byte tells, no JSON object. Most lines are.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Content::Text(text) if !may_be_object(text))
    }

    /// True where nothing but white space is there.
    pub(super) fn is_blank(&self) -> bool {
        match self {
            Content::Text(text) => text.iter().all(u8::is_ascii_whitespace),
            Content::Damaged(_) => false,
            Content::Binary(bytes) => bytes.is_empty(),
        }
    }
}

/// False where the first byte tells that the text is no JSON object.
#[inline]
fn may_be_object(text: &[u8]) -> bool {
    matches!(text.first(), Some(b'{' | b' ' | b'\t' | b'\n' | b'\r'))
}

#[inline]
fn without_return(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"\r").unwrap_or(text)
}

/// The text without the UTF-8 byte order mark that a stream can begin with: it is no part of it, and
/// an object behind it is still an object.
pub(super) fn without_byte_order_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

fn is_utf8(text: &[u8]) -> bool {
    simdutf8::basic::from_utf8(text).is_ok()
}

/// Appends `before` and `text` as a JSON string.
pub(super) fn append_pair(out: &mut Vec<u8>, before: &str, text: &str) {
    out.extend_from_slice(before.as_bytes());
    out.push(b'"');
    escape(out, text.as_bytes());
    out.push(b'"');
}

/// Appends a comma, `name` as a key, and `value` as a JSON string.
pub(super) fn append_member(out: &mut Vec<u8>, name: &str, value: &str) {
    append_pair(out, ",", name);
    append_pair(out, ":", value);
}

/// Appends a part of a valid JSON text with spaces for its line breaks, which can only be white space
/// between tokens: strings hold no bare control characters.
#[inline]
pub(super) fn append_one_line(out: &mut Vec<u8>, json: &[u8]) {
    let start = out.len();
    out.extend_from_slice(json);
    if memchr::memchr2(b'\n', b'\r', json).is_some() {
        for byte in &mut out[start..] {
            if let b'\n' | b'\r' = byte {
                *byte = b' ';
            }
        }
    }
}
