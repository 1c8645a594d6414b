//! The spool: lines that cannot be read again wait on disk until every sink has them.
//!
//! A source without a spool hands each chunk to its sinks' queues and stops reading while one of them is
//! full. With a spool it writes the chunk to a segment file instead (`fanout` does either), and each sink
//! reads that file at its own pace, as it would read any other.
//!
//! ```text
//!  source -> Inlet -> Writer -> segment files -> a reader per sink -> queue -> delivery
//!                                    ^                                            |
//!                  Keeper: fdatasync, and away with what every sink has <- Ledger -+
//! ```
//!
//! What makes it last, and why it is so:
//!
//! - **A spool is a stream like a file.** Its random id is its name in the checkpoints, a sink's place in
//!   it is a [`Position::File`](crate::model::Position::File): so ledgers, journal, intents of file sinks
//!   and `_id`s are those of files, and there is one mechanism for all of them. What guards a file's
//!   position is here the number of lines before it: where a segment is gone, so many are known to be
//!   missing.
//! - **Where the source goes on stands in the record** that holds its last lines (an event's id, a cursor).
//!   Whatever a crash leaves of a record that was being written is cut off, its token with it: the server is
//!   asked for exactly what is not there, whatever the journal says. Each segment begins with the tokens of
//!   all streams, so that none needs an older one. What is read back after a restart is on the disk of a
//!   running machine at once; `fdatasync` once a second, and before each fsync of the journal, is for power
//!   cuts.
//! - **A segment goes when every configured sink has settled it** and the journal says so. The last segment
//!   always stays, for the tokens in it.
//! - **Full** is decided when a record is written: the source waits, or the oldest segment is given up for
//!   the sinks that have not read it, or the record is dropped. Each is said once until half of the room is
//!   free again, and lines are counted exactly, by their numbers. What a sink has in flight is no longer
//!   needed on disk for that, but is lost with the process then, which is counted at the next start.
//! - **A disk that refuses** makes the source wait, whatever `full` says: it is tried again until it works.
//!   A little room is kept for that: the segment that is written to must be ended before it can go.
//! - **At the end of the process** what was read is written, beyond what is configured if need be, and the
//!   sinks' readers stop where they are.
//!
//! `files` knows names, `open` what the last run left, `write` makes records and segments, `read` takes
//! them apart, `state` is what all of them know, `inlet` is the source's side, `reader` a sink's, `keeper`
//! frees and forces to disk, `retire` ends a spool whose source has none any more, `unread` tells of
//! spools that nobody configured.

mod files;
mod inlet;
mod keeper;
mod open;
mod outage;
mod read;
mod reader;
mod retire;
mod state;
#[cfg(test)]
mod tests;
mod unread;
mod write;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::join_all;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::{Outlet, SourceContext};
use crate::checkpoint::Checkpoints;
use crate::model::{StreamKey, Watcher};
use crate::segment::SpoolId;
use crate::telemetry::SourceCounters;
use files::Folder;
pub(crate) use inlet::Inlet;
use outage::Outage;
pub(in crate::source) use retire::retire;
use state::State;
pub use unread::tell_unread;
use write::Writer;

/// How a source is spooled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolConfig {
    /// What the segments may take on disk, in bytes.
    pub max_bytes: u64,
    /// What happens when they do.
    pub full: Full,
}

/// What happens when a spool is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The source is not read until there is room.
    Block,
    /// The oldest lines are given up.
    DropOldest,
    /// What comes is dropped.
    DropNewest,
}

/// The spool of one source, open.
#[derive(Debug)]
pub(super) struct Spool {
    inner: Arc<Inner>,
    outlets: Vec<Outlet>,
}

/// What everybody who works at a spool shares.
#[derive(Debug)]
struct Inner {
    source: Arc<str>,
    config: SpoolConfig,
    folder: Folder,
    id: SpoolId,
    checkpoints: Checkpoints,
    counters: Arc<SourceCounters>,
    shutdown: CancellationToken,
    /// Taken for one write each.
    writer: Arc<tokio::sync::Mutex<Writer>>,
    state: Mutex<State>,
    outage: Mutex<Outage>,
    signals: Arc<Signals>,
}

/// Who is woken by what.
#[derive(Debug, Default)]
struct Signals {
    /// Readers: there may be something to do.
    news: watch::Sender<()>,
    /// Writers: there may be room.
    room: Notify,
    /// The keeper: a ledger moved or broke.
    settled: Notify,
    /// The keeper: something was written.
    written: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whatever panicked left a state that is right: each change is made in one go.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a spool is called in the checkpoints.
fn stream_of(id: SpoolId) -> StreamKey {
    StreamKey::new(format!("{STREAM_PREFIX}{id}"))
}

const STREAM_PREFIX: &str = "spool:";

impl Inner {
    /// Tells the keeper of a ledger's changes.
    fn watcher(&self) -> Watcher {
        let signals = Arc::clone(&self.signals);
        Watcher::new(move || signals.settled.notify_one())
    }
}

impl Spool {
    /// Opens the spool of a source, and waits while the disk does not let it; `None`: told to stop by then.
    pub(super) async fn open(
        source: &Arc<str>,
        config: SpoolConfig,
        state: &Path,
        cx: &SourceContext,
    ) -> Option<Self> {
        let inner = open::open(source, config, state, cx).await?;
        Some(Self {
            inner: Arc::new(inner),
            outlets: cx.outlets.clone(),
        })
    }

    /// The way in.
    pub(super) fn inlet(&self) -> Inlet {
        Inlet::new(Arc::clone(&self.inner))
    }

    /// Runs a source that writes into the spool, and its sinks' readers until they have everything or
    /// are told to stop.
    pub(super) async fn around<T>(self, source: impl Future<Output = T>) -> T {
        let Self { inner, outlets } = self;
        let source = async {
            let ended = source.await;
            lock(&inner.state).has_ended = true;
            inner.signals.news.send_replace(());
            ended
        };
        let readers = outlets.into_iter().enumerate();
        let readers = readers.map(|(index, outlet)| reader::run(&inner, index, outlet));
        let all = async { tokio::join!(source, join_all(readers)) };
        let ended = tokio::select! {
            (ended, _) = all => ended,
            never = keeper::run(&inner) => match never {},
        };
        let _ = lock(&inner.outage).end(&inner.source);
        // The journal's last fsync covers it; without one that is due, this does.
        if let Err(error) = keeper::sync_all(&inner).await {
            keeper::tell_unsynced(&inner, &error);
        }
        ended
    }
}
