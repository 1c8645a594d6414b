//! The time of a record of which nothing is known.
//!
//! Pure: no I/O, no clock.

use super::times::{TimeContext, TimeFrom};

/// A record's own time in nanoseconds since 1970: under one of the usual names where it is a JSON
/// object, else at its start.
pub fn own_time(text: &[u8], cx: &TimeContext) -> Option<i64> {
    let is_object = text.trim_ascii_start().first() == Some(&b'{');
    let place = if is_object {
        TimeFrom::Known
    } else {
        TimeFrom::Leading
    };
    place.find(text, cx)
}

#[cfg(test)]
mod tests {
    use super::super::container::rfc3339_ns;
    use super::*;

    #[test]
    fn the_usual_form_is_read_as_the_standard_says() {
        let cx = TimeContext {
            zone: jiff::tz::TimeZone::UTC,
            now_ns: 0,
        };
        let found = |value: &str| {
            let text = format!("{{\"time\":\"{value}\"}}");
            own_time(text.as_bytes(), &cx)
        };

        for value in [
            "2026-11-22T23:41:23Z",
            "2026-11-22T23:41:23.5Z",
            "2026-11-22T23:41:23.123456789Z",
            "2024-02-29T00:00:00.000Z",
            "2026-02-29T00:00:00.000Z",
            "2026-13-01T00:00:00Z",
            "2026-11-22T24:00:00Z",
            "1969-12-31T23:59:59Z",
        ] {
            assert_eq!(found(value), rfc3339_ns(value.as_bytes()), "{value}");
        }
    }
}
