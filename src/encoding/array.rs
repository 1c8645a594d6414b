//! One JSON array per body: `[{…},{…}]`, of the objects of `format = "json"`.
//!
//! Pure: no I/O, no clock.

use super::Piece;
use super::json::{Around, Json};

pub(super) fn append(json: &Json, out: &mut Vec<u8>, pieces: &[Piece]) {
    out.push(b'[');
    for piece in pieces {
        let around = Around {
            before: b"",
            after: b",\n",
        };
        json.append_around(out, (piece.origin, piece.time_ns), &piece.lines, around);
    }
    close(out);
}

/// Closes an array after its last element, whose comma it takes back.
pub(super) fn close(out: &mut Vec<u8>) {
    if out.ends_with(b",\n") {
        out.truncate(out.len() - 2);
    }
    out.push(b']');
}
