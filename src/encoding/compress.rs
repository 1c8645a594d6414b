//! Compression of whole bodies.
//!
//! Pure: no I/O, no clock.

use std::fmt;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use flate2::write::GzEncoder;

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

/// Contexts of Zstandard kept for the next body: as many as work at once, where that is not many.
const IDLE_CONTEXTS_MAX: usize = 8;

/// Compresses bodies; several threads may do so at once.
///
/// A context of Zstandard is more than a megabyte, so it is used again.
pub struct Compressor {
    how: Compression,
    idle: Mutex<Vec<zstd::bulk::Compressor<'static>>>,
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Compressor").field(&self.how).finish()
    }
}

impl Compressor {
    /// Makes one for a method.
    pub fn new(how: Compression) -> Self {
        let idle = Mutex::default();
        Self { how, idle }
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
            Compression::Gzip(level) => vec![gzip(&pieces, level).into()],
            Compression::Zstd(level) => vec![self.zstd(&pieces, level).into()],
        }
    }

    fn zstd(&self, pieces: &[Bytes], level: i32) -> Vec<u8> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let known = idle().pop();
        let mut context = known.unwrap_or_else(|| {
            zstd::bulk::Compressor::new(level).expect("levels are checked with the configuration")
        });
        let packed = match pieces {
            [only] => context.compress(only),
            many => context.compress(&many.concat()),
        };
        let mut idle = idle();
        if idle.len() < IDLE_CONTEXTS_MAX {
            idle.push(context);
        }
        packed.expect("the output has room for what cannot be compressed")
    }
}

fn gzip(pieces: &[Bytes], level: u32) -> Vec<u8> {
    let bytes: usize = pieces.iter().map(Bytes::len).sum();
    // Log lines shrink to a tenth or so; the vector grows where they do not.
    let out = Vec::with_capacity(bytes / 8 + 64);
    let mut encoder = GzEncoder::new(out, flate2::Compression::new(level.min(9)));
    pieces
        .iter()
        .try_for_each(|piece| encoder.write_all(piece))
        .and_then(|()| encoder.finish())
        .expect("writing to a vector cannot fail")
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
