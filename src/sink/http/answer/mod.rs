//! What an answer means: the one table from status to what happens next, and what stands inside an
//! answer that says 2xx.
//!
//! Pure: no I/O, no clock.

mod elasticsearch;
mod kafka;
mod otlp;
mod splunk;

use std::time::Duration;

use super::protocol::Protocol;
use crate::delivery::{Items, Refused, SinkError};
use crate::http::describe_status;

/// How much of a refusal's text is kept.
const REASON_CHARS_MAX: usize = 300;

/// An answer as it came.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// What `Retry-After` asks for.
    pub(super) after: Option<Duration>,
    /// The body, as far as it is read.
    pub(super) body: Vec<u8>,
    /// Why the body is not whole; `None`: it is.
    pub(super) torn: Option<String>,
}

/// All is stored; perhaps the peer has something to say about it.
pub(super) type Stored = Option<String>;

/// Reads an answer to a body of so many lines.
///
/// Order of decision: 2xx, and what the format says inside; a mistake in the set-up, which pauses;
/// too large, which halves; a passing trouble, which is retried; a refused body that is not stored at
/// all, which is bisected; the rest is set aside.
pub(super) fn read(protocol: Protocol, answer: &Answer, lines: u64) -> Result<Stored, SinkError> {
    use Protocol::{
        Array, Datadog, Elasticsearch, Kafka, Lines, Loki, OtlpJson, OtlpProtobuf, Splunk,
    };
    let status = answer.status;
    let cause = describe_status(status, &reason(&answer.body));
    let retryable = |cause| SinkError::Retryable {
        cause,
        after: answer.after,
    };
    Err(match (status, protocol) {
        // Loki: "blocked by policy".
        (260, Loki) => SinkError::Rejected { status, cause },
        (200..=299, _) => return inside(protocol, answer, lines),
        (300..=399, _) => SinkError::Paused { cause },
        (401 | 403 | 404 | 407, _) => SinkError::Paused { cause },
        (400, _) if is_about_tls(&answer.body) => SinkError::Paused { cause },
        (413, _) => SinkError::TooLarge { cause },
        (408 | 429 | 502..=504, _) => retryable(cause),
        // The only ones that OTLP allows to be retried are above.
        (500..=599, OtlpJson | OtlpProtobuf) => SinkError::Unacceptable { status, cause },
        (425 | 500..=599, Lines | Array | Elasticsearch | Loki | Splunk | Datadog | Kafka) => {
            retryable(cause)
        }
        (400, Splunk) => splunk::refused(answer, lines),
        // What was valid of such a push is stored.
        (400, Loki) => SinkError::PartlyRejected {
            status,
            lines: None,
            cause,
        },
        (400 | 422, Lines | Array | Elasticsearch | Datadog | Kafka) => {
            SinkError::Unacceptable { status, cause }
        }
        _ => SinkError::Rejected { status, cause },
    })
}

/// nginx answers 400 to a client that shows no certificate, a wrong one, or no TLS at all (its inner
/// codes 495 to 497): the set-up is to blame, not the lines.
fn is_about_tls(body: &[u8]) -> bool {
    let pages: [&[u8]; 3] = [
        b"No required SSL certificate was sent",
        b"The SSL certificate error",
        b"The plain HTTP request was sent to HTTPS port",
    ];
    let begins = &body[..body.len().min(4 * REASON_CHARS_MAX)];
    let mut pages = pages.into_iter();
    pages.any(|page| memchr::memmem::find(begins, page).is_some())
}

/// Looks into an answer that says 2xx.
fn inside(protocol: Protocol, answer: &Answer, lines: u64) -> Result<Stored, SinkError> {
    if !protocol.answers_in_body() {
        return Ok(None);
    }
    if let Some(torn) = &answer.torn {
        let cause = format!("HTTP {}, but {torn}", answer.status);
        return Err(SinkError::Retryable { cause, after: None });
    }
    match protocol {
        Protocol::Elasticsearch => elasticsearch::inside(answer, lines),
        Protocol::Kafka => kafka::inside(answer, lines),
        Protocol::Splunk => splunk::inside(answer),
        Protocol::OtlpJson | Protocol::OtlpProtobuf => otlp::inside(answer, lines),
        Protocol::Lines | Protocol::Array | Protocol::Loki | Protocol::Datadog => Ok(None),
    }
}

/// An answer that says 2xx and is not what the format answers: perhaps a proxy's, or a login page.
fn foreign(answer: &Answer, whose: &str) -> SinkError {
    let begins = reason(&answer.body);
    let begins: String = begins.chars().take(80).collect();
    let cause = format!(
        "HTTP {}, but the answer is not {whose}: {begins:?} (is the url right?)",
        answer.status
    );
    SinkError::Paused { cause }
}

/// An answer that names fewer or more lines than were sent.
fn miscounted(answer: &Answer, named: usize, lines: u64) -> SinkError {
    let cause = format!(
        "HTTP {}, but the answer speaks of {named} lines where {lines} were sent",
        answer.status
    );
    SinkError::Retryable { cause, after: None }
}

/// What became of each line, put together.
#[derive(Debug, Default)]
struct Verdicts {
    failed: Vec<u64>,
    /// The first failure's cause.
    cause: Option<String>,
    /// True where a failure is a mistake in the set-up.
    is_paused: bool,
    rejected: Vec<Refused>,
}

impl Verdicts {
    fn fails(&mut self, line: u64, cause: impl FnOnce() -> String) {
        self.failed.push(line);
        self.cause.get_or_insert_with(cause);
    }

    fn rejects(&mut self, line: u64, status: u16, reason: String) {
        self.rejected.push(Refused {
            line,
            status,
            reason,
        });
    }

    fn result(self, answer: &Answer, lines: u64) -> Result<Stored, SinkError> {
        if self.failed.is_empty() && self.rejected.is_empty() {
            return Ok(None);
        }
        let some = format!("{} of {lines} lines failed", self.failed.len());
        let cause = match self.cause {
            Some(cause) => format!("{some}: {cause}"),
            None => some,
        };
        let retry = if self.is_paused {
            SinkError::Paused { cause }
        } else {
            SinkError::Retryable {
                cause,
                after: answer.after,
            }
        };
        Err(SinkError::Items(Box::new(Items {
            failed: self.failed,
            retry,
            rejected: self.rejected,
        })))
    }
}

/// The beginning of a text as one line.
pub(super) fn reason(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(4 * REASON_CHARS_MAX)]);
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain
        .take(REASON_CHARS_MAX)
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests;
