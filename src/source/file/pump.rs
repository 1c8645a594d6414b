//! Pumping: moves lines of one file into one sink's queue until the file's end.
//!
//! The file is read in short hops on the blocking pool, one chunk a hop and a few hops a visit; room
//! in the sink's budget is charged before the read. A pump that is dropped loses nothing: what it did not send is read
//! again.

use std::fs::File;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::discover::find_inode;
use super::ending::Meaning;
use super::identity::{Beginning, Head};
use super::input::Input;
use super::tail::{Change, Hop, Part, Place, Reading};
use super::{Inode, open};
use crate::blocking::Crew;
use crate::checkpoint::Checkpoints;
use crate::framing::{Framer, Pool, RecordLimits, Recording, SHARED_ABOVE_BYTES};
use crate::model::{Ledger, Origin};
use crate::queue::{Behind, Charge, Chunk};
use crate::source::Outlet;
use crate::source::quiet::{self, Patience, Quiet};
use crate::source::refine::{Refine, Refined};
use crate::telemetry::SourceCounters;

/// Reads of one visit to the blocking pool, of 256 KiB each, where a file has a backlog. A way there
/// and back costs as much as such a read, and a visit stays below a millisecond.
const HOPS_MAX: usize = 4;

/// A read that takes longer than this hangs, with its disk or server: a merge by time does not wait
/// for the rest of the file.
const HANGS_AFTER: Duration = Duration::from_secs(10);

/// One sink's place in one file.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) place: Place,
    /// Up to where was read. It is locked while a read goes on: who must know what was read of the
    /// file, as it is now, waits for that.
    pub(super) progress: Arc<Mutex<Place>>,
    pub(super) ledger: Ledger,
    /// The least time that the next line may carry, in nanoseconds since 1970.
    pub(super) next_time_ns: i64,
    /// What its records said last.
    pub(super) refined: Refined,
    /// What is unfinished at its end.
    pub(super) quiet: Quiet,
    /// The length of a compressed file all of which was sent.
    pub(super) whole: Option<u64>,
}

/// Where the file is, in case it has to be opened.
#[derive(Clone, Debug)]
pub(super) struct Location {
    pub(super) path: Arc<Path>,
    pub(super) inode: Inode,
}

/// What a pump needs beside its cursor.
#[derive(Debug)]
pub(super) struct Pump {
    pub(super) file: Option<Arc<File>>,
    pub(super) location: Location,
    pub(super) outlet: Outlet,
    pub(super) origin: Arc<Origin>,
    pub(super) counters: Arc<SourceCounters>,
    pub(super) checkpoints: Checkpoints,
    pub(super) pool: Pool,
    pub(super) crew: Crew,
    pub(super) rules: Rules,
    pub(super) tail: LastLine,
    pub(super) beginning: Beginning,
    /// True where the fingerprint may have grown.
    pub(super) wants_head: bool,
    /// Bytes of one read.
    pub(super) read_bytes: usize,
    /// Has a sink that merges by time wait for the file.
    pub(super) behind: Option<Behind>,
    /// Cancelled where no more of a backlog is to be read.
    pub(super) stop: CancellationToken,
    /// Reads at the same time, where very many pumps run.
    pub(super) turns: Option<Arc<Semaphore>>,
}

/// How lines are made of the bytes of a file.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) line_bytes_max: usize,
    pub(super) recording: Recording,
    pub(super) refine: Refine,
    pub(super) patience: Patience,
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
    /// How long it was away.
    pub(super) took: Duration,
    /// What had a sink wait for the file, until it is dropped.
    pub(super) behind: Option<Behind>,
}

/// Why a pump came back.
#[derive(Debug)]
pub(super) enum End {
    /// Everything there was is sent but what is unfinished.
    CaughtUp {
        /// Bytes behind the cursor that were read and are not finished: a line without its
        /// newline, records that may get further lines.
        unfinished: u64,
        /// True where a record may still get further lines.
        is_open: bool,
        /// When what is left has waited long enough, if it ever will have.
        wake: Option<Instant>,
        /// What the end of a compressed file means.
        packed: Option<Meaning>,
    },
    /// It is compressed and ends in the middle: it is still being written.
    Torn,
    /// The file is no longer the one that was read.
    Changed(Change),
    /// The file is not open and cannot be found any more.
    Missing,
    /// An ack was dropped: the cursor must be restarted.
    Broken,
    /// Delivery has ended.
    Closed,
    /// It was told to stop before the end.
    Stopped,
    /// The system refused.
    Failed(io::Error),
}

impl Pump {
    /// Runs to the file's end.
    pub(super) async fn run(mut self, mut cursor: Cursor) -> Pumped {
        let began = Instant::now();
        let end = match self.opened().await {
            Ok(Some(file)) => self.read(file, &mut cursor).await.unwrap_or_else(|end| end),
            Ok(None) => End::Missing,
            Err(error) => End::Failed(error),
        };
        let head = match (&end, &self.file) {
            (End::CaughtUp { .. }, Some(file)) if self.wants_head => {
                let file = Arc::clone(file);
                self.io(move || Head::read(&file)).await.ok()
            }
            _ => None,
        };
        Pumped {
            cursor,
            file: self.file,
            inode: self.location.inode,
            end,
            head,
            took: began.elapsed(),
            behind: self.behind,
        }
    }

    /// Makes a blocking call in its turn.
    async fn io<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let in_turn = async {
            let _turn = match &self.turns {
                // It is never closed.
                Some(turns) => turns.acquire().await.ok(),
                None => None,
            };
            self.crew.io(call).await
        };
        match &self.behind {
            Some(behind) => unless_it_hangs(in_turn, behind).await,
            None => in_turn.await,
        }
    }

    async fn opened(&mut self) -> io::Result<Option<Arc<File>>> {
        if self.file.is_none() {
            let location = self.location.clone();
            self.file = self.io(move || locate(&location)).await?;
        }
        Ok(self.file.clone())
    }

    async fn read(&self, file: Arc<File>, cursor: &mut Cursor) -> Result<End, End> {
        if let Some(end) = self.still_whole(&file, cursor).await? {
            return Ok(end);
        }
        let mut reading = self.reading(&file, cursor).await?;
        // Most files are read to their end by the first hop.
        let mut most = 1;
        loop {
            if cursor.ledger.is_broken() {
                return Err(End::Broken);
            }
            if self.stop.is_cancelled() {
                return Err(End::Stopped);
            }
            let charges = self.charges(most).await?;
            most = HOPS_MAX;
            let (place, handle, n_hops) = (cursor.place, Arc::clone(&file), charges.len());
            let progress = Arc::clone(&cursor.progress);
            let read = self.io(move || {
                let mut at = lock(&progress);
                let hops = reading.hops(&handle, place, n_hops);
                let found = hops.iter().rev().filter_map(|(hop, _)| hop.as_ref().ok());
                if let Some(place) = found.filter_map(Hop::place_after).next() {
                    *at = place;
                }
                Ok((hops, reading))
            });
            let (hops, rest) = read.await.map_err(End::Failed)?;
            reading = rest;
            cursor.refined = reading.refined;
            for ((hop, now), charge) in hops.into_iter().zip(charges) {
                let at_end = match hop.map_err(End::Failed)? {
                    Hop::More => false,
                    Hop::Hole => {
                        let part = self.behind_hole(&file).await?;
                        self.forward(cursor, vec![part], (now, charge)).await?;
                        reading = self.reading(&file, cursor).await?;
                        false
                    }
                    Hop::Changed(change) => return Err(End::Changed(change)),
                    Hop::Lines { parts, at_end } => {
                        self.forward(cursor, parts, (now, charge)).await?;
                        at_end
                    }
                    Hop::End => true,
                };
                if at_end {
                    return self.at_end(file, reading, cursor).await;
                }
            }
        }
    }

    async fn reading(&self, file: &Arc<File>, cursor: &Cursor) -> Result<Reading, End> {
        let (file, charset) = (Arc::clone(file), self.rules.recording.charset);
        let place = cursor.place;
        let start = match charset {
            None => place.start(&file, None),
            Some(_) => self.io(move || place.start(&file, charset)).await,
        };
        let limits = RecordLimits {
            line_bytes_max: self.rules.line_bytes_max,
            records: self.outlet.chunk_lines as usize,
            bytes: self.outlet.chunk_bytes,
        };
        let start = start.map_err(End::Failed)?;
        Ok(Reading {
            framer: Framer::new(self.pool.clone(), start, &self.rules.recording, limits),
            refine: self.rules.refine.clone(),
            refined: cursor.refined,
            begun: place.begun,
            counters: Arc::clone(&self.counters),
            limit: self.outlet.chunk_bytes.min(self.read_bytes),
            lines_max: self.outlet.chunk_lines,
            beginning: self.beginning,
            input: Input::Unknown,
        })
    }

    /// Room for one hop, waited for, and for up to `most` where there is room now.
    async fn charges(&self, most: usize) -> Result<Vec<Charge>, End> {
        let mut charges = vec![self.charge().await?];
        let more = std::iter::from_fn(|| self.outlet.sender.try_charge(self.read_bytes));
        charges.extend(more.take(most - 1));
        Ok(charges)
    }

    async fn charge(&self) -> Result<Charge, End> {
        let charge = self.outlet.charge(self.read_bytes, &self.counters).await;
        charge.map_err(|_| End::Closed)
    }

    /// Sends what is unfinished and will stay so: what has waited long enough, or all of it.
    async fn at_end(
        &self,
        file: Arc<File>,
        mut reading: Reading,
        cursor: &mut Cursor,
    ) -> Result<End, End> {
        let meaning = match reading.input.ending().cloned() {
            Some(ending) => Some(self.judge(&file, ending, &reading, cursor).await?),
            None => None,
        };
        let (tail, until) = match meaning {
            Some(Meaning::GoesOn) => return Ok(End::Torn),
            Some(Meaning::MayGoOn(until)) => (LastLine::Waits, Some(until)),
            Some(Meaning::Over) => (LastLine::IsSent, None),
            None => (self.tail, None),
        };
        loop {
            let (due, wake) = match tail {
                LastLine::Waits => {
                    let (due, wake) =
                        cursor
                            .quiet
                            .look(&reading.framer, self.rules.patience, Instant::now());
                    (due.map(Some), wake)
                }
                LastLine::IsSent => {
                    let left = reading.framer.held() > 0 || reading.framer.open().count() > 0;
                    (left.then_some(None), None)
                }
            };
            let Some(due) = due else {
                let read = reading.framer.read_offset();
                let unfinished = read.saturating_sub(cursor.place.offset);
                let is_open = reading.framer.open().count() > 0;
                cursor.whole = reading.input.whole_len().filter(|_| unfinished == 0);
                return Ok(End::CaughtUp {
                    unfinished,
                    is_open,
                    wake: wake.or(until),
                    packed: meaning,
                });
            };
            let charge = self.charge().await?;
            let handle = Arc::clone(&file);
            let take = move |framer: &mut Framer| match due {
                None => framer.finish(),
                Some(waiting) => quiet::take(framer, waiting),
            };
            let taken = self.io(move || {
                let parts = reading.end_with(&handle, take)?;
                Ok((parts, reading, now_ns()))
            });
            let (parts, rest, now) = taken.await.map_err(End::Failed)?;
            reading = rest;
            cursor.refined = reading.refined;
            if parts.is_empty() && tail == LastLine::IsSent {
                // Only the rest of a line that was cut.
                return Ok(End::CaughtUp {
                    unfinished: 0,
                    is_open: false,
                    wake: None,
                    packed: meaning,
                });
            }
            self.forward(cursor, parts, (now, charge)).await?;
        }
    }

    /// Says that the file begins with a hole, and where reading goes on.
    async fn behind_hole(&self, file: &Arc<File>) -> Result<Part, End> {
        let (file, charset) = (Arc::clone(file), self.rules.recording.charset);
        let place = self.io(move || Place::behind_hole(&file, charset)).await;
        let place = place.map_err(End::Failed)?;
        warn!(
            source = %self.origin.source, path = %self.location.path.display(),
            bytes = place.offset,
            "the writer left a hole when its file was truncated: it is passed over"
        );
        Ok((None, place))
    }

    /// Sends lines and moves the cursor.
    async fn forward(
        &self,
        cursor: &mut Cursor,
        parts: Vec<Part>,
        (now, mut charge): (i64, Charge),
    ) -> Result<(), End> {
        let lines = || parts.iter().filter_map(|(lines, _)| lines.as_ref());
        let bytes = lines().map(|it| it.bytes().len()).sum();
        if bytes < SHARED_ABOVE_BYTES {
            charge.shrink_to(bytes);
        }
        for lines in lines() {
            self.counters.lines.add(u64::from(lines.count()));
            self.counters.bytes.add(lines.bytes().len() as u64);
            self.counters.truncated.add(lines.truncated());
        }
        // The last one that is sent pays for all: they share one buffer and are settled in order.
        let pays = parts.iter().rposition(|(lines, _)| lines.is_some());
        let mut charge = Some(charge);
        for (index, (lines, place)) in parts.into_iter().enumerate() {
            cursor.place = place;
            *lock(&cursor.progress) = place;
            let ack = cursor.ledger.open(place.position());
            let Some(lines) = lines else {
                // Passed over, and so settled at once, behind what was sent before it.
                let moved = ack.settle();
                self.checkpoints.advance(moved.into_iter().collect());
                continue;
            };
            let time_ns = now.max(cursor.next_time_ns);
            cursor.next_time_ns = time_ns + i64::from(lines.count());
            let chunk = Chunk {
                origin: Arc::clone(&self.origin),
                lines,
                time_ns,
                ack,
                charge: if pays == Some(index) {
                    charge.take()
                } else {
                    None
                },
            };
            self.outlet
                .sender
                .send(chunk)
                .await
                .map_err(|_| End::Closed)?;
        }
        Ok(())
    }
}

/// Waits for a call; for one that takes too long others need not wait.
async fn unless_it_hangs<T>(call: impl Future<Output = T>, behind: &Behind) -> T {
    let mut call = pin!(call);
    tokio::select! {
        biased;
        done = &mut call => return done,
        () = tokio::time::sleep(HANGS_AFTER) => behind.release(),
    }
    call.await
}

/// A panic while it was held leaves a place that is right: it is set in one go.
pub(super) fn lock(progress: &Mutex<Place>) -> MutexGuard<'_, Place> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens the file by its path or, where another one is there now, by its inode in the same folder.
pub(super) fn locate(location: &Location) -> io::Result<Option<Arc<File>>> {
    /// Its name may move between the look and the opening.
    const TRIES_MAX: usize = 16;
    let is_it = |file: &File| Inode::of(file).is_ok_and(|inode| inode == location.inode);
    match open(&location.path) {
        Ok(file) if is_it(&file) => return Ok(Some(Arc::new(file))),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let Inode { dev, ino } = location.inode;
    let dir = location.path.parent();
    for _ in 0..TRIES_MAX {
        let Some(path) = dir.and_then(|dir| find_inode(dir, dev, ino)) else {
            break;
        };
        match open(&path) {
            Ok(file) if is_it(&file) => return Ok(Some(Arc::new(file))),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => break,
        }
    }
    Ok(None)
}

/// The time, in nanoseconds since 1970.
pub(super) fn now_ns() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
