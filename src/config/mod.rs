//! TOML to validated plain structs, with every error at its place in the file.

mod agent;
mod arguments;
mod credentials;
mod cx;
mod diagnostics;
mod document;
mod effective;
mod endpoint;
mod environment;
pub mod keys;
mod load;
mod location;
mod mask;
mod references;
mod routes;
mod sink;
mod source;
mod suggest;
mod table;
#[cfg(test)]
mod tests;
mod units;
mod value;

pub use arguments::{
    Apart, ArgumentError, ArgumentOptions, HeaderOption, NetrcEntry, NetworkOptions, apart,
    sink_from_argument, source_from_location, sources_from_arguments,
};
pub use cx::References;
pub use diagnostics::{Color, Diagnostic, Diagnostics, FileId, Place, Severity};
pub use effective::{Blame, defaults, effective};
pub use environment::{Environment, ProcessEnvironment, ReferencedFile};
pub use load::{ConfigInput, LoadOptions, load};

pub use units::{NotAUnit, duration as parse_duration};

use std::path::PathBuf;
use std::time::Duration;

use crate::sink::SinkConfig;
use crate::source::SourceConfig;

/// A whole configuration, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Settings of the process.
    pub agent: AgentConfig,
    /// Sources in the order of the files.
    pub sources: Vec<SourceConfig>,
    /// Sinks in the order of the files.
    pub sinks: Vec<SinkConfig>,
}

/// Settings of the process.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentConfig {
    /// Where checkpoints are kept.
    pub state: PathBuf,
    /// Bytes in flight per sink, for sinks that do not say otherwise.
    pub memory_bytes: usize,
    /// How long a line waits for earlier ones of other streams; `None`: lines are merged as they
    /// come.
    pub order: Option<Duration>,
    /// How long shutdown may take to deliver what is in flight.
    pub shutdown: Duration,
    /// A `tracing` filter, for example `info`.
    pub log: String,
}
