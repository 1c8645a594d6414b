//! The answer to `_bulk`: 200, and inside it a status for each document, in the order of the request.

use serde::Deserialize;
use serde_json::Value;

use super::{Answer, Stored, Verdicts, foreign, miscounted, reason};
use crate::delivery::SinkError;

#[derive(Deserialize)]
struct Head {
    errors: bool,
}

#[derive(Deserialize)]
struct Bulk {
    #[serde(default)]
    items: Vec<Item>,
}

/// One document; whatever is asked for, some servers call it `index`.
#[derive(Deserialize)]
struct Item {
    #[serde(alias = "index")]
    create: Outcome,
}

#[derive(Deserialize)]
struct Outcome {
    status: u16,
    #[serde(default)]
    error: Value,
}

pub(super) fn inside(answer: &Answer, lines: u64) -> Result<Stored, SinkError> {
    let whose = "that of a _bulk request";
    let Ok(head) = serde_json::from_slice::<Head>(&answer.body) else {
        return Err(foreign(answer, whose));
    };
    if !head.errors {
        return Ok(None);
    }
    let Ok(bulk) = serde_json::from_slice::<Bulk>(&answer.body) else {
        return Err(foreign(answer, whose));
    };
    if bulk.items.len() as u64 != lines {
        return Err(miscounted(answer, bulk.items.len(), lines));
    }
    let mut verdicts = Verdicts::default();
    for (line, item) in (0..).zip(bulk.items) {
        let Outcome { status, error } = item.create;
        let cause = || format!("item status {status}: {}", described(&error));
        match status {
            // 409: it is there already, under the id that is this line's alone.
            200..=299 | 409 => {}
            408 | 425 | 429 | 500..=599 => verdicts.fails(line, cause),
            // A missing index or right, or a full disk: a person can mend it.
            401 | 403 | 404 => {
                verdicts.is_paused = true;
                verdicts.fails(line, cause);
            }
            _ => verdicts.rejects(line, status, cause()),
        }
    }
    verdicts.result(answer, lines)
}

/// `type: reason`, and the cause of a mapping error, which names the value.
fn described(error: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let described = match error {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        error => {
            let cause = text(&error["caused_by"]["reason"]);
            let colon = if cause.is_empty() { "" } else { ": " };
            format!(
                "{}: {}{colon}{cause}",
                text(&error["type"]),
                text(&error["reason"])
            )
        }
    };
    reason(described.as_bytes())
}
