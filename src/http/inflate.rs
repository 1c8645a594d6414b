//! Takes the compression off a body while it arrives.
//!
//! What comes out is bounded by the room that is given, however much a few bytes stand for.

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation as _, OutBuffer};

/// RFC 8878 §3.1.1.1.2 asks decoders for windows of 8 MiB; a larger one is refused.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// How the body of a response is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// What `Content-Encoding` names; `None`: nothing that is known.
    pub fn named(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Takes the compression off one body.
pub struct Inflate(Kind);

enum Kind {
    Gzip {
        state: Box<Decompress>,
        /// True between two members: another may follow.
        between: bool,
    },
    Zstd(Box<Decoder<'static>>),
}

impl std::fmt::Debug for Inflate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Kind::Gzip { .. } => "Inflate(gzip)",
            Kind::Zstd(_) => "Inflate(zstd)",
        })
    }
}

impl Inflate {
    /// Stands at the beginning of a body.
    ///
    /// # Errors
    /// The library has no memory for it.
    pub fn new(coding: Coding) -> std::io::Result<Self> {
        Ok(Self(match coding {
            Coding::Gzip => Kind::Gzip {
                state: Box::new(Decompress::new_gzip(15)),
                between: false,
            },
            Coding::Zstd => {
                let mut decoder = Decoder::new()?;
                decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
                Kind::Zstd(Box::new(decoder))
            }
        }))
    }

    /// Decodes from `input` into `room`: how many bytes were used and how many were made. With
    /// nothing used and nothing made there is nothing to be had without more input.
    ///
    /// # Errors
    /// What is wrong with the body.
    pub fn step(&mut self, input: &[u8], room: &mut [u8]) -> Result<(usize, usize), String> {
        match &mut self.0 {
            Kind::Gzip { state, between } => {
                if input.is_empty() && *between {
                    return Ok((0, 0));
                }
                if std::mem::take(between) {
                    **state = Decompress::new_gzip(15);
                }
                let before = (state.total_in(), state.total_out());
                let status = state
                    .decompress(input, room, FlushDecompress::None)
                    .map_err(|error| format!("the body is no gzip: {error}"))?;
                *between = status == Status::StreamEnd;
                let delta = |now: u64, before: u64| usize::try_from(now - before).unwrap_or(0);
                Ok((
                    delta(state.total_in(), before.0),
                    delta(state.total_out(), before.1),
                ))
            }
            Kind::Zstd(decoder) => {
                let mut input = InBuffer::around(input);
                let mut output = OutBuffer::around(room);
                decoder
                    .run(&mut input, &mut output)
                    .map_err(|error| format!("the body is no zstd: {error}"))?;
                Ok((input.pos(), output.pos()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// Everything that comes out of `input`, given in parts of `part` bytes.
    fn inflated(coding: Coding, input: &[u8], part: usize) -> Result<Vec<u8>, String> {
        let mut inflate = Inflate::new(coding).unwrap();
        let mut out = Vec::new();
        let mut room = [0; 64];
        for mut part in input.chunks(part) {
            loop {
                let (used, made) = inflate.step(part, &mut room)?;
                part = &part[used..];
                out.extend_from_slice(&room[..made]);
                if (used, made) == (0, 0) {
                    assert!(part.is_empty(), "{} bytes are left", part.len());
                    break;
                }
            }
        }
        Ok(out)
    }

    #[test]
    fn members_and_frames_follow_each_other_in_any_parts() {
        let text = "a line\n".repeat(100).into_bytes();
        let twice = [text.clone(), b"more\n".to_vec()].concat();
        let gz = [gzip(&text), gzip(b"more\n")].concat();
        let zst = [&text[..], b"more\n"]
            .map(|text| zstd::encode_all(text, 1).unwrap())
            .concat();
        for part in [1, 2, 7, 1000] {
            assert_eq!(inflated(Coding::Gzip, &gz, part), Ok(twice.clone()));
            assert_eq!(inflated(Coding::Zstd, &zst, part), Ok(twice.clone()));
        }
    }

    #[test]
    fn what_was_flushed_comes_out_before_the_end() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(b"one\n").unwrap();
        encoder.flush().unwrap();

        assert_eq!(
            inflated(Coding::Gzip, encoder.get_ref(), 3),
            Ok(b"one\n".to_vec())
        );
    }

    #[test]
    fn a_body_that_is_something_else_is_an_error() {
        let error = inflated(Coding::Gzip, b"plain text", 99).unwrap_err();
        assert!(error.starts_with("the body is no gzip"), "{error}");
        let error = inflated(Coding::Zstd, b"plain text", 99).unwrap_err();
        assert!(error.starts_with("the body is no zstd"), "{error}");
    }
}
