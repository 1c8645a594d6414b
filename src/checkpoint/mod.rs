//! Checkpoints: what was delivered, kept across restarts.
//!
//! Positions come in as sinks settle batches and are appended to a journal at once (coalesced while
//! an append is under way); the journal is fsynced at most once a second, after the outputs that it
//! covers. It knows nothing of files' contents or of collectors.

mod cursor;
mod journal;
mod load;
mod names;
mod open_error;
mod output;
mod replay;
mod state;
mod store;
mod stored;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

pub use journal::{CursorRecord, HeadAfter, Intent, OutputId, Pages, Span, StreamRecord};
pub use open_error::OpenError;
pub use output::{FoundOutput, HEAD_BYTES, find_output, read_head};
pub use stored::to_record;

use crate::blocking::Crew;
use crate::model::{CursorKey, Moved, Position, StreamKey};
use journal::Record;
use store::Store;

/// How often the journal is fsynced while positions move.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// A shared handle to the checkpoints of this process.
#[derive(Clone, Debug)]
pub struct Checkpoints(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Absent for ad-hoc runs that keep no state.
    store: Option<Mutex<Store>>,
    dir: Option<PathBuf>,
    /// Settled but not appended yet: bounded by the number of cursors.
    pending: Mutex<HashMap<Arc<CursorKey>, Position>>,
    wake: Notify,
    /// Changes with each attempt to append what is settled; whether it went well.
    written: watch::Sender<bool>,
    /// Files whose data must be on disk before the journal that speaks of it.
    covered: Mutex<Covered>,
    /// One fsync at a time.
    syncing: Mutex<()>,
    crew: Crew,
}

/// Open outputs, and closed ones that the next fsync still has to cover.
#[derive(Debug, Default)]
struct Covered {
    open: Vec<Weak<File>>,
    closed: Vec<Arc<File>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Checkpoints {
    /// Opens the state directory, under its lock. Blocks.
    ///
    /// # Errors
    /// [`OpenError`] where it cannot be written or another process uses it.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let store = Store::open(dir)?;
        Ok(Self::with(Some(Mutex::new(store)), Some(dir.to_owned())))
    }

    /// As [`Checkpoints::open`], and waits while the disk is full, which is said once.
    ///
    /// # Errors
    /// As there.
    pub async fn open_with_room(dir: &Path) -> Result<Self, OpenError> {
        let mut waits = false;
        loop {
            match Self::open(dir) {
                Err(error) if error.is_full_disk() => {
                    if !waits {
                        error!(%error, "cannot start yet: it is tried again every second");
                    }
                    waits = true;
                }
                opened => {
                    if waits && opened.is_ok() {
                        info!(dir = %dir.display(), "there is room for checkpoints again: starting");
                    }
                    return opened;
                }
            }
            tokio::time::sleep(SYNC_INTERVAL).await;
        }
    }

    /// Opens one file that holds positions, under a lock beside it. Blocks.
    ///
    /// # Errors
    /// [`OpenError`] where it cannot be written, holds something else, or another process uses it.
    pub fn open_file(path: &Path) -> Result<Self, OpenError> {
        let store = Store::open_file(path)?;
        Ok(Self::with(Some(Mutex::new(store)), None))
    }

    /// Checkpoints that remember nothing.
    pub fn none() -> Self {
        Self::with(None, None)
    }

    /// True where positions are kept for the next start.
    pub fn are_kept(&self) -> bool {
        self.0.store.is_some()
    }

    fn with(store: Option<Mutex<Store>>, dir: Option<PathBuf>) -> Self {
        Self(Arc::new(Inner {
            store,
            dir,
            pending: Mutex::default(),
            wake: Notify::new(),
            written: watch::Sender::default(),
            covered: Mutex::default(),
            syncing: Mutex::default(),
            crew: Crew::default(),
        }))
    }

    /// The state directory, where there is one.
    pub fn dir(&self) -> Option<&Path> {
        self.0.dir.as_deref()
    }

    /// The files of a source that are known from before.
    pub fn streams(&self, source: &str) -> Vec<Arc<StreamRecord>> {
        let Some(store) = &self.0.store else {
            return Vec::new();
        };
        let store = lock(store);
        let known = store.state.streams(source);
        known.filter_map(|known| known.record.clone()).collect()
    }

    /// The journal's own copy of a record, where it is the same.
    pub fn stream(&self, record: &StreamRecord) -> Option<Arc<StreamRecord>> {
        let store = lock(self.0.store.as_ref()?);
        let key = StreamKey::new(Arc::clone(&record.id));
        let known = store.state.stream(&record.source, &key)?.record.clone();
        known.filter(|known| **known == *record)
    }

    /// Where a cursor stands.
    pub fn position(&self, key: &CursorKey) -> Option<Position> {
        lock(self.0.store.as_ref()?).state.position(key)
    }

    /// Where the sinks that know a stream stand: (sink, position).
    pub fn positions(&self, source: &str, stream: &StreamKey) -> Vec<(Arc<str>, Position)> {
        let mut positions = Vec::new();
        self.each_position(source, stream, |sink, at| {
            positions.push((Arc::clone(sink), at));
        });
        positions
    }

    /// Tells where each sink's cursor in a stream stands, without a list of them.
    pub fn each_position(
        &self,
        source: &str,
        stream: &StreamKey,
        mut told: impl FnMut(&Arc<str>, Position),
    ) {
        let Some(store) = &self.0.store else {
            return;
        };
        let store = lock(store);
        let known = store.state.stream(source, stream);
        let positions = known.into_iter().flat_map(state::Known::positions);
        positions.for_each(|(sink, at)| told(sink, at));
    }

    /// Remembers streams, and where their cursors start, before their first line is sent. Blocks
    /// for an append.
    ///
    /// # Errors
    /// The journal cannot be written; nothing was remembered.
    pub fn register(
        &self,
        streams: Vec<StreamRecord>,
        cursors: Vec<CursorRecord>,
    ) -> io::Result<()> {
        let mut records: Vec<Record> = streams.into_iter().map(Record::Stream).collect();
        if !cursors.is_empty() {
            records.push(Record::At(cursors));
        }
        self.append(records)
    }

    /// Forgets a stream and its cursors. Blocks for an append.
    ///
    /// # Errors
    /// The journal cannot be written; nothing was forgotten.
    pub fn forget(&self, source: &str, stream: &str) -> io::Result<()> {
        self.append(vec![Record::Forget {
            source: source.to_owned(),
            stream: stream.to_owned(),
        }])
    }

    /// Remembers what a file sink is about to write. Blocks for an append.
    ///
    /// # Errors
    /// The journal cannot be written; the write must not be made.
    pub fn intend(&self, intent: Intent) -> io::Result<()> {
        self.append(vec![Record::Intent(intent)])
    }

    /// The last intent of a sink, which may or may not have been carried out, and whether every
    /// position of it is reached.
    pub fn last_intent(&self, sink: &str) -> Option<(Intent, bool)> {
        let store = lock(self.0.store.as_ref()?);
        let intent = store.state.intents.get(sink)?;
        let settled = !intent.after.is_empty() && store.state.is_settled(intent);
        Some((intent.clone(), settled))
    }

    /// The files that a sink wrote to, as far as they are remembered.
    pub fn outputs(&self, sink: &str) -> Vec<OutputId> {
        let Some(store) = &self.0.store else {
            return Vec::new();
        };
        let store = lock(store);
        let of_sink = store.state.outputs.iter().filter(|(name, _)| name == sink);
        of_sink.map(|(_, output)| output.clone()).collect()
    }

    /// Intents of a sink that a power cut undid: what they say of cursors does not hold.
    pub fn unproved_intents(&self, sink: &str) -> Vec<Intent> {
        let Some(store) = &self.0.store else {
            return Vec::new();
        };
        let mut store = lock(store);
        let unproved = std::mem::take(&mut store.state.unproved);
        let (of_sink, others) = unproved.into_iter().partition(|it| it.sink == sink);
        store.state.unproved = others;
        of_sink
    }

    /// Adopts positions of lines that are in an output, where they lead forward. Blocks for an
    /// append.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn adopt(&self, mut cursors: Vec<CursorRecord>) -> io::Result<()> {
        if let Some(store) = &self.0.store {
            let store = lock(store);
            cursors.retain(|cursor| !store.state.is_reached(cursor));
        }
        if cursors.is_empty() {
            return Ok(());
        }
        self.append(vec![Record::At(cursors)])
    }

    /// Notes that a batch was settled. Never blocks: [`Checkpoints::run`] writes it.
    ///
    /// Takes what has already moved: settling belongs to the caller, never to a lazy iterator.
    pub fn advance(&self, moves: Vec<Moved>) {
        if self.0.store.is_none() || moves.is_empty() {
            return;
        }
        lock(&self.0.pending).extend(moves);
        self.0.wake.notify_one();
    }

    /// Changes after each attempt to append what is settled; true where it went well.
    pub fn written(&self) -> watch::Receiver<bool> {
        self.0.written.subscribe()
    }

    /// The streams of a source that are no files.
    pub fn unfiled_streams(&self, source: &str) -> Vec<StreamKey> {
        let Some(store) = &self.0.store else {
            return Vec::new();
        };
        lock(store).state.unfiled(source).cloned().collect()
    }

    /// Has `file` fsynced before every fsync of the journal, for as long as it is open.
    pub fn cover(&self, file: &Arc<File>) {
        lock(&self.0.covered).open.push(Arc::downgrade(file));
    }

    /// Has a covered file that is closed now fsynced once more. Where many wait for that, it is
    /// done at once. Blocks.
    pub fn cover_closed(&self, file: Arc<File>) {
        /// Files that are kept open for this.
        const CLOSED_MAX: usize = 64;
        let full = {
            let mut covered = lock(&self.0.covered);
            covered.closed.push(file);
            covered.closed.len() > CLOSED_MAX
        };
        if full && let Err(error) = self.sync_covered() {
            error!(%error, "cannot force outputs to disk");
        }
    }

    /// Writes what is settled, until `stop`; then once more, and fsyncs.
    pub async fn run(self, stop: CancellationToken) {
        if self.0.store.is_none() {
            return;
        }
        let mut outage = Outage::default();
        let mut tick = tokio::time::interval(SYNC_INTERVAL);
        loop {
            let sync = tokio::select! {
                () = stop.cancelled() => break,
                () = self.0.wake.notified() => false,
                _ = tick.tick() => true,
            };
            self.step(sync, &mut outage).await;
        }
        self.step(true, &mut outage).await;
    }

    async fn step(&self, sync: bool, outage: &mut Outage) {
        let this = self.clone();
        let step = move || {
            let written = this.write_pending();
            this.0.written.send_replace(written.is_ok());
            written?;
            if sync { this.sync() } else { Ok(()) }
        };
        // A panic of it is a bug; what was pending stays pending.
        if let Ok(result) = self.0.crew.run(step).await {
            outage.note(result);
        }
    }

    fn append(&self, records: Vec<Record>) -> io::Result<()> {
        match &self.0.store {
            Some(store) if !records.is_empty() => lock(store).append(records),
            _ => Ok(()),
        }
    }

    fn write_pending(&self) -> io::Result<()> {
        let pending = std::mem::take(&mut *lock(&self.0.pending));
        let record = pending
            .iter()
            .filter_map(|(key, position)| to_record(key, position));
        let record: Vec<CursorRecord> = record.collect();
        if record.is_empty() {
            return Ok(());
        }
        let result = self.append(vec![Record::At(record)]);
        if result.is_err() {
            // Newer positions that came in meanwhile win.
            let mut newer = lock(&self.0.pending);
            for (key, position) in pending {
                newer.entry(key).or_insert(position);
            }
        }
        result
    }

    /// Forces the journal to disk, the outputs that it covers first. Blocks.
    ///
    /// # Errors
    /// The disk refuses; it is tried again with the next one.
    pub fn sync(&self) -> io::Result<()> {
        let Some(store) = &self.0.store else {
            return Ok(());
        };
        let _one_at_a_time = lock(&self.0.syncing);
        let Some(point) = lock(store).begin_sync()? else {
            return Ok(());
        };
        let synced = self.sync_covered().and_then(|()| point.sync());
        let mut store = lock(store);
        store.end_sync(synced, &point)?;
        if store.is_outdated() {
            // A snapshot says of all that it holds that it is on disk. Whatever is settled was
            // written before this lock was taken.
            self.sync_covered()?;
            store.compact();
        }
        Ok(())
    }

    fn sync_covered(&self) -> io::Result<()> {
        let (open, closed): (Vec<Arc<File>>, Vec<Arc<File>>) = {
            let mut covered = lock(&self.0.covered);
            covered.open.retain(|file| file.strong_count() > 0);
            let open = covered.open.iter().filter_map(Weak::upgrade).collect();
            (open, std::mem::take(&mut covered.closed))
        };
        let synced = open.iter().chain(&closed).try_for_each(|it| it.sync_data());
        let synced = synced.map_err(|error| {
            let text = format!("an output cannot be forced to disk: {error}");
            io::Error::new(error.kind(), text)
        });
        if synced.is_err() {
            lock(&self.0.covered).closed.extend(closed);
        }
        synced
    }
}

/// Says once when writing begins to fail, and once when it works again.
#[derive(Debug, Default)]
struct Outage(bool);

impl Outage {
    fn note(&mut self, result: io::Result<()>) {
        match result {
            Ok(()) if self.0 => info!("checkpoints are written again"),
            Err(error) if !self.0 => {
                error!(
                    %error,
                    "cannot write checkpoints, which is tried again every second: a restart now \
                     would send lines twice"
                );
            }
            _ => return,
        }
        self.0 = !self.0;
    }
}
