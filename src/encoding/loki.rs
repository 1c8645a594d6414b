//! Loki's push body: streams of labels, each with its lines in order of time.
//!
//! Labels are few and configured, because each set of them is a stream of its own there. What differs
//! from line to line (file, offset, labels that were not chosen) is structured metadata.
//!
//! Pure: no I/O, no clock.

use super::content::{Content, Validity, append_pair};
use super::decimal::append_decimal;
use super::{Line, Origin, Piece};

/// Options of `format = "loki"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loki {
    /// Which of `source`, `host` and the sources' labels make a stream.
    pub labels: Vec<String>,
}

impl Default for Loki {
    fn default() -> Self {
        let labels = vec!["source".to_owned(), "host".to_owned()];
        Self { labels }
    }
}

/// The encoder of `format = "loki"`.
#[derive(Debug)]
pub(super) struct Streams {
    labels: Vec<String>,
    host: String,
}

/// The pieces of one set of labels.
struct Stream<'a> {
    /// The labels as a JSON object.
    labels: Vec<u8>,
    pieces: Vec<&'a Piece<'a>>,
}

/// What is the same for all lines of a piece.
struct Rendered<'a> {
    origin: &'a Origin,
    validity: Validity,
    metadata: Vec<u8>,
}

/// The values of one stream as they are written.
struct Values {
    is_first: bool,
    /// No line may carry an earlier time.
    least_ns: i64,
}

impl Values {
    fn append(&mut self, out: &mut Vec<u8>, time_ns: i64, line: &Line, piece: &Rendered) {
        let time_ns = time_ns.max(self.least_ns);
        self.least_ns = time_ns.saturating_add(1);
        out.extend_from_slice(if self.is_first { b"[\"" } else { b",[\"" });
        self.is_first = false;
        // Loki knows no time before 1970.
        append_decimal(out, u64::try_from(time_ns).unwrap_or(0));
        out.extend_from_slice(b"\",\"");
        let content = piece.validity.content(line);
        content.append(out);
        out.extend_from_slice(b"\",{");
        out.extend_from_slice(&piece.metadata);
        append_offset(out, piece.origin, line);
        append_marks(out, line, content);
        out.extend_from_slice(b"}]");
    }
}

impl Streams {
    pub(super) fn new(options: &Loki, host: &str) -> Self {
        Self {
            labels: options.labels.clone(),
            host: host.to_owned(),
        }
    }

    pub(super) fn append(&self, out: &mut Vec<u8>, pieces: &[Piece]) {
        out.extend_from_slice(b"{\"streams\":[");
        for (index, stream) in self.streams(pieces).into_iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(b"{\"stream\":");
            out.extend_from_slice(&stream.labels);
            out.extend_from_slice(b",\"values\":[");
            self.append_values(out, stream.pieces);
            out.extend_from_slice(b"]}");
        }
        out.extend_from_slice(b"]}");
    }

    fn streams<'a>(&self, pieces: &'a [Piece<'a>]) -> Vec<Stream<'a>> {
        let mut streams: Vec<Stream> = Vec::new();
        for piece in pieces {
            let labels = self.stream_labels(piece.origin);
            match streams.iter_mut().find(|stream| stream.labels == labels) {
                Some(stream) => stream.pieces.push(piece),
                None => streams.push(Stream {
                    labels,
                    pieces: vec![piece],
                }),
            }
        }
        streams
    }

    fn stream_labels(&self, origin: &Origin) -> Vec<u8> {
        let mut out = b"{".to_vec();
        for name in &self.labels {
            let value: &str = match name.as_str() {
                "source" => &origin.source,
                "host" => &self.host,
                name => match origin.labels.iter().find(|(key, _)| &**key == name) {
                    Some((_, value)) => value,
                    None => continue,
                },
            };
            append_label(&mut out, name, value);
        }
        // A stream without labels is refused.
        if out.len() == 1 {
            append_label(&mut out, "source", &origin.source);
        }
        out.push(b'}');
        out
    }

    /// Appends the lines in order of time. Times grow strictly, because of two lines that are equal
    /// and have the same time the second would be dropped; where files of one stream overlap, and
    /// where records with times of their own share one, some move by as many nanoseconds as it takes.
    fn append_values(&self, out: &mut Vec<u8>, mut pieces: Vec<&Piece>) {
        pieces.sort_by_key(|piece| piece.time_ns);
        let mut values = Values {
            is_first: true,
            least_ns: i64::MIN,
        };
        let rendered: Vec<Rendered> = pieces.iter().map(|piece| self.rendered(piece)).collect();
        for (piece, rendered) in pieces.iter().zip(&rendered) {
            out.reserve(
                piece.lines.bytes().len()
                    + piece.lines.count() as usize * (rendered.metadata.len() + 80),
            );
        }
        let timed = pieces.iter().zip(&rendered).flat_map(|(piece, rendered)| {
            let lines = piece.lines.iter().zip(piece.time_ns..);
            lines.map(move |(line, time_ns)| (line.time_ns.unwrap_or(time_ns), line, rendered))
        });
        let any_own = |piece: &&Piece| piece.lines.iter().any(|line| line.time_ns.is_some());
        // Untouched lines have no times of their own, and those without are in order already.
        if pieces
            .iter()
            .any(|it| !it.lines.is_untouched() && any_own(it))
        {
            let mut all: Vec<(i64, Line, &Rendered)> = timed.collect();
            all.sort_by_key(|(time_ns, ..)| *time_ns);
            let each = all.into_iter();
            each.for_each(|(time_ns, line, piece)| values.append(out, time_ns, &line, piece));
        } else {
            timed.for_each(|(time_ns, line, piece)| values.append(out, time_ns, &line, piece));
        }
    }

    fn rendered<'a>(&self, piece: &'a Piece) -> Rendered<'a> {
        Rendered {
            origin: piece.origin,
            validity: Validity::of(&piece.lines),
            metadata: self.metadata(piece.origin),
        }
    }

    /// The members of structured metadata that are the same for all lines of a piece.
    fn metadata(&self, origin: &Origin) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, value) in origin.labels.iter() {
            if !self.labels.iter().any(|label| **label == **name) {
                append_label(&mut out, name, value);
            }
        }
        if let Some(path) = &origin.path {
            append_label(&mut out, "file", path);
        }
        out
    }
}

fn append_offset(out: &mut Vec<u8>, origin: &Origin, line: &Line) {
    if origin.path.is_some() {
        // `file` stands before it.
        out.extend_from_slice(b",\"offset\":\"");
        append_decimal(out, line.offset);
        out.push(b'"');
    }
}

fn append_marks(out: &mut Vec<u8>, line: &Line, content: Content) {
    if line.truncated {
        append_label(out, "truncated", "true");
    }
    if let Some(event) = line.event {
        append_label(out, "event", event);
    }
    if let Some(stream) = line.stream {
        append_label(out, "stream", stream.as_str());
    }
    if matches!(content, Content::Binary(_)) {
        append_label(out, "encoding", "base64");
    }
}

/// Appends a member, with a comma unless an object has just been opened.
fn append_label(out: &mut Vec<u8>, name: &str, value: &str) {
    if out.last().is_some_and(|byte| *byte != b'{') {
        out.push(b',');
    }
    append_pair(out, "", &label_name(name));
    append_pair(out, ":", value);
}

/// A name that Loki takes: `[a-zA-Z_][a-zA-Z0-9_]*`.
fn label_name(name: &str) -> String {
    let allowed = |c: char| {
        if c.is_ascii_alphanumeric() { c } else { '_' }
    };
    let mut label: String = name.chars().map(allowed).collect();
    if !label.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        label.insert(0, '_');
    }
    label
}
