//! Reading one file from one position: what a blocking hop does.
//!
//! After each read it is checked that the file is still the one that was read before: the bytes
//! before the position must be unchanged and the file must not have shrunk. Only then are the lines
//! handed on.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::identity::{Beginning, guard_at, read_guarded};
use super::input::Input;
pub(super) use super::place::Place;
use super::pump::now_ns;
use crate::framing::{Framer, Taken};
use crate::model::{Begun, GUARD_BYTES, Lines, guard_of};
use crate::source::refine::{Refine, Refined};
use crate::telemetry::SourceCounters;

/// What a hop found.
#[derive(Debug)]
pub(super) enum Hop {
    /// Lines, and where reading stands after them.
    Lines {
        parts: Vec<Part>,
        /// True where nothing is left to read.
        at_end: bool,
    },
    /// Bytes, but nothing finished yet.
    More,
    /// The file begins with a hole.
    Hole,
    /// The end; what is left in the framer is not finished.
    End,
    /// The file is no longer the one that was read.
    Changed(Change),
}

impl Hop {
    /// Where reading stands behind what was found, where that is elsewhere than before.
    pub(super) fn place_after(&self) -> Option<Place> {
        match self {
            Self::Lines { parts, .. } => parts.last().map(|(_, place)| *place),
            Self::More | Self::Hole | Self::End | Self::Changed(_) => None,
        }
    }
}

/// Lines that are sent in one chunk (`None`: what is passed over), and the place after them.
pub(super) type Part = (Option<Lines>, Place);

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

/// How a file's bytes become parts.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) framer: Framer,
    pub(super) refine: Refine,
    pub(super) refined: Refined,
    /// Records behind where reading began that the sink owns already.
    pub(super) begun: Option<Begun>,
    pub(super) counters: Arc<SourceCounters>,
    /// Bytes of one read beyond what is held, at most.
    pub(super) limit: usize,
    /// Lines in one part, at most.
    pub(super) lines_max: u32,
    /// How the file began when it was taken in: before the first byte there is no guard.
    pub(super) beginning: Beginning,
    /// Where the bytes come from.
    pub(super) input: Input,
}

impl Reading {
    /// Hops until the file has nothing more to read now, `most` times at most; each with the time
    /// after it. More than one only saves the way to another thread and back: what they find is
    /// handed on one by one.
    pub(super) fn hops(
        &mut self,
        file: &File,
        mut place: Place,
        most: usize,
    ) -> Vec<(io::Result<Hop>, i64)> {
        let mut hops = Vec::with_capacity(most);
        while hops.len() < most {
            let hop = self.hop(file, place);
            let goes_on = match &hop {
                Ok(Hop::Lines { parts, at_end }) => {
                    place = parts.last().map_or(place, |(_, after)| *after);
                    !at_end
                }
                Ok(Hop::More) => true,
                Ok(Hop::Hole | Hop::End | Hop::Changed(_)) | Err(_) => false,
            };
            hops.push((hop, now_ns()));
            if !goes_on {
                break;
            }
        }
        hops
    }

    /// Reads once, checks that the file is still the same, and takes what is finished.
    ///
    /// # Errors
    /// Those of `pread(2)` and `fstat(2)`.
    pub(super) fn hop(&mut self, file: &File, place: Place) -> io::Result<Hop> {
        if self.input.is_packed(file)? {
            return self.hop_packed(file, place);
        }
        let offset = self.framer.read_offset();
        let spare = self.framer.spare();
        let (spare, _) = spare.split_at_mut(self.limit.min(spare.len()));
        let wanted = spare.len();
        let read = read_once(file, spare, offset)?;
        if offset == 0 && wanted >= self.beginning.len() && !self.beginning.is_of(&spare[..read]) {
            return Ok(Hop::Changed(Change::Rewritten));
        }
        let begins_with_nul = offset == 0 && read > 0 && spare.first() == Some(&0);
        if begins_with_nul && Place::behind_hole(file, None)?.offset > 0 {
            return Ok(Hop::Hole);
        }
        // Records end anywhere in the file, so their guards are read from it: before it is checked
        // that it is the same, because then they are of the same file, too.
        let is_plain = matches!(self.framer, Framer::Lines(_));
        let records = if is_plain {
            Vec::new()
        } else {
            self.framer.commit(read);
            self.take_records(file)?
        };
        let before = read_guarded(file, place.offset)?;
        let len = file.metadata()?.len();
        if len < offset + read as u64 || len < place.offset {
            return Ok(Hop::Changed(Change::Shrunk { len }));
        }
        if guard_of(&before) != place.guard {
            return Ok(Hop::Changed(Change::Rewritten));
        }
        let parts = if is_plain {
            // Also where nothing was read: what is held behind whole lines can be an overlong line.
            self.framer.commit(read);
            self.take_lines(file, place, &before)?
        } else {
            records
        };
        let at_end = read < wanted && len == offset + read as u64;
        if parts.is_empty() {
            return Ok(if at_end { Hop::End } else { Hop::More });
        }
        let at_end = at_end && self.framer.held() == 0;
        let parts = self.refined(parts);
        Ok(Hop::Lines { parts, at_end })
    }

    /// Takes one part of what is unfinished, as `take` says.
    pub(super) fn end_with(
        &mut self,
        file: &File,
        take: impl FnOnce(&mut Framer) -> Option<Taken>,
    ) -> io::Result<Vec<Part>> {
        let Some(taken) = take(&mut self.framer) else {
            return Ok(Vec::new());
        };
        let part = match self.input.place_after(&taken) {
            Some(place) => (taken.lines, place),
            None => part_of(file, taken)?,
        };
        Ok(self.refined(vec![part]))
    }

    fn take_records(&mut self, file: &File) -> io::Result<Vec<Part>> {
        let mut parts = Vec::new();
        while let Some(taken) = self.framer.take() {
            parts.push(part_of(file, taken)?);
        }
        self.counters.unparsed.add(self.framer.take_unparsed());
        Ok(parts)
    }

    fn take_lines(&mut self, file: &File, from: Place, before: &[u8]) -> io::Result<Vec<Part>> {
        let Some(taken) = self.framer.take() else {
            return Ok(Vec::new());
        };
        let end = after(file, from.offset, before, &taken)?;
        Ok(match taken.lines {
            Some(lines) => parts(lines, from, end, before, self.lines_max),
            None => vec![(None, end)],
        })
    }

    pub(super) fn refined(&mut self, parts: Vec<Part>) -> Vec<Part> {
        if self.refine.is_idle() {
            return self.not_owned(parts);
        }
        let now_ns = now_ns();
        let refined = parts.into_iter().map(|(lines, place)| {
            let lines = lines.and_then(|lines| {
                self.refine
                    .apply(lines, now_ns, &mut self.refined, &self.counters)
            });
            (lines, place)
        });
        let refined = refined.collect();
        self.not_owned(refined)
    }

    /// What is left without the records that the sink owns already. They were looked at like others:
    /// what follows can go on with what they said.
    fn not_owned(&mut self, mut parts: Vec<Part>) -> Vec<Part> {
        for (lines, place) in &mut parts {
            let Some(begun) = self.begun else { break };
            *lines = lines
                .take()
                .and_then(|it| it.filtered(|line| !begun.has(line.stream, line.offset)));
            self.begun = begun.behind(place.offset);
            place.begun = self.begun;
        }
        parts
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
        ahead: taken.ahead,
        begun: None,
    })
}

/// What was taken, with the guard as the file is now.
fn part_of(file: &File, taken: Taken) -> io::Result<Part> {
    let place = Place {
        offset: taken.end,
        guard: guard_at(file, taken.end)?,
        mid_line: taken.mid_line,
        ahead: taken.ahead,
        begun: None,
    };
    Ok((taken.lines, place))
}

/// Cuts lines so that no part holds more than a batch may, each part with the place after it.
pub(super) fn parts(
    lines: Lines,
    start: Place,
    end: Place,
    before: &[u8],
    lines_max: u32,
) -> Vec<Part> {
    // Behind the rest of a cut line the first byte's offset is not the start's.
    if lines.count() <= lines_max || !lines.is_untouched() || start.mid_line {
        return vec![(Some(lines), end)];
    }
    let mut parts = Vec::new();
    let (mut from, mut done) = (0, 0);
    while from < lines.count() {
        let to = (from + lines_max).min(lines.count());
        let part = lines.slice(from..to);
        done += part.bytes().len();
        let sent = &lines.bytes()[..done];
        let guard = if done >= GUARD_BYTES {
            guard_of(sent)
        } else {
            guard_of(&[before, sent].concat())
        };
        let offset = start.offset + done as u64;
        let place = if to == lines.count() {
            end
        } else {
            Place {
                offset,
                guard,
                mid_line: false,
                ahead: None,
                begun: None,
            }
        };
        parts.push((Some(part), place));
        from = to;
    }
    debug_assert_eq!(start.offset + done as u64, end.offset);
    parts
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
    use bytes::Bytes;

    use crate::filter::Filter;
    use crate::framing::{Pool, RecordLimits, Recording, Start};
    use crate::source::Selection;

    const LIMIT: usize = 1 << 20;

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    fn reading(place: Place, line_bytes_max: usize) -> Reading {
        let limits = RecordLimits {
            line_bytes_max,
            records: 100,
            bytes: LIMIT,
        };
        let start = Start {
            offset: place.offset,
            mid_line: place.mid_line,
            ahead: place.ahead,
        };
        Reading {
            framer: Framer::new(Pool::default(), start, &Recording::default(), limits),
            refine: Refine::new(Filter::default(), Selection::default(), None),
            refined: Refined::default(),
            begun: place.begun,
            counters: Arc::default(),
            limit: LIMIT,
            lines_max: 100,
            beginning: Beginning::default(),
            input: Input::Unknown,
        }
    }

    fn hop(file: &File, place: Place) -> Hop {
        reading(place, LIMIT).hop(file, place).unwrap()
    }

    /// The one part that a hop found.
    #[track_caller]
    fn only(hop: Hop) -> (Bytes, Place, bool) {
        let Hop::Lines { mut parts, at_end } = hop else {
            panic!("{hop:?}")
        };
        let (lines, place) = parts.pop().unwrap();
        assert!(parts.is_empty());
        (lines.unwrap().bytes().clone(), place, at_end)
    }

    #[test]
    fn a_hop_takes_whole_lines_and_knows_the_end() {
        let file = file(b"one\ntwo\nthr");
        let start = Place::beginning();
        let mut reading = reading(start, LIMIT);

        let (lines, place, at_end) = only(reading.hop(&file, start).unwrap());
        assert_eq!(lines.as_ref(), b"one\ntwo\n");
        assert_eq!(
            place,
            Place {
                offset: 8,
                guard: guard_of(b"one\ntwo\n"),
                mid_line: false,
                ahead: None,
                begun: None
            }
        );
        assert!(!at_end, "three bytes of a line are held");

        let end = reading.hop(&file, place).unwrap();
        assert!(matches!(end, Hop::End), "{end:?}");
        assert_eq!(reading.framer.held(), 3);

        let mut parts = reading.end_with(&file, Framer::finish).unwrap();
        let (lines, place) = parts.pop().expect("an unterminated line");
        assert_eq!(lines.unwrap().bytes().as_ref(), b"thr\n");
        assert_eq!(place.offset, 11);
    }

    // Scenario: whole lines, and behind them an overlong one without its newline. Bug: the second
    // hop read nothing and ended there, so the line waited until something woke the file again.
    // Fix: what is held is taken at the end, too.
    #[test]
    fn an_overlong_line_behind_whole_lines_is_cut_at_the_end() {
        let file = file(b"one\n12345");
        let start = Place::beginning();
        let mut reading = reading(start, 4);

        let (_, place, _) = only(reading.hop(&file, start).unwrap());
        let (lines, place, at_end) = only(reading.hop(&file, place).unwrap());

        assert_eq!(lines.as_ref(), b"1234\n");
        assert_eq!((place.offset, place.mid_line, at_end), (9, true, true));
    }

    #[test]
    fn a_file_that_was_truncated_and_grew_past_the_position_is_noticed() {
        let file = file(b"one\ntwo\n");
        let start = Place::beginning();
        let (_, place, _) = only(hop(&file, start));

        file.set_len(0).unwrap();
        let shrunk = hop(&file, place);
        file.write_all_at(b"other line that is longer\n", 0)
            .unwrap();
        let rewritten = hop(&file, place);

        assert!(matches!(shrunk, Hop::Changed(Change::Shrunk { len: 0 })));
        assert!(matches!(rewritten, Hop::Changed(Change::Rewritten)));
    }
}
