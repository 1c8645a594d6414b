//! End-to-end tests: the real binary, real files, real sockets and real kills, judged by what
//! arrives.

#![expect(
    clippy::unwrap_used,
    reason = "all of this is a test, also what has no #[test] on it"
)]

mod agreement;
mod cli;
mod config;
mod crash;
mod file_sink;
mod files;
mod http_sink;
mod isolation;
mod network;
mod readme;
mod records;
mod resume;
mod spool;
mod state;
mod support;
mod tail;
mod tidy;
