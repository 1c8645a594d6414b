//! Bytes in, whole lines out.
//!
//! Pure: no I/O, no clock.

mod message;
mod newline;
mod pool;
mod sse;

pub use message::MessageBuffer;
pub use newline::{LineBuffer, SHARED_ABOVE_BYTES, Taken};
pub use pool::{CHUNK_BYTES, Pool};
pub use sse::{Events, SseBuffer};
