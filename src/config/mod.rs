//! TOML to validated plain structs, with every error at its place in the file.

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
    /// How long shutdown may take to deliver what is in flight.
    pub shutdown: Duration,
    /// A `tracing` filter, for example `info`.
    pub log: String,
}
