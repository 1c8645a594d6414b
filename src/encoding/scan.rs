//! A strict JSON reader that only answers whether a line is one whole JSON object, and where its
//! top-level keys are.
//!
//! Pure: no I/O, no clock.

use std::ops::Range;

use super::escape::special_marks;

/// Objects and arrays inside each other, the outermost object included. Many readers stop at 128 or
/// fewer; jq ends the whole pipe at the first line it does not like.
const DEPTH_MAX: u32 = 100;

/// Where one object lies in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Object {
    /// Index right after the outer `{`.
    pub(super) start: usize,
    /// Index right after the outer `}`.
    pub(super) end: usize,
    /// True where it has no members.
    pub(super) is_empty: bool,
}

/// Tells whether `text` is one complete JSON object (RFC 8259) with white space around it at most,
/// nesting at most 100, without unpaired surrogate escapes.
///
/// `text` must be valid UTF-8. `key` is called for each key of the outer object with its place
/// between the quotes, also where the answer turns out to be `None`.
#[inline]
pub(super) fn object(text: &[u8], key: impl FnMut(Range<usize>)) -> Option<Object> {
    let open = skip_space(text, 0);
    if text.get(open) != Some(&b'{') {
        return None;
    }
    let end = value_end(text, open, key)?;
    if skip_space(text, end) != text.len() {
        return None;
    }
    let start = open + 1;
    Some(Object {
        start,
        end,
        is_empty: text[skip_space(text, start)] == b'}',
    })
}

/// Index after the value that starts at `at` (white space before it allowed).
fn value_end(text: &[u8], mut at: usize, mut key: impl FnMut(Range<usize>)) -> Option<usize> {
    // One bit for each open object (1) or array (0), the innermost lowest.
    let mut open: u128 = 0;
    let mut depth = 0;
    loop {
        at = skip_space(text, at);
        match text.get(at)? {
            b'"' => at = string_end(text, at + 1)?,
            b'-' | b'0'..=b'9' => at = number_end(text, at)?,
            bracket @ (b'{' | b'[') => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return None;
                }
                let is_object = *bracket == b'{';
                open = open << 1 | u128::from(is_object);
                at = skip_space(text, at + 1);
                let first = *text.get(at)?;
                if first == if is_object { b'}' } else { b']' } {
                    open >>= 1;
                    depth -= 1;
                    at += 1;
                } else {
                    if is_object {
                        at = key_end(text, at, depth, &mut key)?;
                    }
                    continue;
                }
            }
            b't' => at = word_end(text, at, b"true")?,
            b'f' => at = word_end(text, at, b"false")?,
            b'n' => at = word_end(text, at, b"null")?,
            _ => return None,
        }
        // A value has ended: close what ends with it, up to the next value.
        loop {
            if depth == 0 {
                return Some(at);
            }
            at = skip_space(text, at);
            let in_object = open & 1 == 1;
            match (text.get(at)?, in_object) {
                (b',', true) => {
                    at = key_end(text, skip_space(text, at + 1), depth, &mut key)?;
                    break;
                }
                (b',', false) => {
                    at += 1;
                    break;
                }
                (b'}', true) | (b']', false) => {
                    open >>= 1;
                    depth -= 1;
                    at += 1;
                }
                _ => return None,
            }
        }
    }
}

/// Index after the colon of the key that starts at `at`.
#[inline]
fn key_end(
    text: &[u8],
    at: usize,
    depth: u32,
    key: &mut impl FnMut(Range<usize>),
) -> Option<usize> {
    if *text.get(at)? != b'"' {
        return None;
    }
    let end = string_end(text, at + 1)?;
    if depth == 1 {
        key(at + 1..end - 1);
    }
    let colon = skip_space(text, end);
    (*text.get(colon)? == b':').then_some(colon + 1)
}

#[inline]
fn skip_space(text: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = text.get(at) {
        at += 1;
    }
    at
}

#[inline]
fn word_end(text: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    text[at..].starts_with(word).then_some(at + word.len())
}

/// Index after the closing quote of the string whose first byte is at `at`.
#[inline]
fn string_end(text: &[u8], mut at: usize) -> Option<usize> {
    // Strings in log records are short, so words of eight and not long blocks.
    while let Some(word) = word_at(text, at) {
        let marks = special_marks(word);
        if marks == 0 {
            at += 8;
            continue;
        }
        let index = marks.trailing_zeros() / 8;
        at += index as usize;
        match (word >> (8 * index)) as u8 {
            b'"' => return Some(at + 1),
            b'\\' => at = escape_end(text, at + 1)?,
            _ => return None,
        }
    }
    loop {
        match *text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at = escape_end(text, at + 1)?,
            0..b' ' => return None,
            _ => at += 1,
        }
    }
}

/// The eight bytes at `at`, the first one lowest; `None` where there are fewer.
#[inline]
fn word_at(text: &[u8], at: usize) -> Option<u64> {
    let word = text.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*word))
}

/// Index after the escape whose letter is at `at`.
fn escape_end(text: &[u8], at: usize) -> Option<usize> {
    match *text.get(at)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 1),
        b'u' => match hex4(text, at + 1)? {
            0xd800..=0xdbff => {
                let low = text.get(at + 5..at + 7)? == br"\u";
                (low && (0xdc00..=0xdfff).contains(&hex4(text, at + 7)?)).then_some(at + 11)
            }
            0xdc00..=0xdfff => None,
            _ => Some(at + 5),
        },
        _ => None,
    }
}

/// The value of the four hexadecimal digits at `at`.
pub(super) fn hex4(text: &[u8], at: usize) -> Option<u32> {
    text.get(at..at + 4)?.iter().try_fold(0, |value, digit| {
        Some(value << 4 | char::from(*digit).to_digit(16)?)
    })
}

/// Index after the number at `at`.
#[inline]
fn number_end(text: &[u8], mut at: usize) -> Option<usize> {
    if text[at] == b'-' {
        at += 1;
    }
    at = match text.get(at)? {
        b'0' => at + 1,
        _ => digits_end(text, at)?,
    };
    if text.get(at) == Some(&b'.') {
        at = digits_end(text, at + 1)?;
    }
    if let Some(b'e' | b'E') = text.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = text.get(at) {
            at += 1;
        }
        at = digits_end(text, at)?;
    }
    Some(at)
}

/// Index after the digits at `at`, of which there must be one at least.
#[inline]
fn digits_end(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    while let Some(word) = word_at(text, at) {
        let marks = not_digits(word);
        if marks != 0 {
            at += (marks.trailing_zeros() / 8) as usize;
            return (at > start).then_some(at);
        }
        at += 8;
    }
    while let Some(b'0'..=b'9') = text.get(at) {
        at += 1;
    }
    (at > start).then_some(at)
}

/// Marks the bytes of a little-endian word of valid UTF-8 that are no digits, each with one bit at
/// least.
#[inline]
fn not_digits(word: u64) -> u64 {
    const TENS: u64 = 0xf0f0_f0f0_f0f0_f0f0;
    const THREES: u64 = 0x3030_3030_3030_3030;
    const SIXES: u64 = 0x0606_0606_0606_0606;
    // A digit is 0x30 to 0x39: its upper half is 3, and stays so when 6 is added. No byte of UTF-8
    // is above 0xf4, so nothing is carried over.
    ((word & TENS) ^ THREES) | ((word.wrapping_add(SIXES) & TENS) ^ THREES)
}
