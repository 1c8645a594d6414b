//! What the lines of a call begin with. It is rendered once; from line to line only the digits of its
//! time and its offset change, in place, so that a line costs one copy of it.
//!
//! Pure: no I/O, no clock.

use std::ops::Range;

use super::decimal::Decimal;
use super::stamp::{STAMP_BYTES, advance, stamp};

/// The beginning of a line: what all lines share, and behind it what only some go on with.
#[derive(Debug, Default)]
pub(super) struct Head {
    text: Vec<u8>,
    /// Index of the time.
    stamp_at: usize,
    /// Where the offset's digits are.
    offset: Option<Range<usize>>,
    /// Length of what all lines share.
    common: usize,
}

impl Head {
    pub(super) fn new(before: &[u8]) -> Self {
        Self {
            text: before.to_vec(),
            ..Self::default()
        }
    }

    /// The text so far, to be added to.
    pub(super) fn open(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// Adds the time.
    pub(super) fn add_stamp(&mut self, time_ns: i64) {
        self.stamp_at = self.text.len();
        self.text.extend_from_slice(&stamp(time_ns));
    }

    /// Adds a place for the offset.
    pub(super) fn add_offset(&mut self) {
        let at = self.text.len();
        self.offset = Some(at..at);
    }

    /// Ends what all lines share; `usual` is what most of them go on with.
    pub(super) fn close(&mut self, usual: &[u8]) {
        self.common = self.text.len();
        self.text.extend_from_slice(usual);
    }

    /// What all lines begin with.
    #[inline]
    pub(super) fn common(&self) -> &[u8] {
        &self.text[..self.common]
    }

    /// The same and what most go on with.
    #[inline]
    pub(super) fn usual(&self) -> &[u8] {
        &self.text
    }

    /// Shows another time.
    pub(super) fn set_time(&mut self, time_ns: i64) {
        if let Some(text) = self.text[self.stamp_at..].first_chunk_mut::<STAMP_BYTES>() {
            *text = stamp(time_ns);
        }
    }

    /// Shows the next nanosecond, which is `time_ns`.
    #[inline]
    pub(super) fn move_to(&mut self, time_ns: i64) {
        if let Some(text) = self.text[self.stamp_at..].first_chunk_mut::<STAMP_BYTES>() {
            advance(text, time_ns);
        }
    }

    /// Shows another offset, where it has a place.
    #[inline]
    pub(super) fn set_offset(&mut self, offset: u64) {
        let Some(place) = self.offset.clone() else {
            return;
        };
        let decimal = Decimal::of(offset);
        let digits = decimal.digits();
        if digits.len() == place.len() {
            self.text[place].copy_from_slice(digits);
        } else {
            self.widen(place, digits);
        }
    }

    #[cold]
    fn widen(&mut self, place: Range<usize>, digits: &[u8]) {
        let (start, before) = (place.start, place.len());
        self.text.splice(place, digits.iter().copied());
        self.common = self.common + digits.len() - before;
        self.offset = Some(start..start + digits.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_offset_change_in_place_and_what_follows_moves() {
        let mut head = Head::new(b"<");
        head.add_stamp(0);
        head.open().push(b'@');
        head.add_offset();
        head.open().push(b';');
        head.close(b"msg=");

        let mut shown = Vec::new();
        for (time_ns, offset) in [(1, 0), (2, 9), (3, 10), (4, 123_456_789), (5, 7)] {
            head.move_to(time_ns);
            head.set_offset(offset);
            shown.push(String::from_utf8(head.usual().to_vec()).unwrap());
            assert!(head.usual().starts_with(head.common()));
            assert!(head.common().ends_with(format!("@{offset};").as_bytes()));
        }

        assert_eq!(shown[3], "<1970-01-01T00:00:00.000000004Z@123456789;msg=");
        assert_eq!(shown[4], "<1970-01-01T00:00:00.000000005Z@7;msg=");
    }
}
