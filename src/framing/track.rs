//! One of the streams that a container's log interleaves: its parts become lines, its lines records.
//!
//! Pure: no I/O, no clock.

use super::container::Piece;
use super::grouping::{Finished, Grouper, Logical, Multiline};

/// One of a container's two streams, or the only stream there is.
#[derive(Debug, Default)]
pub(super) struct Track {
    grouper: Grouper,
    /// A line that the runtime wrote in parts, and whose last part has not come.
    partial: Option<Partial>,
}

#[derive(Debug)]
struct Partial {
    text: Vec<u8>,
    line: Logical<'static>,
}

/// What a track needs to join lines.
pub(super) struct Joining<'a> {
    pub(super) multiline: &'a Multiline,
    pub(super) line_bytes_max: usize,
    pub(super) out: &'a mut Finished,
}

impl Track {
    /// A whole line.
    pub(super) fn line(&mut self, line: Logical, joining: Joining) {
        let line = line.cut(joining.line_bytes_max);
        self.whole(&line, joining);
    }

    /// What a container's line says; `line.text` is what it says it in.
    pub(super) fn piece(&mut self, piece: &Piece, line: Logical, joining: Joining) {
        let line = Logical {
            text: &piece.text,
            ..line
        };
        if piece.is_last && self.partial.is_none() {
            return self.line(line, joining);
        }
        let partial = self.partial.get_or_insert_with(|| Partial {
            text: Vec::new(),
            line: Logical { text: &[], ..line },
        });
        partial.join(&line, joining.line_bytes_max);
        if piece.is_last {
            self.end_partial(joining);
        }
    }

    /// A line in no format: it can be no part of what came before it.
    pub(super) fn stranger(&mut self, line: Logical, mut joining: Joining) {
        self.close(joining.again());
        joining.out.push(&line.cut(joining.line_bytes_max));
    }

    pub(super) fn close(&mut self, mut joining: Joining) {
        self.end_partial(joining.again());
        self.grouper.close(joining.out);
    }

    fn end_partial(&mut self, joining: Joining) {
        if let Some(Partial { text, line }) = self.partial.take() {
            let line = Logical {
                text: &text,
                ..line
            };
            self.whole(&line, joining);
        }
    }

    fn whole(&mut self, line: &Logical, joining: Joining) {
        let limits = joining.multiline.limits();
        let bytes_max = limits.and_then(|it| it.bytes_max);
        let bytes_max = bytes_max.unwrap_or(joining.line_bytes_max);
        self.grouper
            .line(line, joining.multiline, bytes_max, joining.out);
    }

    pub(super) fn start(&self) -> Option<u64> {
        let partial = self.partial.as_ref().map(|it| it.line.start);
        self.grouper.start().or(partial)
    }

    pub(super) fn end(&self) -> Option<u64> {
        let partial = self.partial.as_ref().map(|it| it.line.end);
        partial.or(self.grouper.end())
    }
}

impl Joining<'_> {
    fn again(&mut self) -> Joining<'_> {
        Joining {
            multiline: self.multiline,
            line_bytes_max: self.line_bytes_max,
            out: self.out,
        }
    }
}

impl Logical<'_> {
    /// As much of it as a line may have, in whole characters where it is UTF-8.
    fn cut(self, bytes_max: usize) -> Self {
        let len = kept_len(self.text, bytes_max);
        Self {
            truncated: self.truncated || len < self.text.len(),
            text: &self.text[..len],
            ..self
        }
    }
}

impl Partial {
    fn join(&mut self, piece: &Logical, bytes_max: usize) {
        let room = bytes_max - self.text.len().min(bytes_max);
        let len = if self.line.truncated {
            0
        } else {
            kept_len(piece.text, room)
        };
        self.text.extend_from_slice(&piece.text[..len]);
        self.line.truncated |= piece.truncated || len < piece.text.len();
        self.line.end = piece.end;
    }
}

/// How much of `text` fits, without a torn character at its end.
fn kept_len(text: &[u8], bytes_max: usize) -> usize {
    if text.len() <= bytes_max {
        return text.len();
    }
    let is_inside = |at: usize| text[at] & 0b1100_0000 == 0b1000_0000;
    let mut len = bytes_max;
    while len > 0 && bytes_max - len < 3 && is_inside(len) {
        len -= 1;
    }
    if is_inside(len) { bytes_max } else { len }
}
