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
