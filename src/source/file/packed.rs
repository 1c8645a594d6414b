//! Reading compressed files: their content, with offsets and guards of what it holds.
//!
//! A file is told by its first bytes, whatever its name. Its content can be read forward only, so to
//! go on in the middle is to read from the start and to throw away.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::identity::read_full_at;
use crate::framing::{Damage, MAGIC_BYTES, Packing, Unpack};
use crate::model::{GUARD_BYTES, guard_of};

/// Compressed bytes read at once.
const INPUT_BYTES: usize = 64 * 1024;

/// Tells how a file is compressed, if it is.
pub(super) fn packing_of(file: &File) -> io::Result<Option<Packing>> {
    let mut start = [0; MAGIC_BYTES];
    let len = read_full_at(file, &mut start, 0)?;
    Ok(Packing::of(&start[..len]))
}

/// The content of a compressed file, which is given to each call.
#[derive(Debug)]
pub(super) struct Unpacker {
    unpack: Unpack,
    input: Vec<u8>,
    at: usize,
    filled: usize,
    /// Offset in the file of what is read next.
    raw: u64,
    /// The last part of what was given, from content offset `window_at` on.
    window: Vec<u8>,
    window_at: u64,
}

/// What a read gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many bytes of content.
    Content(usize),
    /// There is no more.
    Ended(Ending),
}

/// How a compressed file ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// As it should.
    Whole,
    /// In the middle of something: it is still being written, or was torn.
    Torn,
    /// What follows at file offset `at` cannot be understood.
    Damaged { at: u64, damage: Damage },
}

impl Unpacker {
    pub(super) fn new(packing: Packing) -> Self {
        Self {
            unpack: Unpack::new(packing),
            input: vec![0; INPUT_BYTES],
            at: 0,
            filled: 0,
            raw: 0,
            window: Vec::new(),
            window_at: 0,
        }
    }

    /// Offset in the content of what is given next.
    pub(super) fn offset(&self) -> u64 {
        self.window_at + self.window.len() as u64
    }

    /// Bytes of the file that were looked at.
    pub(super) fn raw_offset(&self) -> u64 {
        self.raw
    }

    /// Reads content, at least a byte where there is one.
    pub(super) fn read(&mut self, file: &File, out: &mut [u8]) -> io::Result<Step> {
        loop {
            match self.unpack.run(&self.input[self.at..self.filled], out) {
                Err(damage) => {
                    let at = self.raw - (self.filled - self.at) as u64;
                    return Ok(Step::Ended(Ending::Damaged { at, damage }));
                }
                Ok((0, 0)) => {
                    if !self.fill(file)? {
                        let whole = self.unpack.is_between() && self.at == self.filled;
                        let ending = if whole { Ending::Whole } else { Ending::Torn };
                        return Ok(Step::Ended(ending));
                    }
                }
                Ok((taken, given)) => {
                    self.at += taken;
                    if given > 0 {
                        self.window.extend_from_slice(&out[..given]);
                        return Ok(Step::Content(given));
                    }
                }
            }
        }
    }

    /// Reads content until there are `least` bytes, which `out` has room for, or no more. Returns how
    /// many, and how the file ended, if it did.
    pub(super) fn read_at_least(
        &mut self,
        file: &File,
        out: &mut [u8],
        least: usize,
    ) -> io::Result<(usize, Option<Ending>)> {
        let mut len = 0;
        loop {
            match self.read(file, &mut out[len..])? {
                Step::Ended(ending) => return Ok((len, Some(ending))),
                Step::Content(more) => len += more,
            }
            if len >= least.min(out.len()) {
                return Ok((len, None));
            }
        }
    }

    /// Passes over content up to `offset`, at most `most` bytes of it. What it returns is what there
    /// was before that, or no content where all went well.
    pub(super) fn skip_to(&mut self, file: &File, offset: u64, most: u64) -> io::Result<Step> {
        let mut scratch = vec![0; INPUT_BYTES];
        let stop = offset.min(self.offset().saturating_add(most));
        while self.offset() < stop {
            let left = usize::try_from(stop - self.offset()).unwrap_or(usize::MAX);
            let len = scratch.len().min(left);
            if let ended @ Step::Ended(_) = self.read(file, &mut scratch[..len])? {
                return Ok(ended);
            }
            self.keep_from(self.offset());
        }
        Ok(Step::Content(0))
    }

    /// Forgets what no guard from `offset` on covers.
    pub(super) fn keep_from(&mut self, offset: u64) {
        let first = offset.saturating_sub(GUARD_BYTES as u64);
        let gone = usize::try_from(first.saturating_sub(self.window_at)).unwrap_or(usize::MAX);
        // Not for each small piece: what is kept is moved.
        if gone > self.window.len() / 2 {
            let gone = gone.min(self.window.len());
            self.window.drain(..gone);
            self.window_at += gone as u64;
        }
    }

    /// What the guard of `offset` covers. It was not forgotten.
    pub(super) fn guarded(&self, offset: u64) -> &[u8] {
        let end = usize::try_from(offset.saturating_sub(self.window_at)).unwrap_or(usize::MAX);
        let end = end.min(self.window.len());
        &self.window[end.saturating_sub(GUARD_BYTES)..end]
    }

    /// Reads more of the file; false at its end.
    fn fill(&mut self, file: &File) -> io::Result<bool> {
        self.input.copy_within(self.at..self.filled, 0);
        self.filled -= self.at;
        self.at = 0;
        let read = loop {
            match file.read_at(&mut self.input[self.filled..], self.raw) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.filled += read;
        self.raw += read as u64;
        Ok(read > 0)
    }
}

/// The guard at an offset of the content; or how the file ends before it.
pub(super) fn packed_guard_at(
    file: &File,
    packing: Packing,
    offset: u64,
) -> io::Result<Result<u64, Ending>> {
    let mut unpacker = Unpacker::new(packing);
    Ok(match unpacker.skip_to(file, offset, u64::MAX)? {
        Step::Content(_) => Ok(guard_of(unpacker.guarded(offset))),
        Step::Ended(ending) => Err(ending),
    })
}

/// What the guard at an offset of the content covers; nothing where the file ends before it.
pub(super) fn packed_guarded(file: &File, packing: Packing, offset: u64) -> io::Result<Vec<u8>> {
    let mut unpacker = Unpacker::new(packing);
    Ok(match unpacker.skip_to(file, offset, u64::MAX)? {
        Step::Content(_) => unpacker.guarded(offset).to_vec(),
        Step::Ended(_) => Vec::new(),
    })
}

/// The offset of the last `count` lines of the content, and its guard.
pub(super) fn last_lines(file: &File, packing: Packing, count: u64) -> io::Result<(u64, u64)> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let mut unpacker = Unpacker::new(packing);
    let mut content = vec![0; INPUT_BYTES];
    // Where each of the last lines starts, and one before them.
    let mut starts = VecDeque::from([0]);
    loop {
        let from = unpacker.offset();
        let Step::Content(len) = unpacker.read(file, &mut content)? else {
            break;
        };
        for newline in memchr::memchr_iter(b'\n', &content[..len]) {
            starts.push_back(from + newline as u64 + 1);
            // One more than asked for: the last can be the end.
            if starts.len() > count.saturating_add(1) {
                starts.pop_front();
            }
        }
        unpacker.keep_from(unpacker.offset());
    }
    let end = unpacker.offset();
    if starts.back() == Some(&end) && count > 0 {
        starts.pop_back();
    }
    let first = starts.len().saturating_sub(count);
    let offset = starts.get(first).copied().unwrap_or(end);
    let guard = packed_guard_at(file, packing, offset)?.unwrap_or(0);
    Ok((offset, guard))
}

/// The first bytes of the content, as many as there are and `head` holds.
pub(super) fn read_packed_head(
    file: &File,
    packing: Packing,
    head: &mut [u8],
) -> io::Result<usize> {
    let wanted = head.len();
    let (len, _) = Unpacker::new(packing).read_at_least(file, head, wanted)?;
    Ok(len)
}
