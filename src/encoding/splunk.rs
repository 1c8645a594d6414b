//! Events of Splunk's HTTP Event Collector: JSON objects one after the other.
//!
//! Pure: no I/O, no clock.

use super::content::{Content, Validity, append_member, append_one_line, append_pair};
use super::decimal::append_decimal;
use super::{Line, Origin, Piece};

/// Options of `format = "splunk"`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Splunk {
    /// Where events go; `None`: the token's default index.
    pub index: Option<String>,
    /// What kind of events they are; `None`: the token's default.
    pub sourcetype: Option<String>,
}

/// The encoder of `format = "splunk"`.
#[derive(Debug)]
pub(super) struct Events {
    /// `,"host":"…","sourcetype":"…","index":"…"`
    common: Vec<u8>,
}

impl Events {
    pub(super) fn new(options: &Splunk, host: &str) -> Self {
        let mut common = Vec::new();
        append_member(&mut common, "host", host);
        if let Some(sourcetype) = &options.sourcetype {
            append_member(&mut common, "sourcetype", sourcetype);
        }
        if let Some(index) = &options.index {
            append_member(&mut common, "index", index);
        }
        Self { common }
    }

    pub(super) fn append(&self, out: &mut Vec<u8>, piece: &Piece) {
        let lines = &piece.lines;
        let validity = Validity::of(lines);
        let origin = piece.origin;
        let mut common = self.common.clone();
        // Splunk calls the file the source.
        append_member(
            &mut common,
            "source",
            origin.path.as_ref().unwrap_or(&origin.source),
        );
        common.extend_from_slice(b",\"fields\":{");
        append_fields(&mut common, origin);
        out.reserve(lines.bytes().len() + lines.count() as usize * (common.len() + 80));
        for (line, time_ns) in lines.iter().zip(piece.time_ns..) {
            out.extend_from_slice(b"{\"time\":");
            append_seconds(out, line.time_ns.unwrap_or(time_ns));
            out.extend_from_slice(&common);
            let content = validity.content(&line);
            append_line_fields(out, origin, &line, content);
            out.extend_from_slice(b"},\"event\":");
            append_event(out, content);
            out.extend_from_slice(b"}\n");
        }
    }
}

/// Appends the record itself, or the text; a blank one as an object, because blank events are
/// refused.
fn append_event(out: &mut Vec<u8>, content: Content) {
    if let Some((text, object)) = content.object(|_| ()) {
        // From the outer brace, which stands right before its first member.
        append_one_line(out, &text[object.start - 1..object.end]);
        return;
    }
    let is_blank = content.is_blank();
    out.extend_from_slice(if is_blank { b"{\"_msg\":\"" } else { b"\"" });
    content.append(out);
    out.extend_from_slice(if is_blank { b"\"}" } else { b"\"" });
}

/// Appends indexed fields: the source's name and its labels. They are flat.
fn append_fields(out: &mut Vec<u8>, origin: &Origin) {
    append_pair(out, "\"log_source\":", &origin.source);
    for (name, value) in origin.labels.iter() {
        if ![
            "log_source",
            "log_offset",
            "truncated",
            "sse_event",
            "encoding",
        ]
        .contains(&&**name)
        {
            append_member(out, name, value);
        }
    }
}

fn append_line_fields(out: &mut Vec<u8>, origin: &Origin, line: &Line, content: Content) {
    if origin.path.is_some() {
        out.extend_from_slice(b",\"log_offset\":\"");
        append_decimal(out, line.offset);
        out.push(b'"');
    }
    if line.truncated {
        append_member(out, "truncated", "true");
    }
    if let Some(event) = line.event {
        append_member(out, "sse_event", event);
    }
    if let Some(stream) = line.stream {
        append_member(out, "stream", stream.as_str());
    }
    if matches!(content, Content::Binary(_)) {
        append_member(out, "encoding", "base64");
    }
}

/// Appends seconds since 1970 with nine digits behind the point.
fn append_seconds(out: &mut Vec<u8>, time_ns: i64) {
    const NS_PER_S: u64 = 1_000_000_000;
    let time_ns = u64::try_from(time_ns).unwrap_or(0);
    append_decimal(out, time_ns / NS_PER_S);
    let mut fraction = *b".000000000";
    let mut rest = time_ns % NS_PER_S;
    for digit in fraction[1..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&fraction);
}
