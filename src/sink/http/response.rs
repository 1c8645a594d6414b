//! What an answer means: the one table from status to what happens next.
//!
//! Pure: no I/O; the clock is an argument.

use std::time::Duration;

use jiff::Timestamp;

use crate::delivery::SinkError;

/// Reads an answer to a body that is stored whole or not at all (NDJSON, raw).
///
/// Order of decision: success; a mistake in the set-up, which pauses; too large, which halves; a
/// passing trouble, which is retried; a refused body, which is bisected; the rest is set aside.
pub(super) fn classify(
    status: u16,
    retry_after: Option<Duration>,
    reason: &str,
) -> Result<(), SinkError> {
    let cause = describe(status, reason);
    match status {
        200..=299 => Ok(()),
        300..=399 => Err(SinkError::Paused { cause }),
        401 | 403 | 404 | 407 => Err(SinkError::Paused { cause }),
        413 => Err(SinkError::TooLarge { cause }),
        408 | 425 | 429 | 500..=599 => Err(SinkError::Retryable {
            cause,
            after: retry_after,
        }),
        400 | 422 => Err(SinkError::Unacceptable { status, cause }),
        _ => Err(SinkError::Rejected { status, cause }),
    }
}

fn describe(status: u16, reason: &str) -> String {
    let name = reqwest::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("unknown status");
    let hint = match status {
        401 | 403 => " (is the token right, and does it still count?)",
        404 => " (is the path of the url right?)",
        407 => " (the proxy wants credentials)",
        300..=399 => " (set url to where it points)",
        _ => "",
    };
    let reason = reason.trim();
    let colon = if reason.is_empty() { "" } else { ": " };
    format!("HTTP {status} {name}{hint}{colon}{reason}")
}

/// Reads a `Retry-After` header: seconds or an HTTP date (RFC 9110 §10.2.3). A date in the past
/// means at once; anything else is ignored.
pub(super) fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(value)
        .ok()?;
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_one_meaning() {
        let meaning = |status| match classify(status, None, "") {
            Ok(()) => "ok",
            Err(SinkError::Paused { .. }) => "pause",
            Err(SinkError::TooLarge { .. }) => "halve",
            Err(SinkError::Retryable { .. }) => "retry",
            Err(SinkError::Unacceptable { .. }) => "bisect",
            Err(SinkError::Rejected { .. }) => "set aside",
            Err(_) => "never",
        };
        let table = [
            (200, "ok"),
            (202, "ok"),
            (204, "ok"),
            (301, "pause"),
            (400, "bisect"),
            (401, "pause"),
            (403, "pause"),
            (404, "pause"),
            (405, "set aside"),
            (407, "pause"),
            (408, "retry"),
            (410, "set aside"),
            (413, "halve"),
            (415, "set aside"),
            (422, "bisect"),
            (425, "retry"),
            (429, "retry"),
            (500, "retry"),
            (502, "retry"),
            (503, "retry"),
            (504, "retry"),
        ];
        for (status, expected) in table {
            assert_eq!(meaning(status), expected, "{status}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2026-11-22T18:00:00Z".parse().unwrap();
        let seconds = |n| Some(Duration::from_secs(n));

        assert_eq!(retry_after("2", now), seconds(2));
        assert_eq!(retry_after(" 120 ", now), seconds(120));
        assert_eq!(
            retry_after("Sun, 22 Nov 2026 18:00:30 GMT", now),
            seconds(30)
        );
        assert_eq!(
            retry_after("Sun, 22 Nov 2026 17:00:00 GMT", now),
            seconds(0)
        );
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("-3", now), None);
    }
}
