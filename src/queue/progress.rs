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
    news: Arc<News>,
}

/// Tells that some source of one sink got on.
#[derive(Debug, Default)]
pub(super) struct News {
    told: Notify,
    /// How many changes there were: cheaper to look at than every source.
    changes: AtomicUsize,
}

impl News {
    /// Notes a change, and wakes whoever waits for one.
    pub(super) fn tell(&self) {
        self.note();
        self.told.notify_one();
    }

    /// Notes a change that lets no line go.
    pub(super) fn note(&self) {
        self.changes.fetch_add(1, Ordering::Release);
    }

    pub(super) async fn told(&self) {
        self.told.notified().await;
    }

    pub(super) fn changes(&self) -> usize {
        self.changes.load(Ordering::Acquire)
    }
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
    pub(super) fn new(news: Arc<News>) -> Self {
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
        self.news.tell();
    }

    pub(super) fn starves(self: &Arc<Self>) -> Starving {
        self.starving.fetch_add(1, Ordering::AcqRel);
        self.news.tell();
        Starving(Arc::clone(self))
    }
}

/// Held while a stream is read to its end: lines of others wait for it.
#[derive(Debug)]
pub struct Behind(Arc<Progress>);

impl Behind {
    pub(super) fn new(progress: &Arc<Progress>) -> Self {
        progress.behind.fetch_add(1, Ordering::AcqRel);
        progress.news.note();
        Self(Arc::clone(progress))
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        self.0.behind.fetch_sub(1, Ordering::AcqRel);
        self.0.news.tell();
    }
}

/// Held while a stream waits for room.
#[derive(Debug)]
pub(super) struct Starving(Arc<Progress>);

impl Drop for Starving {
    fn drop(&mut self) {
        self.0.starving.fetch_sub(1, Ordering::AcqRel);
        self.0.news.note();
    }
}
