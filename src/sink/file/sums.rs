//! Checksums that tell after a crash what stands in an output: all of a write, a part, or something
//! else.
//!
//! Pure: no I/O, no clock.

use std::sync::{Mutex, PoisonError};

use crate::checkpoint::{Intent, Pages};
use crate::sink::body::Body;

/// Checksums of a write at a place of its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sums {
    /// Of all of it.
    pub(super) crc: u32,
    /// Of its first 1, 2, 4, 8 … bytes, as far as that is less than all.
    pub(super) prefixes: Vec<u32>,
    /// Of what is before each multiple of so many bytes in the output.
    pub(super) pages: Pages,
    /// Of what is before the end of each piece but the last, with where that is.
    pub(super) pieces: Vec<(u64, u32)>,
}

/// Foretells where a body begins in the only output of a sink, so that its checksums are made while
/// the one before it is still being written.
#[derive(Debug, Default)]
pub(super) struct Foresight(Mutex<Next>);

#[derive(Clone, Copy, Debug, Default)]
struct Next {
    start: u64,
    /// How often it was corrected.
    corrections: u64,
}

/// Checksums of a body that begins where it was foretold.
#[derive(Debug)]
pub(super) struct Foretold {
    sums: Sums,
    at: Next,
}

impl Foresight {
    /// The checksums of the body that comes behind the last one that was asked for.
    pub(super) fn foretell(&self, body: &Body) -> Foretold {
        let at = {
            let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let at = *next;
            next.start = next.start.wrapping_add(body.len as u64);
            at
        };
        Foretold {
            sums: sums(body, at.start),
            at,
        }
    }

    /// The checksums of a body that begins at `start`: as they were foretold, where that was right.
    pub(super) fn sums(&self, foretold: Option<&Foretold>, body: &Body, start: u64) -> Sums {
        let Some(foretold) = foretold else {
            return sums(body, start);
        };
        if foretold.at.start == start {
            return foretold.sums.clone();
        }
        let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Of those that are as wrong, the first one corrects what is still to come.
        if next.corrections == foretold.at.corrections {
            let difference = start.wrapping_sub(foretold.at.start);
            next.start = next.start.wrapping_add(difference);
            next.corrections += 1;
        }
        drop(next);
        sums(body, start)
    }
}

/// How far the checksums of a write's pages are apart, in bytes: about a hundredth of what is
/// written goes to the journal for them at most.
fn page_bytes(len: u64) -> u64 {
    /// A block of a file system that is small.
    const MIN: u64 = 1024;
    /// Where the kernel looks for a signal that ends the process.
    const PAGE: u64 = 4096;
    const CRCS_MAX: u64 = 1024;
    let mut every = if len > 256 * MIN { PAGE } else { MIN };
    while len / every > CRCS_MAX {
        every *= 2;
    }
    every
}

/// The checksums of `body` where it is written behind `start` bytes.
pub(super) fn sums(body: &Body, start: u64) -> Sums {
    let len = body.len as u64;
    let every = page_bytes(len);
    let mut crc = crc32fast::Hasher::new();
    let (mut prefixes, mut crcs, mut pieces) = (Vec::new(), Vec::new(), Vec::new());
    // Where the next of each is due, counted from the start of the body.
    let (mut power, mut page) = (1_u64, every - start % every);
    let mut done = 0_u64;
    for piece in &body.pieces {
        let mut rest = &piece[..];
        loop {
            let due = power.min(page);
            let Some((before, after)) = split_at(rest, due - done).filter(|_| due < len) else {
                break;
            };
            crc.update(before);
            (rest, done) = (after, due);
            if due == power {
                prefixes.push(crc.clone().finalize());
                power *= 2;
            }
            if due == page {
                crcs.push(crc.clone().finalize());
                page += every;
            }
        }
        crc.update(rest);
        done += rest.len() as u64;
        if done < len {
            pieces.push((done, crc.clone().finalize()));
        }
    }
    Sums {
        crc: crc.finalize(),
        prefixes,
        pages: Pages { every, crcs },
        pieces,
    }
}

fn split_at(bytes: &[u8], at: u64) -> Option<(&[u8], &[u8])> {
    bytes.split_at_checked(usize::try_from(at).ok()?)
}

/// How many of the bytes behind an intent's start are proved to be its own: up to the last place in
/// front of their end whose checksum is known. `None`: others are among those.
pub(super) fn proved(intent: &Intent, bytes: &[u8]) -> Option<usize> {
    let fits = |len: &usize| *len <= bytes.len();
    let powers = (0..intent.prefixes.len()).map_while(|power| 1_usize.checked_shl(power as u32));
    let power = powers
        .zip(&intent.prefixes)
        .take_while(|(len, _)| fits(len));
    let pages = intent.pages.iter().filter(|pages| pages.every > 0);
    let pages = pages.flat_map(|pages| {
        let first = pages.every - intent.start % pages.every;
        let ends = (0_u64..).map(move |n| first.saturating_add(n.saturating_mul(pages.every)));
        let ends = ends.map_while(|end| usize::try_from(end).ok());
        ends.zip(&pages.crcs).take_while(|(len, _)| fits(len))
    });
    let pieces = intent.pieces.iter();
    let pieces = pieces.filter_map(|(end, crc)| Some((usize::try_from(*end).ok()?, crc)));
    let pieces = pieces.take_while(|(len, _)| fits(len));
    let last = power.chain(pages).chain(pieces).max_by_key(|(len, _)| *len);
    match last {
        Some((len, crc)) => (crc32fast::hash(&bytes[..len]) == *crc).then_some(len),
        None => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_do_not_depend_on_how_a_body_is_cut() {
        let bytes: Vec<u8> = (0..5000_u32).map(|n| (n * 7 % 251) as u8).collect();
        let whole = sums(&Body::of(&[&bytes]), 1000);
        let powers = (0..13).map(|power| crc32fast::hash(&bytes[..1 << power]));
        let pages = [24, 1048, 2072, 3096, 4120].map(|len| crc32fast::hash(&bytes[..len]));

        assert_eq!(whole.crc, crc32fast::hash(&bytes));
        assert_eq!(whole.prefixes, powers.collect::<Vec<_>>());
        assert_eq!(
            (whole.pages.every, &whole.pages.crcs[..]),
            (1024, &pages[..])
        );
        for at in [1, 2, 3, 24, 255, 256, 257, 1048, 4999] {
            let cut = sums(&Body::of(&[&bytes[..at], &bytes[at..]]), 1000);
            let pieces = vec![(at as u64, crc32fast::hash(&bytes[..at]))];
            let whole = Sums {
                pieces,
                ..whole.clone()
            };
            assert_eq!(cut, whole, "{at}");
        }
        let one = sums(&Body::of(&[b"a"]), 1023);
        assert_eq!((&one.prefixes[..], &one.pages.crcs[..]), (&[][..], &[][..]));
    }

    #[test]
    fn what_is_foretold_wrong_is_corrected_once() {
        let body = Body::of(&[&[7_u8; 3000]]);
        let foresight = Foresight::default();
        // While one is written the next is foretold. The output had 500 bytes, and is rotated.
        let mut ahead = foresight.foretell(&body);
        let mut right = Vec::new();
        for start in [500, 3500, 6500, 9500, 0, 3000, 6000] {
            let next = foresight.foretell(&body);

            let found = foresight.sums(Some(&ahead), &body, start);

            assert_eq!(found, sums(&body, start));
            right.push(ahead.at.start == start);
            ahead = next;
        }
        assert_eq!(right, [false, false, true, true, false, false, true]);
    }

    #[test]
    fn pages_of_a_large_write_are_few() {
        for (len, every) in [
            (1, 1024),
            (256 << 10, 1024),
            (1 << 20, 4096),
            (64 << 20, 65_536),
        ] {
            assert_eq!(page_bytes(len), every, "{len}");
        }
    }
}
