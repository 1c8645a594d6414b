//! Datadog's log intake, version 2: one JSON array of entries.
//!
//! Pure: no I/O, no clock.

use super::content::{Validity, append_member, append_pair};
use super::decimal::append_decimal;
use super::stamp::{advance, stamp};
use super::{Origin, Piece, array};

/// The encoder of `format = "datadog"`.
#[derive(Debug)]
pub(super) struct Entries {
    host: String,
}

impl Entries {
    pub(super) fn new(host: &str) -> Self {
        Self {
            host: host.to_owned(),
        }
    }

    pub(super) fn append(&self, out: &mut Vec<u8>, pieces: &[Piece]) {
        out.push(b'[');
        for piece in pieces {
            self.append_piece(out, piece);
        }
        array::close(out);
    }

    fn append_piece(&self, out: &mut Vec<u8>, piece: &Piece) {
        let lines = &piece.lines;
        let validity = Validity::of(lines);
        let origin = piece.origin;
        let common = self.common(origin);
        let mut time = stamp(piece.time_ns);
        let mut time_ns = piece.time_ns;
        out.reserve(lines.bytes().len() + lines.count() as usize * (common.len() + 120));
        for line in lines.iter() {
            if let Some(own_ns) = line.time_ns {
                time = stamp(own_ns);
            }
            out.extend_from_slice(b"{\"timestamp\":\"");
            out.extend_from_slice(&time);
            out.push(b'"');
            out.extend_from_slice(&common);
            if origin.path.is_some() {
                out.extend_from_slice(b",\"offset\":");
                append_decimal(out, line.offset);
            }
            if line.truncated {
                out.extend_from_slice(b",\"truncated\":true");
            }
            if let Some(event) = line.event {
                append_member(out, "event", event);
            }
            if let Some(stream) = line.stream {
                append_member(out, "stream", stream.as_str());
            }
            // A record in JSON is sent as text: it is parsed there, and its own `host` or `service`
            // cannot meet ours.
            out.extend_from_slice(b",\"message\":\"");
            validity.content(&line).append(out);
            out.extend_from_slice(b"\"},\n");
            time_ns = time_ns.wrapping_add(1);
            if line.time_ns.is_some() {
                time = stamp(time_ns);
            } else {
                advance(&mut time, time_ns);
            }
        }
    }

    /// The members that are the same for all lines of a piece.
    fn common(&self, origin: &Origin) -> Vec<u8> {
        let mut out = Vec::new();
        let label = |wanted: &str| {
            let mut labels = origin.labels.iter();
            labels
                .find(|(name, _)| &**name == wanted)
                .map(|(_, value)| &**value)
        };
        append_member(
            &mut out,
            "ddsource",
            label("ddsource").unwrap_or(&origin.source),
        );
        append_member(
            &mut out,
            "service",
            label("service").unwrap_or(&origin.source),
        );
        append_member(&mut out, "hostname", &self.host);
        let tags: Vec<String> = origin
            .labels
            .iter()
            .filter(|(name, _)| !["ddsource", "service"].contains(&&**name))
            // A comma ends a tag.
            .map(|(name, value)| format!("{name}:{value}").replace(',', "_"))
            .collect();
        if !tags.is_empty() {
            append_pair(&mut out, ",\"ddtags\":", &tags.join(","));
        }
        if let Some(path) = &origin.path {
            append_member(&mut out, "file", path);
        }
        out
    }
}
