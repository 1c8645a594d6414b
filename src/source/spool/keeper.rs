//! What happens to segments behind the backs of source and sinks: they are forced to disk, and removed
//! when every sink has settled them.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tracing::{error, info};

use super::state::place_of;
use super::{Inner, lock};
use crate::segment::Place;

/// How often what was written is forced to disk, and how soon a removal is tried again.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// Does so for ever.
pub(super) async fn run(inner: &Arc<Inner>) -> Infallible {
    let (never, _) = tokio::join!(free(inner), sync(inner));
    never
}

/// Frees what every sink has settled.
async fn free(inner: &Arc<Inner>) -> Infallible {
    let mut is_told = false;
    loop {
        inner.signals.settled.notified().await;
        let (mut first, is_broken) = {
            let state = lock(&inner.state);
            let mut cursors = state.cursors.iter();
            (
                state.first_settled(),
                cursors.any(|it| it.ledger.is_broken()),
            )
        };
        if is_broken {
            inner.signals.news.send_replace(());
        }
        while let Some(start) = first {
            noted(inner, start).await;
            if let Err(error) = remove_first(inner, start).await {
                if !std::mem::replace(&mut is_told, true) {
                    error!(
                        source = %inner.source, %error,
                        path = %inner.folder.segment(start.offset).display(),
                        "a segment that every sink has cannot be removed: it is tried again"
                    );
                }
                tokio::time::sleep(SYNC_INTERVAL).await;
            } else {
                is_told = false;
            }
            first = lock(&inner.state).first_settled();
        }
    }
}

async fn remove_first(inner: &Arc<Inner>, start: Place) -> io::Result<()> {
    let folder = inner.folder.clone();
    // Nobody writes meanwhile: the room that it leaves is the spare's first.
    let writer = Arc::clone(&inner.writer).lock_owned().await;
    let removed = spawn_blocking(move || {
        folder.remove(start.offset)?;
        folder.take_spare();
        drop(writer);
        Ok(())
    });
    removed
        .await
        .unwrap_or_else(|bug| Err(io::Error::other(bug)))?;
    let bytes = {
        let mut state = lock(&inner.state);
        state.forget_first(start);
        state.bytes()
    };
    lock(&inner.outage).has_room(inner, bytes);
    inner.signals.room.notify_waiters();
    Ok(())
}

/// Waits until the journal says of every sink that it is behind the first segment. Where the journal
/// cannot be written, perhaps because the spool takes the room, that is not waited for.
async fn noted(inner: &Inner, start: Place) {
    let mut written = inner.checkpoints.written();
    let is_noted = || {
        let (end, keys) = {
            let state = lock(&inner.state);
            let Some(first) = state.segments.front().filter(|it| it.start == start) else {
                return true;
            };
            let keys = state.cursors.iter().map(|it| Arc::clone(it.ledger.key()));
            (first.end, keys.collect::<Vec<_>>())
        };
        // The journal may be busy: nobody waits for the state meanwhile.
        keys.iter().all(|key| {
            let known = inner.checkpoints.position(key);
            let known = known.as_ref().and_then(place_of);
            known.is_some_and(|it| it.offset >= end.offset)
        })
    };
    while !is_noted() {
        if written.changed().await.is_err() || !*written.borrow() {
            return;
        }
    }
}

/// Forces what was written to disk, at most once a second.
async fn sync(inner: &Arc<Inner>) -> Infallible {
    let mut is_told = false;
    loop {
        inner.signals.written.notified().await;
        tokio::time::sleep(SYNC_INTERVAL).await;
        match sync_all(inner).await {
            Ok(()) if std::mem::take(&mut is_told) => {
                info!(source = %inner.source, "the spool is forced to disk again");
            }
            Ok(()) => {}
            Err(error) => {
                if !std::mem::replace(&mut is_told, true) {
                    tell_unsynced(inner, &error);
                }
                inner.signals.written.notify_one();
            }
        }
    }
}

/// Forces every segment to disk that is not there yet.
pub(super) async fn sync_all(inner: &Arc<Inner>) -> io::Result<()> {
    let inner = Arc::clone(inner);
    let synced = spawn_blocking(move || {
        // Open as long as it is in the state, and so covered by the journal's own fsync until then.
        let open = lock(&inner.state).open_files();
        for (start, file) in open {
            file.sync_data()?;
            lock(&inner.state).note_synced(start);
        }
        Ok(())
    });
    synced
        .await
        .unwrap_or_else(|bug| Err(io::Error::other(bug)))
}

/// Says that a power cut would cost something.
pub(super) fn tell_unsynced(inner: &Inner, error: &io::Error) {
    error!(
        source = %inner.source, path = %inner.folder.path().display(), %error,
        "the spool cannot be forced to disk: a power cut now would lose lines"
    );
}
