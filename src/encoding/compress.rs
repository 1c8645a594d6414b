//! Compression of whole bodies.
//!
//! Pure: no I/O, no clock.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use flate2::{Compress, FlushCompress, Status};

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip at a level from 1 to 9.
    Gzip(u32),
    /// Zstandard at a level from 1 to 19.
    Zstd(i32),
}

/// Contexts kept for the next body: as many as work at once, where that is not many.
const IDLE_CONTEXTS_MAX: usize = 8;

/// Compresses bodies; several threads may do so at once.
///
/// A context is hundreds of kilobytes (gzip) or more than a megabyte (Zstandard), so it is used
/// again: fresh ones cost page faults, and the allocator keeps some for every thread.
pub struct Compressor {
    how: Compression,
    zstd: Idle<zstd::bulk::Compressor<'static>>,
    deflate: Idle<Compress>,
}

/// Contexts that wait for the next body.
struct Idle<T>(Mutex<Vec<T>>);

impl<T> Idle<T> {
    fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn put(&self, context: T) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_CONTEXTS_MAX {
            idle.push(context);
        }
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Compressor").field(&self.how).finish()
    }
}

impl Compressor {
    /// Makes one for a method.
    pub fn new(how: Compression) -> Self {
        Self {
            how,
            zstd: Idle::new(),
            deflate: Idle::new(),
        }
    }

    /// How bodies are compressed.
    pub fn how(&self) -> Compression {
        self.how
    }

    /// Compresses the pieces of one body as a whole. Equal bodies give equal bytes: a gzip header
    /// names no time and no file.
    pub fn compress(&self, pieces: Vec<Bytes>) -> Vec<Bytes> {
        match self.how {
            Compression::None => pieces,
            Compression::Gzip(level) => vec![self.gzip(&pieces, level).into()],
            Compression::Zstd(level) => vec![self.zstd(&pieces, level).into()],
        }
    }

    fn zstd(&self, pieces: &[Bytes], level: i32) -> Vec<u8> {
        let mut context = self.zstd.take().unwrap_or_else(|| {
            zstd::bulk::Compressor::new(level).expect("levels are checked with the configuration")
        });
        let packed = match pieces {
            [only] => context.compress(only),
            many => context.compress(&many.concat()),
        };
        self.zstd.put(context);
        packed.expect("the output has room for what cannot be compressed")
    }

    /// One gzip member (RFC 1952): no name, no time, no system.
    fn gzip(&self, pieces: &[Bytes], level: u32) -> Vec<u8> {
        const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
        let level = flate2::Compression::new(level.min(9));
        let known = self.deflate.take();
        let mut context = known.unwrap_or_else(|| Compress::new(level, false));
        let bytes: usize = pieces.iter().map(Bytes::len).sum();
        // Log lines shrink to a tenth or so; the vector grows where they do not.
        let mut out = Vec::with_capacity(bytes / 8 + 64);
        out.extend_from_slice(&HEADER);
        let mut crc = crc32fast::Hasher::new();
        for piece in pieces {
            crc.update(piece);
            deflate(&mut context, piece, &mut out, FlushCompress::None);
        }
        deflate(&mut context, b"", &mut out, FlushCompress::Finish);
        out.extend_from_slice(&crc.finalize().to_le_bytes());
        // The length modulo 2^32.
        out.extend_from_slice(&(bytes as u32).to_le_bytes());
        context.reset();
        self.deflate.put(context);
        out
    }
}

/// Puts `input` through the context, and with `Finish` all that it still holds.
fn deflate(context: &mut Compress, mut input: &[u8], out: &mut Vec<u8>, flush: FlushCompress) {
    const STEP_BYTES: usize = 64 << 10;
    loop {
        if out.capacity() - out.len() < STEP_BYTES / 16 {
            out.reserve(STEP_BYTES);
        }
        let before = context.total_in();
        let status = context
            .compress_vec(input, out, flush)
            .expect("nothing about memory can be wrong");
        let used = usize::try_from(context.total_in() - before).expect("a part of the input");
        input = &input[used..];
        let is_done = match flush {
            FlushCompress::Finish => status == Status::StreamEnd,
            _ => input.is_empty(),
        };
        if is_done {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn packed(how: Compression, pieces: &[&'static [u8]]) -> Vec<u8> {
        let pieces = pieces.iter().map(|piece| Bytes::from_static(piece));
        Compressor::new(how).compress(pieces.collect()).concat()
    }

    fn unpacked(how: Compression, packed: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match how {
            Compression::None => out.extend_from_slice(packed),
            Compression::Gzip(_) => {
                let mut reader = flate2::read::GzDecoder::new(packed);
                reader.read_to_end(&mut out).unwrap();
            }
            Compression::Zstd(_) => out = zstd::stream::decode_all(packed).unwrap(),
        }
        out
    }

    #[test]
    fn every_method_gives_the_body_back() {
        let body: &'static [u8] = b"GET /index.html 200\n".repeat(1000).leak();
        let methods = [
            Compression::None,
            Compression::Gzip(1),
            Compression::Gzip(2),
            Compression::Gzip(9),
            Compression::Zstd(1),
            Compression::Zstd(19),
        ];

        for how in methods {
            for pieces in [&[body][..], &[&body[..7], &body[7..]], &[]] {
                let packed = packed(how, pieces);

                assert_eq!(unpacked(how, &packed), pieces.concat(), "{how:?}");
                let small = packed.len() <= pieces.concat().len() / 20 + 30;
                assert!(small || how == Compression::None, "{how:?}");
            }
        }
    }

    #[test]
    fn equal_bodies_give_equal_bytes() {
        for how in [Compression::Gzip(2), Compression::Zstd(1)] {
            let compressor = Compressor::new(how);

            let twice = [0, 1].map(|_| compressor.compress(vec![Bytes::from_static(b"one\n")]));

            assert_eq!(twice[0], twice[1]);
        }
        assert_eq!(
            &packed(Compression::Gzip(2), &[b""])[..8],
            b"\x1f\x8b\x08\0\0\0\0\0"
        );
    }
}
