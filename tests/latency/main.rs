//! How soon lines arrive. A crate of its own, because cargo runs it after the others: what is
//! measured here must not share the machine with tests that use all of it.

#![allow(
    dead_code,
    unused_imports,
    reason = "this crate uses a part of what it shares"
)]

mod neighbours;
#[path = "../it/network/server.rs"]
mod server;
#[path = "../it/support/mod.rs"]
mod support;
