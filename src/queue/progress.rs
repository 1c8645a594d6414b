//! How far a source is, as those know who wait for its lines.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::model::StreamKey;

/// How far one source is at one sink. Closed when it is dropped by all of its senders.
#[derive(Debug)]
pub(super) struct Progress {
    closed: AtomicBool,
    behind: Mutex<Arc<Vec<Stream>>>,
    starving: AtomicUsize,
    looks: AtomicBool,
    is_sequence: AtomicBool,
    news: Arc<News>,
}

/// A stream that is being read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    /// `None`: one of the source's.
    pub(super) key: Option<StreamKey>,
    pub(super) room: Room,
    /// True where it came to its end. It is in the list once more, because those that were announced
    /// have an order.
    pub(super) is_over: bool,
}

/// Where a stream that is being read to its end gets room for its next chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Once its last chunk is settled there is room for another one, whatever others wait for: it can
    /// be waited for in any case.
    Own,
    /// It shares its source's, which chunks of other streams can take up that wait for this one.
    Shared,
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
#[derive(Clone, Debug)]
pub(super) enum State {
    Open {
        /// Streams that are read to their end and have not come to it, in the order in which they
        /// were announced.
        behind: Arc<Vec<Stream>>,
        /// Readers of streams with shared room that wait for some.
        starving: usize,
        /// It is not known yet which streams there are.
        looks: bool,
    },
    /// Nothing more comes.
    Closed,
}

impl State {
    pub(super) fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

impl Default for State {
    fn default() -> Self {
        Self::Open {
            behind: Arc::default(),
            starving: 0,
            looks: false,
        }
    }
}

impl Progress {
    pub(super) fn new(news: Arc<News>) -> Self {
        Self {
            closed: AtomicBool::new(false),
            behind: Mutex::default(),
            starving: AtomicUsize::new(0),
            looks: AtomicBool::new(false),
            is_sequence: AtomicBool::new(false),
            news,
        }
    }

    /// How far it is. What has come to its end since the last call is told for the last time.
    pub(super) fn state(&self) -> State {
        if self.closed.load(Ordering::Acquire) {
            return State::Closed;
        }
        // First: whoever has looked has announced what it found.
        let looks = self.looks.load(Ordering::Acquire);
        let behind = {
            let mut behind = self.behind();
            let told = Arc::clone(&behind);
            if told.iter().any(|it| it.is_over) {
                Arc::make_mut(&mut behind).retain(|it| !it.is_over);
            }
            told
        };
        State::Open {
            behind,
            starving: self.starving.load(Ordering::Acquire),
            looks,
        }
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.news.tell();
    }

    pub(super) fn set_looks(&self, looks: bool) {
        self.looks.store(looks, Ordering::Release);
        self.news.tell();
    }

    pub(super) fn set_sequence(&self) {
        self.is_sequence.store(true, Ordering::Release);
    }

    pub(super) fn is_sequence(&self) -> bool {
        self.is_sequence.load(Ordering::Acquire)
    }

    pub(super) fn starves(self: &Arc<Self>) -> Starving {
        self.starving.fetch_add(1, Ordering::AcqRel);
        self.news.tell();
        Starving(Arc::clone(self))
    }

    /// Streams with room of their own that have not come to their end.
    pub(super) fn n_with_own_room(&self) -> usize {
        let behind = self.behind();
        let is_read = |it: &&Stream| it.room == Room::Own && !it.is_over;
        behind.iter().filter(is_read).count()
    }

    /// A panic while it was held leaves a list that is right: it is changed in one go.
    fn behind(&self) -> MutexGuard<'_, Arc<Vec<Stream>>> {
        self.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held while a stream is read to its end: lines of others wait for it.
#[derive(Debug)]
pub struct Behind {
    progress: Arc<Progress>,
    stream: Stream,
    is_released: AtomicBool,
}

impl Behind {
    pub(super) fn new(progress: &Arc<Progress>, stream: Stream) -> Self {
        Arc::make_mut(&mut progress.behind()).push(stream.clone());
        progress.news.note();
        Self {
            progress: Arc::clone(progress),
            stream,
            is_released: AtomicBool::new(false),
        }
    }

    /// Where the stream gets room.
    pub fn room(&self) -> Room {
        self.stream.room
    }

    /// Lets others go on, as dropping it does.
    pub fn release(&self) {
        if self.is_released.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut behind = self.progress.behind();
        if let Some(at) = behind.iter().position(|it| *it == self.stream) {
            let behind = Arc::make_mut(&mut behind);
            match self.stream.room {
                Room::Own => behind[at].is_over = true,
                // They come and go all the time, also while nobody looks.
                Room::Shared => drop(behind.remove(at)),
            }
        }
        drop(behind);
        self.progress.news.tell();
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        self.release();
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
