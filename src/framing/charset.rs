//! Charsets: what other bytes than UTF-8 mean, and where lines end in them.
//!
//! Pure: no I/O, no clock.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// How the bytes of a source become text. What they cannot mean becomes U+FFFD.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Charset(&'static Encoding);

/// Why a charset cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CharsetError {
    /// No charset has that name.
    #[error("is no known charset")]
    Unknown,
    /// Its bytes below 128 are not ASCII, so that a newline cannot be told from a part of a letter.
    #[error("is not compatible with ASCII, so that its line ends cannot be found")]
    NotAscii,
}

/// The units in which a charset's newline is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Byte,
    Utf16Le,
    Utf16Be,
}

impl Charset {
    /// The charset that the Encoding Standard gives that name, such as `utf-16le` or `latin1`.
    ///
    /// # Errors
    /// [`CharsetError`] where there is none or its lines cannot be found.
    pub fn named(name: &str) -> Result<Self, CharsetError> {
        let encoding = Encoding::for_label(name.as_bytes()).ok_or(CharsetError::Unknown)?;
        let is_utf16 = encoding == UTF_16LE || encoding == UTF_16BE;
        if !is_utf16 && !encoding.is_ascii_compatible() {
            return Err(CharsetError::NotAscii);
        }
        Ok(Self(encoding))
    }

    /// The greatest offset up to `offset` at which a unit of the charset starts.
    pub fn align(self, offset: u64) -> u64 {
        self.unit().align(offset)
    }

    /// True where the text, which ends with a whole unit, ends with a newline.
    pub fn ends_with_newline(self, text: &[u8]) -> bool {
        match self.unit() {
            Unit::Byte => text.ends_with(b"\n"),
            Unit::Utf16Le => text.ends_with(b"\n\0"),
            Unit::Utf16Be => text.ends_with(b"\0\n"),
        }
    }

    pub(super) fn unit(self) -> Unit {
        if self.0 == UTF_16LE {
            Unit::Utf16Le
        } else if self.0 == UTF_16BE {
            Unit::Utf16Be
        } else {
            Unit::Byte
        }
    }

    /// The bytes without a byte order mark of this charset in front.
    pub(super) fn without_mark(self, bytes: &[u8]) -> &[u8] {
        let mark: &[u8] = match self.unit() {
            Unit::Utf16Le => b"\xff\xfe",
            Unit::Utf16Be => b"\xfe\xff",
            Unit::Byte if self.0 == UTF_8 => b"\xef\xbb\xbf",
            Unit::Byte => return bytes,
        };
        bytes.strip_prefix(mark).unwrap_or(bytes)
    }

    /// Decodes one line into `out`, whose former content is gone.
    pub fn decode(self, bytes: &[u8], out: &mut String) {
        out.clear();
        let mut decoder = self.0.new_decoder_without_bom_handling();
        let room = decoder.max_utf8_buffer_length(bytes.len());
        out.reserve(room.expect("a line is shorter than half of the memory"));
        let (outcome, read, _) = decoder.decode_to_string(bytes, out, true);
        debug_assert_eq!(outcome, encoding_rs::CoderResult::InputEmpty);
        debug_assert_eq!(read, bytes.len());
    }
}

impl Unit {
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Byte => 1,
            Self::Utf16Le | Self::Utf16Be => 2,
        }
    }

    /// The greatest offset up to `offset` at which a unit starts.
    pub(super) fn align(self, offset: u64) -> u64 {
        offset - offset % self.bytes() as u64
    }

    /// Index of the first newline in `text`, which starts with a whole unit.
    pub(super) fn find_newline(self, text: &[u8]) -> Option<usize> {
        let (before, newline): (usize, &[u8]) = match self {
            Self::Byte => return memchr::memchr(b'\n', text),
            Self::Utf16Le => (0, b"\n\0"),
            Self::Utf16Be => (1, b"\0\n"),
        };
        memchr::memchr_iter(b'\n', text)
            .filter_map(|at| at.checked_sub(before))
            .find(|start| start % 2 == 0 && text.get(*start..*start + 2) == Some(newline))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_encoding_standard() {
        for name in ["utf-16le", "UTF-16BE", "latin1", "shift_jis", "utf-8"] {
            assert!(Charset::named(name).is_ok(), "{name}");
        }
        assert_eq!(Charset::named("utf-7"), Err(CharsetError::Unknown));
        assert_eq!(Charset::named("iso-2022-jp"), Err(CharsetError::NotAscii));
    }

    #[test]
    fn a_newline_of_two_bytes_is_found_on_even_places_only() {
        let (le, be) = (Unit::Utf16Le, Unit::Utf16Be);

        // U+0A00 and U+000A, U+010A with U+0041 behind it.
        assert_eq!(le.find_newline(b"\x00\x0a\x0a\x00"), Some(2));
        assert_eq!(be.find_newline(b"\x0a\x00\x00\x0a"), Some(2));
        assert_eq!(le.find_newline(b"\x0a\x01\x00\x41\x0a"), None);
        assert_eq!(be.find_newline(b"\x01\x0a\x00"), None);
        assert_eq!(Unit::Byte.find_newline(b"a\nb\n"), Some(1));
    }

    #[test]
    fn bytes_that_mean_nothing_become_replacement_characters() {
        let mut out = String::new();

        Charset::named("latin1")
            .unwrap()
            .decode(b"caf\xe9", &mut out);
        assert_eq!(out, "caf\u{e9}");
        Charset::named("utf-16le")
            .unwrap()
            .decode(b"a\0\0\xd8b\0\x01", &mut out);
        assert_eq!(out, "a\u{fffd}b\u{fffd}");
        Charset::named("utf-8").unwrap().decode(b"a\xff", &mut out);
        assert_eq!(out, "a\u{fffd}");
    }
}
