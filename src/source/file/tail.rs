//! Reading one file from one position: what a blocking hop does.
//!
//! After each read it is checked that the file is still the one that was read before: the bytes
//! before the position must be unchanged and the file must not have shrunk. Only then are the lines
//! handed on.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::identity::{guard_at, read_guarded};
use crate::framing::{LineBuffer, Taken};
use crate::model::{GUARD_BYTES, Lines, Position, guard_of};

/// Where reading of a file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Everything before it was read, in bytes.
    pub(super) offset: u64,
    /// Guard of `offset`.
    pub(super) guard: u64,
    /// True inside a line that was cut.
    pub(super) mid_line: bool,
}

impl Place {
    /// The first byte.
    pub(super) fn beginning() -> Self {
        Self {
            offset: 0,
            guard: guard_of(&[]),
            mid_line: false,
        }
    }

    /// A saved position; `None` for one that is not in a file.
    pub(super) fn from_position(position: &Position) -> Option<Self> {
        match position {
            Position::File {
                offset,
                guard,
                mid_line,
            } => Some(Self {
                offset: *offset,
                guard: *guard,
                mid_line: *mid_line,
            }),
            Position::Token { .. } | Position::Live => None,
        }
    }

    pub(super) fn position(&self) -> Position {
        Position::File {
            offset: self.offset,
            guard: self.guard,
            mid_line: self.mid_line,
        }
    }

    /// True where a file of `len` bytes still holds what was read up to here.
    pub(super) fn is_held_by(&self, file: &File, len: u64) -> io::Result<bool> {
        Ok(self.offset <= len && guard_at(file, self.offset)? == self.guard)
    }

    /// The first data behind a hole at the start, which a writer without `O_APPEND` leaves when its
    /// file is truncated under it; and the length of the hole.
    pub(super) fn behind_hole(file: &File) -> io::Result<(Self, u64)> {
        /// A hole ends at a block's edge; the NULs up to the first byte are in that block.
        const BLOCK_BYTES: usize = 64 * 1024;
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
        if data == 0 && zeros < 512 {
            return Ok((Self::beginning(), 0));
        }
        let offset = data + zeros;
        let guard = guard_at(file, offset)?;
        Ok((
            Self {
                offset,
                guard,
                mid_line: false,
            },
            offset,
        ))
    }

    /// The end of the file as it is now. An unterminated last line is passed over.
    pub(super) fn end(file: &File) -> io::Result<Self> {
        Self::at(file, file.metadata()?.len())
    }

    fn at(file: &File, offset: u64) -> io::Result<Self> {
        let before = read_guarded(file, offset)?;
        let mid_line = before.last().is_some_and(|byte| *byte != b'\n');
        Ok(Self {
            offset,
            guard: guard_of(&before),
            mid_line,
        })
    }

    /// The start of the last `count` lines.
    pub(super) fn last_lines(file: &File, count: u64) -> io::Result<Self> {
        const BLOCK_BYTES: u64 = 64 * 1024;
        let len = file.metadata()?.len();
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
                    });
                }
            }
            end = start;
        }
        Ok(Self::beginning())
    }
}

/// What a hop found.
#[derive(Debug)]
pub(super) enum Hop {
    /// Whole lines (or only the rest of a cut one), and where reading stands after them.
    Lines {
        lines: Option<Lines>,
        place: Place,
        /// What the guard of the place before covers.
        before: Vec<u8>,
        /// True where nothing is left to read.
        at_end: bool,
    },
    /// Bytes, but no whole line yet.
    More,
    /// The end; so many bytes of an unterminated line were seen before it.
    End { unterminated: usize },
    /// The file is no longer the one that was read.
    Changed(Change),
}

/// How a file turned out to be another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is shorter than what was read of it.
    Shrunk {
        /// Its length now, in bytes.
        len: u64,
    },
    /// The bytes before the position are others.
    Rewritten,
}

/// Reads once (at most `limit` bytes beyond a held line), checks that the file is still the same, and takes whole lines.
///
/// # Errors
/// Those of `pread(2)` and `fstat(2)`.
pub(super) fn hop(
    file: &File,
    place: Place,
    buffer: &mut LineBuffer,
    limit: usize,
) -> io::Result<Hop> {
    let offset = buffer.read_offset();
    let spare = buffer.spare();
    let (spare, _) = spare.split_at_mut(limit.min(spare.len()));
    let wanted = spare.len();
    let read = read_once(file, spare, offset)?;
    let before = read_guarded(file, place.offset)?;
    let len = file.metadata()?.len();
    if len < offset + read as u64 || len < place.offset {
        return Ok(Hop::Changed(Change::Shrunk { len }));
    }
    if guard_of(&before) != place.guard {
        return Ok(Hop::Changed(Change::Rewritten));
    }
    // Also where nothing was read: what is held behind whole lines can be an overlong line.
    buffer.commit(read);
    let at_end = read < wanted && len == offset + read as u64;
    match buffer.take() {
        Some(taken) => {
            let place = after(file, place.offset, &before, &taken)?;
            let at_end = at_end && buffer.held() == 0;
            Ok(Hop::Lines {
                lines: taken.lines,
                place,
                before,
                at_end,
            })
        }
        None if at_end => Ok(Hop::End {
            unterminated: buffer.held(),
        }),
        None => Ok(Hop::More),
    }
}

/// Where reading stands after `taken`, which began at `from`; `before` is what the guard of `from`
/// covers.
fn after(file: &File, from: u64, before: &[u8], taken: &Taken) -> io::Result<Place> {
    let untouched = taken.lines.as_ref().filter(|lines| lines.is_untouched());
    let guard = match untouched {
        Some(lines) if lines.bytes().len() >= GUARD_BYTES => guard_of(lines.bytes()),
        Some(lines) if from + lines.bytes().len() as u64 == taken.end => {
            guard_of(&[before, lines.bytes()].concat())
        }
        // Cut or passed over: the raw bytes are in the file only.
        _ => guard_at(file, taken.end)?,
    };
    Ok(Place {
        offset: taken.end,
        guard,
        mid_line: taken.mid_line,
    })
}

/// Takes the unterminated rest as a line of its own.
pub(super) fn finish(file: &File, buffer: &mut LineBuffer) -> io::Result<Option<(Lines, Place)>> {
    let Some(Taken {
        lines: Some(lines),
        end,
        ..
    }) = buffer.finish()
    else {
        return Ok(None);
    };
    let place = Place {
        offset: end,
        guard: guard_at(file, end)?,
        mid_line: false,
    };
    Ok(Some((lines, place)))
}

fn read_once(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::framing::Pool;

    const LIMIT: usize = 1 << 20;

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    fn buffer(place: Place) -> LineBuffer {
        LineBuffer::new(Pool::default(), place.offset, place.mid_line, 1 << 20)
    }

    #[test]
    fn a_hop_takes_whole_lines_and_knows_the_end() {
        let file = file(b"one\ntwo\nthr");
        let start = Place::beginning();
        let mut buffer = buffer(start);

        let Hop::Lines {
            lines,
            place,
            at_end,
            ..
        } = hop(&file, start, &mut buffer, LIMIT).unwrap()
        else {
            panic!("two lines are there")
        };
        assert_eq!(lines.unwrap().bytes().as_ref(), b"one\ntwo\n");
        assert_eq!(
            place,
            Place {
                offset: 8,
                guard: guard_of(b"one\ntwo\n"),
                mid_line: false
            }
        );
        assert!(!at_end, "three bytes of a line are held");

        let Hop::End { unterminated } = hop(&file, place, &mut buffer, LIMIT).unwrap() else {
            panic!("no whole line is left")
        };
        assert_eq!(unterminated, 3);

        let (lines, place) = finish(&file, &mut buffer)
            .unwrap()
            .expect("an unterminated line");
        assert_eq!(lines.bytes().as_ref(), b"thr\n");
        assert_eq!(place.offset, 11);
    }

    // Scenario: whole lines, and behind them an overlong one without its newline. Bug: the second
    // hop read nothing and ended there, so the line waited until something woke the file again.
    // Fix: what is held is taken at the end, too.
    #[test]
    fn an_overlong_line_behind_whole_lines_is_cut_at_the_end() {
        let file = file(b"one\n12345");
        let start = Place::beginning();
        let mut buffer = LineBuffer::new(Pool::default(), 0, false, 4);

        let first = hop(&file, start, &mut buffer, LIMIT).unwrap();
        let Hop::Lines { place, .. } = first else {
            panic!("one line is there")
        };
        let second = hop(&file, place, &mut buffer, LIMIT).unwrap();

        let Hop::Lines {
            lines,
            place,
            at_end,
            ..
        } = second
        else {
            panic!("{second:?}")
        };
        assert_eq!(lines.unwrap().bytes().as_ref(), b"1234\n");
        assert_eq!((place.offset, place.mid_line, at_end), (9, true, true));
    }

    #[test]
    fn a_file_that_was_truncated_and_grew_past_the_position_is_noticed() {
        let file = file(b"one\ntwo\n");
        let start = Place::beginning();
        let Hop::Lines { place, .. } = hop(&file, start, &mut buffer(start), LIMIT).unwrap() else {
            panic!("two lines are there")
        };

        file.set_len(0).unwrap();
        let shrunk = hop(&file, place, &mut buffer(place), LIMIT).unwrap();
        file.write_all_at(b"other line that is longer\n", 0)
            .unwrap();
        let rewritten = hop(&file, place, &mut buffer(place), LIMIT).unwrap();

        assert!(matches!(shrunk, Hop::Changed(Change::Shrunk { len: 0 })));
        assert!(matches!(rewritten, Hop::Changed(Change::Rewritten)));
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
                mid_line: true
            }
        );
    }
}
