//! What the tests are built from: a directory, a writer, the agent, a collector and an oracle.

mod agent;
mod collector;
mod dir;
mod http;
mod oracle;
mod rng;
mod rotation;
mod script;
mod tools;
mod wait;
mod writer;

pub(crate) use agent::{Agent, Ended, Logweir};
pub(crate) use collector::{Body, Collector, Outcome, ReservedPort, Settings};
pub(crate) use dir::{Dir, read};
pub(crate) use http::Request;
pub(crate) use oracle::{Oracle, Report, line};
pub(crate) use rng::Rng;
pub(crate) use rotation::{Dated, Directives, Opened, Packer, Packs, Rotation};
pub(crate) use script::{Answer, Delivery, Faults, Reading, Script};
pub(crate) use tools::has_tool;
pub(crate) use wait::{PATIENCE, pass, poll, within};
pub(crate) use writer::{Plan, Writer};
