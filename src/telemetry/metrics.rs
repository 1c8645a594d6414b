//! Counters with unit and meaning, and all of them by the names of what they count.
//!
//! Fields are called as their metrics are outside; who shows them asks [`Metrics`], which knows all
//! sources and sinks of the process.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tracing::info;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The sum so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why a service was not well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// No connection, or no whole answer on it.
    Unreachable,
    /// No answer in time.
    Late,
    /// An answer with another status than expected.
    Status,
    /// A body that is not as expected.
    Body,
}

/// How one service was when it was last asked, and how often it was.
#[derive(Debug, Default)]
pub struct TargetCounters {
    /// `host:port/path` of its URL.
    name: String,
    /// Times that it was asked.
    pub checks: Counter,
    /// Times that it was not well, by [`FailureKind`].
    failures: [Counter; 4],
    is_healthy: AtomicBool,
    latency_us: AtomicU64,
}

impl TargetCounters {
    /// Nothing is known yet of the service of this name.
    pub fn named(name: String) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }

    /// Notes a check, why the service was not well, and how long the answer took.
    pub fn note(&self, failure: Option<FailureKind>, took: Duration) {
        self.checks.add(1);
        if let Some(kind) = failure {
            self.failures[kind as usize].add(1);
        }
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.latency_us.store(us, Ordering::Relaxed);
        self.is_healthy.store(failure.is_none(), Ordering::Relaxed);
    }

    /// Which service it is: `host:port/path`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Times that it was not well for this reason.
    pub fn failures_of(&self, kind: FailureKind) -> u64 {
        self.failures[kind as usize].get()
    }

    /// Times that it was not well.
    pub fn failures(&self) -> u64 {
        self.failures.iter().map(Counter::get).sum()
    }

    /// What the last check found; `None` before the first.
    pub fn is_healthy(&self) -> Option<bool> {
        let is_healthy = self.is_healthy.load(Ordering::Relaxed);
        (self.checks.get() > 0).then_some(is_healthy)
    }

    /// Microseconds until the last answer, or until it was given up.
    pub fn latency_us(&self) -> u64 {
        self.latency_us.load(Ordering::Relaxed)
    }
}

/// What one source did.
#[derive(Debug, Default)]
pub struct SourceCounters {
    /// Lines pushed into queues, counted once per sink.
    pub lines: Counter,
    /// Bytes of those lines.
    pub bytes: Counter,
    /// Lines cut at `max_line`.
    pub truncated: Counter,
    /// Records dropped by `include` and `exclude`.
    pub filtered: Counter,
    /// Lines that were not in the format that `parse` names: they were passed on as they were.
    pub unparsed: Counter,
    /// Attempts that were denied: only other credentials or permissions help.
    pub refused: Counter,
    /// Connections made again after they had ended.
    pub reconnects: Counter,
    /// Lines that a server sent again and that were passed over.
    pub duplicates: Counter,
    /// Messages and lines that were given up: too large, or torn by the end of a connection.
    pub dropped: Counter,
    /// Microseconds in which nothing was read because a sink had no room: back-pressure.
    pub stalled_us: Counter,
    /// Of a health source, each service by itself.
    pub targets: OnceLock<Vec<Arc<TargetCounters>>>,
    /// Bytes that were given up: unread when their file was truncated or deleted.
    pub lost_bytes: Counter,
}

/// What one sink did.
#[derive(Debug, Default)]
pub struct SinkCounters {
    /// Lines that the sink owns.
    pub lines: Counter,
    /// Bytes of those lines, before encoding.
    pub bytes: Counter,
    /// Attempts to deliver a body.
    pub requests: Counter,
    /// Attempts after the first.
    pub retries: Counter,
    /// Lines refused for good: they are in the dead-letter file.
    pub rejected: Counter,
    /// Lines cut at the sink's own `max_line`.
    pub truncated: Counter,
}

/// The counters of every source and sink of a process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Mutex<All>>);

#[derive(Debug, Default)]
struct All {
    sources: Vec<(Arc<str>, Arc<SourceCounters>)>,
    sinks: Vec<(Arc<str>, Arc<SinkCounters>)>,
}

impl Metrics {
    /// Counters of a source that begins.
    pub fn of_source(&self, name: &Arc<str>) -> Arc<SourceCounters> {
        let counters = Arc::<SourceCounters>::default();
        let all = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.sources.push((Arc::clone(name), Arc::clone(&counters)));
        counters
    }

    /// Counters of a sink that begins.
    pub fn of_sink(&self, name: &Arc<str>) -> Arc<SinkCounters> {
        let counters = Arc::<SinkCounters>::default();
        let all = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.sinks.push((Arc::clone(name), Arc::clone(&counters)));
        counters
    }

    /// Every source, as configured.
    pub fn sources(&self) -> Vec<(Arc<str>, Arc<SourceCounters>)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.sources.clone()
    }

    /// Every sink, as configured.
    pub fn sinks(&self) -> Vec<(Arc<str>, Arc<SinkCounters>)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.sinks.clone()
    }

    /// Says in the log where everything stands: an event for each source, for each service that one
    /// asks, and for each sink.
    pub fn tell(&self) {
        for (name, counters) in self.sources() {
            tell_source(&name, &counters);
            let targets = counters.targets.get().into_iter().flatten();
            targets.for_each(|target| tell_target(&name, target));
        }
        for (name, counters) in self.sinks() {
            tell_sink(&name, &counters);
        }
    }
}

fn tell_source(source: &str, of: &SourceCounters) {
    info!(
        source,
        lines = of.lines.get(),
        bytes = of.bytes.get(),
        reconnects = of.reconnects.get(),
        refused = of.refused.get(),
        duplicates = of.duplicates.get(),
        dropped = of.dropped.get(),
        truncated = of.truncated.get(),
        filtered = of.filtered.get(),
        unparsed = of.unparsed.get(),
        lost_bytes = of.lost_bytes.get(),
        stalled_ms = of.stalled_us.get() / 1000,
        "status"
    );
}

fn tell_target(source: &str, of: &TargetCounters) {
    info!(
        source,
        target = of.name(),
        up = of.is_healthy(),
        latency_ms = %format_args!("{:.1}", of.latency_us() as f64 / 1000.0),
        checks = of.checks.get(),
        failures = of.failures(),
        unreachable = of.failures_of(FailureKind::Unreachable),
        late = of.failures_of(FailureKind::Late),
        status = of.failures_of(FailureKind::Status),
        body = of.failures_of(FailureKind::Body),
        "status"
    );
}

fn tell_sink(sink: &str, of: &SinkCounters) {
    info!(
        sink,
        lines = of.lines.get(),
        bytes = of.bytes.get(),
        requests = of.requests.get(),
        retries = of.retries.get(),
        rejected = of.rejected.get(),
        truncated = of.truncated.get(),
        "status"
    );
}
