//! What an answer means: the one table from status to what happens next.
//!
//! Pure: no I/O, no clock.

use std::time::Duration;

use crate::delivery::SinkError;
use crate::http::describe_status;

/// Reads an answer to a body that is stored whole or not at all (NDJSON, raw).
///
/// Order of decision: success; a mistake in the set-up, which pauses; too large, which halves; a
/// passing trouble, which is retried; a refused body, which is bisected; the rest is set aside.
pub(super) fn classify(
    status: u16,
    retry_after: Option<Duration>,
    reason: &str,
) -> Result<(), SinkError> {
    let cause = describe_status(status, reason);
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
}
