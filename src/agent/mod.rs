//! The supervisor: opens checkpoints, starts one task per source and one per sink, and ends them in
//! phases. The only place that spawns.

mod plan;

use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

pub use plan::{Ended, FirstAttempts, Inputs, Plan, Report};

use crate::backoff::Backoff;
use crate::blocking::Crew;
use crate::checkpoint::{Checkpoints, OpenError};
use crate::delivery::{self, DeadLetter, Failure, Flow, Settings};
use crate::encoding::{Encoder, Format};
use crate::framing::CHUNK_BYTES;
use crate::http::ClientError;
use crate::notes::FirstFailure;
use crate::outputs::OwnFiles;
use crate::queue::{Order, Queue, Receiver, bounded, ordered};
use crate::sink::file::{FileSink, Surroundings};
use crate::sink::http::HttpSink;
use crate::sink::stdout::StdoutSink;
use crate::sink::{SinkConfig, SinkKind};
use crate::source::{self, Denials, Outlet, SourceConfig, SourceContext, SourceError, SourceKind};
use crate::telemetry::SinkCounters;

/// Threads that reads of files may hold, of those that the runtime has.
const SOURCE_THREADS_MAX: usize = 64;

/// Why an agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] OpenError),
    /// A sink cannot be made.
    #[error("sink `{name}`: {cause}")]
    Http {
        /// The sink.
        name: Arc<str>,
        /// What is wrong.
        cause: ClientError,
    },
    /// Standard output cannot be used.
    #[error("stdout: {0}")]
    Stdout(std::io::Error),
}

type Deliveries = JoinSet<(Arc<str>, Result<(), Failure>)>;
type Sources = JoinSet<(Arc<str>, Result<(), SourceError>)>;
type Attempts = FuturesUnordered<oneshot::Receiver<Result<(), FirstFailure>>>;

struct Agent {
    plan: Plan,
    checkpoints: Checkpoints,
    /// Where sources make calls that block. Reads in a file system that hangs take all of it, and
    /// none of the threads that the sinks need.
    source_crew: Crew,
    sink_crew: Crew,
    /// What this process writes.
    own_files: Arc<OwnFiles>,
    /// Stops the sources.
    stop: CancellationToken,
    /// Cuts back-off short: each delivery has one attempt left.
    draining: CancellationToken,
    deliveries: Deliveries,
    sources: Sources,
    attempts: Attempts,
    /// Sources that will never go on.
    failed: usize,
    /// Sinks that did not get all that was read.
    undelivered: usize,
}

/// Runs until every source has ended, a sink fails for good, or `stop` completes; then drains.
///
/// # Errors
/// [`StartError`] where it cannot start; nothing was read then.
pub async fn run(plan: Plan, stop: impl Future<Output = ()>) -> Result<Report, StartError> {
    let mut stop = std::pin::pin!(stop);
    let opened = match &plan.state {
        Some(dir) => tokio::select! {
            opened = Checkpoints::open_with_room(dir) => Some(opened?),
            () = &mut stop => None,
        },
        None => Some(match &plan.cursor_file {
            Some(file) => Checkpoints::open_file(file)?,
            None => Checkpoints::none(),
        }),
    };
    let told_to_stop = opened.is_none();
    let checkpoints = opened.unwrap_or_else(Checkpoints::none);
    let mut agent = Agent {
        own_files: Arc::new(own_files(&plan)),
        plan,
        checkpoints,
        source_crew: Crew::of(SOURCE_THREADS_MAX),
        sink_crew: Crew::default(),
        stop: CancellationToken::new(),
        draining: CancellationToken::new(),
        deliveries: JoinSet::new(),
        sources: JoinSet::new(),
        attempts: FuturesUnordered::new(),
        failed: 0,
        undelivered: 0,
    };
    if told_to_stop {
        return Ok(agent.report(Ended::Stopped));
    }
    agent.tell_unread_spools().await;
    let queues = agent.start_sinks()?;
    agent.start_sources(queues);

    let mut writers = JoinSet::new();
    let writing = CancellationToken::new();
    writers.spawn(agent.checkpoints.clone().run(writing.clone()));
    let ended = agent.supervise(stop).await;
    agent.drain().await;
    writing.cancel();
    // The last fsync; a disk that hangs must not keep the process.
    if tokio::time::timeout(agent.plan.shutdown, writers.join_next())
        .await
        .is_err()
    {
        warn!("the last checkpoint was not written in time: some lines may be sent twice");
    }
    Ok(agent.report(ended))
}

impl Agent {
    /// Tells of spools whose sources are not configured any more.
    async fn tell_unread_spools(&self) {
        let Some(state) = self.plan.state.clone() else {
            return;
        };
        let sources = self.plan.sources.iter();
        let sources = sources.filter(|it| !matches!(it.kind, SourceKind::File(_)));
        let sources = sources.map(|it| Arc::clone(&it.name)).collect();
        let checkpoints = self.checkpoints.clone();
        let telling = move || source::spool::tell_unread(&state, &sources, &checkpoints);
        // A panic on the blocking pool is a bug, and no reason not to start.
        let _ = tokio::task::spawn_blocking(telling).await;
    }

    /// Starts one delivery per sink and returns their queues by name.
    fn start_sinks(&mut self) -> Result<HashMap<Arc<str>, (Queue, SinkConfig)>, StartError> {
        let mut queues = HashMap::new();
        for sink in std::mem::take(&mut self.plan.sinks) {
            let (queue, receiver) = match self.plan.order {
                None => bounded(sink.memory_bytes),
                Some(window) => {
                    let is_finite = self.plan.inputs == Inputs::Finite;
                    ordered(sink.memory_bytes, Order { window, is_finite })
                }
            };
            self.start_sink(&sink, receiver)?;
            queues.insert(Arc::clone(&sink.name), (queue, sink));
        }
        Ok(queues)
    }

    fn start_sink(&mut self, sink: &SinkConfig, receiver: Receiver) -> Result<(), StartError> {
        let format = sink
            .format
            .clone()
            .unwrap_or_else(|| Format::json(Default::default()));
        let zone = jiff::tz::TimeZone::system();
        let encoder =
            Encoder::new(&format, &self.plan.host, zone).with_line_bytes_max(sink.line_bytes_max);
        let settings = self.settings(sink);
        let name = Arc::clone(&sink.name);
        match &sink.kind {
            SinkKind::Stdout => {
                let stdout = StdoutSink::open(encoder, self.plan.limit);
                let stdout = stdout.map_err(StartError::Stdout)?;
                let delivery = delivery::run(stdout, receiver, settings);
                self.deliveries.spawn(async move { (name, delivery.await) });
            }
            SinkKind::File(config) => {
                let surroundings = Surroundings {
                    name: name.clone(),
                    host: self.plan.host.clone(),
                    checkpoints: self.checkpoints.clone(),
                    crew: self.sink_crew.clone(),
                    own_files: Arc::clone(&self.own_files),
                    reopen: self.plan.reopen.clone(),
                };
                let file = FileSink::open(config.clone(), encoder, surroundings);
                let delivery = delivery::run(file, receiver, settings);
                self.deliveries.spawn(async move { (name, delivery.await) });
            }
            SinkKind::Http(config) => {
                let http = HttpSink::open(config, encoder).map_err(|cause| StartError::Http {
                    name: name.clone(),
                    cause,
                })?;
                let delivery = delivery::run(http, receiver, settings);
                self.deliveries.spawn(async move { (name, delivery.await) });
            }
        }
        Ok(())
    }

    fn settings(&mut self, sink: &SinkConfig) -> Settings {
        /// Delays of sinks that have none configured: a full disk is looked at twice a second at
        /// first, and every five seconds at last.
        const LOCAL_BASE: Duration = Duration::from_millis(500);
        const LOCAL_MAX: Duration = Duration::from_secs(5);
        let counters = self.plan.metrics.of_sink(&sink.name);
        // A file's batch is one write with one intent: it is never delivered in parts.
        let mut flow = Flow {
            limits: sink.batch,
            part_lines_max: u64::MAX,
            concurrency: 1,
            encoders: 1,
        };
        let (mut base, mut max, mut dead_letter) = (LOCAL_BASE, LOCAL_MAX, None);
        if let SinkKind::Http(http) = &sink.kind {
            let default = || {
                let state = self.plan.state.clone().unwrap_or_default();
                state.join("rejected").join(format!("{}.ndjson", sink.name))
            };
            let path = http.dead_letter.clone().unwrap_or_else(default);
            dead_letter = Some(DeadLetter::new(path));
            (base, max) = (http.retry.base, http.retry.max);
            flow.part_lines_max = sink.batch.lines;
            flow.concurrency = http.concurrency;
            flow.encoders = http.encoders();
        }
        Settings {
            name: Arc::clone(&sink.name),
            flow,
            backoff: Backoff::new(base, max, crate::random::seed()),
            dead_letter,
            counters,
            checkpoints: self.checkpoints.clone(),
            crew: self.sink_crew.clone(),
            draining: self.draining.clone(),
        }
    }

    fn start_sources(&mut self, queues: HashMap<Arc<str>, (Queue, SinkConfig)>) {
        let mut started = Vec::new();
        for config in std::mem::take(&mut self.plan.sources) {
            let fed = queues
                .values()
                .filter(|(_, sink)| sink.from.contains(&config.name));
            let outlets: Vec<Outlet> = fed.map(|(queue, sink)| outlet(queue, sink)).collect();
            if matches!(config.kind, SourceKind::File(_)) {
                // Now: other sources may have sent lines before this one begins to look.
                outlets.iter().for_each(|it| it.sender.looks());
            }
            let counters = self.plan.metrics.of_source(&config.name);
            let (first_attempt, attempt) = oneshot::channel();
            self.attempts.push(attempt);
            let cx = SourceContext {
                outlets,
                checkpoints: self.checkpoints.clone(),
                crew: self.source_crew.clone(),
                counters,
                own_files: Arc::clone(&self.own_files),
                notes: self.plan.notes.clone(),
                denials: match self.plan.first_attempts {
                    FirstAttempts::MustSucceed => Denials::AreFinal,
                    FirstAttempts::MayFail => Denials::Pass,
                },
                credentials: Arc::from(config.about_credentials()),
                first_attempt,
                shutdown: self.stop.clone(),
                inlet: None,
            };
            started.push((config, cx));
        }
        match (self.plan.inputs, self.plan.order) {
            (Inputs::Live, _) | (Inputs::Finite, Some(_)) => {
                for (config, cx) in started {
                    let name = Arc::clone(&config.name);
                    self.sources
                        .spawn(async move { (name, source::run(config, cx).await) });
                }
            }
            (Inputs::Finite, None) => {
                self.sources.spawn(in_order(started));
            }
        }
    }

    /// Watches over the tasks until the end begins.
    async fn supervise(&mut self, stop: impl Future<Output = ()>) -> Ended {
        let mut stop = std::pin::pin!(stop);
        let mut failed = Vec::new();
        let n_sources = self.attempts.len();
        let mut attempts = n_sources;
        loop {
            tokio::select! {
                biased;
                () = &mut stop => return Ended::Stopped,
                Some(ended) = self.deliveries.join_next() => {
                    if let Some(ended) = self.delivery_ended(ended) {
                        return ended;
                    }
                }
                Some(attempt) = self.attempts.next(), if attempts > 0 => {
                    attempts -= 1;
                    let failure = attempt.ok().and_then(Result::err);
                    // Whoever ends at the end of its input does not try again.
                    let is_final = failure.is_some() && self.plan.inputs == Inputs::Finite;
                    self.failed += usize::from(is_final);
                    failed.extend(failure);
                    let none = failed.len() == n_sources;
                    if none && self.plan.first_attempts == FirstAttempts::MustSucceed {
                        return Ended::NoSource(failed.into_iter().map(|it| it.trouble).collect());
                    }
                    if attempts == 0 || self.plan.first_attempts == FirstAttempts::MayFail {
                        failed.drain(..).for_each(|failure| self.plan.notes.cannot_read(&failure));
                    }
                }
                ended = self.sources.join_next() => match ended {
                    Some(ended) => self.failed += source_ended(ended),
                    None => return self.finish(stop).await,
                },
            }
        }
    }

    /// Every source has ended by itself: waits until everything is delivered, however long, or until
    /// `stop` completes.
    async fn finish(&mut self, mut stop: Pin<&mut impl Future<Output = ()>>) -> Ended {
        loop {
            let ended = tokio::select! {
                biased;
                () = &mut stop => return Ended::Stopped,
                ended = self.deliveries.join_next() => ended,
            };
            let Some(ended) = ended else {
                return Ended::Finished;
            };
            if let Some(ended) = self.delivery_ended(ended) {
                return ended;
            }
        }
    }

    /// What the end of one sink's delivery means for the rest; `None`: they go on.
    fn delivery_ended(
        &mut self,
        ended: Result<(Arc<str>, Result<(), Failure>), JoinError>,
    ) -> Option<Ended> {
        let (name, failure) = match ended {
            Ok((_, Ok(()))) => return None,
            Ok((_, Err(Failure::Ended))) => return Some(Ended::Enough),
            Ok((name, Err(failure))) => (name, failure.to_string()),
            Err(panic) => (Arc::from("?"), format!("a bug ended its delivery: {panic}")),
        };
        self.undelivered += 1;
        if self.deliveries.is_empty() {
            return Some(Ended::SinkFailed(failure));
        }
        error!(sink = %name, cause = failure, "this sink can never go on: the others do");
        None
    }

    /// Stops the sources, gives each delivery one last attempt and waits for them within the
    /// grace. What is not delivered then stays behind its positions and is read again.
    async fn drain(&mut self) {
        let remembers = self.plan.state.is_some() || self.plan.cursor_file.is_some();
        self.stop.cancel();
        self.draining.cancel();
        let all = async {
            while let Some(ended) = self.sources.join_next().await {
                self.failed += source_ended(ended);
            }
            while let Some(ended) = self.deliveries.join_next().await {
                if let Ok((name, Err(failure @ (Failure::GaveUp(_) | Failure::Fatal(_))))) = ended {
                    self.undelivered += 1;
                    if remembers {
                        warn!(sink = %name, cause = %failure, "lines in flight are read again next time");
                    } else {
                        warn!(sink = %name, cause = %failure, "the last lines are missing there");
                    }
                }
            }
        };
        if tokio::time::timeout(self.plan.shutdown, all).await.is_err() {
            self.undelivered += self.deliveries.len();
            if remembers {
                warn!("not everything was delivered in time: it is read again next time");
            } else {
                warn!("not everything was delivered in time: the last lines are missing");
            }
        }
    }

    fn report(&self, ended: Ended) -> Report {
        let (sinks, sources) = (self.plan.metrics.sinks(), self.plan.metrics.sources());
        let sum = |of: fn(&SinkCounters) -> u64| sinks.iter().map(|(_, it)| of(it)).sum();
        let most = sinks.iter().map(|(_, it)| it.lines.get()).max();
        let n_sources = sources.len();
        let sources = sources.iter().map(|(_, counters)| counters);
        Report {
            ended,
            sources: n_sources,
            failed: self.failed,
            refused: sources.clone().filter(|it| it.refused.get() > 0).count(),
            undelivered: self.undelivered,
            lines: sum(|it| it.lines.get()),
            lines_most: most.unwrap_or(0),
            retries: sum(|it| it.retries.get()),
            rejected: sum(|it| it.rejected.get()),
            reconnects: sources.clone().map(|it| it.reconnects.get()).sum(),
            dropped: sources.clone().map(|it| it.dropped.get()).sum(),
            truncated: sources.clone().map(|it| it.truncated.get()).sum::<u64>()
                + sum(|it| it.truncated.get()),
            stalled: Duration::from_micros(sources.clone().map(|it| it.stalled_us.get()).sum()),
            lost_bytes: sources.map(|it| it.lost_bytes.get()).sum(),
        }
    }
}

/// Runs sources one after the other; the first that can never go on ends them all.
async fn in_order(
    started: Vec<(SourceConfig, SourceContext)>,
) -> (Arc<str>, Result<(), SourceError>) {
    let mut last = Arc::from("");
    for (config, cx) in started {
        last = Arc::clone(&config.name);
        if let Err(error) = source::run(config, cx).await {
            return (last, Err(error));
        }
    }
    (last, Ok(()))
}

/// Tells how a source ended; returns how many failed for good by it.
fn source_ended(ended: Result<(Arc<str>, Result<(), SourceError>), JoinError>) -> usize {
    match ended {
        Ok((_, Ok(()))) => return 0,
        Ok((name, Err(cause))) => error!(source = %name, %cause, "this source can never go on"),
        Err(panic) => error!(%panic, "a bug ended a source"),
    }
    1
}

/// A source's way into one sink's queue.
fn outlet(queue: &Queue, sink: &SinkConfig) -> Outlet {
    /// Bounds of the pace: below, a fast writer costs a system call a line; above, lines wait.
    const PACE_MIN: Duration = Duration::from_millis(2);
    const PACE_MAX: Duration = Duration::from_millis(25);
    /// Two joined chunks, one being written and one that waits, for a sink that waits for nothing. Each
    /// pins a read buffer, which is what is charged: with less, they would come one by one.
    const SHARE_BYTES: usize = 2 * CHUNK_BYTES;
    /// The same for a file, which is written at hundreds of megabytes a second: each batch costs an
    /// intent and some waits for other threads, so more lines should share one.
    const FILE_SHARE_BYTES: usize = 8 * CHUNK_BYTES;
    let share_bytes = match &sink.kind {
        // A sink that waits for a batch to fill is given what it waits for.
        _ if !sink.batch.linger.is_zero() => sink.memory_bytes,
        SinkKind::File(_) => FILE_SHARE_BYTES,
        SinkKind::Stdout | SinkKind::Http(_) => SHARE_BYTES,
    };
    Outlet {
        sink: Arc::clone(&sink.name),
        share_bytes: share_bytes.min(sink.memory_bytes),
        sender: queue.sender(),
        chunk_bytes: sink.batch.bytes.min(CHUNK_BYTES),
        chunk_lines: u32::try_from(sink.batch.lines).unwrap_or(u32::MAX).max(1),
        pace: (sink.batch.linger / 10).clamp(PACE_MIN, PACE_MAX),
    }
}

/// What this process writes: sources must not read it.
fn own_files(plan: &Plan) -> OwnFiles {
    let mut own = OwnFiles::new(&plan.host);
    plan.state
        .iter()
        .chain(&plan.cursor_file)
        .for_each(|path| own.add_path(path));
    for sink in &plan.sinks {
        match &sink.kind {
            SinkKind::File(file) => own.add_template(&file.path, &sink.from),
            SinkKind::Http(http) => http.dead_letter.iter().for_each(|it| own.add_path(it)),
            // Where stdout is redirected to a file that a pattern names.
            SinkKind::Stdout => own.add_path(Path::new("/proc/self/fd/1")),
        }
    }
    own
}
