//! Pumping: moves lines of one file into one sink's queue until the file's end.
//!
//! The file is read in short hops on the blocking pool, one chunk a hop; room in the sink's budget
//! is charged before the read. A pump that is dropped loses nothing: what it did not send is read
//! again.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::task::spawn_blocking;

use super::discover::find_inode;
use super::identity::Head;
use super::tail::{Change, Hop, Place, finish, hop};
use super::{Inode, open};
use crate::checkpoint::Checkpoints;
use crate::framing::{CHUNK_BYTES, LineBuffer, Pool, SHARED_ABOVE_BYTES};
use crate::model::{GUARD_BYTES, Ledger, Lines, Origin, guard_of};
use crate::queue::{Charge, Chunk};
use crate::source::Outlet;
use crate::telemetry::SourceCounters;

/// One sink's place in one file.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) place: Place,
    pub(super) ledger: Ledger,
    /// The least time that the next line may carry, in nanoseconds since 1970.
    pub(super) next_time_ns: i64,
}

/// Where the file is, in case it has to be opened.
#[derive(Clone, Debug)]
pub(super) struct Location {
    pub(super) path: Arc<Path>,
    pub(super) inode: Inode,
}

/// What a pump needs beside its cursor.
#[derive(Clone, Debug)]
pub(super) struct Pump {
    pub(super) file: Option<Arc<File>>,
    pub(super) location: Location,
    pub(super) outlet: Outlet,
    pub(super) origin: Arc<Origin>,
    pub(super) counters: Arc<SourceCounters>,
    pub(super) checkpoints: Checkpoints,
    pub(super) pool: Pool,
    pub(super) line_bytes_max: usize,
    pub(super) tail: LastLine,
    /// True where the fingerprint may have grown.
    pub(super) wants_head: bool,
}

/// What happens to an unterminated last line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastLine {
    /// It waits for its newline.
    Waits,
    /// It is sent as it is: nothing will follow.
    IsSent,
}

/// How a pump came back.
#[derive(Debug)]
pub(super) struct Pumped {
    pub(super) cursor: Cursor,
    pub(super) file: Option<Arc<File>>,
    /// Which file it read.
    pub(super) inode: Inode,
    pub(super) end: End,
    /// The fingerprint, where it was asked for.
    pub(super) head: Option<Head>,
}

/// Why a pump came back.
#[derive(Debug)]
pub(super) enum End {
    /// Everything there was is sent; so many bytes of an unterminated line are left.
    CaughtUp { unterminated: usize },
    /// The file is no longer the one that was read.
    Changed(Change),
    /// The file is not open and cannot be found any more.
    Missing,
    /// An ack was dropped: the cursor must be restarted.
    Broken,
    /// Delivery has ended.
    Closed,
    /// The system refused.
    Failed(io::Error),
}

impl Pump {
    /// Runs to the file's end.
    pub(super) async fn run(mut self, mut cursor: Cursor) -> Pumped {
        let end = match self.opened().await {
            Ok(Some(file)) => self.read(file, &mut cursor).await.unwrap_or_else(|end| end),
            Ok(None) => End::Missing,
            Err(error) => End::Failed(error),
        };
        let head = match (&end, &self.file) {
            (End::CaughtUp { .. }, Some(file)) if self.wants_head => {
                let file = Arc::clone(file);
                on_pool(move || Head::read(&file)).await.ok()
            }
            _ => None,
        };
        Pumped {
            cursor,
            file: self.file,
            inode: self.location.inode,
            end,
            head,
        }
    }

    async fn opened(&mut self) -> io::Result<Option<Arc<File>>> {
        if self.file.is_none() {
            let location = self.location.clone();
            self.file = on_pool(move || locate(&location)).await?;
        }
        Ok(self.file.clone())
    }

    async fn read(&self, file: Arc<File>, cursor: &mut Cursor) -> Result<End, End> {
        let start = cursor.place;
        let mut buffer = LineBuffer::new(
            self.pool.clone(),
            start.offset,
            start.mid_line,
            self.line_bytes_max,
        );
        loop {
            if cursor.ledger.is_broken() {
                return Err(End::Broken);
            }
            let charge = self
                .outlet
                .charge(CHUNK_BYTES, &self.counters)
                .await
                .map_err(|_| End::Closed)?;
            let (place, limit, handle) = (cursor.place, self.outlet.chunk_bytes, Arc::clone(&file));
            let read = on_pool(move || {
                let found = hop(&handle, place, &mut buffer, limit)?;
                Ok((found, buffer, now_ns()))
            });
            let (found, rest, now) = read.await.map_err(End::Failed)?;
            buffer = rest;
            match found {
                Hop::More => {}
                Hop::Changed(change) => return Err(End::Changed(change)),
                Hop::Lines {
                    lines,
                    place,
                    before,
                    at_end,
                } => {
                    self.forward(cursor, lines, (place, before), (now, charge))
                        .await?;
                    if at_end && self.tail == LastLine::Waits {
                        return Ok(End::CaughtUp { unterminated: 0 });
                    }
                }
                Hop::End { unterminated } if self.tail == LastLine::Waits || unterminated == 0 => {
                    return Ok(End::CaughtUp { unterminated });
                }
                Hop::End { .. } => {
                    let handle = Arc::clone(&file);
                    let last = on_pool(move || finish(&handle, &mut buffer)).await;
                    if let Some((lines, place)) = last.map_err(End::Failed)? {
                        let before = Vec::new();
                        self.forward(cursor, Some(lines), (place, before), (now, charge))
                            .await?;
                    }
                    return Ok(End::CaughtUp { unterminated: 0 });
                }
            }
        }
    }

    /// Sends lines and moves the cursor. `before` is what the old place's guard covers.
    async fn forward(
        &self,
        cursor: &mut Cursor,
        lines: Option<Lines>,
        (end, before): (Place, Vec<u8>),
        (now, mut charge): (i64, Charge),
    ) -> Result<(), End> {
        let Some(lines) = lines else {
            // Only the rest of a cut line: passed over, and so settled at once, behind what was
            // sent before it.
            let moved = cursor.ledger.open(end.position()).settle();
            self.checkpoints.advance(moved.into_iter().collect());
            cursor.place = end;
            return Ok(());
        };
        if lines.bytes().len() < SHARED_ABOVE_BYTES {
            charge.shrink_to(lines.bytes().len());
        }
        self.counters.lines.add(u64::from(lines.count()));
        self.counters.bytes.add(lines.bytes().len() as u64);
        self.counters.truncated.add(lines.truncated());
        let mut charge = Some(charge);
        for (part, place) in parts(lines, cursor.place, end, &before, self.outlet.chunk_lines) {
            let time_ns = now.max(cursor.next_time_ns);
            cursor.next_time_ns = time_ns + i64::from(part.count());
            // The last part pays for all: they share one buffer and are settled in order.
            let charge = if place == end { charge.take() } else { None };
            let ack = cursor.ledger.open(place.position());
            let origin = Arc::clone(&self.origin);
            let chunk = Chunk {
                origin,
                lines: part,
                time_ns,
                ack,
                charge,
            };
            self.outlet
                .sender
                .send(chunk)
                .await
                .map_err(|_| End::Closed)?;
        }
        cursor.place = end;
        Ok(())
    }
}

/// Cuts lines so that no part holds more than a batch may, each part with the place after it.
fn parts(
    lines: Lines,
    start: Place,
    end: Place,
    before: &[u8],
    lines_max: u32,
) -> Vec<(Lines, Place)> {
    // Behind the rest of a cut line the first byte's offset is not the start's.
    if lines.count() <= lines_max || !lines.is_untouched() || start.mid_line {
        return vec![(lines, end)];
    }
    let mut parts = Vec::new();
    let (mut from, mut done) = (0, 0);
    while from < lines.count() {
        let to = (from + lines_max).min(lines.count());
        let part = lines.slice(from..to);
        done += part.bytes().len();
        let sent = &lines.bytes()[..done];
        let guard = if done >= GUARD_BYTES {
            guard_of(sent)
        } else {
            guard_of(&[before, sent].concat())
        };
        let offset = start.offset + done as u64;
        let place = if to == lines.count() {
            end
        } else {
            Place {
                offset,
                guard,
                mid_line: false,
            }
        };
        parts.push((part, place));
        from = to;
    }
    debug_assert_eq!(start.offset + done as u64, end.offset);
    parts
}

/// Opens the file by its path or, where another one is there now, by its inode in the same folder.
pub(super) fn locate(location: &Location) -> io::Result<Option<Arc<File>>> {
    let is_it = |file: &File| Inode::of(file).is_ok_and(|inode| inode == location.inode);
    match open(&location.path) {
        Ok(file) if is_it(&file) => return Ok(Some(Arc::new(file))),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let Inode { dev, ino } = location.inode;
    let moved = location
        .path
        .parent()
        .and_then(|dir| find_inode(dir, dev, ino));
    let file = moved.and_then(|path| open(&path).ok()).filter(is_it);
    Ok(file.map(Arc::new))
}

/// Runs a short blocking call on the pool.
pub(super) async fn on_pool<T: Send + 'static>(
    call: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    match spawn_blocking(call).await {
        Ok(result) => result,
        Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
        Err(_) => Err(io::Error::other("the process is ending")),
    }
}

/// The time, in nanoseconds since 1970.
pub(super) fn now_ns() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
