//! logweir: source actors push lines into a bounded channel; a batching sink takes them out,
//! delivers them, and only then does the place we read from move forward.

pub mod cli;
pub mod config;
pub mod encoding;
pub mod model;
pub mod secret;
pub mod sink;
pub mod source;
