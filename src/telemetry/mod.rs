//! What logweir says about itself: the log on stderr, and counters with unit and meaning.

mod metrics;

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

pub use metrics::{Counter, FailureKind, Metrics, SinkCounters, SourceCounters, TargetCounters};

use crate::terminal;

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
    use std::sync::{Arc, Mutex};

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
