//! logweir: source actors push lines into a bounded channel; a batching sink takes them out,
//! delivers them, and only then does the place we read from move forward.

pub mod backoff;
pub mod config;
pub mod encoding;
pub mod framing;
pub mod model;
pub mod queue;
pub mod secret;
pub mod sink;
pub mod source;
