//! Where the bytes of a file come from: the file itself, or what it holds where it is compressed.
//!
//! The content of a compressed file is read forward only. Its offsets and guards are those of the
//! content, so a position means the same before and after a file was compressed.

use std::fs::File;
use std::io;

use super::packed::{Ending, Step, Unpacker, packing_of};
use super::place::Place;
use super::tail::{Change, Hop, Part, Reading, parts};
use crate::framing::Taken;
use crate::model::guard_of;

/// Content that is passed over in one hop, to go on in the middle of a compressed file.
const SKIP_BYTES: u64 = 16 << 20;

/// Where the bytes come from.
#[derive(Debug)]
pub(super) enum Input {
    /// It was not looked yet.
    Unknown,
    /// The file's own.
    Plain,
    /// What a compressed file holds, and how that ended, if it did.
    Packed(Box<Unpacker>, Option<Ending>),
}

impl Input {
    /// Tells by the first bytes of the file, once.
    pub(super) fn is_packed(&mut self, file: &File) -> io::Result<bool> {
        if matches!(self, Self::Unknown) {
            *self = match packing_of(file)? {
                Some(packing) => Self::Packed(Box::new(Unpacker::new(packing)), None),
                None => Self::Plain,
            };
        }
        Ok(matches!(self, Self::Packed(..)))
    }

    /// How a compressed file ended; `None` for others.
    pub(super) fn ending(&self) -> Option<&Ending> {
        match self {
            Self::Packed(_, ending) => ending.as_ref(),
            Self::Unknown | Self::Plain => None,
        }
    }

    /// The length of a compressed file that was read to its end, and can end there.
    pub(super) fn whole_len(&self) -> Option<u64> {
        match self {
            Self::Packed(unpacker, Some(Ending::Whole)) => Some(unpacker.raw_offset()),
            _ => None,
        }
    }

    /// Bytes of content that a compressed file gave so far.
    pub(super) fn content_len(&self) -> u64 {
        match self {
            Self::Packed(unpacker, _) => unpacker.offset(),
            Self::Unknown | Self::Plain => 0,
        }
    }

    /// Where reading of a compressed file stands after `taken`; `None` for others.
    pub(super) fn place_after(&self, taken: &Taken) -> Option<Place> {
        match self {
            Self::Packed(unpacker, _) => Some(place_after(unpacker, taken)),
            Self::Unknown | Self::Plain => None,
        }
    }
}

fn place_after(unpacker: &Unpacker, taken: &Taken) -> Place {
    Place {
        offset: taken.end,
        guard: guard_of(unpacker.guarded(taken.end)),
        mid_line: taken.mid_line,
        ahead: taken.ahead,
        begun: None,
    }
}

impl Reading {
    /// [`Reading::hop`] for a compressed file.
    pub(super) fn hop_packed(&mut self, file: &File, place: Place) -> io::Result<Hop> {
        let Input::Packed(unpacker, ending) = &mut self.input else {
            return Ok(Hop::End);
        };
        // Where a newline has two bytes, the framer may stand a byte before the place.
        let start = self.framer.read_offset();
        if unpacker.offset() < start {
            return skip(file, unpacker, ending, (start, place));
        }
        let spare = self.framer.spare();
        let (spare, _) = spare.split_at_mut(self.limit.min(spare.len()));
        // Of the first bytes so many that it can be told whether they are the known ones.
        let least = if start == 0 { self.beginning.len() } else { 0 };
        let (read, ended) = unpacker.read_at_least(file, spare, least)?;
        let is_short = read < least && ended == Some(Ending::Torn);
        if start == 0 && !is_short && !self.beginning.is_of(&spare[..read]) {
            return Ok(Hop::Changed(Change::Rewritten));
        }
        let len = file.metadata()?.len();
        if len < unpacker.raw_offset() {
            return Ok(Hop::Changed(Change::Shrunk { len }));
        }
        self.framer.commit(read);
        let mut found: Vec<Part> = Vec::new();
        let mut from = place;
        while let Some(taken) = self.framer.take() {
            let to = place_after(unpacker, &taken);
            match taken.lines {
                Some(lines) => {
                    let before = unpacker.guarded(from.offset);
                    found.extend(parts(lines, from, to, before, self.lines_max));
                }
                None => found.push((None, to)),
            }
            from = to;
        }
        unpacker.keep_from(from.offset);
        self.counters.unparsed.add(self.framer.take_unparsed());
        let at_end = ended.is_some();
        *ending = ended;
        Ok(match found.is_empty() {
            true if at_end => Hop::End,
            true => Hop::More,
            false => Hop::Lines {
                parts: self.refined(found),
                at_end,
            },
        })
    }
}

/// Passes over content until `start`, where the framer stands, and looks whether it is what was read.
fn skip(
    file: &File,
    unpacker: &mut Unpacker,
    ending: &mut Option<Ending>,
    (start, place): (u64, Place),
) -> io::Result<Hop> {
    Ok(match unpacker.skip_to(file, start, SKIP_BYTES)? {
        Step::Content(_) if unpacker.offset() < start || start < place.offset => Hop::More,
        Step::Content(_) if guard_of(unpacker.guarded(start)) == place.guard => Hop::More,
        Step::Ended(Ending::Torn) => {
            *ending = Some(Ending::Torn);
            Hop::End
        }
        Step::Content(_) | Step::Ended(_) => Hop::Changed(Change::Rewritten),
    })
}
