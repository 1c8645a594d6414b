//! One JSON object per line (NDJSON).
//!
//! What is the same for all lines of a call (source, host, file, labels) is rendered once per call;
//! for a line only its time moves by one digit, then its offset and its text are added.
//!
//! Pure: no I/O, no clock.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use memchr::memchr2;

use super::escape::{escape, escape_lossy};
use super::reserved::{OwnKeys, Renames};
use super::scan::{self, Object};
use super::stamp::{STAMP_BYTES, advance, stamp};
use super::{Lines, Meta, Origin};
use crate::model::Line;

const TIME: &[u8] = br#"{"_time":""#;

/// What a line can add beside its text and what [`Head`] knows: an offset, `_truncated`, `_msg`.
const LINE_EXTRA_BYTES: usize = 64;

/// The encoder of `format = "json"`.
#[derive(Debug)]
pub(super) struct Json {
    meta: Meta,
    host: String,
}

/// What every line of a call begins with.
struct Head {
    /// From the outer `{` up to the line's offset; the time is at a fixed place.
    open: Vec<u8>,
    has_offset: bool,
    /// What follows the offset.
    labels: Vec<u8>,
}

impl Json {
    pub(super) fn new(meta: Meta, host: &str) -> Self {
        Self {
            meta,
            host: host.to_owned(),
        }
    }

    pub(super) fn append(&self, out: &mut Vec<u8>, origin: &Origin, time_ns: i64, lines: &Lines) {
        let mut head = self.head(origin, time_ns);
        let line_bytes = head.open.len() + head.labels.len() + LINE_EXTRA_BYTES;
        out.reserve(lines.bytes().len() + lines.count() as usize * line_bytes);
        // A newline is never part of a longer character: if the whole is valid, every line is.
        let is_all_valid = is_utf8(lines.bytes());
        let mut time_ns = time_ns;
        for line in lines.iter() {
            head.append(out, &line);
            if line.binary {
                append_base64(out, line.text);
            } else if !is_all_valid && !is_utf8(line.text) {
                append_message(out, line.text, escape_lossy);
            } else if !append_members(out, line.text) {
                append_message(out, line.text, escape);
            }
            time_ns = time_ns.wrapping_add(1);
            head.move_to(time_ns);
        }
    }

    fn head(&self, origin: &Origin, time_ns: i64) -> Head {
        let mut open = TIME.to_vec();
        open.extend_from_slice(&stamp(time_ns));
        open.push(b'"');
        append_pair(&mut open, ",\"_source\":", &origin.source);
        if self.meta.host {
            append_pair(&mut open, ",\"_host\":", &self.host);
        }
        if self.meta.file
            && let Some(path) = &origin.path
        {
            append_pair(&mut open, ",\"_file\":", path);
        }
        if self.meta.offset {
            open.extend_from_slice(b",\"_offset\":");
        }
        Head {
            open,
            has_offset: self.meta.offset,
            labels: self.labels(origin),
        }
    }

    fn labels(&self, origin: &Origin) -> Vec<u8> {
        let mut out = Vec::new();
        if self.meta.labels && !origin.labels.is_empty() {
            out.extend_from_slice(b",\"_labels\":{");
            for (index, (name, value)) in origin.labels.iter().enumerate() {
                append_pair(&mut out, if index == 0 { "" } else { "," }, name);
                append_pair(&mut out, ":", value);
            }
            out.push(b'}');
        }
        out
    }
}

impl Head {
    #[inline]
    fn append(&self, out: &mut Vec<u8>, line: &Line) {
        out.extend_from_slice(&self.open);
        if self.has_offset {
            append_decimal(out, line.offset);
        }
        out.extend_from_slice(&self.labels);
        if line.truncated {
            out.extend_from_slice(b",\"_truncated\":true");
        }
        if let Some(event) = line.event {
            append_pair(out, ",\"_event\":", event);
        }
    }

    #[inline]
    fn move_to(&mut self, time_ns: i64) {
        if let Some(text) = self.open[TIME.len()..].first_chunk_mut::<STAMP_BYTES>() {
            advance(text, time_ns);
        }
    }
}

fn is_utf8(text: &[u8]) -> bool {
    simdutf8::basic::from_utf8(text).is_ok()
}

/// Appends `before` and `text` as a JSON string.
fn append_pair(out: &mut Vec<u8>, before: &str, text: &str) {
    out.extend_from_slice(before.as_bytes());
    out.push(b'"');
    escape(out, text.as_bytes());
    out.push(b'"');
}

/// Ends the line with `text` in `_msg`.
#[inline]
fn append_message(out: &mut Vec<u8>, text: &[u8], escape: impl Fn(&mut Vec<u8>, &[u8])) {
    out.extend_from_slice(b",\"_msg\":\"");
    escape(out, text.strip_suffix(b"\r").unwrap_or(text));
    out.extend_from_slice(b"\"}\n");
}

/// Ends the line with bytes that are no text in `_b64` (RFC 4648 §4).
#[cold]
fn append_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(b",\"_b64\":\"");
    out.extend_from_slice(BASE64_STANDARD.encode(bytes).as_bytes());
    out.extend_from_slice(b"\"}\n");
}

/// Ends the line with the members of the object that `text` is.
///
/// Returns false, with nothing appended, where `text` is not one whole JSON object or has no free
/// name for a key that has to be renamed.
#[inline]
fn append_members(out: &mut Vec<u8>, text: &[u8]) -> bool {
    // Most lines that are not JSON are told apart by their first byte.
    if !matches!(text.first(), Some(b'{' | b' ' | b'\t' | b'\n' | b'\r')) {
        return false;
    }
    let mut own = OwnKeys::default();
    let Some(object) = scan::object(text, |key| own.note(&text[key])) else {
        return false;
    };
    if own.is_any_reserved() {
        return match own.renames() {
            Some(renames) => {
                append_renamed(out, text, object, &renames);
                true
            }
            None => false,
        };
    }
    append_comma(out, object);
    append_one_line(out, &text[object.start..object.end]);
    out.push(b'\n');
    true
}

fn append_comma(out: &mut Vec<u8>, object: Object) {
    if !object.is_empty {
        out.push(b',');
    }
}

#[cold]
fn append_renamed(out: &mut Vec<u8>, text: &[u8], object: Object, renames: &Renames) {
    append_comma(out, object);
    let mut from = object.start;
    scan::object(text, |key| {
        append_one_line(out, &text[from..key.start]);
        from = if renames.append(out, &text[key.clone()]) {
            key.end
        } else {
            key.start
        };
    });
    append_one_line(out, &text[from..object.end]);
    out.push(b'\n');
}

/// Appends a part of a valid JSON text with spaces for its line breaks, which can only be white space
/// between tokens: strings hold no bare control characters.
#[inline]
fn append_one_line(out: &mut Vec<u8>, json: &[u8]) {
    let start = out.len();
    out.extend_from_slice(json);
    if memchr2(b'\n', b'\r', json).is_some() {
        for byte in &mut out[start..] {
            if let b'\n' | b'\r' = byte {
                *byte = b' ';
            }
        }
    }
}

#[inline]
fn append_decimal(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
