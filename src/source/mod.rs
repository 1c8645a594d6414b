//! Sources: each reads one kind of input and pushes lines into its sinks' queues.

mod body;
mod fanout;
pub mod file;
pub mod health;
pub mod poll;
mod quiet;
pub mod range;
mod refine;
mod session;
pub mod spool;
pub mod stdin;
pub mod stream;
#[cfg(test)]
mod testing;
pub mod websocket;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use reqwest::Url;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use twox_hash::XxHash3_64;

use crate::blocking::Crew;
use crate::checkpoint::Checkpoints;
use crate::filter::Filter;
use crate::framing::{Container, Multiline, Recording, TimeFrom};
use crate::http::ClientError;
use crate::model::StreamKey;
use crate::notes::{FirstFailure, Notes};
use crate::outputs::OwnFiles;
use crate::queue::{Charge, Closed, Sender};
use crate::secret::{Secret, shown_url};
use crate::telemetry::SourceCounters;
use refine::Refine;
pub use refine::Selection;
use spool::{Inlet, Spool, SpoolConfig};

/// One configured source, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceConfig {
    /// The name: label, checkpoint key and metric label.
    pub name: Arc<str>,
    /// Configured labels, shown as `_labels`.
    pub labels: Arc<[(Arc<str>, Arc<str>)]>,
    /// A longer line is cut, marked and counted; in bytes, without the newline.
    pub line_bytes_max: usize,
    /// How its records are made of lines.
    pub records: RecordRules,
    /// How its lines wait on disk for sinks; `None`: the source waits instead. Not for files.
    pub spool: Option<SpoolConfig>,
    /// What it reads.
    pub kind: SourceKind,
}

impl SourceConfig {
    /// Where the credentials come from that it sends, and what to look at if they are refused.
    pub fn about_credentials(&self) -> String {
        let (network, url) = match &self.kind {
            SourceKind::Stream(it) => (&it.network, Some(&*it.url)),
            SourceKind::WebSocket(it) => (&it.network, Some(&*it.url)),
            SourceKind::Range(it) => (&it.network, Some(&*it.url)),
            SourceKind::Poll(it) => (&it.network, it.urls.first().map(Secret::expose)),
            SourceKind::Health(it) => (&it.network, it.urls.first().map(Secret::expose)),
            SourceKind::File(_) | SourceKind::Stdin(_) => return String::new(),
        };
        let in_url = url.and_then(|it| Url::parse(it).ok());
        let in_url = in_url.is_some_and(|it| !it.username().is_empty());
        match network.credentials.hint() {
            Some(hint) => hint,
            None if in_url => "are user and password of its URL right?".to_owned(),
            None => "no credentials were sent".to_owned(),
        }
    }
}

/// How the records of a source are made of its lines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordRules {
    /// What each line is wrapped in.
    pub container: Option<Container>,
    /// Which lines are one record.
    pub multiline: Multiline,
    /// Where a record's own time is, if it counts.
    pub time: Option<TimeFrom>,
    /// Which records are kept by expressions.
    pub filter: Filter,
    /// Which records are kept by what they say about themselves.
    pub selection: Selection,
}

/// What a source reads: one variant per kind.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceKind {
    /// Files named by paths, globs and directories.
    File(file::FileConfig),
    /// One long HTTP response.
    Stream(stream::StreamConfig),
    /// Services that are asked how they are.
    Health(Box<health::HealthConfig>),
    /// APIs that are asked again and again.
    Poll(Box<poll::PollConfig>),
    /// A remote file that grows.
    Range(range::RangeConfig),
    /// Messages of a WebSocket.
    WebSocket(websocket::WebSocketConfig),
    /// Standard input, a FIFO or a device.
    Stdin(stdin::StdinConfig),
}

/// When a network source is at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Never: every end is followed by a new connection.
    Never,
    /// With a response whose length was known from the start.
    WithFiniteResponse,
    /// With its first connection.
    WithFirstConnection,
}

/// What it means that a peer wants other credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Denials {
    /// Nothing: it is tried seldom, for a service's credentials can be renewed where they are kept.
    #[default]
    Pass,
    /// The source's end: somebody waits at a terminal, who gave them on the command line.
    AreFinal,
}

/// A source's way to one of its sinks.
#[derive(Clone, Debug)]
pub struct Outlet {
    /// Name of the sink.
    pub sink: Arc<str>,
    /// Its queue.
    pub sender: Sender,
    /// Bytes that a source which shares its chunks between sinks may have in flight: at a sink that
    /// waits for nothing, more would only make the lines of other sources late.
    pub share_bytes: usize,
    /// Bytes read at once: what fits a batch.
    pub chunk_bytes: usize,
    /// Lines sent in one chunk: what fits a batch.
    pub chunk_lines: u32,
    /// The shortest time between two reads of a file that keeps growing.
    pub pace: Duration,
}

impl Outlet {
    /// Waits for room for a read of `bytes`, and counts how long that took. Cancel safe.
    ///
    /// # Errors
    /// [`Closed`] when delivery has ended.
    pub(crate) async fn charge(
        &self,
        bytes: usize,
        counters: &SourceCounters,
    ) -> Result<Charge, Closed> {
        let mut charge = std::pin::pin!(self.sender.charge(bytes));
        if let Some(charged) = charge.as_mut().now_or_never() {
            return charged;
        }
        let _stall = Stall(Instant::now(), counters);
        charge.await
    }
}

/// Counts a wait for room, also one that is given up.
struct Stall<'a>(Instant, &'a SourceCounters);

impl Drop for Stall<'_> {
    fn drop(&mut self) {
        let waited = u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.1.stalled_us.add(waited);
    }
}

/// What a source is given to run with.
#[derive(Debug)]
pub struct SourceContext {
    /// Its sinks.
    pub outlets: Vec<Outlet>,
    /// Where positions are kept.
    pub checkpoints: Checkpoints,
    /// Where calls that block are made.
    pub crew: Crew,
    /// What it did.
    pub counters: Arc<SourceCounters>,
    /// Files that this process writes itself and must not read.
    pub own_files: Arc<OwnFiles>,
    /// Who is told about connections.
    pub notes: Notes,
    /// What a peer means that wants other credentials.
    pub denials: Denials,
    /// Where the credentials come from that it sends, and what to look at if they are refused.
    pub credentials: Arc<str>,
    /// Told once how the first attempt went.
    pub first_attempt: oneshot::Sender<Result<(), FirstFailure>>,
    /// Cancelled when the source should stop.
    pub shutdown: CancellationToken,
    /// The way into its spool, which [`run`] opens.
    pub(crate) inlet: Option<Inlet>,
}

/// Why a source can never go on.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A pattern cannot be understood.
    #[error(transparent)]
    Pattern(#[from] file::PatternError),
    /// The process cannot do blocking work any more.
    #[error("{0}")]
    Io(std::io::Error),
    /// No client can be made as configured.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Runs a source until it ends by itself or is told to stop.
///
/// # Errors
/// [`SourceError`] where it can never go on. Passing trouble is handled inside.
pub async fn run(config: SourceConfig, mut cx: SourceContext) -> Result<(), SourceError> {
    // A file is its own buffer.
    let is_file = matches!(config.kind, SourceKind::File(_));
    let state = cx.checkpoints.dir().filter(|_| !is_file);
    let Some(state) = state.map(Path::to_owned) else {
        return read(config, cx).await;
    };
    let Some(spool) = config.spool else {
        return match Box::pin(spool::retire(&config.name, &state, &cx)).await {
            Some(()) => read(config, cx).await,
            None => Ok(()),
        };
    };
    let Some(spool) = Spool::open(&config.name, spool, &state, &cx).await else {
        return Ok(());
    };
    cx.inlet = Some(spool.inlet());
    Box::pin(spool.around(read(config, cx))).await
}

async fn read(config: SourceConfig, cx: SourceContext) -> Result<(), SourceError> {
    let common = Common {
        name: config.name,
        labels: config.labels,
        line_bytes_max: config.line_bytes_max,
        recording: Recording {
            charset: None,
            container: config.records.container,
            multiline: config.records.multiline,
        },
        refine: Refine::new(
            config.records.filter,
            config.records.selection,
            config.records.time,
        ),
    };
    // Each in a box of its own: otherwise every source would be as large as the largest kind.
    match config.kind {
        SourceKind::File(file) => Box::pin(file::run(common, file, cx)).await,
        SourceKind::Stream(stream) => Box::pin(stream::run(common, stream, cx)).await,
        SourceKind::Health(health) => Box::pin(health::run(common, *health, cx)).await,
        SourceKind::Poll(poll) => Box::pin(poll::run(common, *poll, cx)).await,
        SourceKind::Range(range) => Box::pin(range::run(common, range, cx)).await,
        SourceKind::WebSocket(socket) => Box::pin(websocket::run(common, socket, cx)).await,
        SourceKind::Stdin(stdin) => Box::pin(stdin::run(common, stdin, cx)).await,
    }
}

/// What every kind of source is configured with.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    pub(crate) name: Arc<str>,
    pub(crate) labels: Arc<[(Arc<str>, Arc<str>)]>,
    pub(crate) line_bytes_max: usize,
    /// How lines become records.
    pub(crate) recording: Recording,
    /// What happens to records afterwards.
    pub(crate) refine: Refine,
}

/// Names the streams of a source that has several URLs: each by its URL as it is shown, and where two
/// are shown alike, by a hash of the whole as well.
fn stream_keys(urls: &[Url]) -> Vec<StreamKey> {
    let shown: Vec<String> = urls.iter().map(|url| shown_url(url.as_str())).collect();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for name in &shown {
        *counts.entry(name).or_default() += 1;
    }
    let key = |(url, name): (&Url, &String)| {
        if counts[name.as_str()] == 1 {
            return StreamKey::new(name.as_str());
        }
        let hash = XxHash3_64::oneshot(url.as_str().as_bytes());
        StreamKey::new(format!("{name}#{hash:016x}"))
    };
    urls.iter().zip(&shown).map(key).collect()
}
