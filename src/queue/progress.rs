//! How far a source is, as those know who wait for its lines.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// How far one source is at one sink. Closed when it is dropped by all of its senders.
#[derive(Debug)]
pub(super) struct Progress {
    closed: AtomicBool,
    behind: AtomicUsize,
    starving: AtomicUsize,
    /// Told of every change.
    news: Arc<Notify>,
}

/// How far a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open {
        /// Streams that are being read and have not come to their end.
        behind: usize,
        /// Streams that wait for room.
        starving: usize,
    },
    /// Nothing more comes.
    Closed,
}

impl Default for State {
    fn default() -> Self {
        Self::Open {
            behind: 0,
            starving: 0,
        }
    }
}

impl Progress {
    pub(super) fn new(news: Arc<Notify>) -> Self {
        Self {
            closed: AtomicBool::new(false),
            behind: AtomicUsize::new(0),
            starving: AtomicUsize::new(0),
            news,
        }
    }

    pub(super) fn state(&self) -> State {
        if self.closed.load(Ordering::Acquire) {
            return State::Closed;
        }
        State::Open {
            behind: self.behind.load(Ordering::Acquire),
            starving: self.starving.load(Ordering::Acquire),
        }
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.news.notify_one();
    }

    pub(super) fn starves(self: &Arc<Self>) -> Starving {
        self.starving.fetch_add(1, Ordering::AcqRel);
        self.news.notify_one();
        Starving(Arc::clone(self))
    }
}

/// Held while a stream is read to its end: lines of others wait for it.
#[derive(Debug)]
pub struct Behind(Arc<Progress>);

impl Behind {
    pub(super) fn new(progress: &Arc<Progress>) -> Self {
        progress.behind.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(progress))
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        self.0.behind.fetch_sub(1, Ordering::AcqRel);
        self.0.news.notify_one();
    }
}

/// Held while a stream waits for room.
#[derive(Debug)]
pub(super) struct Starving(Arc<Progress>);

impl Drop for Starving {
    fn drop(&mut self) {
        self.0.starving.fetch_sub(1, Ordering::AcqRel);
    }
}
