//! Where a remote file was left.
//!
//! No I/O, no clock.

use serde::{Deserialize, Serialize};

use crate::model::{GUARD_BYTES, Position, guard_of};

/// Where a remote file was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// In bytes.
    pub(super) offset: u64,
    /// [`guard_of`] the bytes before.
    guard: u64,
    /// True inside a line that was cut.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) mid_line: bool,
}

impl Place {
    /// Of a file that was never read.
    pub(super) fn beginning() -> Self {
        Self {
            offset: 0,
            guard: guard_of(b""),
            mid_line: false,
        }
    }

    /// Reads a saved place; `None`: it is of another kind.
    pub(super) fn read(token: &str) -> Option<Self> {
        serde_json::from_str(token).ok()
    }

    pub(super) fn position(&self) -> Position {
        let cursor = serde_json::to_string(self).unwrap_or_default();
        Position::Token {
            cursor: cursor.into(),
            skip: 0,
        }
    }

    /// How many bytes before the offset are guarded.
    pub(super) fn guarded(&self) -> u64 {
        self.offset.min(GUARD_BYTES as u64)
    }

    /// True where these are the bytes before the offset.
    pub(super) fn is_behind(&self, before: &[u8]) -> bool {
        guard_of(before) == self.guard
    }
}

/// Bytes of a file from some offset on, as far back as guards need them.
#[derive(Debug, Default)]
pub(super) struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// Holds the bytes before `offset`.
    pub(super) fn new(offset: u64, before: &[u8]) -> Self {
        Self {
            start: offset - before.len() as u64,
            bytes: before.to_vec(),
        }
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The place at `offset`; what is further back than its guard is forgotten.
    pub(super) fn place(&mut self, offset: u64, mid_line: bool) -> Place {
        let at = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        let at = at.min(self.bytes.len());
        let guard = guard_of(&self.bytes[..at]);
        let n_old = at.saturating_sub(GUARD_BYTES);
        self.bytes.drain(..n_old);
        self.start += n_old as u64;
        Place {
            offset,
            guard,
            mid_line,
        }
    }

    /// The bytes behind `offset`.
    pub(super) fn behind(&self, offset: u64) -> &[u8] {
        let at = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        self.bytes.get(at..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_knows_what_was_before_it() {
        let text: Vec<u8> = (0..2000_u32)
            .map(|n| u8::try_from(n % 251).unwrap())
            .collect();
        let mut window = Window::new(0, b"");
        for (from, to) in [(0, 10), (10, 300), (300, 2000)] {
            window.extend(&text[from..to]);
            let place = window.place(to as u64, false);

            let before = &text[to - to.min(GUARD_BYTES)..to];
            assert!(place.is_behind(before), "{to}");
            assert!(!place.is_behind(&before[1..]), "{to}");
            assert_eq!(place.guarded(), before.len() as u64);
        }
        assert_eq!(window.behind(1995), &text[1995..]);
        let place = window.place(2000, true);
        let Position::Token { cursor, .. } = place.position() else {
            panic!("a token")
        };
        assert_eq!(Place::read(&cursor), Some(place));
        assert!(window.bytes.len() <= GUARD_BYTES);
    }
}
