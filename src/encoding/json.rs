//! One JSON object per line: NDJSON, and what is built from such objects.
//!
//! What is the same for all lines of a call (source, host, file, labels) is rendered once per call, in
//! a [`Head`]; a line of text is that head, its own bytes and an end: three copies.
//!
//! Pure: no I/O, no clock.

use super::content::{Content, Validity, append_one_line, append_pair};
use super::head::Head;
use super::reserved::{
    B64, EVENT, FILE, HOST, LABELS, MSG, OFFSET, OwnKeys, Renames, Reserved, SOURCE, STREAM, TIME,
    TRUNCATED,
};
use super::scan::{self, Object};
use super::{JsonOptions, Line, Lines, Origin};

/// What a line can add beside its text and what [`Head`] knows: an offset, `_truncated`, `_msg`.
const LINE_EXTRA_BYTES: usize = 64;

/// The encoder of `format = "json"`, and of all that wraps the same objects in something.
#[derive(Debug)]
pub(super) struct Json {
    options: JsonOptions,
    host: String,
    reserved: Reserved,
    /// `,"_msg":"` and the like, under their names.
    message: Vec<u8>,
    base64: Vec<u8>,
    truncated: Vec<u8>,
    event: String,
    stream: String,
}

/// What stands around each object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around<'a> {
    pub(super) before: &'a [u8],
    pub(super) after: &'a [u8],
}

impl Around<'static> {
    /// An object per line.
    pub(super) const LINES: Self = Self {
        before: b"",
        after: b"\n",
    };
}

impl Json {
    pub(super) fn new(options: &JsonOptions, host: &str) -> Self {
        let name = |index| options.fields.name(index);
        Self {
            options: options.clone(),
            host: host.to_owned(),
            reserved: Reserved::new(&options.fields),
            message: format!(",\"{}\":\"", name(MSG)).into_bytes(),
            base64: format!(",\"{}\":\"", name(B64)).into_bytes(),
            truncated: format!(",\"{}\":true", name(TRUNCATED)).into_bytes(),
            event: format!(",\"{}\":", name(EVENT)),
            stream: format!(",\"{}\":", name(STREAM)),
        }
    }

    pub(super) fn append(&self, out: &mut Vec<u8>, origin: &Origin, time_ns: i64, lines: &Lines) {
        self.append_around(out, (origin, time_ns), lines, Around::LINES);
    }

    pub(super) fn append_around(
        &self,
        out: &mut Vec<u8>,
        (origin, time_ns): (&Origin, i64),
        lines: &Lines,
        around: Around,
    ) {
        let mut head = self.head(origin, time_ns, around.before);
        let text_end = [b"\"}", around.after].concat();
        let line_bytes = head.usual().len() + text_end.len() + LINE_EXTRA_BYTES;
        out.reserve(lines.bytes().len() + lines.count() as usize * line_bytes);
        let validity = Validity::of(lines);
        let mut time_ns = time_ns;
        for line in lines.iter() {
            if let Some(own_ns) = line.time_ns {
                head.set_time(own_ns);
            }
            head.set_offset(line.offset);
            let content = validity.content(&line);
            if has_marks(&line) || !content.is_plain() {
                self.append_line(out, &head, &line, content);
                out.extend_from_slice(around.after);
            } else {
                out.extend_from_slice(head.usual());
                content.append(out);
                out.extend_from_slice(&text_end);
            }
            time_ns = time_ns.wrapping_add(1);
            if line.time_ns.is_some() {
                head.set_time(time_ns);
            } else {
                head.move_to(time_ns);
            }
        }
    }

    /// The head of text: what is the same for all lines, and `_msg`.
    fn head(&self, origin: &Origin, time_ns: i64, before: &[u8]) -> Head {
        let name = |index| self.options.fields.name(index);
        let meta = self.options.meta;
        let mut head = Head::new(before);
        head.open()
            .extend_from_slice(format!("{{\"{}\":\"", name(TIME)).as_bytes());
        head.add_stamp(time_ns);
        head.open().push(b'"');
        let mut pair = |index, value: &str| {
            append_pair(head.open(), &format!(",\"{}\":", name(index)), value);
        };
        pair(SOURCE, &origin.source);
        if meta.host {
            pair(HOST, &self.host);
        }
        if meta.file
            && let Some(path) = &origin.path
        {
            pair(FILE, path);
        }
        if meta.offset {
            let key = format!(",\"{}\":", name(OFFSET));
            head.open().extend_from_slice(key.as_bytes());
            head.add_offset();
        }
        if meta.labels {
            let labels = labels(name(LABELS), origin);
            head.open().extend_from_slice(&labels);
        }
        head.close(&self.message);
        head
    }

    /// Appends any line, all but what stands after it.
    fn append_line(&self, out: &mut Vec<u8>, head: &Head, line: &Line, content: Content) {
        out.extend_from_slice(head.common());
        if line.truncated {
            out.extend_from_slice(&self.truncated);
        }
        if let Some(event) = line.event {
            append_pair(out, &self.event, event);
        }
        if let Some(stream) = line.stream {
            append_pair(out, &self.stream, stream.as_str());
        }
        if self.append_members(out, content) {
            return;
        }
        out.extend_from_slice(match content {
            Content::Binary(_) => &self.base64,
            Content::Text(_) | Content::Damaged(_) => &self.message,
        });
        content.append(out);
        out.extend_from_slice(b"\"}");
    }

    /// Ends the object with the members of the object that `content` is.
    ///
    /// Returns false, with nothing appended, where it is not one whole JSON object or has no free
    /// name for a key that has to be renamed.
    #[inline]
    fn append_members(&self, out: &mut Vec<u8>, content: Content) -> bool {
        let mut own = OwnKeys::default();
        let found = content.object(|key| {
            if self.reserved.may_be(key) {
                self.reserved.note(&mut own, key);
            }
        });
        let Some((text, object)) = found else {
            return false;
        };
        if own.is_any_reserved() {
            return match own.renames() {
                Some(renames) => {
                    self.append_renamed(out, text, object, &renames);
                    true
                }
                None => false,
            };
        }
        append_comma(out, object);
        append_one_line(out, &text[object.start..object.end]);
        true
    }

    #[cold]
    fn append_renamed(&self, out: &mut Vec<u8>, text: &[u8], object: Object, renames: &Renames) {
        append_comma(out, object);
        let mut from = object.start;
        scan::object(text, |key| {
            append_one_line(out, &text[from..key.start]);
            from = if self.reserved.append(renames, out, &text[key.clone()]) {
                key.end
            } else {
                key.start
            };
        });
        append_one_line(out, &text[from..object.end]);
    }
}

/// True where a line has keys that most lines do not have.
#[inline]
fn has_marks(line: &Line) -> bool {
    line.truncated || line.event.is_some() || line.stream.is_some()
}

/// `,"name":{"env":"prod"}`, or nothing where there are no labels.
pub(super) fn labels(name: &str, origin: &Origin) -> Vec<u8> {
    let mut out = Vec::new();
    if !origin.labels.is_empty() {
        append_pair(&mut out, ",", name);
        out.extend_from_slice(b":{");
        for (index, (name, value)) in origin.labels.iter().enumerate() {
            append_pair(&mut out, if index == 0 { "" } else { "," }, name);
            append_pair(&mut out, ":", value);
        }
        out.push(b'}');
    }
    out
}

fn append_comma(out: &mut Vec<u8>, object: Object) {
    if !object.is_empty {
        out.push(b',');
    }
}
