//! Where reading of a file stands, and places in a file that reading can start from.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::identity::{guard_at, read_guarded};
use super::packed::{last_lines, packed_guard_at, packed_guarded, packing_of};
use crate::framing::{Charset, Start};
use crate::model::{Ahead, Begun, Position, guard_of};

/// Where reading of a file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Everything before it was read, in bytes.
    pub(super) offset: u64,
    /// Guard of `offset`.
    pub(super) guard: u64,
    /// True inside a line that was cut.
    pub(super) mid_line: bool,
    /// Lines behind `offset` that were read already.
    pub(super) ahead: Option<Ahead>,
    /// Records behind `offset` that a sink owns already: they are passed over.
    pub(super) begun: Option<Begun>,
}

impl Place {
    /// The first byte.
    pub(super) fn beginning() -> Self {
        Self::plain(0, guard_of(&[]))
    }

    /// Between two lines, with nothing behind it that was taken already.
    pub(super) fn plain(offset: u64, guard: u64) -> Self {
        Self {
            offset,
            guard,
            mid_line: false,
            ahead: None,
            begun: None,
        }
    }

    /// A saved position; `None` for one that is not in a file.
    pub(super) fn from_position(position: &Position) -> Option<Self> {
        match position {
            Position::File {
                offset,
                guard,
                mid_line,
                ahead,
                begun,
            } => Some(Self {
                offset: *offset,
                guard: *guard,
                mid_line: *mid_line,
                ahead: *ahead,
                begun: *begun,
            }),
            Position::Token { .. } | Position::Live => None,
        }
    }

    pub(super) fn position(&self) -> Position {
        Position::File {
            offset: self.offset,
            guard: self.guard,
            mid_line: self.mid_line,
            ahead: self.ahead,
            begun: self.begun,
        }
    }

    /// Where a framer starts. Places are found by bytes; where a newline has two, it is looked for
    /// here.
    pub(super) fn start(&self, file: &File, charset: Option<Charset>) -> io::Result<Start> {
        let mut start = Start {
            offset: self.offset,
            mid_line: self.mid_line,
            ahead: self.ahead,
        };
        if let Some(charset) = charset.filter(|_| self.mid_line) {
            let before = guarded(file, charset.align(self.offset))?;
            start.mid_line = !charset.ends_with_newline(&before);
        }
        Ok(start)
    }

    /// True where a file of `len` bytes still holds what was read up to here.
    pub(super) fn is_held_by(&self, file: &File, len: u64) -> io::Result<bool> {
        if let Some(packing) = packing_of(file)? {
            let guard = packed_guard_at(file, packing, self.offset)?;
            return Ok(guard == Ok(self.guard));
        }
        Ok(self.offset <= len && guard_at(file, self.offset)? == self.guard)
    }

    /// The first data behind a hole at the start, which a writer without `O_APPEND` leaves when its
    /// file is truncated under it; the first byte where there is none.
    pub(super) fn behind_hole(file: &File, charset: Option<Charset>) -> io::Result<Self> {
        /// A hole ends at a block's edge; the NULs up to the first byte are in that block.
        const BLOCK_BYTES: usize = 64 * 1024;
        /// Fewer NULs than this in the first block may be what somebody wrote.
        const WRITTEN_MAX: u64 = 512;
        let len = file.metadata()?.len();
        let data = match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(0)) {
            Ok(data) => data,
            // Nothing but hole, or a file system that does not tell.
            Err(rustix::io::Errno::NXIO) => len,
            Err(_) => 0,
        };
        let mut block = vec![0; BLOCK_BYTES];
        let read = super::identity::read_full_at(file, &mut block, data)?;
        let zeros = block[..read].iter().take_while(|byte| **byte == 0).count() as u64;
        if data == 0 && zeros < WRITTEN_MAX {
            return Ok(Self::beginning());
        }
        // A NUL can be the first half of a letter.
        let offset = charset.map_or(data + zeros, |it| it.align(data + zeros));
        Ok(Self {
            offset,
            guard: guard_at(file, offset)?,
            mid_line: false,
            ahead: None,
            begun: None,
        })
    }

    /// The end of the file as it is now. An unterminated last line is passed over.
    pub(super) fn end(file: &File) -> io::Result<Self> {
        Self::at(file, file.metadata()?.len())
    }

    /// A byte; in the middle of a line, what is left of it is passed over.
    pub(super) fn at(file: &File, offset: u64) -> io::Result<Self> {
        let before = guarded(file, offset)?;
        let mid_line = before.last().is_some_and(|byte| *byte != b'\n');
        Ok(Self {
            offset,
            guard: guard_of(&before),
            mid_line,
            ahead: None,
            begun: None,
        })
    }

    /// The start of the last `count` lines.
    pub(super) fn last_lines(file: &File, count: u64) -> io::Result<Self> {
        const BLOCK_BYTES: u64 = 64 * 1024;
        let len = file.metadata()?.len();
        if let Some(packing) = packing_of(file)? {
            let (offset, guard) = last_lines(file, packing, count)?;
            return Ok(Self {
                offset,
                guard,
                mid_line: false,
                ahead: None,
                begun: None,
            });
        }
        if count == 0 {
            return Self::at(file, len);
        }
        let mut block = vec![0; usize::try_from(BLOCK_BYTES).expect("64 KiB")];
        let mut end = len;
        let mut left = count;
        while end > 0 {
            let start = end.saturating_sub(BLOCK_BYTES);
            let bytes = &mut block[..usize::try_from(end - start).expect("at most 64 KiB")];
            file.read_exact_at(bytes, start)?;
            for newline in memchr::memrchr_iter(b'\n', bytes) {
                let after = start + newline as u64 + 1;
                // The newline of the last line starts no line.
                if after == len {
                    continue;
                }
                left -= 1;
                if left == 0 {
                    return Ok(Self {
                        offset: after,
                        guard: guard_at(file, after)?,
                        mid_line: false,
                        ahead: None,
                        begun: None,
                    });
                }
            }
            end = start;
        }
        Ok(Self::beginning())
    }
}

/// What the guard of an offset covers; of a compressed file, of its content.
pub(super) fn guarded(file: &File, offset: u64) -> io::Result<Vec<u8>> {
    match packing_of(file)? {
        Some(packing) => packed_guarded(file, packing, offset),
        None => read_guarded(file, offset),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    // A newline of two bytes ends in a byte that is none.
    #[test]
    fn a_framer_starts_behind_a_newline_of_two_bytes() {
        let le = Charset::named("utf-16le").ok();
        let text: &[u8] = b"a\0\n\0b";
        let file = file(text);
        let at = |offset: usize| Place {
            offset: offset as u64,
            guard: guard_of(&text[..offset]),
            mid_line: true,
            ahead: None,
            begun: None,
        };

        let starts_in_line = |place: Place, charset| place.start(&file, charset).unwrap().mid_line;

        assert!(!starts_in_line(at(4), le));
        assert!(!starts_in_line(at(5), le));
        assert!(starts_in_line(at(2), le));
        assert!(starts_in_line(at(4), None));
    }

    #[test]
    fn the_last_lines_start_after_the_right_newline() {
        let long = format!("{}\nx\ny\n", "z".repeat(200_000));
        let cases: [(&[u8], u64, u64); 8] = [
            (b"a\nb\nc\n", 1, 4),
            (b"a\nb\nc\n", 2, 2),
            (b"a\nb\nc\n", 9, 0),
            (b"a\nb\nc", 1, 4),
            (b"\n\n\n", 1, 2),
            (b"", 5, 0),
            (long.as_bytes(), 2, 200_001),
            (long.as_bytes(), 3, 0),
        ];
        for (content, count, offset) in cases {
            assert_eq!(
                Place::last_lines(&file(content), count).unwrap().offset,
                offset
            );
        }
    }

    #[test]
    fn starting_at_the_end_passes_over_an_unterminated_line() {
        let place = Place::end(&file(b"one\ntw")).unwrap();

        assert_eq!(
            place,
            Place {
                offset: 6,
                guard: guard_of(b"one\ntw"),
                mid_line: true,
                ahead: None,
                begun: None
            }
        );
    }
}
