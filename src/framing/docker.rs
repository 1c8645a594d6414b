//! Docker's multiplexed stream: what a container writes to its two outputs, in frames.
//!
//! Pure: no I/O, no clock.

use crate::model::StdStream;

/// Which output, three zeros, and the length of what follows, the highest byte first.
const HEADER_BYTES: usize = 8;

/// Takes frames apart, wherever the bytes that arrive are cut.
#[derive(Debug, Default)]
pub struct DockerFrames {
    header: [u8; HEADER_BYTES],
    /// Bytes of the header that have come.
    n_header: usize,
    /// The current frame: whose it is, and how many bytes of it are still to come.
    frame: Option<(StdStream, usize)>,
}

/// The bytes are no frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoFrames;

impl DockerFrames {
    /// The next piece of a frame; what was used is cut off `bytes`. `None`: more bytes are needed.
    ///
    /// # Errors
    /// [`NoFrames`] where a header is none: a container with a terminal sends plain bytes.
    pub fn next<'a>(
        &mut self,
        bytes: &mut &'a [u8],
    ) -> Result<Option<(StdStream, &'a [u8])>, NoFrames> {
        loop {
            if let Some((stream, left)) = &mut self.frame {
                let stream = *stream;
                let (piece, rest) = bytes.split_at(bytes.len().min(*left));
                *bytes = rest;
                *left -= piece.len();
                if *left == 0 {
                    self.frame = None;
                }
                if piece.is_empty() && self.frame.is_none() {
                    continue;
                }
                return Ok((!piece.is_empty()).then_some((stream, piece)));
            }
            let wanted = HEADER_BYTES - self.n_header;
            let (part, rest) = bytes.split_at(bytes.len().min(wanted));
            self.header[self.n_header..][..part.len()].copy_from_slice(part);
            self.n_header += part.len();
            *bytes = rest;
            if self.n_header < HEADER_BYTES {
                return Ok(None);
            }
            self.n_header = 0;
            self.frame = Some(frame(self.header)?);
        }
    }
}

/// 0 is what was written to its input, 3 what the daemon itself has to say.
fn frame(header: [u8; HEADER_BYTES]) -> Result<(StdStream, usize), NoFrames> {
    let [kind, 0, 0, 0, a, b, c, d] = header else {
        return Err(NoFrames);
    };
    let stream = match kind {
        0 | 1 => StdStream::Stdout,
        2 | 3 => StdStream::Stderr,
        _ => return Err(NoFrames),
    };
    let len = u32::from_be_bytes([a, b, c, d]);
    Ok((stream, usize::try_from(len).map_err(|_| NoFrames)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(input: &[u8], part: usize) -> Result<Vec<(StdStream, Vec<u8>)>, NoFrames> {
        let mut frames = DockerFrames::default();
        let mut all: Vec<(StdStream, Vec<u8>)> = Vec::new();
        for mut part in input.chunks(part) {
            while let Some((stream, piece)) = frames.next(&mut part)? {
                match all.last_mut() {
                    Some((last, text)) if *last == stream => text.extend_from_slice(piece),
                    _ => all.push((stream, piece.to_vec())),
                }
            }
            assert!(part.is_empty());
        }
        Ok(all)
    }

    #[test]
    fn frames_come_apart_wherever_they_are_cut() {
        let input = b"\x01\0\0\0\0\0\0\x03one\x02\0\0\0\0\0\0\x00\x02\0\0\0\0\0\0\x02x\n\x01\0\0\0\0\0\0\x01\n";
        let expected = [
            (StdStream::Stdout, b"one".to_vec()),
            (StdStream::Stderr, b"x\n".to_vec()),
            (StdStream::Stdout, b"\n".to_vec()),
        ];
        for part in 1..input.len() {
            assert_eq!(taken(input, part).as_deref(), Ok(&expected[..]), "{part}");
        }
    }

    #[test]
    fn plain_text_is_no_frame() {
        assert_eq!(taken(b"plain text", 99), Err(NoFrames));
        assert_eq!(taken(b"\x09\0\0\0\0\0\0\x01x", 99), Err(NoFrames));
    }
}
