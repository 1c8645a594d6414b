//! logweir: source actors push lines into a bounded channel; a batching sink takes them out,
//! delivers them, and only then does the place we read from move forward.

pub mod agent;
pub mod backoff;
pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod delivery;
pub mod encoding;
pub mod framing;
pub mod http;
pub mod model;
pub mod notes;
pub mod queue;
pub mod random;
pub mod secret;
pub mod sink;
pub mod source;
pub mod telemetry;
pub mod terminal;
