//! The answer of Kafka's REST Proxy, version 2: an offset or an error for each record, in order.

use serde::Deserialize;

use super::{Answer, Stored, Verdicts, foreign, miscounted, reason};
use crate::delivery::SinkError;

#[derive(Deserialize)]
struct Produced {
    offsets: Vec<Offset>,
}

#[derive(Deserialize)]
struct Offset {
    #[serde(default)]
    error_code: Option<i64>,
    #[serde(default)]
    error: Option<String>,
}

/// Codes after which the same record may be taken: 2 and 50003 are the proxy's own word for that,
/// 50002 its word for any trouble of Kafka, and the others are the broker's errors that its protocol
/// marks as retriable, which Redpanda passes on (no leader, not enough replicas, time-outs, …).
const RETRIABLE: [i64; 19] = [
    2, 3, 5, 6, 7, 8, 9, 13, 14, 15, 16, 19, 20, 56, 72, 74, 75, 50_002, 50_003,
];

pub(super) fn inside(answer: &Answer, lines: u64) -> Result<Stored, SinkError> {
    let Ok(produced) = serde_json::from_slice::<Produced>(&answer.body) else {
        return Err(foreign(answer, "that of a Kafka REST Proxy"));
    };
    if produced.offsets.len() as u64 != lines {
        return Err(miscounted(answer, produced.offsets.len(), lines));
    }
    let mut verdicts = Verdicts::default();
    for (line, offset) in (0..).zip(produced.offsets) {
        let Some(code) = offset.error_code.filter(|code| *code != 0) else {
            continue;
        };
        let text = offset.error.unwrap_or_default();
        let cause = || format!("record error {code}: {}", reason(text.as_bytes()));
        if RETRIABLE.contains(&code) {
            verdicts.fails(line, cause);
        } else {
            verdicts.rejects(line, answer.status, cause());
        }
    }
    verdicts.result(answer, lines)
}
