//! Bytes as the inside of a JSON string.
//!
//! Pure: no I/O, no clock.

/// Bytes tested at once while nothing needs escaping: the compiler turns the test into vector code.
const BLOCK: usize = 32;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Appends `text` as the inside of a JSON string, the quotes around it excluded.
///
/// `text` must be valid UTF-8; bytes above 0x7f are copied as they are.
pub fn escape(out: &mut Vec<u8>, text: &[u8]) {
    let mut from = 0;
    loop {
        let at = special_from(text, from);
        out.extend_from_slice(&text[from..at]);
        let Some(&byte) = text.get(at) else {
            return;
        };
        push_escaped(out, byte);
        from = at + 1;
    }
}

/// Appends `text` as the inside of a JSON string with U+FFFD for what is not UTF-8.
pub fn escape_lossy(out: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        escape(out, chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{FFFD}".as_bytes());
        }
    }
}

/// Index of the first byte at or after `at` that a JSON string cannot hold as it is (a quote, a
/// backslash, anything below a space), or the length.
#[inline]
pub(super) fn special_from(text: &[u8], mut at: usize) -> usize {
    while let Some(block) = text[at..].first_chunk::<BLOCK>()
        && !is_special_in(block)
    {
        at += BLOCK;
    }
    // Most lines are clean and end inside a block: the last block, which overlaps the one before,
    // settles them with one test.
    if text.len() - at < BLOCK
        && let Some(block) = text.last_chunk::<BLOCK>()
        && !is_special_in(block)
    {
        return text.len();
    }
    while let Some(word) = text[at..].first_chunk::<8>() {
        let marks = special_marks(u64::from_le_bytes(*word));
        if marks != 0 {
            return at + (marks.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    text[at..]
        .iter()
        .position(|byte| is_special(*byte))
        .map_or(text.len(), |index| at + index)
}

#[inline]
fn is_special(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

#[inline]
fn is_special_in(block: &[u8; BLOCK]) -> bool {
    // No short cut inside the block: that is what lets the compiler use vector code.
    block
        .iter()
        .fold(false, |found, byte| found | is_special(*byte))
}

/// Marks with 0x80 the special bytes of a little-endian word. Marks above the first one (in bytes of
/// higher index) can be wrong.
#[inline]
pub(super) fn special_marks(word: u64) -> u64 {
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let below_space = word.wrapping_sub(ONES * b' ' as u64) & !word;
    let quotes = quote.wrapping_sub(ONES) & !quote;
    let backslashes = backslash.wrapping_sub(ONES) & !backslash;
    (below_space | quotes | backslashes) & HIGH
}

fn push_escaped(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            let hex = |digit: u8| b"0123456789abcdef"[usize::from(digit & 15)];
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        escape_lossy(&mut out, text);
        out
    }

    #[test]
    fn every_byte_alone_and_in_a_long_line() {
        for byte in 0..=0x7f {
            for before in [0, 1, 7, 8, 31, 32, 33, 63, 100] {
                let text = [vec![b'x'; before], vec![byte], vec![b'y'; 40]].concat();
                let text = String::from_utf8(text).unwrap();

                let out = format!(
                    "\"{}\"",
                    String::from_utf8(escaped(text.as_bytes())).unwrap()
                );

                assert_eq!(out, serde_json::to_string(&text).unwrap());
            }
        }
    }

    #[test]
    fn invalid_bytes_become_replacement_characters() {
        assert_eq!(
            escaped(b"a\xff\"b\xe2\x82"),
            "a\u{FFFD}\\\"b\u{FFFD}".as_bytes()
        );
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json(text in "([a-z ]{0,40}|[\"\\\\\n\t]{0,3}|\\PC{0,5}|[\0-\u{20}]{0,3}){0,12}") {
            let mut out = Vec::new();
            escape(&mut out, text.as_bytes());

            let out = format!("\"{}\"", String::from_utf8(out).unwrap());
            prop_assert_eq!(out, serde_json::to_string(&text).unwrap());
        }

        #[test]
        fn lossy_agrees_with_std(text: Vec<u8>) {
            let out = [b"\"", &escaped(&text)[..], b"\""].concat();

            let parsed: String = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(parsed, String::from_utf8_lossy(&text));
        }
    }
}
