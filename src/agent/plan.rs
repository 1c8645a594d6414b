//! What the agent is told to run, and what it tells afterwards.

use std::path::PathBuf;
use std::time::Duration;

use crate::notes::Notes;
use crate::sink::SinkConfig;
use crate::sink::file::Reopen;
use crate::source::SourceConfig;
use crate::telemetry::Metrics;

/// What the agent runs.
#[derive(Debug)]
pub struct Plan {
    /// What is read.
    pub sources: Vec<SourceConfig>,
    /// Where it goes.
    pub sinks: Vec<SinkConfig>,
    /// Where checkpoints are kept; absent for runs that remember nothing.
    pub state: Option<PathBuf>,
    /// The one file that they are kept in, where there is no `state`.
    pub cursor_file: Option<PathBuf>,
    /// How long shutdown may take.
    pub shutdown: Duration,
    /// Lines that stdout wants; absent without a limit.
    pub limit: Option<u64>,
    /// This machine's name, shown as `_host`.
    pub host: String,
    /// What a source that cannot be read at the start means.
    pub first_attempts: FirstAttempts,
    /// Whether sources end by themselves.
    pub inputs: Inputs,
    /// How long a line waits for earlier ones of other streams, at sinks that merge by time.
    pub order: Option<Duration>,
    /// Who is told about connections.
    pub notes: Notes,
    /// Asks for outputs to be opened anew.
    pub reopen: Reopen,
    /// Where everything that is counted can be looked up.
    pub metrics: Metrics,
}

/// What it means that every source failed its first attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstAttempts {
    /// The end: somebody waits at a terminal.
    MustSucceed,
    /// Nothing: they are tried for ever.
    MayFail,
}

/// Whether sources end by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inputs {
    /// Not all of them: they run at the same time, and their lines are merged as they come or,
    /// within a window, by their times.
    Live,
    /// All of them: they run one after the other, as they were named, or are merged strictly by
    /// the times of their lines. Either way the output is the same each time.
    Finite,
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every source ended and everything was delivered.
    Finished,
    /// It was told to stop, and everything in flight was delivered or will be read again.
    Stopped,
    /// Whoever reads stdout wants no more.
    Enough,
    /// No source could be read at the start.
    NoSource(Vec<String>),
    /// A sink can never go on.
    SinkFailed(String),
}

/// What was done, for the summary.
#[derive(Debug)]
pub struct Report {
    /// How it ended.
    pub ended: Ended,
    /// Number of sources.
    pub sources: usize,
    /// Those of them that failed for good.
    pub failed: usize,
    /// Those that were denied: only other credentials or permissions help.
    pub refused: usize,
    /// Sinks that did not get all that was read.
    pub undelivered: usize,
    /// Lines that sinks own, counted at each of them.
    pub lines: u64,
    /// Lines of the sink that owns most: where all get the same, each line is counted once.
    pub lines_most: u64,
    /// Connections made again after they had ended.
    pub reconnects: u64,
    /// Deliveries that were tried again.
    pub retries: u64,
    /// Lines in dead-letter files.
    pub rejected: u64,
    /// Lines cut at `max_line`.
    pub truncated: u64,
    /// Lines and messages that were given up.
    pub dropped: u64,
    /// Bytes lost with files that vanished unread.
    pub lost_bytes: u64,
    /// How long sources waited for room in sinks, all together.
    pub stalled: Duration,
}
