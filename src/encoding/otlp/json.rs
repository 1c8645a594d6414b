//! OTLP as JSON: enumerations as numbers, 64-bit integers as decimal strings (OTLP 1, "JSON Protobuf
//! Encoding").

use super::{IOSTREAM, OFFSET, PATH, Resource, SCOPE, TRUNCATED, VERSION};
use crate::encoding::Piece;
use crate::encoding::content::{Content, Validity, append_pair};
use crate::encoding::decimal::append_decimal;
use crate::encoding::level::Level;

pub(super) fn append(out: &mut Vec<u8>, resources: &[Resource]) {
    out.extend_from_slice(b"{\"resourceLogs\":[");
    for (index, resource) in resources.iter().enumerate() {
        out.extend_from_slice(if index > 0 { b"," } else { b"" });
        out.extend_from_slice(b"{\"resource\":{\"attributes\":[");
        for (index, (name, value)) in resource.attributes.iter().enumerate() {
            out.extend_from_slice(if index > 0 { b"," } else { b"" });
            append_attribute(out, name, value);
        }
        append_pair(out, "]},\"scopeLogs\":[{\"scope\":{\"name\":", SCOPE);
        append_pair(out, ",\"version\":", VERSION);
        out.extend_from_slice(b"},\"logRecords\":[");
        let start = out.len();
        resource
            .pieces
            .iter()
            .for_each(|piece| append_records(out, piece, start));
        out.extend_from_slice(b"]}]}");
    }
    out.extend_from_slice(b"]}");
}

fn append_records(out: &mut Vec<u8>, piece: &Piece, start: usize) {
    let lines = &piece.lines;
    let validity = Validity::of(lines);
    let mut attributes = Vec::new();
    if let Some(path) = &piece.origin.path {
        append_attribute(&mut attributes, PATH, path);
        append_pair(&mut attributes, ",{\"key\":", OFFSET);
        attributes.extend_from_slice(b",\"value\":{\"intValue\":\"");
    }
    out.reserve(lines.bytes().len() + lines.count() as usize * (attributes.len() + 200));
    for (line, time_ns) in lines.iter().zip(piece.time_ns..) {
        let own_ns = u64::try_from(line.time_ns.unwrap_or(time_ns)).unwrap_or(0);
        let time_ns = u64::try_from(time_ns).unwrap_or(0);
        out.extend_from_slice(if out.len() > start { b"," } else { b"" });
        out.extend_from_slice(b"{\"timeUnixNano\":\"");
        append_decimal(out, own_ns);
        out.extend_from_slice(b"\",\"observedTimeUnixNano\":\"");
        append_decimal(out, time_ns);
        if let Some(level) = Level::detect(line.text) {
            out.extend_from_slice(b"\",\"severityNumber\":");
            append_decimal(out, level.otel_number().into());
            out.extend_from_slice(b",\"severityText\":\"");
            out.extend_from_slice(level.name().as_bytes());
        }
        let content = validity.content(&line);
        out.extend_from_slice(match content {
            Content::Binary(_) => b"\",\"body\":{\"bytesValue\":\"",
            _ => b"\",\"body\":{\"stringValue\":\"".as_slice(),
        });
        content.append(out);
        out.extend_from_slice(b"\"},\"attributes\":[");
        let first = out.len();
        if !attributes.is_empty() {
            out.extend_from_slice(&attributes);
            append_decimal(out, line.offset);
            out.extend_from_slice(b"\"}}");
        }
        if line.truncated {
            out.extend_from_slice(if out.len() > first { b"," } else { b"" });
            append_pair(out, "{\"key\":", TRUNCATED);
            out.extend_from_slice(b",\"value\":{\"boolValue\":true}}");
        }
        if let Some(stream) = line.stream {
            out.extend_from_slice(if out.len() > first { b"," } else { b"" });
            append_attribute(out, IOSTREAM, stream.as_str());
        }
        out.push(b']');
        if let Some(event) = line.event {
            append_pair(out, ",\"eventName\":", event);
        }
        out.push(b'}');
    }
}

fn append_attribute(out: &mut Vec<u8>, name: &str, value: &str) {
    append_pair(out, "{\"key\":", name);
    append_pair(out, ",\"value\":{\"stringValue\":", value);
    out.extend_from_slice(b"}}");
}
