//! The nouns of the domain: lines, positions, acks, batches.
//!
//! Pure: no I/O, no clock.

mod ack;
mod batch;
mod lines;
mod pattern;
mod position;

pub use ack::{Ack, Ledger, Moved, Watcher};
pub use batch::{Batch, BatchLimits, Batcher, LineSet, Run, Weight};
pub use lines::{EventNames, Line, Lines, Record};
pub use pattern::Pattern;
pub use position::{
    Ahead, Begun, CursorKey, GUARD_BYTES, Origin, Position, StdStream, StreamKey, guard_of,
};
