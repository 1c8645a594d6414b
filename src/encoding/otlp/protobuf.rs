//! OTLP as protobuf, written by hand: `ExportLogsServiceRequest` and what it holds.
//!
//! Field numbers are those of opentelemetry-proto 1, `logs/v1/logs.proto` and `common/v1`.

use super::{IOSTREAM, OFFSET, PATH, Resource, SCOPE, TRUNCATED, VERSION};
use crate::encoding::content::{Content, Validity};
use crate::encoding::level::Level;
use crate::encoding::{Line, Piece};

/// Wire types.
const FIXED64: u8 = 1;
const LENGTH: u8 = 2;
const VARINT: u8 = 0;

/// Bytes kept for a length that is known only later. A varint may have more bytes than it needs.
const LATER_BYTES: usize = 5;

pub(super) fn append(out: &mut Vec<u8>, resources: &[Resource]) {
    for resource in resources {
        // ExportLogsServiceRequest.resource_logs
        later(out, 1, |out| {
            // ResourceLogs.resource, Resource.attributes
            later(out, 1, |out| {
                for (name, value) in &resource.attributes {
                    bytes(out, 1, &attribute(name, &string(value.as_bytes())));
                }
            });
            // ResourceLogs.scope_logs
            later(out, 2, |out| {
                // ScopeLogs.scope, InstrumentationScope.name and .version
                later(out, 1, |out| {
                    bytes(out, 1, SCOPE.as_bytes());
                    bytes(out, 2, VERSION.as_bytes());
                });
                resource
                    .pieces
                    .iter()
                    .for_each(|piece| append_records(out, piece));
            });
        });
    }
}

fn append_records(out: &mut Vec<u8>, piece: &Piece) {
    let lines = &piece.lines;
    let validity = Validity::of(lines);
    let path = piece.origin.path.as_ref().map(|path| {
        let mut field = Vec::new();
        bytes(&mut field, 6, &attribute(PATH, &string(path.as_bytes())));
        field
    });
    let path = path.unwrap_or_default();
    out.reserve(lines.bytes().len() + lines.count() as usize * (path.len() + 100));
    // What follows the body; kept for its capacity.
    let mut tail = Vec::new();
    for (line, time_ns) in lines.iter().zip(piece.time_ns..) {
        tail.clear();
        if !path.is_empty() {
            tail.extend_from_slice(&path);
            append_offset(&mut tail, line.offset);
        }
        append_marks(&mut tail, &line);
        append_record(out, &line, (time_ns, validity.content(&line)), &tail);
    }
}

/// `ScopeLogs.log_records`. Its length is computed before it is written, so that nothing is moved.
fn append_record(out: &mut Vec<u8>, line: &Line, (time_ns, content): (i64, Content), tail: &[u8]) {
    /// Two times with a tag each.
    const TIMES_BYTES: usize = 2 * (1 + 8);
    let nanos = |time_ns| u64::try_from(time_ns).unwrap_or(0).to_le_bytes();
    let (own_ns, time_ns) = (nanos(line.time_ns.unwrap_or(time_ns)), nanos(time_ns));
    let level = Level::detect(line.text);
    // severity_number takes a tag and a byte, severity_text a tag, a length and its letters.
    let level_bytes = level.map_or(0, |level| 2 + 2 + level.name().len());
    let (value_field, text) = match content {
        // AnyValue.bytes_value
        Content::Binary(raw) => (7, std::borrow::Cow::Borrowed(raw)),
        // AnyValue.string_value
        _ => (1, content.to_text()),
    };
    let value_bytes = 1 + varint_len(text.len()) + text.len();
    let body_bytes = 1 + varint_len(value_bytes) + value_bytes;
    let length = TIMES_BYTES + level_bytes + body_bytes + tail.len();

    tag(out, 2, LENGTH);
    varint(out, length as u64);
    tag(out, 1, FIXED64);
    out.extend_from_slice(&own_ns);
    if let Some(level) = level {
        tag(out, 2, VARINT);
        out.push(level.otel_number());
        bytes(out, 3, level.name().as_bytes());
    }
    tag(out, 5, LENGTH);
    varint(out, value_bytes as u64);
    bytes(out, value_field, &text);
    out.extend_from_slice(tail);
    tag(out, 11, FIXED64);
    out.extend_from_slice(&time_ns);
}

/// `LogRecord.attributes`: the offset, an `AnyValue.int_value`.
fn append_offset(out: &mut Vec<u8>, offset: u64) {
    // A key, which is short, and a value of a tag and a varint.
    let value_bytes = 1 + varint_len(usize::try_from(offset).unwrap_or(usize::MAX));
    let length = 2 + OFFSET.len() + 2 + value_bytes;
    tag(out, 6, LENGTH);
    varint(out, length as u64);
    bytes(out, 1, OFFSET.as_bytes());
    tag(out, 2, LENGTH);
    varint(out, value_bytes as u64);
    tag(out, 3, VARINT);
    varint(out, offset);
}

fn append_marks(out: &mut Vec<u8>, line: &Line) {
    if line.truncated {
        // AnyValue.bool_value
        bytes(out, 6, &attribute(TRUNCATED, &[2 << 3 | VARINT, 1]));
    }
    if let Some(stream) = line.stream {
        let value = string(stream.as_str().as_bytes());
        bytes(out, 6, &attribute(IOSTREAM, &value));
    }
    if let Some(event) = line.event {
        // LogRecord.event_name
        bytes(out, 12, event.as_bytes());
    }
}

/// A `KeyValue`; `value` is an encoded `AnyValue`.
fn attribute(name: &str, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + value.len() + 8);
    bytes(&mut out, 1, name.as_bytes());
    bytes(&mut out, 2, value);
    out
}

/// An `AnyValue.string_value`.
fn string(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 8);
    bytes(&mut out, 1, text);
    out
}

fn bytes(out: &mut Vec<u8>, field: u8, value: &[u8]) {
    tag(out, field, LENGTH);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// A field whose length is known once `write` has written it.
fn later(out: &mut Vec<u8>, field: u8, write: impl FnOnce(&mut Vec<u8>)) {
    tag(out, field, LENGTH);
    let at = out.len();
    out.extend_from_slice(&[0; LATER_BYTES]);
    write(out);
    let mut length = out.len() - at - LATER_BYTES;
    for (index, byte) in out[at..at + LATER_BYTES].iter_mut().enumerate() {
        let more = if index + 1 < LATER_BYTES { 0x80 } else { 0 };
        *byte = (length & 0x7f) as u8 | more;
        length >>= 7;
    }
    debug_assert_eq!(length, 0, "a body is smaller than 32 GiB");
}

#[inline]
fn tag(out: &mut Vec<u8>, field: u8, wire: u8) {
    out.push(field << 3 | wire);
}

#[inline]
fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes of a varint.
#[inline]
fn varint_len(value: usize) -> usize {
    let bits = usize::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}
