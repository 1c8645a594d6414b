//! The source's side of a spool: a record is written, or waits, or is dropped as configured.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;
use tracing::error;

use super::write::{Appended, Room};
use super::{Full, Inner, lock};
use crate::backoff::Backoff;
use crate::queue::Closed;
use crate::segment::{Record, Token};
use crate::source::Stall;

/// Delays while the disk refuses.
const REFUSED_BASE: Duration = Duration::from_millis(200);
const REFUSED_MAX: Duration = Duration::from_secs(5);

/// The way into a spool.
#[derive(Clone, Debug)]
pub(crate) struct Inlet(Arc<Inner>);

impl Inlet {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self(inner)
    }

    /// Where a stream goes on, as far as the spool knows.
    pub(in crate::source) fn token(&self, stream: &str) -> Option<Token> {
        lock(&self.0.state).tokens.get(stream).cloned()
    }

    /// Writes a record; returns when it is in its segment, or was dropped as configured.
    ///
    /// Not cancel safe: if dropped before it returns, the record may be written or not.
    ///
    /// # Errors
    /// [`Closed`] when the delivery of every sink has ended.
    pub(in crate::source) async fn push(&self, record: Record) -> Result<(), Closed> {
        let inner = &self.0;
        let record = Arc::new(record);
        let mut backoff = Backoff::new(REFUSED_BASE, REFUSED_MAX, crate::random::seed());
        let mut room = Room::Limited;
        loop {
            let mut freed = pin!(inner.signals.room.notified());
            freed.as_mut().enable();
            if lock(&inner.state).is_closed() {
                return Err(Closed);
            }
            let is_last = inner.shutdown.is_cancelled();
            let room_now = if is_last { Room::Any } else { room };
            match self.append(&record, room_now).await {
                Ok(Appended::Written) => {
                    lock(&inner.outage).written(&inner.source);
                    inner.signals.news.send_replace(());
                    inner.signals.written.notify_one();
                    return Ok(());
                }
                Ok(Appended::Full) => {
                    lock(&inner.outage).full(inner);
                    match inner.config.full {
                        Full::Block => {
                            let _stall = Stall(Instant::now(), &inner.counters);
                            tokio::select! {
                                () = freed => {}
                                () = inner.shutdown.cancelled() => {}
                            }
                        }
                        Full::DropNewest => {
                            self.drop(&record);
                            return Ok(());
                        }
                        Full::DropOldest => {
                            if !self.give_up_oldest().await {
                                room = Room::Any;
                            }
                        }
                    }
                }
                Err(error) if is_last => {
                    self.lose(&record, &error);
                    return Ok(());
                }
                Err(error) => {
                    lock(&inner.outage).refused(inner, &error);
                    let _stall = Stall(Instant::now(), &inner.counters);
                    tokio::select! {
                        () = freed => {}
                        () = inner.shutdown.cancelled() => {}
                        () = tokio::time::sleep(backoff.next(None)) => {}
                    }
                }
            }
        }
    }

    async fn append(&self, record: &Arc<Record>, room: Room) -> io::Result<Appended> {
        let (inner, record) = (Arc::clone(&self.0), Arc::clone(record));
        let mut writer = Arc::clone(&inner.writer).lock_owned().await;
        let appended = spawn_blocking(move || writer.append(&inner, &record, room));
        appended
            .await
            .unwrap_or_else(|bug| Err(io::Error::other(bug)))
    }

    fn drop(&self, record: &Record) {
        let n_lines = u64::from(record.count());
        self.0.counters.dropped.add(n_lines);
        lock(&self.0.outage).dropped(n_lines);
    }

    /// Gives the oldest segment up; false where there is none but the one that is written to.
    async fn give_up_oldest(&self) -> bool {
        let inner = &self.0;
        let Some((start, lost, moved)) = lock(&inner.state).give_up_first() else {
            return false;
        };
        let n_lost: u64 = lost.iter().map(|it| it.n_lines).sum();
        inner.counters.dropped.add(n_lost);
        lock(&inner.outage).given_up(inner, lost);
        inner.checkpoints.advance(moved);
        inner.signals.news.send_replace(());
        let folder = inner.folder.clone();
        let removed = spawn_blocking(move || folder.remove(start.offset)).await;
        if let Ok(Err(error)) = removed {
            let path = inner.folder.segment(start.offset);
            error!(
                source = %inner.source, path = %path.display(), %error,
                "a segment of the spool that was given up cannot be removed: it takes room"
            );
        }
        true
    }

    /// Says that the last lines could not be kept.
    fn lose(&self, record: &Record, error: &io::Error) {
        let lines = record.count();
        self.0.counters.dropped.add(u64::from(lines));
        error!(
            source = %self.0.source, lines, %error,
            "the spool cannot be written at the end: what was read last is lost, unless its server \
             sends it again"
        );
    }
}
