//! Positions as the journal stores them.
//!
//! Pure: no I/O, no clock.

use std::sync::Arc;

use super::cursor::{Ahead, Begun, CursorRecord, Place};
use crate::model::{self, CursorKey, Position, StdStream, StreamKey};

/// The stored form of a cursor; `None` for a live stream, which has nothing to store.
pub fn to_record(key: &CursorKey, position: &Position) -> Option<CursorRecord> {
    let place = match position {
        Position::File {
            offset,
            guard,
            mid_line,
            ahead,
            begun,
        } => Place::File {
            offset: *offset,
            guard: *guard,
            mid_line: *mid_line,
            ahead: ahead.map(stored_ahead),
            begun: begun.map(|it| Begun(it.stdout, it.stderr, it.lines)),
        },
        Position::Token { cursor, skip } => Place::Token {
            cursor: cursor.to_string(),
            skip: *skip,
        },
        Position::Live => return None,
    };
    Some(CursorRecord {
        source: Arc::clone(&key.source),
        stream: key.stream.name(),
        sink: Arc::clone(&key.sink),
        place,
    })
}

/// How far a position in a file is: the offset, and what was taken behind it. What was taken only
/// ever grows as long as the offset is the same.
pub(super) fn in_file(position: &Position) -> Option<(u64, u64, u64)> {
    match position {
        Position::File {
            offset,
            ahead,
            begun,
            ..
        } => Some((
            *offset,
            ahead.map_or(0, |it| it.offset),
            begun.map_or(0, |it| it.stdout + it.stderr),
        )),
        Position::Token { .. } | Position::Live => None,
    }
}

fn stored_ahead(ahead: model::Ahead) -> Ahead {
    match ahead.stream {
        StdStream::Stdout => Ahead::Stdout(ahead.offset),
        StdStream::Stderr => Ahead::Stderr(ahead.offset),
    }
}

fn ahead_of(stored: Ahead) -> model::Ahead {
    let (stream, offset) = match stored {
        Ahead::Stdout(offset) => (StdStream::Stdout, offset),
        Ahead::Stderr(offset) => (StdStream::Stderr, offset),
    };
    model::Ahead { stream, offset }
}

/// A cursor and its position, as they were stored.
pub(super) fn from_record(record: CursorRecord) -> (CursorKey, Position) {
    let key = CursorKey {
        source: record.source,
        stream: StreamKey::new(record.stream),
        sink: record.sink,
    };
    let position = match record.place {
        Place::File {
            offset,
            guard,
            mid_line,
            ahead,
            begun,
        } => Position::File {
            offset,
            guard,
            mid_line,
            ahead: ahead.map(ahead_of),
            begun: begun.map(|Begun(stdout, stderr, lines)| model::Begun {
                stdout,
                stderr,
                lines,
            }),
        },
        Place::Token { cursor, skip } => Position::Token {
            cursor: Arc::from(cursor),
            skip,
        },
    };
    (key, position)
}
