//! A batch's part as bytes to write: what stdout, files and raw HTTP bodies share.
//!
//! Pure: no I/O, no clock.

use bytes::Bytes;

use crate::delivery::Part;
use crate::encoding::Encoder;
use crate::model::Batch;
use crate::queue::Chunk;

/// Raw chunks below this are copied together: a system call costs more than the copy.
const COPY_BELOW_BYTES: usize = 32 * 1024;

/// Encoded bytes in order, in as few pieces as copying allows.
#[derive(Clone, Debug, Default)]
pub struct Body {
    /// The pieces, none of them empty.
    pub(super) pieces: Vec<Bytes>,
    /// Sum of their lengths.
    pub(super) len: usize,
    /// Lines in them.
    pub(super) lines: u64,
}

impl Body {
    /// Encodes a part of a batch. Large raw chunks are shared, never copied.
    pub(super) fn encode(encoder: &Encoder, batch: &Batch<Chunk>, part: &Part) -> Self {
        let mut body = Body::default();
        // JSON with metadata is about half as large again as the lines.
        let estimate = if encoder.is_raw() {
            0
        } else {
            batch.weight.bytes * 7 / 4 + 4096
        };
        let mut open = Vec::with_capacity(estimate);
        for run in part
            .which
            .runs(batch.items.iter().map(|chunk| chunk.lines.count()))
        {
            let chunk = &batch.items[run.item];
            let time_ns = chunk.time_ns + i64::from(run.lines.start);
            let lines = chunk.lines.slice(run.lines);
            body.lines += u64::from(lines.count());
            if encoder.is_raw() && lines.bytes().len() >= COPY_BELOW_BYTES {
                body.push(std::mem::take(&mut open).into());
                body.push(lines.bytes().clone());
            } else {
                encoder.append(&mut open, &chunk.origin, time_ns, &lines);
            }
        }
        body.push(open.into());
        body
    }

    fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push(piece);
        }
    }

    /// The whole body in one piece.
    pub(super) fn into_bytes(mut self) -> Bytes {
        if self.pieces.len() == 1 {
            return self.pieces.remove(0);
        }
        self.pieces.concat().into()
    }
}
