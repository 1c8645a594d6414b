//! What logweir says about itself: the log on stderr, and counters with unit and meaning.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::terminal;

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

/// How one service was when it was last asked, and how often it was.
#[derive(Debug, Default)]
pub struct TargetCounters {
    /// The URL without what may be secret in it.
    name: String,
    /// Times that it was asked.
    pub checks: Counter,
    /// Times that it was not well.
    pub failures: Counter,
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

    /// Notes a check, and how long the answer took.
    pub fn note(&self, is_healthy: bool, took: Duration) {
        self.checks.add(1);
        self.failures.add(u64::from(!is_healthy));
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.latency_us.store(us, Ordering::Relaxed);
        self.is_healthy.store(is_healthy, Ordering::Relaxed);
    }

    /// Which service it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True where the last check found it well.
    pub fn is_healthy(&self) -> bool {
        self.is_healthy.load(Ordering::Relaxed)
    }

    /// Microseconds until the last answer.
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

/// Sends the log to stderr; `filter` is a `tracing` filter such as `info`.
///
/// # Errors
/// The filter cannot be parsed.
pub fn init(filter: &str) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::try_new(filter)?;
    let color = crate::terminal::colored();
    // A second call, as in tests, keeps the first log.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| terminal::Stderr)
        .with_ansi(color)
        .with_target(false)
        .try_init();
    Ok(())
}

/// The same for somebody at a terminal: events are short lines like all other notes.
///
/// # Errors
/// The filter cannot be parsed.
pub fn init_notes(filter: &str) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::try_new(filter)?;
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| terminal::Stderr)
        .event_format(ShortLines)
        .try_init();
    Ok(())
}

/// `! app cannot rotate this output: it goes on growing: disk full (path /var/log/x)`.
struct ShortLines;

impl<S, N> FormatEvent<S, N> for ShortLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut said = Said::default();
        event.record(&mut said);
        writeln!(writer, "{}", terminal::noted(&said.to_string()))
    }
}

/// What an event says, taken apart.
#[derive(Debug, Default)]
struct Said {
    message: String,
    /// Whose event it is.
    name: String,
    /// Why.
    cause: String,
    others: Vec<String>,
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = match field.name() {
            "message" => &mut self.message,
            "source" | "sink" if self.name.is_empty() => &mut self.name,
            "cause" | "error" | "reason" if self.cause.is_empty() => &mut self.cause,
            name => {
                self.others.push(format!("{name} {value:?}"));
                return;
            }
        };
        // Writing to a text cannot fail.
        let _ = write!(text, "{value:?}");
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("!")?;
        if !self.name.is_empty() {
            write!(f, " {}", self.name)?;
        }
        write!(f, " {}", self.message)?;
        if !self.cause.is_empty() {
            write!(f, ": {}", self.cause)?;
        }
        if !self.others.is_empty() {
            write!(f, " ({})", self.others.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Written {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn events_are_short_lines() {
        let written = Written::default();
        let log = tracing_subscriber::fmt()
            .with_writer(written.clone())
            .event_format(ShortLines)
            .finish();

        tracing::subscriber::with_default(log, || {
            let error = "disk full";
            tracing::warn!(source = %"app", path = %"/a", bytes = 7, %error, "cannot note it");
            tracing::error!("a bug ended a source");
        });

        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(
            text,
            "! app cannot note it: disk full (path /a, bytes 7)\n! a bug ended a source\n"
        );
    }
}
