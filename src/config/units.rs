//! Durations and sizes: strings with units.
//!
//! Pure: no I/O, no clock.

use std::time::Duration;

use jiff::{SignedDuration, Span, SpanRelativeTo};

/// Why a text is not a duration or size, and what would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAUnit {
    /// For the message.
    pub why: &'static str,
    /// For the label.
    pub hint: String,
}

/// The units of sizes; the long names come before the ones that end them.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("b", 1),
];

/// Parses `250ms`, `1h 30m`, `2d`, `1w`; days have 24 hours.
///
/// # Errors
/// [`NotAUnit`] for a bare number, a negative one, months and years, and anything else.
pub fn duration(text: &str) -> Result<Duration, NotAUnit> {
    const EXAMPLES: &str = "for example \"250ms\", \"30s\", \"1h 30m\", \"2d\"";
    let text = text.trim();
    if is_number(text) {
        return Err(NotAUnit {
            why: "needs a unit",
            hint: duration_hint(text),
        });
    }
    let not = |why| NotAUnit {
        why,
        hint: EXAMPLES.to_owned(),
    };
    let span: Span = text.parse().map_err(|_| not("is not a duration"))?;
    if span.get_years() != 0 || span.get_months() != 0 {
        return Err(not("months and years have no fixed length"));
    }
    let duration: SignedDuration = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| not("is not a duration"))?;
    Duration::try_from(duration).map_err(|_| not("must not be negative"))
}

/// Parses `8MiB`, `1MB`, `512B`, `1.5GiB`: KiB is 1024 and KB is 1000 bytes, in any case.
///
/// # Errors
/// [`NotAUnit`] for a bare number and anything else.
pub(super) fn size(text: &str) -> Result<u64, NotAUnit> {
    let text = text.trim();
    if is_number(text) {
        return Err(NotAUnit {
            why: "needs a unit",
            hint: size_hint(text),
        });
    }
    let not = || NotAUnit {
        why: "is not a size",
        hint: "for example \"512B\", \"64KiB\", \"1MiB\", \"1MB\"".to_owned(),
    };
    let lower = text.to_ascii_lowercase();
    let (number, unit) = SIZE_UNITS
        .iter()
        .find_map(|(unit, bytes)| Some((lower.strip_suffix(unit)?.trim_end(), *bytes)))
        .ok_or_else(not)?;
    if number.is_empty()
        || !number
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return Err(not());
    }
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(unit).ok_or_else(not);
    }
    if !number.contains('.') {
        return Err(not());
    }
    let fraction: f64 = number.parse().map_err(|_| not())?;
    // Saturates above u64::MAX, which no key's range allows.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "digits and a dot"
    )]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a fraction of a unit is no exact number"
    )]
    Ok((fraction * unit as f64).round() as u64)
}

/// What a bare number for a duration may have meant.
pub(super) fn duration_hint(number: &str) -> String {
    format!("for example \"{number}s\" or \"{number}ms\"")
}

/// What a bare number for a size may have meant.
pub(super) fn size_hint(number: &str) -> String {
    let exact = format!("for example \"{number}B\"");
    // Four digits are bytes rather than MiB.
    if number.len() < 4 {
        format!("{exact} or \"{number}MiB\"")
    } else {
        exact
    }
}

/// A size as people write it, in the largest unit that leaves no fraction.
pub(super) fn show_size(bytes: u64) -> String {
    let units = [
        (1 << 40, "TiB"),
        (1 << 30, "GiB"),
        (1 << 20, "MiB"),
        (1 << 10, "KiB"),
    ];
    units
        .iter()
        .find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit))
        .map_or_else(
            || format!("{bytes} B"),
            |(unit, name)| format!("{} {name}", bytes / unit),
        )
}

/// A duration as people write it.
pub(super) fn show_duration(duration: Duration) -> String {
    const DAY_S: u64 = 86_400;
    if duration.subsec_nanos() == 0
        && duration.as_secs() >= DAY_S
        && duration.as_secs().is_multiple_of(DAY_S)
    {
        return format!("{}d", duration.as_secs() / DAY_S);
    }
    SignedDuration::try_from(duration)
        .map_or_else(|_| "for ever".to_owned(), |it| format!("{it:#}"))
}

fn is_number(text: &str) -> bool {
    text.parse::<f64>().is_ok() && text.bytes().any(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        let cases = [
            ("250ms", 250),
            ("30s", 30_000),
            ("1h 30m", 5_400_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            ("2d", 172_800_000),
            ("2 days", 172_800_000),
            ("1w", 604_800_000),
            ("1d 1h", 90_000_000),
            ("0ms", 0),
            (" 5s ", 5_000),
        ];
        for (text, ms) in cases {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        let cases = [
            ("10", "needs a unit"),
            ("1.5", "needs a unit"),
            ("-10", "needs a unit"),
            ("", "is not a duration"),
            ("soon", "is not a duration"),
            ("-5s", "must not be negative"),
            ("5s ago", "must not be negative"),
            ("1mo", "months and years have no fixed length"),
            ("1y", "months and years have no fixed length"),
        ];
        for (text, why) in cases {
            assert_eq!(duration(text).unwrap_err().why, why, "{text}");
        }
    }

    #[test]
    fn sizes_have_units() {
        let cases = [
            ("0B", 0),
            ("512B", 512),
            ("64KiB", 65_536),
            ("64kib", 65_536),
            ("1 MiB", 1_048_576),
            ("1MB", 1_000_000),
            ("1.5KiB", 1_536),
            ("2GiB", 2_147_483_648),
            ("1TB", 1_000_000_000_000),
        ];
        for (text, bytes) in cases {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        let cases = [
            ("10", "needs a unit"),
            ("", "is not a size"),
            ("MiB", "is not a size"),
            ("-1MiB", "is not a size"),
            ("1XiB", "is not a size"),
            ("8M", "is not a size"),
            ("1.2.3MiB", "is not a size"),
            ("99999999999999999999B", "is not a size"),
        ];
        for (text, why) in cases {
            assert_eq!(size(text).err().map(|not| not.why), Some(why), "{text}");
        }
    }

    #[test]
    fn limits_are_shown_in_round_units() {
        assert_eq!(show_size(1), "1 B");
        assert_eq!(show_size(64 << 20), "64 MiB");
        assert_eq!(show_size(1_500), "1500 B");
        assert_eq!(show_duration(Duration::from_millis(250)), "250ms");
        assert_eq!(show_duration(Duration::from_secs(90)), "1m 30s");
        assert_eq!(show_duration(Duration::from_secs(86_400 * 30)), "30d");
    }
}
