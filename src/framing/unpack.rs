//! Compressed bytes in, their content out: gzip of several members and zstd of several frames.
//!
//! Pure: no I/O, no clock.

use std::fmt;

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder, Operation as _};

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// How many of the first bytes tell how a file is compressed.
pub const MAGIC_BYTES: usize = 4;

/// The largest window of a zstd frame, as a power of two: 16 MiB. Only `--ultra` and `--long` ask for
/// more, and so much memory is what a file could make a reader take.
const WINDOW_LOG_MAX: u32 = 24;

/// Takes compressed bytes and gives their content.
pub struct Unpack {
    packing: Packing,
    /// `None`: at the start, or between two members or frames.
    inside: Option<Inside>,
}

enum Inside {
    Gzip(Box<Decompress>),
    Zstd(Decoder<'static>),
}

/// What is wrong with compressed bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Damage(String);

impl Packing {
    /// Tells by a file's first bytes how it is compressed; `None`: not at all, or there are too few
    /// of them.
    pub fn of(start: &[u8]) -> Option<Self> {
        match start {
            [0x1f, 0x8b, 8, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            // A frame that holds no content, such as an index in front.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            _ => None,
        }
    }
}

impl fmt::Debug for Unpack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpack")
            .field("packing", &self.packing)
            .field("is_inside", &self.inside.is_some())
            .finish()
    }
}

impl Unpack {
    /// Stands at the start of a file.
    pub fn new(packing: Packing) -> Self {
        Self {
            packing,
            inside: None,
        }
    }

    /// True where the file can end.
    pub fn is_between(&self) -> bool {
        self.inside.is_none()
    }

    /// Takes from `input` and gives to `out`, which is not empty; returns how much of each. Nothing
    /// of both means that more input is needed.
    ///
    /// # Errors
    /// [`Damage`]: what was given so far is all that can be had.
    pub fn run(&mut self, input: &[u8], out: &mut [u8]) -> Result<(usize, usize), Damage> {
        let inside = match &mut self.inside {
            Some(inside) => inside,
            None => {
                // gzip files can be padded.
                let zeros = input.iter().take_while(|byte| **byte == 0).count();
                if zeros > 0 && self.packing == Packing::Gzip {
                    return Ok((zeros, 0));
                }
                if input.len() < MAGIC_BYTES {
                    return Ok((0, 0));
                }
                if Packing::of(input) != Some(self.packing) {
                    return Err(Damage("what follows is not compressed".to_owned()));
                }
                self.inside.insert(Inside::new(self.packing)?)
            }
        };
        let (taken, given, ended) = inside.run(input, out)?;
        if ended {
            self.inside = None;
        }
        Ok((taken, given))
    }
}

impl Inside {
    fn new(packing: Packing) -> Result<Self, Damage> {
        match packing {
            Packing::Gzip => Ok(Self::Gzip(Box::new(Decompress::new_gzip(15)))),
            Packing::Zstd => {
                let decoder = Decoder::new().and_then(|mut decoder| {
                    decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
                    Ok(decoder)
                });
                decoder
                    .map(Self::Zstd)
                    .map_err(|error| Damage(error.to_string()))
            }
        }
    }

    /// How much was taken and given, and whether this was the end of it.
    fn run(&mut self, input: &[u8], out: &mut [u8]) -> Result<(usize, usize, bool), Damage> {
        match self {
            Self::Gzip(inflate) => {
                let before = (inflate.total_in(), inflate.total_out());
                let status = inflate.decompress(input, out, FlushDecompress::None);
                let status = status.map_err(|error| Damage(error.to_string()))?;
                let len = |now: u64, before: u64| {
                    usize::try_from(now - before).expect("no more than the slice")
                };
                let taken = len(inflate.total_in(), before.0);
                let given = len(inflate.total_out(), before.1);
                Ok((taken, given, status == Status::StreamEnd))
            }
            Self::Zstd(decoder) => {
                let status = decoder.run_on_buffers(input, out);
                let status = status.map_err(|error| Damage(error.to_string()))?;
                let ended = status.remaining == 0;
                Ok((status.bytes_read, status.bytes_written, ended))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        zstd::encode_all(text, 1).unwrap()
    }

    /// Everything that can be had of parts, with room for `room` bytes at a time, and how it ended.
    fn unpacked(packing: Packing, parts: &[&[u8]], room: usize) -> (Vec<u8>, Result<bool, Damage>) {
        let mut unpack = Unpack::new(packing);
        let (mut all, mut held, mut out) = (Vec::new(), Vec::new(), vec![0; room]);
        for part in parts {
            held.extend_from_slice(part);
            loop {
                match unpack.run(&held, &mut out) {
                    Ok((0, 0)) => break,
                    Ok((taken, given)) => {
                        held.drain(..taken);
                        all.extend_from_slice(&out[..given]);
                    }
                    Err(damage) => return (all, Err(damage)),
                }
            }
        }
        (all, Ok(unpack.is_between() && held.is_empty()))
    }

    #[test]
    fn files_are_told_by_their_first_bytes() {
        assert_eq!(Packing::of(&gzip(b"a")), Some(Packing::Gzip));
        assert_eq!(Packing::of(&zstd(b"a")), Some(Packing::Zstd));
        assert_eq!(Packing::of(b"\x1f\x8b"), None);
        assert_eq!(Packing::of(b"2026-11-22 a"), None);
    }

    #[test]
    fn a_torn_or_damaged_file_gives_what_was_whole() {
        let text = b"line\n".repeat(20_000);
        for (packing, packed) in [(Packing::Gzip, gzip(&text)), (Packing::Zstd, zstd(&text))] {
            let half = &packed[..packed.len() - 5];
            let (torn, end) = unpacked(packing, &[half], 4096);
            assert!(text.starts_with(&torn) && end == Ok(false), "{packing:?}");

            let garbage = [&packed[..], b"not compressed"].concat();
            let (all, end) = unpacked(packing, &[&garbage], 4096);
            assert!(all == text && end.is_err(), "{packing:?}");

            let mut flipped = packed.clone();
            let at = packed.len() - 3;
            flipped[at] ^= 0xff;
            let (_, end) = unpacked(packing, &[&flipped], 4096);
            assert!(packing == Packing::Zstd || end.is_err(), "{packing:?}");
        }
    }

    #[test]
    fn a_frame_that_asks_for_much_memory_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.long_distance_matching(true).unwrap();
        encoder.window_log(27).unwrap();
        encoder.write_all(&b"line\n".repeat(1000)).unwrap();
        encoder.flush().unwrap();
        let packed = encoder.finish().unwrap();

        let (_, end) = unpacked(Packing::Zstd, &[&packed], 4096);

        assert!(end.is_err());
    }

    proptest! {
        #[test]
        fn any_split_of_any_members_gives_the_same_bytes(
            members in prop::collection::vec("[ab\n]{0,300}", 1..4),
            cuts in prop::collection::vec(0..1000usize, 0..8),
            is_gzip: bool,
            padding in 0..3usize,
            room in 1..500usize,
        ) {
            let packing = if is_gzip { Packing::Gzip } else { Packing::Zstd };
            let pack = |text: &String| if is_gzip { gzip(text.as_bytes()) } else { zstd(text.as_bytes()) };
            let mut packed: Vec<u8> = members.iter().flat_map(pack).collect();
            packed.resize(packed.len() + if is_gzip { padding } else { 0 }, 0);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (packed.len() + 1)).collect();
            cuts.extend([0, packed.len()]);
            cuts.sort_unstable();
            let parts: Vec<&[u8]> = cuts.windows(2).map(|pair| &packed[pair[0]..pair[1]]).collect();

            let (all, end) = unpacked(packing, &parts, room);

            prop_assert_eq!(all, members.concat().into_bytes());
            prop_assert_eq!(end, Ok(true));
        }
    }
}
