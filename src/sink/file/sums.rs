//! Checksums that tell after a crash what stands in an output: all of a write, a part, or something
//! else.
//!
//! Pure: no I/O, no clock.

use crate::checkpoint::{Intent, Pages};
use crate::sink::body::Body;

/// Checksums of a write at a place of its output.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sums {
    /// Of all of it.
    pub(super) crc: u32,
    /// Of its first 1, 2, 4, 8 … bytes, as far as that is less than all.
    pub(super) prefixes: Vec<u32>,
    /// Of what is before each multiple of so many bytes in the output.
    pub(super) pages: Pages,
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
    let (mut prefixes, mut crcs) = (Vec::new(), Vec::new());
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
    }
    Sums {
        crc: crc.finalize(),
        prefixes,
        pages: Pages { every, crcs },
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
    let last = power.chain(pages).max_by_key(|(len, _)| *len);
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
            assert_eq!(cut, whole, "{at}");
        }
        let one = sums(&Body::of(&[b"a"]), 1023);
        assert_eq!((&one.prefixes[..], &one.pages.crcs[..]), (&[][..], &[][..]));
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
