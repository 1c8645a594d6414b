//! Signals: the first asks for an orderly end, the second ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Exit;
use crate::sink::file::Reopen;
use crate::telemetry::Metrics;

/// Waits for the signals that end a command.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    /// Taken over by a service only: elsewhere they end the process.
    user1: Option<Signal>,
    user2: Option<Signal>,
    on_hangup: OnHangup,
    /// The exit code that the first signal asked for; 0 until then.
    asked: Arc<AtomicU8>,
}

/// What SIGHUP means.
#[derive(Clone, Debug)]
pub(super) enum OnHangup {
    /// The terminal is gone: the end.
    Ends,
    /// A service goes on, and opens its outputs anew, as it does for SIGUSR1.
    GoesOn(Service),
}

/// What a service can be asked for by signals.
#[derive(Clone, Debug)]
pub(super) struct Service {
    /// SIGHUP and SIGUSR1: outputs are opened anew.
    pub(super) reopen: Reopen,
    /// SIGUSR2: the log says where everything stands.
    pub(super) metrics: Metrics,
}

impl Signals {
    /// Takes the signals over from now on. To be called before a runtime runs: a worker of one
    /// passes a signal on to who listens at that moment, and between its handler and the listener
    /// there is one at which nobody does.
    ///
    /// # Errors
    /// The system refuses a handler.
    pub(super) fn new(on_hangup: OnHangup) -> std::io::Result<Self> {
        // Listening needs a runtime's context; this one never runs.
        let idle = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        let _context = idle.enter();
        let (user1, user2) = match &on_hangup {
            OnHangup::Ends => (None, None),
            OnHangup::GoesOn(_) => (
                Some(signal(SignalKind::user_defined1())?),
                Some(signal(SignalKind::user_defined2())?),
            ),
        };
        Ok(Self {
            user1,
            user2,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            on_hangup,
            asked: Arc::default(),
        })
    }

    /// Tells later which signal came first.
    pub(super) fn asked(&self) -> Asked {
        Asked(Arc::clone(&self.asked))
    }

    /// Waits for the next signal that ends. Cancel safe.
    pub(super) async fn next(&mut self) {
        let exit = loop {
            tokio::select! {
                _ = self.interrupt.recv() => break Exit::Interrupted,
                _ = self.terminate.recv() => break Exit::Terminated,
                _ = self.hangup.recv() => match &self.on_hangup {
                    OnHangup::Ends => break Exit::Ok,
                    OnHangup::GoesOn(service) => service.reopen.ask(),
                },
                () = received(&mut self.user1) => if let OnHangup::GoesOn(service) = &self.on_hangup {
                    service.reopen.ask();
                },
                () = received(&mut self.user2) => if let OnHangup::GoesOn(service) = &self.on_hangup {
                    service.metrics.tell();
                },
            }
        };
        let _ = self
            .asked
            .compare_exchange(0, exit as u8, Ordering::AcqRel, Ordering::Acquire);
    }
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Which signal came first.
#[derive(Debug)]
pub(super) struct Asked(Arc<AtomicU8>);

impl Asked {
    /// True where SIGINT came first.
    pub(super) fn interrupted(&self) -> bool {
        self.0.load(Ordering::Acquire) == Exit::Interrupted as u8
    }

    /// True where SIGTERM came first.
    pub(super) fn terminated(&self) -> bool {
        self.0.load(Ordering::Acquire) == Exit::Terminated as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Regression. Scenario: SIGTERM comes while a process starts. Bug: handlers were set up while
    // the runtime's workers ran, and a worker that saw the signal between handler and listener told
    // nobody: the process went on until it was killed. Fix: no worker runs yet, and who listens
    // hears later of what came before.
    #[test]
    fn a_signal_that_comes_before_the_runtime_runs_is_heard() {
        let service = Service {
            reopen: Reopen::default(),
            metrics: Metrics::default(),
        };
        let mut signals = Signals::new(OnHangup::GoesOn(service)).unwrap();
        let this = rustix::process::getpid();
        rustix::process::kill_process(this, rustix::process::Signal::TERM).unwrap();

        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(signals.next());

        assert!(signals.asked().terminated());
    }
}
