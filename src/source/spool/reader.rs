//! A sink's side of a spool: its lines are read, charged and queued at the sink's own pace.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::read::{Hop, PART_OVERHEAD_BYTES, Part, PartLimits, Span, hop};
use super::state::Work;
use super::{Inner, lock};
use crate::backoff::Backoff;
use crate::framing::{CHUNK_BYTES, Pool, SHARED_ABOVE_BYTES};
use crate::model::{Ack, Origin, StreamKey, Watcher};
use crate::queue::{Behind, Charge, Chunk, Closed, Room};
use crate::segment::Place;
use crate::source::Outlet;

/// Delays while a segment cannot be read.
const REFUSED_BASE: Duration = Duration::from_millis(200);
const REFUSED_MAX: Duration = Duration::from_secs(5);

/// Why lines are missing that stood between others.
const DAMAGED: &str = "they are damaged, or their segment is gone";

/// Reads for one sink until nothing more comes, its delivery has ended or the source is told to stop.
pub(super) async fn run(inner: &Arc<Inner>, index: usize, outlet: Outlet) {
    let reader = Reader {
        index,
        pool: Pool::default(),
        origin: None,
        last_read: None,
        news: inner.signals.news.subscribe(),
        outlet,
    };
    tokio::select! {
        biased;
        // It holds no ack while it waits, so that this breaks nothing that is in flight.
        () = inner.shutdown.cancelled() => {}
        ended = reader.read_all(inner) => if ended == Err(Closed) {
            lock(&inner.state).close(index);
            // Whoever waits for room may wait in vain now.
            inner.signals.room.notify_waiters();
        },
    }
}

struct Reader {
    index: usize,
    outlet: Outlet,
    pool: Pool,
    /// Of the last part: the next one is mostly of the same.
    origin: Option<Arc<Origin>>,
    /// When it had read everything.
    last_read: Option<Instant>,
    news: watch::Receiver<()>,
}

impl Reader {
    async fn read_all(mut self, inner: &Arc<Inner>) -> Result<(), Closed> {
        let watcher = inner.watcher();
        let mut behind: Option<Behind> = None;
        let mut backoff = Backoff::new(REFUSED_BASE, REFUSED_MAX, crate::random::seed());
        let mut is_told = false;
        loop {
            self.news.mark_unchanged();
            match self.work(inner, &watcher) {
                Work::Read(_) => {}
                Work::Ended => return Ok(()),
                Work::Wait => {
                    behind = None;
                    self.wait(inner).await?;
                    continue;
                }
            }
            behind.get_or_insert_with(|| self.outlet.sender.behind(None, Room::Shared));
            let charge = self.outlet.charge(CHUNK_BYTES, &inner.counters).await?;
            // While it waited it held no file open, and may have been moved on.
            let Work::Read(span) = self.work(inner, &watcher) else {
                continue;
            };
            match self.hop(inner, span.clone()).await {
                Ok(read) => {
                    if std::mem::take(&mut is_told) {
                        info!(source = %inner.source, "the spool can be read again");
                    }
                    backoff.reset();
                    self.forward(inner, span.from, read, charge).await?;
                }
                Err(error) => {
                    drop(charge);
                    if !std::mem::replace(&mut is_told, true) {
                        error!(
                            source = %inner.source, sink = %self.outlet.sink, %error,
                            path = %inner.folder.segment(span.base).display(),
                            "the spool cannot be read: it is tried again until it can"
                        );
                    }
                    tokio::time::sleep(backoff.next(None)).await;
                }
            }
        }
    }

    fn work(&self, inner: &Inner, watcher: &Watcher) -> Work {
        let (work, n_lost) = lock(&inner.state).work(self.index, watcher);
        let reason = "its delivery broke off, and they were given up by then";
        self.tell_lost(inner, n_lost, reason);
        work
    }

    /// Waits for something to read. What comes all the time is read in larger pieces.
    async fn wait(&mut self, inner: &Inner) -> Result<(), Closed> {
        tokio::select! {
            changed = self.news.changed() => changed.map_err(|_| Closed)?,
            () = self.outlet.sender.closed() => return Err(Closed),
        }
        let is_last = lock(&inner.state).has_ended;
        if let Some(last_read) = self.last_read.filter(|_| !is_last) {
            tokio::time::sleep_until(last_read + self.outlet.pace).await;
        }
        Ok(())
    }

    /// A segment is opened for each hop: one that is removed while it is open would keep its room.
    async fn hop(&self, inner: &Arc<Inner>, span: Span) -> io::Result<Hop> {
        let (inner, pool) = (Arc::clone(inner), self.pool.clone());
        let limits = PartLimits {
            lines: self.outlet.chunk_lines,
            bytes: self.outlet.chunk_bytes,
        };
        let reading = spawn_blocking(move || {
            let file = match &span.file {
                Some(file) => Arc::clone(file),
                None => match File::open(inner.folder.segment(span.base)) {
                    Ok(file) => Arc::new(file),
                    Err(error) if error.kind() == ErrorKind::NotFound => return Ok(gone(&span)),
                    Err(error) => return Err(error),
                },
            };
            hop(&file, &span, inner.id, (&pool, limits))
        });
        reading
            .await
            .unwrap_or_else(|bug| Err(io::Error::other(bug)))
    }

    /// Queues what was read, unless the sink was moved on meanwhile.
    async fn forward(
        &mut self,
        inner: &Inner,
        from: Place,
        read: Hop,
        mut charge: Charge,
    ) -> Result<(), Closed> {
        self.last_read = Some(Instant::now());
        let bytes: usize = read.parts.iter().map(|it| it.lines.bytes().len()).sum();
        if bytes < SHARED_ABOVE_BYTES {
            charge.shrink_to(bytes + read.parts.len() * PART_OVERHEAD_BYTES);
        }
        let (mut charge, mut n_lost, mut at) = (Some(charge), read.n_lost, from);
        let n_parts = read.parts.len();
        for (index, part) in read.parts.into_iter().enumerate() {
            // The last one pays for all: they share one buffer and are settled in order.
            let is_last = index + 1 == n_parts;
            let charge = if is_last { charge.take() } else { None };
            let origin = self.origin(inner, &part);
            let slot = self.outlet.sender.slot().await?;
            let Some(ack) = lock(&inner.state).hand_on(self.index, at, part.end) else {
                return Ok(());
            };
            at = part.end;
            slot.send(chunk(inner, origin, part, (ack, charge)));
            self.tell_lost(inner, std::mem::take(&mut n_lost), DAMAGED);
        }
        if let Some(moved) = lock(&inner.state).pass(self.index, at, read.end) {
            self.tell_lost(inner, n_lost, DAMAGED);
            inner.checkpoints.advance(moved);
        }
        Ok(())
    }

    /// Where lines are from. The spool's id is part of it: offsets in another one mean other lines.
    fn origin(&mut self, inner: &Inner, part: &Part) -> Arc<Origin> {
        let id = inner.id.to_string();
        let is_of = |origin: &&Arc<Origin>| {
            let stream = origin.stream.as_str().strip_prefix(&*id);
            let stream = stream.and_then(|rest| rest.strip_prefix(' '));
            stream == Some(&*part.stream) && origin.labels == part.labels
        };
        if let Some(same) = self.origin.as_ref().filter(is_of) {
            return Arc::clone(same);
        }
        let origin = Arc::new(Origin {
            source: Arc::clone(&inner.source),
            stream: StreamKey::new(format!("{id} {}", part.stream)),
            path: None,
            labels: Arc::clone(&part.labels),
        });
        self.origin = Some(Arc::clone(&origin));
        origin
    }

    fn tell_lost(&self, inner: &Inner, lines: u64, reason: &str) {
        if lines > 0 {
            inner.counters.dropped.add(lines);
            warn!(
                source = %inner.source, sink = %self.outlet.sink, lines, reason,
                "lines of the spool are lost for this sink"
            );
        }
    }
}

fn chunk(
    inner: &Inner,
    origin: Arc<Origin>,
    part: Part,
    (ack, charge): (Ack, Option<Charge>),
) -> Chunk {
    let counters = &inner.counters;
    counters.lines.add(u64::from(part.lines.count()));
    counters.bytes.add(part.lines.bytes().len() as u64);
    counters.truncated.add(part.lines.truncated());
    Chunk {
        origin,
        lines: part.lines,
        time_ns: part.time_ns,
        ack,
        charge,
    }
}

/// What is left of a segment that somebody removed.
fn gone(span: &Span) -> Hop {
    Hop {
        parts: Vec::new(),
        end: span.to,
        n_lost: span.to.line.saturating_sub(span.from.line),
    }
}
