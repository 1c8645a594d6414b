//! Answers of Splunk's HTTP Event Collector: a text and a code.

use serde::Deserialize;

use super::{Answer, Stored, Verdicts, foreign, reason};
use crate::delivery::SinkError;
use crate::http::describe_status;

#[derive(Deserialize)]
struct Reply {
    code: i64,
    #[serde(default)]
    text: String,
    #[serde(default, rename = "invalid-event-number")]
    invalid_event: Option<u64>,
}

/// 2xx: the code must say so as well.
pub(super) fn inside(answer: &Answer) -> Result<Stored, SinkError> {
    let body = answer.body.trim_ascii();
    // Some compatible receivers say no more than that.
    if body.is_empty() || body == b"OK" || body == b"\"OK\"" {
        return Ok(None);
    }
    let Ok(reply) = serde_json::from_slice::<Reply>(body) else {
        return Err(foreign(answer, "that of an HTTP Event Collector"));
    };
    let status = answer.status;
    let cause = format!("HTTP {status}, code {}: {}", reply.code, reply.text);
    match reply.code {
        0 => Ok(None),
        9 => Err(SinkError::Retryable {
            cause,
            after: answer.after,
        }),
        _ => Err(SinkError::Paused { cause }),
    }
}

/// 400: whom the code blames.
pub(super) fn refused(answer: &Answer, lines: u64) -> SinkError {
    let status = answer.status;
    let cause = describe_status(status, &reason(&answer.body));
    let Ok(reply) = serde_json::from_slice::<Reply>(&answer.body) else {
        return SinkError::Rejected { status, cause };
    };
    match (reply.code, reply.invalid_event) {
        // An index that is not allowed, a channel that is missing or wrong, acknowledgements that
        // are off: a person can mend it.
        (7 | 10 | 11 | 14, _) => SinkError::Paused { cause },
        (_, Some(invalid)) if invalid < lines => {
            let mut verdicts = Verdicts::default();
            // Whether what stands before it is stored is not said: it is neither sent again nor
            // lost.
            let before = format!("perhaps stored: {cause}");
            (0..invalid).for_each(|line| verdicts.rejects(line, status, before.clone()));
            verdicts.rejects(invalid, status, cause.clone());
            (invalid + 1..lines).for_each(|line| verdicts.fails(line, || cause.clone()));
            match verdicts.result(answer, lines) {
                Err(items) => items,
                Ok(_) => SinkError::Rejected { status, cause },
            }
        }
        _ => SinkError::Rejected { status, cause },
    }
}
