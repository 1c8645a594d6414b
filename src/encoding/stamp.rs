//! Times as text, without formatting a whole time for each line.
//!
//! Pure: no I/O, no clock.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

/// Length of `2026-11-22T18:25:48.123456789Z`.
pub(super) const STAMP_BYTES: usize = 30;

const NS_PER_S: i64 = 1_000_000_000;
const NS_PER_MS: i64 = 1_000_000;
/// Index of the first of the nine digits after the point.
const FRACTION: usize = 20;

/// Renders a time in nanoseconds since 1970 as `2026-11-22T18:25:48.123456789Z`.
pub(super) fn stamp(time_ns: i64) -> [u8; STAMP_BYTES] {
    let mut text = *b"0000-00-00T00:00:00.000000000Z";
    write_second(&mut text, time_ns.div_euclid(NS_PER_S));
    write_digits(
        &mut text[FRACTION..FRACTION + 9],
        time_ns.rem_euclid(NS_PER_S).unsigned_abs(),
    );
    text
}

/// Moves a rendered time by one nanosecond. `time_ns` is the time it moves to; it is looked at only
/// where a new second begins.
#[inline]
pub(super) fn advance(text: &mut [u8; STAMP_BYTES], time_ns: i64) {
    for digit in text[FRACTION..FRACTION + 9].iter_mut().rev() {
        if *digit != b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
    *text = stamp(time_ns);
}

fn write_second(text: &mut [u8; STAMP_BYTES], second: i64) {
    let time = Offset::UTC.to_datetime(timestamp(second));
    // Nanoseconds in an i64 reach from 1677 to 2262: the year has four digits.
    write_digits(&mut text[0..4], u64::from(time.year().unsigned_abs()));
    write_digits(&mut text[5..7], u64::from(time.month().unsigned_abs()));
    write_digits(&mut text[8..10], u64::from(time.day().unsigned_abs()));
    write_digits(&mut text[11..13], u64::from(time.hour().unsigned_abs()));
    write_digits(&mut text[14..16], u64::from(time.minute().unsigned_abs()));
    write_digits(&mut text[17..19], u64::from(time.second().unsigned_abs()));
}

fn timestamp(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("nanoseconds in an i64 are within jiff's range")
}

/// Fills `text` with the last digits of `value`.
fn write_digits(text: &mut [u8], mut value: u64) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// A time of day as `12:03:04.120`, which remembers the second it rendered last.
#[derive(Debug)]
pub(super) struct TimeOfDay {
    zone: TimeZone,
    /// The millisecond since 1970 that `text` shows.
    shown_ms: i64,
    text: [u8; 12],
}

impl TimeOfDay {
    pub(super) fn new(zone: TimeZone) -> Self {
        let mut time = Self {
            zone,
            shown_ms: 0,
            text: *b"00:00:00.000",
        };
        time.write_second(0);
        time
    }

    /// The text for `time_ns` (nanoseconds since 1970).
    pub(super) fn at(&mut self, time_ns: i64) -> &[u8; 12] {
        let ms = time_ns.div_euclid(NS_PER_MS);
        if ms != self.shown_ms {
            if ms.div_euclid(1000) != self.shown_ms.div_euclid(1000) {
                self.write_second(ms.div_euclid(1000));
            }
            write_digits(&mut self.text[9..12], ms.rem_euclid(1000).unsigned_abs());
            self.shown_ms = ms;
        }
        &self.text
    }

    fn write_second(&mut self, second: i64) {
        let time = self.zone.to_datetime(timestamp(second));
        write_digits(&mut self.text[0..2], u64::from(time.hour().unsigned_abs()));
        write_digits(
            &mut self.text[3..5],
            u64::from(time.minute().unsigned_abs()),
        );
        write_digits(
            &mut self.text[6..8],
            u64::from(time.second().unsigned_abs()),
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(time_ns: i64) -> String {
        String::from_utf8(stamp(time_ns).to_vec()).unwrap()
    }

    #[test]
    fn stamp_has_nine_digits() {
        assert_eq!(
            shown(1_795_371_948_123_456_789),
            "2026-11-22T18:25:48.123456789Z"
        );
        assert_eq!(shown(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(shown(-1), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(shown(i64::MAX), "2262-04-11T23:47:16.854775807Z");
        assert_eq!(shown(i64::MIN), "1677-09-21T00:12:43.145224192Z");
    }

    #[test]
    fn advance_carries_into_the_next_second() {
        let mut text = stamp(1_795_371_948_999_999_998);

        advance(&mut text, 1_795_371_948_999_999_999);
        assert_eq!(&text, b"2026-11-22T18:25:48.999999999Z");
        advance(&mut text, 1_795_371_949_000_000_000);
        assert_eq!(&text, b"2026-11-22T18:25:49.000000000Z");
    }

    #[test]
    fn time_of_day_is_in_the_zone_and_follows_any_time() {
        let mut time = TimeOfDay::new(TimeZone::fixed(jiff::tz::offset(2)));

        assert_eq!(time.at(0), b"02:00:00.000");
        assert_eq!(time.at(1_795_371_948_123_456_789), b"20:25:48.123");
        assert_eq!(time.at(1_795_371_948_124_000_000), b"20:25:48.124");
        assert_eq!(time.at(-1), b"01:59:59.999");
    }

    proptest! {
        #[test]
        fn stamp_agrees_with_jiff(time_ns: i64) {
            let expected = Timestamp::from_nanosecond(i128::from(time_ns)).unwrap();

            prop_assert_eq!(shown(time_ns), format!("{expected:.9}"));
        }

        #[test]
        fn advance_agrees_with_stamp(start in i64::MIN..i64::MAX) {
            let mut text = stamp(start);
            advance(&mut text, start + 1);

            prop_assert_eq!(text, stamp(start + 1));
        }
    }
}
