//! Where a cursor stands, as the journal stores it.
//!
//! Pure: no I/O, no clock.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::names;

/// Where one cursor stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StoredCursor")]
pub struct CursorRecord {
    /// Name of the source.
    pub source: Arc<str>,
    /// Id of the stream.
    pub stream: Arc<str>,
    /// Name of the sink.
    pub sink: Arc<str>,
    /// The position.
    #[serde(flatten)]
    pub place: Place,
}

/// A [`CursorRecord`] as it is read: which fields are there tells what it is. A flattened and untagged
/// enumeration would be read into a tree first, which takes twice as long; and of 100,000 known files
/// each has one.
#[derive(Deserialize)]
struct StoredCursor {
    #[serde(deserialize_with = "names::repeated")]
    source: Arc<str>,
    #[serde(deserialize_with = "names::unique")]
    stream: Arc<str>,
    #[serde(deserialize_with = "names::repeated")]
    sink: Arc<str>,
    offset: Option<u64>,
    guard: Option<u64>,
    #[serde(default)]
    mid_line: bool,
    ahead: Option<Ahead>,
    begun: Option<Begun>,
    cursor: Option<String>,
    skip: Option<u32>,
}

impl TryFrom<StoredCursor> for CursorRecord {
    type Error = &'static str;

    fn try_from(stored: StoredCursor) -> Result<Self, Self::Error> {
        let place = match (stored.offset, stored.guard, stored.cursor, stored.skip) {
            (Some(offset), Some(guard), ..) => Place::File {
                offset,
                guard,
                mid_line: stored.mid_line,
                ahead: stored.ahead,
                begun: stored.begun,
            },
            (_, _, Some(cursor), Some(skip)) => Place::Token { cursor, skip },
            _ => return Err("a cursor stands nowhere"),
        };
        Ok(Self {
            source: stored.source,
            stream: stored.stream,
            sink: stored.sink,
            place,
        })
    }
}

/// A position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Place {
    /// In a file.
    File {
        /// Bytes from the start.
        offset: u64,
        /// Hash of the bytes before it.
        guard: u64,
        /// True inside a line that was cut.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        mid_line: bool,
        /// Lines behind the offset that were taken before others in front of them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ahead: Option<Ahead>,
        /// Records behind the offset that were taken.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        begun: Option<Begun>,
    },
    /// A token of the server's.
    Token {
        /// The token.
        cursor: String,
        /// Lines after it that were taken.
        skip: u32,
    },
}

/// How far one stream of a container's log was taken before the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ahead {
    /// Lines of standard output that begin before this offset were taken.
    Stdout(u64),
    /// The same of standard error.
    Stderr(u64),
}

/// Up to which offsets the records behind a position were taken, by where they begin: those of
/// standard output or of no stream, and those of standard error; and how many they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun(pub u64, pub u64, pub u64);
