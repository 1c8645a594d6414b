//! The `_bulk` body of Elasticsearch and OpenSearch: an action and a document per line.
//!
//! Documents are named as the Elastic Common Schema names things. A line that is a JSON object keeps
//! its keys, and where it has one of ours, ours is left out: two of one name, or a text where the
//! index has an object, would be refused. Keys that begin with an underscore are metadata there and
//! refused as well, so a record's own are renamed.
//!
//! Pure: no I/O, no clock.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use twox_hash::XxHash3_128;

use super::content::{Content, Validity, append_one_line, append_pair};
use super::decimal::append_decimal;
use super::escape::escape;
use super::json::labels;
use super::reserved::unescape;
use super::scan::{self, Object};
use super::stamp::{STAMP_BYTES, advance, stamp};
use super::{Line, Origin, Piece};

/// Options of `format = "elasticsearch"`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elasticsearch {
    /// Index or data stream; `None`: the URL names it.
    pub index: Option<String>,
}

/// What of ours a record has itself.
const TIME: u8 = 1;
const LOG: u8 = 1 << 1;
const HOST: u8 = 1 << 2;
const EVENT: u8 = 1 << 3;
const LABELS: u8 = 1 << 4;
/// It has a key that must be renamed.
const METADATA: u8 = 1 << 5;

/// The encoder of `format = "elasticsearch"`.
#[derive(Debug)]
pub(super) struct Bulk {
    /// `{"create":{"_index":"…"`
    action: Vec<u8>,
    /// `,"host":{"name":"…"}`
    host: Vec<u8>,
}

/// The parts of a document that are the same for all lines of a piece.
struct Document {
    stamp: [u8; STAMP_BYTES],
    /// `,"event":{"dataset":"…"`, still open.
    event: Vec<u8>,
    /// `,"labels":{…}`
    labels: Vec<u8>,
    /// `,"log":{"file":{"path":"…"},"offset":`, still open.
    log: Option<Vec<u8>>,
}

impl Bulk {
    pub(super) fn new(options: &Elasticsearch, host: &str) -> Self {
        let mut action = b"{\"create\":{".to_vec();
        if let Some(index) = &options.index {
            append_pair(&mut action, "\"_index\":", index);
        }
        let mut own_host = b",\"host\":{".to_vec();
        append_pair(&mut own_host, "\"name\":", host);
        own_host.push(b'}');
        Self {
            action,
            host: own_host,
        }
    }

    pub(super) fn append(&self, out: &mut Vec<u8>, piece: &Piece) {
        let lines = &piece.lines;
        let validity = Validity::of(lines);
        let mut document = Document::new(piece.origin, piece.time_ns);
        let mut key = Vec::new();
        let mut time_ns = piece.time_ns;
        out.reserve(lines.bytes().len() + lines.count() as usize * 320);
        for line in lines.iter() {
            if let Some(own_ns) = line.time_ns {
                document.stamp = stamp(own_ns);
            }
            out.extend_from_slice(&self.action);
            if piece.is_replayable {
                if self.action.last() != Some(&b'{') {
                    out.push(b',');
                }
                out.extend_from_slice(b"\"_id\":\"");
                append_id(out, &mut key, piece.origin, &line);
                out.push(b'"');
            }
            out.extend_from_slice(b"}}\n");
            self.append_document(out, &document, &line, validity.content(&line));
            out.push(b'\n');
            time_ns = time_ns.wrapping_add(1);
            if line.time_ns.is_some() {
                document.stamp = stamp(time_ns);
            } else {
                advance(&mut document.stamp, time_ns);
            }
        }
    }

    fn append_document(
        &self,
        out: &mut Vec<u8>,
        document: &Document,
        line: &Line,
        content: Content,
    ) {
        let mut own = 0;
        let object = content.object(|key| own |= ours(key));
        let own = if object.is_some() { own } else { 0 };
        out.push(b'{');
        let start = out.len();
        if own & TIME == 0 {
            out.extend_from_slice(b",\"@timestamp\":\"");
            out.extend_from_slice(&document.stamp);
            out.push(b'"');
        }
        if own & HOST == 0 {
            out.extend_from_slice(&self.host);
        }
        if own & EVENT == 0 {
            out.extend_from_slice(&document.event);
            if let Some(event) = line.event {
                append_pair(out, ",\"action\":", event);
            }
            out.push(b'}');
        }
        if own & LABELS == 0 {
            out.extend_from_slice(&document.labels);
        }
        if own & LOG == 0 {
            document.append_log(out, line, content);
        }
        match object {
            Some((text, object)) => {
                if !object.is_empty {
                    out.push(b',');
                }
                if own & METADATA == 0 {
                    append_one_line(out, &text[object.start..object.end]);
                } else {
                    append_renamed(out, text, object);
                }
            }
            None => {
                out.extend_from_slice(b",\"message\":\"");
                content.append(out);
                out.extend_from_slice(b"\"}");
            }
        }
        // The first member has no comma before it. There always is one: the time, or the record's.
        if out[start] == b',' {
            out[start] = b' ';
        }
    }
}

impl Document {
    fn new(origin: &Origin, time_ns: i64) -> Self {
        let mut event = b",\"event\":{".to_vec();
        append_pair(&mut event, "\"dataset\":", &origin.source);
        let log = origin.path.as_ref().map(|path| {
            let mut log = b",\"log\":{\"file\":{".to_vec();
            append_pair(&mut log, "\"path\":", path);
            log.extend_from_slice(b"},\"offset\":");
            log
        });
        Self {
            stamp: stamp(time_ns),
            event,
            labels: labels("labels", origin),
            log,
        }
    }

    fn append_log(&self, out: &mut Vec<u8>, line: &Line, content: Content) {
        let flags: &[u8] = match (line.truncated, content) {
            (true, Content::Binary(_)) => b"\"flags\":[\"truncated\",\"base64\"]",
            (true, _) => b"\"flags\":[\"truncated\"]",
            (false, Content::Binary(_)) => b"\"flags\":[\"base64\"]",
            (false, _) => b"",
        };
        match &self.log {
            Some(log) => {
                out.extend_from_slice(log);
                append_decimal(out, line.offset);
                if let Some(stream) = line.stream {
                    append_pair(out, ",\"iostream\":", stream.as_str());
                }
                if !flags.is_empty() {
                    out.push(b',');
                }
            }
            None if flags.is_empty() => return,
            None => out.extend_from_slice(b",\"log\":{"),
        }
        out.extend_from_slice(flags);
        out.push(b'}');
    }
}

/// Appends the id that a line has on every resend, also after a restart: base64url of the XXH3-128
/// of the stream's id, the line's offset (eight bytes, little-endian) and its bytes. Other bytes at
/// the same place have another id, so that an id that is taken never hides a different line.
fn append_id(out: &mut Vec<u8>, key: &mut Vec<u8>, origin: &Origin, line: &Line) {
    const ID_BYTES: usize = 22;
    key.clear();
    key.extend_from_slice(origin.stream.as_str().as_bytes());
    key.extend_from_slice(&line.offset.to_le_bytes());
    key.extend_from_slice(line.text);
    let hash = XxHash3_128::oneshot(key).to_be_bytes();
    let mut id = [0; ID_BYTES];
    let length = BASE64_URL_SAFE_NO_PAD
        .encode_slice(hash, &mut id)
        .expect("16 bytes are 22 characters");
    out.extend_from_slice(&id[..length]);
}

/// What of ours a top-level key takes the place of.
#[inline]
fn ours(key: &[u8]) -> u8 {
    match key.first() {
        Some(b'_') => METADATA,
        Some(b'@' | b'l' | b'h' | b'e') => ours_by_name(key),
        Some(b'\\') => {
            let mut buffer = [0; 32];
            match unescape(key, &mut buffer) {
                Some([b'_', ..]) => METADATA,
                Some(key) => ours_by_name(key),
                // A long name that begins with an escaped underscore.
                None if key.starts_with(b"\\u005f") || key.starts_with(b"\\u005F") => METADATA,
                None => 0,
            }
        }
        // An escape further back makes a key ours only in records that nobody writes: the document
        // would be refused and set aside, not lost.
        _ => 0,
    }
}

fn ours_by_name(key: &[u8]) -> u8 {
    match key {
        b"@timestamp" => TIME,
        b"log" | b"log.file" | b"log.file.path" | b"log.offset" | b"log.flags" => LOG,
        b"host" | b"host.name" => HOST,
        b"event" | b"event.dataset" => EVENT,
        b"labels" => LABELS,
        _ => 0,
    }
}

/// Appends the members of a record with new names for those that begin with an underscore: without
/// it and with `_orig`, as often as it takes for the name to be free.
#[cold]
fn append_renamed(out: &mut Vec<u8>, text: &[u8], object: Object) {
    let mut taken: Vec<String> = Vec::new();
    scan::object(text, |key| taken.push(unescaped(&text[key])));
    let mut from = object.start;
    scan::object(text, |key| {
        append_one_line(out, &text[from..key.start]);
        let name = unescaped(&text[key.clone()]);
        from = key.start;
        if name.starts_with('_') {
            let mut renamed = name.trim_start_matches('_').to_owned();
            if renamed.is_empty() {
                renamed.push_str("underscore");
            }
            loop {
                renamed.push_str("_orig");
                if !taken.contains(&renamed) {
                    break;
                }
            }
            escape(out, renamed.as_bytes());
            taken.push(renamed);
            from = key.end;
        }
    });
    append_one_line(out, &text[from..object.end]);
}

/// A key as it is meant, from how it is spelled between its quotes.
fn unescaped(key: &[u8]) -> String {
    let quoted = [b"\"", key, b"\""].concat();
    serde_json::from_slice(&quoted).unwrap_or_else(|_| String::from_utf8_lossy(key).into_owned())
}
