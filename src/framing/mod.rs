//! Bytes in, whole lines out.
//!
//! Pure: no I/O, no clock.

mod charset;
mod container;
mod framer;
mod grouping;
mod message;
mod newline;
mod pool;
mod records;
mod splitter;
mod sse;
mod times;
mod trace;
mod track;

pub use charset::{Charset, CharsetError};
pub use framer::Framer;
pub use grouping::{GroupLimits, Multiline, Patterns, Stamps};
pub use message::MessageBuffer;
pub use newline::{LineBuffer, SHARED_ABOVE_BYTES, Start, Taken};
pub use pool::{CHUNK_BYTES, Pool};
pub use records::{Container, OpenRecord, RecordBuffer, RecordLimits, Recording};
pub use sse::{Events, SseBuffer};
pub use times::{Pointer, TimeContext, TimeFrom};

#[cfg(test)]
mod properties;
