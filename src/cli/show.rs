//! Runs a plan for somebody who watches: until it ends, a signal comes, the time is over or the
//! reader has gone; then says what was done.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::oneshot;

use super::output::OutputArgs;
use super::run::raise_open_files_limit;
use super::signals::{Asked, OnHangup, Signals};
use super::{Exit, runtime, say};
use crate::agent::{self, Ended, Plan, Report, StartError};
use crate::notes::Span;
use crate::source::stdin::Input;
use crate::source::{SourceConfig, SourceKind};
use crate::{telemetry, terminal};

/// Why a run was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Signal,
    TimeIsOver,
    /// Nobody reads any more, so nobody is told about it.
    ReaderGone,
}

/// How a run is watched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    /// Nothing but errors is said.
    pub(super) quiet: bool,
    /// When it ends, if it is not over by then.
    pub(super) ends_after: Option<Duration>,
    /// A source that failed for good is an error.
    pub(super) strict: bool,
}

/// Starts the log on stderr.
pub(super) fn init_log(output: &OutputArgs) {
    let filter = if output.quiet { "error" } else { "warn" };
    if let Err(error) = telemetry::init_notes(filter) {
        say(format_args!("error: log filter: {error}"));
    }
}

/// Runs `showing` on a runtime of its own, and hands it the signals. Blocks.
pub(super) fn block_on<F: Future<Output = Exit>>(showing: impl FnOnce(Signals) -> F) -> Exit {
    raise_open_files_limit();
    let signals = match Signals::new(OnHangup::Ends) {
        Ok(signals) => signals,
        Err(error) => {
            say(format_args!("error: cannot take signals over: {error}"));
            return Exit::Output;
        }
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(format_args!("error: cannot start the runtime: {error}"));
            return Exit::Output;
        }
    };
    let exit = runtime.block_on(showing(signals));
    // A write into a pipe that nobody reads must not keep the process.
    runtime.shutdown_background();
    exit
}

/// Runs the plan, and says at the end what was done.
pub(super) async fn show(plan: Plan, watch: Watch, mut signals: Signals) -> Exit {
    let started = Instant::now();
    let asked = signals.asked();
    let stopped = Cell::new(None);
    let (first, second) = oneshot::channel();
    let stop = async {
        let why = tokio::select! {
            () = signals.next() => Stop::Signal,
            () = elapsed(watch.ends_after) => Stop::TimeIsOver,
            () = reader_gone() => Stop::ReaderGone,
        };
        stopped.set(Some(why));
        let _ = first.send(signals);
    };
    let at_once = async {
        match second.await {
            Ok(mut signals) => signals.next().await,
            Err(_) => std::future::pending().await,
        }
    };
    let waiting = waiting(&plan, watch);
    let ended = tokio::select! {
        ended = agent::run(plan, stop) => ended,
        () = at_once => return Exit::Interrupted,
        never = waiting => match never {},
    };
    match ended {
        Ok(report) => {
            let silent = watch.quiet
                || report.ended == Ended::Enough
                || stopped.get() == Some(Stop::ReaderGone);
            let exit = exit_code(&report, &asked, watch);
            if !silent && !matches!(report.ended, Ended::NoSource(_) | Ended::SinkFailed(_)) {
                terminal::erase_line();
                terminal::note(&summary(&report, started.elapsed()));
            }
            exit
        }
        Err(error) => {
            say(format_args!("error: {error}"));
            match error {
                StartError::State(error) if error.is_usage() => Exit::Usage,
                _ => Exit::Output,
            }
        }
    }
}

fn exit_code(report: &Report, asked: &Asked, watch: Watch) -> Exit {
    match &report.ended {
        Ended::NoSource(troubles) => {
            troubles
                .iter()
                .for_each(|trouble| say(format_args!("error: {trouble}")));
            if report.refused == report.sources {
                Exit::Refused
            } else {
                Exit::Unavailable
            }
        }
        Ended::SinkFailed(cause) => {
            say(format_args!("error: {cause}"));
            Exit::Output
        }
        Ended::Stopped if asked.interrupted() => Exit::Interrupted,
        Ended::Stopped if asked.terminated() => Exit::Terminated,
        Ended::Finished if report.refused == report.sources && report.lines == 0 => Exit::Refused,
        _ if report.undelivered > 0 => Exit::Output,
        _ if watch.strict && report.failed + report.refused > 0 => Exit::SourceFailed,
        Ended::Stopped | Ended::Finished | Ended::Enough => Exit::Ok,
    }
}

/// For example `= 8 sources, 12345 lines, 2 reconnects, 0 dropped, 3m02s`. What should not happen
/// is named only where it did.
fn summary(report: &Report, elapsed: Duration) -> String {
    let mut text = format!(
        "= {}, {}, {}, {} dropped",
        count(report.sources as u64, "source"),
        count(report.lines_most, "line"),
        count(report.reconnects, "reconnect"),
        report.dropped + report.rejected
    );
    if report.truncated > 0 {
        text.push_str(&format!(", {} cut", report.truncated));
    }
    if report.lost_bytes > 0 {
        text.push_str(&format!(", {} lost", count(report.lost_bytes, "byte")));
    }
    format!("{text}, {}", Span(elapsed))
}

fn count(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// Shows that nothing came yet; for ever, so that it never ends the run.
fn waiting(plan: &Plan, watch: Watch) -> impl Future<Output = Infallible> + use<> {
    let is_stdin = |source: &SourceConfig| match &source.kind {
        SourceKind::Stdin(it) => it.input == Input::Stdin,
        _ => false,
    };
    // Whoever types the lines sees that they are waited for, and would type behind the spinner.
    let is_typed = std::io::stdin().is_terminal() && plan.sources.iter().any(is_stdin);
    let sources = count(plan.sources.len() as u64, "source");
    async move {
        if !watch.quiet && !is_typed {
            terminal::spin(&format!("waiting for first data from {sources}")).await;
        }
        std::future::pending().await
    }
}

async fn elapsed(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

/// Completes when whoever reads our stdout has gone, also while nothing is written: `| head -1` on
/// a quiet stream.
async fn reader_gone() {
    let (gone, told) = oneshot::channel();
    // A thread of its own: a blocking call without end has no place on the runtime's pool. It ends
    // with the process.
    let watching = std::thread::Builder::new()
        .name("stdout-watch".to_owned())
        .spawn(move || {
            let stdout = std::io::stdout();
            loop {
                let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
                match poll(&mut watched, None) {
                    Err(rustix::io::Errno::INTR) => {}
                    Err(_) => return,
                    Ok(_) => break,
                }
            }
            // Nobody may be waiting any more.
            let _ = gone.send(());
        });
    if watching.is_err() || told.await.is_err() {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_what_should_not_happen_only_where_it_did() {
        let mut report = Report {
            ended: Ended::Stopped,
            sources: 8,
            failed: 0,
            refused: 0,
            undelivered: 0,
            lines: 24690,
            lines_most: 12345,
            reconnects: 2,
            retries: 0,
            rejected: 0,
            dropped: 0,
            truncated: 0,
            lost_bytes: 0,
            stalled: Duration::ZERO,
        };

        let good = summary(&report, Duration::from_secs(182));
        (report.sources, report.lines_most, report.reconnects) = (1, 1, 1);
        (report.truncated, report.lost_bytes) = (3, 1);
        let bad = summary(&report, Duration::from_millis(900));

        assert_eq!(
            good,
            "= 8 sources, 12345 lines, 2 reconnects, 0 dropped, 3m02s"
        );
        assert_eq!(
            bad,
            "= 1 source, 1 line, 1 reconnect, 0 dropped, 3 cut, 1 byte lost, 900ms"
        );
    }
}
