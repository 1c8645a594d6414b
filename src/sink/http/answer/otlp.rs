//! The answer to an OTLP export: empty, or a partial success, as protobuf or JSON.

use serde::Deserialize;
use serde_json::Value;

use super::{Answer, Stored, foreign, reason};
use crate::delivery::SinkError;

#[derive(Debug, Default, PartialEq, Eq)]
struct Partial {
    rejected: u64,
    message: String,
}

pub(super) fn inside(answer: &Answer, lines: u64) -> Result<Stored, SinkError> {
    let partial = if answer.body.trim_ascii().first() == Some(&b'{') {
        from_json(&answer.body)
    } else {
        from_protobuf(&answer.body)
    };
    let Some(partial) = partial else {
        return Err(foreign(answer, "that of an OTLP receiver"));
    };
    let message = reason(partial.message.as_bytes());
    let status = answer.status;
    match partial.rejected {
        0 if message.is_empty() => Ok(None),
        0 => Ok(Some(message)),
        // Such a request must not be repeated, and it is not said which lines are stored.
        rejected => {
            let cause = format!("partial success: {rejected} of {lines} lines refused: {message}");
            let lines = Some(rejected.min(lines));
            Err(SinkError::PartlyRejected {
                status,
                lines,
                cause,
            })
        }
    }
}

fn from_json(body: &[u8]) -> Option<Partial> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Response {
        #[serde(default)]
        partial_success: Option<Success>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Success {
        /// A decimal string, or a number from those who do not keep to the mapping.
        #[serde(default)]
        rejected_log_records: Value,
        #[serde(default)]
        error_message: Option<String>,
    }
    let response: Response = serde_json::from_slice(body).ok()?;
    let Some(success) = response.partial_success else {
        return Some(Partial::default());
    };
    let rejected = match &success.rejected_log_records {
        Value::Null => 0,
        Value::String(digits) => digits.parse().ok()?,
        number => number.as_u64()?,
    };
    Some(Partial {
        rejected,
        message: success.error_message.unwrap_or_default(),
    })
}

/// `ExportLogsServiceResponse`: field 1 is a message of field 1, a number, and field 2, a text.
fn from_protobuf(body: &[u8]) -> Option<Partial> {
    let mut partial = Partial::default();
    for_each_field(body, |number, field| {
        if let (1, Field::Bytes(success)) = (number, field) {
            return for_each_field(success, |number, field| {
                match (number, field) {
                    (1, Field::Number(rejected)) => partial.rejected = rejected,
                    (2, Field::Bytes(text)) => {
                        partial.message = String::from_utf8_lossy(text).into_owned();
                    }
                    _ => {}
                }
                Some(())
            });
        }
        Some(())
    })?;
    Some(partial)
}

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Calls `each` with the number and the value of each field. `None`: it is no protobuf message, or
/// `each` says so.
fn for_each_field(
    mut message: &[u8],
    mut each: impl FnMut(u64, Field) -> Option<()>,
) -> Option<()> {
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut message)?),
            wire @ (1 | 5) => {
                let bytes = if wire == 1 { 8 } else { 4 };
                Field::Bytes(message.split_off(..bytes)?)
            }
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                Field::Bytes(message.split_off(..length)?)
            }
            _ => return None,
        };
        if tag >> 3 == 0 {
            return None;
        }
        each(tag >> 3, field)?;
    }
    Some(())
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = message.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
