//! The body of a Kafka REST Proxy, version 2: `{"records":[{"key":…,"value":{…}}]}`.
//!
//! The value is the object of `format = "json"`. The key is the file, else the source: lines of one
//! file stay in order, because they go to one partition.
//!
//! Pure: no I/O, no clock.

use super::content::append_pair;
use super::json::{Around, Json};
use super::{Piece, array};

pub(super) fn append(json: &Json, out: &mut Vec<u8>, pieces: &[Piece]) {
    out.extend_from_slice(b"{\"records\":[");
    for piece in pieces {
        let origin = piece.origin;
        let mut before = Vec::new();
        let key = origin.path.as_ref().unwrap_or(&origin.source);
        append_pair(&mut before, "{\"key\":", key);
        before.extend_from_slice(b",\"value\":");
        let around = Around {
            before: &before,
            after: b"},\n",
        };
        json.append_around(out, (origin, piece.time_ns), &piece.lines, around);
    }
    array::close(out);
    out.push(b'}');
}
