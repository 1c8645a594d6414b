//! Bytes in, whole lines out.
//!
//! Pure: no I/O, no clock.

mod charset;
mod container;
mod docker;
mod framer;
mod grouping;
mod json_seq;
mod message;
mod newline;
mod own_time;
mod pointer;
mod pool;
mod records;
mod splitter;
mod sse;
mod times;
mod trace;
mod track;
mod unpack;

pub use charset::{Charset, CharsetError};
pub use docker::{DockerFrames, NoFrames};
pub use framer::Framer;
pub use grouping::{GroupLimits, Multiline, Patterns, Stamps};
pub use json_seq::SeqBuffer;
pub use message::MessageBuffer;
pub use newline::{LineBuffer, SHARED_ABOVE_BYTES, Start, Taken};
pub use own_time::own_time;
pub use pointer::{Pointer, elements, scalar};
pub use pool::{CHUNK_BYTES, Pool};
pub use records::{Container, OpenRecord, RecordBuffer, RecordLimits, Recording};
pub use sse::{Events, SseBuffer};
pub use times::{TimeContext, TimeFrom};
pub use unpack::{Damage, MAGIC_BYTES, Packing, Unpack};

#[cfg(test)]
mod properties;
