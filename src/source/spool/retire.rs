//! The end of a spool whose source is configured without one: what is in it is delivered first, then the
//! checkpoints take over where the source goes on, and the folder goes.
//!
//! Meanwhile the source is not read: without a spool it would wait for its sinks, too, and so no line
//! overtakes another.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

use super::files::Folder;
use super::state::place_of;
use super::unread::unread;
use super::{Full, Inner, Spool, SpoolConfig, lock, stream_of};
use crate::checkpoint::{Checkpoints, to_record};
use crate::model::{CursorKey, Position, StreamKey};
use crate::source::SourceContext;

/// Ends the spool that a source had in an earlier run, if there is one; returns when its source can be
/// read. `None`: told to stop by then.
pub(in crate::source) async fn retire(
    source: &Arc<str>,
    state: &Path,
    cx: &SourceContext,
) -> Option<()> {
    let folder = Folder::of_source(state, source);
    if !tell(source, &folder, &cx.checkpoints).await {
        return Some(());
    }
    // Nothing is written but what a spool needs to be open.
    let config = SpoolConfig {
        max_bytes: u64::MAX,
        full: Full::Block,
    };
    let spool = Spool::open(source, config, state, cx).await?;
    let inner = Arc::clone(&spool.inner);
    spool.around(delivered(&inner)).await;
    let left = left(&inner);
    if left.iter().any(|it| !it.is_closed) {
        return None;
    }
    for it in &left {
        warn!(
            %source, sink = %it.sink, lines = it.lines,
            "lines stay in the spool that this source has no longer: their sink takes no more"
        );
    }
    let ending = Arc::clone(&inner);
    let is_empty = left.is_empty();
    let ended = spawn_blocking(move || end(&ending, is_empty)).await;
    match ended.unwrap_or_else(|bug| Err(io::Error::other(bug))) {
        Ok(()) if is_empty => {
            info!(%source, "the spool that this source has no longer is delivered")
        }
        // What stays was told.
        Ok(()) => {}
        Err(error) => error!(
            %source, path = %folder.path().display(), %error,
            "the spool that this source has no longer cannot be removed: what came since may come twice \
             after the next start"
        ),
    }
    Some(())
}

/// Says what is in a spool that is to end; false where there is none.
async fn tell(source: &Arc<str>, folder: &Folder, checkpoints: &Checkpoints) -> bool {
    // One look at a folder's name: a thousand sources without a spool must not be a thousand threads.
    if matches!(folder.path().try_exists(), Ok(false)) {
        return false;
    }
    let (name, of, known) = (Arc::clone(source), folder.clone(), checkpoints.clone());
    let looked = spawn_blocking(move || unread(&name, &of, &known)).await;
    match looked.unwrap_or_else(|bug| Err(io::Error::other(bug))) {
        Ok(found) if found.lines > 0 => warn!(
            %source, path = %folder.path().display(), lines = found.lines,
            "this source has no spool any more: what is in it is delivered before the source is read"
        ),
        Ok(found) => return found.bytes > 0,
        // Whoever opens it says why it cannot be, and tries again.
        Err(_) => {}
    }
    true
}

/// Lines that a sink has not settled.
struct Left {
    sink: Arc<str>,
    lines: u64,
    /// True where it takes no more.
    is_closed: bool,
}

/// What sinks have not settled, as far as the journal knows.
fn left(inner: &Inner) -> Vec<Left> {
    let state = lock(&inner.state);
    let end = state.end();
    let cursors = state.cursors.iter();
    let cursors: Vec<_> = cursors
        .map(|it| (Arc::clone(it.ledger.key()), it.is_closed))
        .collect();
    drop(state);
    let left = cursors.into_iter().filter_map(|(key, is_closed)| {
        let known = inner.checkpoints.position(&key);
        let line = known.as_ref().and_then(place_of).unwrap_or_default().line;
        let lines = end.line.saturating_sub(line);
        (lines > 0).then(|| Left {
            sink: Arc::clone(&key.sink),
            lines,
            is_closed,
        })
    });
    left.collect()
}

/// Completes when no sink wants more of it, or when told to stop.
async fn delivered(inner: &Inner) {
    let mut written = inner.checkpoints.written();
    loop {
        // A sink may end for good; who waits for room is told.
        let closed = inner.signals.room.notified();
        if left(inner).iter().all(|it| it.is_closed) {
            return;
        }
        tokio::select! {
            () = inner.shutdown.cancelled() => return,
            changed = written.changed() => if changed.is_err() {
                return;
            },
            () = closed => {}
        }
    }
}

/// Has the checkpoints know where the source goes on, and removes what is not needed any more. Blocks.
fn end(inner: &Inner, is_empty: bool) -> io::Result<()> {
    let (tokens, sinks) = {
        let state = lock(&inner.state);
        let sinks = state.cursors.iter().map(|it| Arc::clone(&it.sink));
        (state.tokens.clone(), sinks.collect::<Vec<_>>())
    };
    let mut records = Vec::new();
    for (stream, (cursor, skip)) in tokens {
        let position = Position::Token { cursor, skip };
        for sink in &sinks {
            let key = CursorKey {
                source: Arc::clone(&inner.source),
                stream: StreamKey::new(Arc::clone(&stream)),
                sink: Arc::clone(sink),
            };
            records.extend(to_record(&key, &position));
        }
    }
    // In this order: what is known twice is only told again.
    inner.checkpoints.register(Vec::new(), records)?;
    if !is_empty {
        return Ok(());
    }
    inner.folder.remove_all()?;
    let stream = stream_of(inner.id);
    inner.checkpoints.forget(&inner.source, stream.as_str())
}
