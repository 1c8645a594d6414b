//! A batch's part as bytes to write: what stdout, files and raw HTTP bodies share.
//!
//! Pure: no I/O, no clock.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::delivery::Part;
use crate::encoding::{Encoder, Piece};
use crate::model::{Batch, Lines, Position};
use crate::queue::Chunk;

/// Raw chunks below this are copied together: a system call costs more than the copy.
const COPY_BELOW_BYTES: usize = 32 * 1024;

/// Encoded bodies kept for the next encoding: one is in flight while another is filled.
const IDLE_BODIES_MAX: usize = 2;

/// Encodes parts of batches into buffers that are used again. Fresh ones would cost page faults,
/// and the allocator would keep one for each thread that ever encoded.
#[derive(Debug)]
pub(super) struct Bodies {
    encoder: Encoder,
    idle: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// Encoded bytes in order, in as few pieces as copying allows.
#[derive(Clone, Debug, Default)]
pub(super) struct Body {
    /// The pieces, none of them empty.
    pub(super) pieces: Vec<Bytes>,
    /// Sum of their lengths.
    pub(super) len: usize,
    /// Lines in them.
    pub(super) lines: u64,
    /// Lines that were cut for this body.
    pub(super) cut: u64,
}

impl Bodies {
    pub(super) fn new(encoder: Encoder) -> Self {
        let idle = Arc::default();
        Self { encoder, idle }
    }

    /// True where lines leave as they came.
    pub(super) fn is_raw(&self) -> bool {
        self.encoder.is_raw()
    }

    /// True where large chunks are shared as they are.
    pub(super) fn hands_on(&self) -> bool {
        self.is_raw() && self.encoder.line_bytes_max().is_none()
    }

    /// Encodes a part of a batch. Large raw chunks are shared, never copied.
    pub(super) fn encode(&self, batch: &Batch<Chunk>, part: &Part) -> Body {
        let mut body = Body::default();
        let counts = batch.items.iter().map(|chunk| chunk.lines.count());
        let mut pieces = Vec::new();
        for run in part.which.runs(counts) {
            let chunk = &batch.items[run.item];
            let time_ns = chunk.time_ns + i64::from(run.lines.start);
            let lines = chunk.lines.slice(run.lines);
            pieces.push(self.piece(&mut body, chunk, time_ns, lines));
        }
        if self.is_raw() {
            self.share_raw(&mut body, pieces);
        } else {
            let mut open = self.room_for(&pieces);
            self.encoder.append(&mut open, &pieces);
            body.push(self.share(open));
        }
        body
    }

    /// Encodes whole chunks, and says where each of them ends. For formats whose lines stand alone.
    pub(super) fn encode_chunks(&self, chunks: &[&Chunk]) -> (Body, Vec<u64>) {
        let mut body = Body::default();
        let mut pieces = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            pieces.push(self.piece(&mut body, chunk, chunk.time_ns, chunk.lines.clone()));
        }
        let mut ends = Vec::with_capacity(chunks.len());
        if self.is_raw() {
            let mut end = 0;
            for piece in &pieces {
                end += piece.lines.bytes().len() as u64;
                ends.push(end);
            }
            self.share_raw(&mut body, pieces);
        } else {
            let mut open = self.room_for(&pieces);
            for piece in &pieces {
                self.encoder.append(&mut open, std::slice::from_ref(piece));
                ends.push(open.len() as u64);
            }
            body.push(self.share(open));
        }
        (body, ends)
    }

    fn piece<'a>(
        &self,
        body: &mut Body,
        chunk: &'a Chunk,
        time_ns: i64,
        mut lines: Lines,
    ) -> Piece<'a> {
        if let Some(most) = self.encoder.line_bytes_max() {
            let (short, n_cut) = lines.cut(most);
            lines = short;
            body.cut += n_cut;
        }
        body.lines += u64::from(lines.count());
        Piece {
            origin: &chunk.origin,
            time_ns,
            lines,
            is_replayable: matches!(chunk.ack.end(), Position::File { .. }),
        }
    }

    /// Takes the lines' own bytes, small ones copied together.
    fn share_raw(&self, body: &mut Body, pieces: Vec<Piece>) {
        let small = |piece: &&Piece| piece.lines.bytes().len() < COPY_BELOW_BYTES;
        let mut left: usize = pieces
            .iter()
            .filter(small)
            .map(|it| it.lines.bytes().len())
            .sum();
        let mut open: Option<Vec<u8>> = None;
        for piece in &pieces {
            let bytes = piece.lines.bytes();
            if small(&piece) {
                let open = open.get_or_insert_with(|| {
                    let mut open = self.take();
                    open.reserve(left);
                    open
                });
                open.extend_from_slice(bytes);
                left -= bytes.len();
            } else {
                body.extend(open.take().map(|open| self.share(open)));
                body.push(bytes.clone());
            }
        }
        body.extend(open.map(|open| self.share(open)));
    }

    /// A buffer: JSON with metadata is about half as large again as the lines.
    fn room_for(&self, pieces: &[Piece]) -> Vec<u8> {
        let mut open = self.take();
        let bytes: usize = pieces.iter().map(|it| it.lines.bytes().len()).sum();
        open.reserve(bytes * 7 / 4 + 4096);
        open
    }

    fn take(&self) -> Vec<u8> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.pop().unwrap_or_default()
    }

    fn share(&self, buffer: Vec<u8>) -> Bytes {
        Bytes::from_owner(Reused {
            buffer,
            idle: Arc::clone(&self.idle),
        })
    }
}

/// A body's buffer, which goes back with its last reference.
struct Reused {
    buffer: Vec<u8>,
    idle: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl AsRef<[u8]> for Reused {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Reused {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_BODIES_MAX {
            idle.push(buffer);
        }
    }
}

impl Body {
    fn extend(&mut self, piece: Option<Bytes>) {
        if let Some(piece) = piece {
            self.push(piece);
        }
    }

    fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push(piece);
        }
    }

    /// A body of these pieces.
    #[cfg(test)]
    pub(super) fn of(pieces: &[&[u8]]) -> Self {
        let mut body = Self::default();
        let pieces = pieces.iter().map(|piece| Bytes::copy_from_slice(piece));
        pieces.for_each(|piece| body.push(piece));
        body
    }
}
