//! The journal on disk: opened under a lock, appended to, compacted into a snapshot.
//!
//! Every call here blocks; callers run it on the blocking pool.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tracing::warn;

use super::journal::{self, Begin, Record};
use super::load::{Loaded, boot_id, load, snapshot_len_of};
use super::open_error::OpenError;
use super::state::State;

/// The journal is compacted when it is larger than this and than [`COMPACT_RATIO`] snapshots.
pub(super) const COMPACT_ABOVE_BYTES: u64 = 1 << 20;

/// How many times the size of its last snapshot a journal may grow to: a start reads all of it, and of
/// 100,000 files a snapshot has 33 MB.
pub(super) const COMPACT_RATIO: u64 = 2;

/// An open journal and what it adds up to.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    file: File,
    /// Length up to the last whole record.
    len: u64,
    snapshot_len: u64,
    /// How often the journal was replaced by a snapshot.
    snapshots: u64,
    pub(super) state: State,
    /// True where something was appended since the last fsync began.
    unsynced: bool,
    /// Held for as long as the process lives.
    _lock: File,
}

/// What an fsync covers.
#[derive(Debug)]
pub(super) struct SyncPoint {
    path: PathBuf,
    file: File,
    len: u64,
    snapshots: u64,
}

impl SyncPoint {
    /// Forces the journal to disk. Blocks.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data().map_err(|it| named(&self.path, &it))
    }
}

/// An error that says which file it is about: callers show it beside outputs.
fn named(path: &Path, error: &io::Error) -> io::Error {
    let text = format!("checkpoint journal {}: {error}", path.display());
    io::Error::new(error.kind(), text)
}

impl Store {
    /// Opens the journal in `dir`, creating both where they are missing. A journal that cannot be
    /// understood is set aside, said, and a new one begun.
    pub(super) fn open(dir: &Path) -> Result<Self, OpenError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(dir)
            .map_err(OpenError::directory(dir, "be made"))?;
        let lock = take_lock(&dir.join("lock"), &OpenError::directory(dir, "be locked"))?;
        let lock = lock.map_err(|holder| OpenError::locked(dir, holder))?;
        let path = dir.join("journal");
        let opened = open_journal(&path, lock.was_used);
        if opened.is_err() && !lock.was_used {
            // Nothing was remembered here yet, and the next start need not wonder where it is.
            let _ = lock.file.set_len(0);
        }
        Ok(Self::new(path, opened?, lock))
    }

    /// Opens one file as the journal; beside it lies a hidden lock. A file that holds something else
    /// is left alone, and so is what is no regular file: a journal is put in the place of the old one.
    pub(super) fn open_file(given: &Path) -> Result<Self, OpenError> {
        let refused = |reason: String| OpenError::cursor_file(given, reason);
        let system = |error: io::Error| OpenError::cursor_file_fails(given, error);
        // A link stays one, and a name without a folder has one.
        let path = match given.canonicalize() {
            Err(error) if error.kind() == ErrorKind::NotFound => std::path::absolute(given),
            found => found,
        };
        let path = path.map_err(system)?;
        match path.metadata() {
            Ok(found) if found.is_dir() => {
                return Err(refused("it is a directory: name a file in it".to_owned()));
            }
            Ok(found) if !found.is_file() => {
                return Err(refused(
                    "it is no regular file: name another one".to_owned(),
                ));
            }
            Ok(_) if !holds_positions(&path).map_err(system)? => {
                let reason =
                    "it holds something else than positions: name another one, or remove it";
                return Err(refused(reason.to_owned()));
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let folder = path.parent().unwrap_or(Path::new("/"));
                if !folder.exists() {
                    return Err(refused(format!(
                        "there is no directory {}: make it first",
                        folder.display()
                    )));
                }
            }
            Err(error) => return Err(system(error)),
        }
        let lock = take_lock(&beside(&path, "lock"), &system)?;
        let lock = lock.map_err(|holder| refused(format!("another logweir uses it ({holder})")))?;
        // Whoever removes it wants to begin anew.
        let opened = open_journal(&path, false).map_err(|it| it.of_cursor_file(given))?;
        Ok(Self::new(path, opened, lock))
    }

    fn new(path: PathBuf, (state, journal): (State, Journal), lock: Lock) -> Self {
        Self {
            path,
            file: journal.file,
            len: journal.len,
            snapshot_len: journal.snapshot_len,
            snapshots: 0,
            state,
            unsynced: true,
            _lock: lock.file,
        }
    }

    /// Appends records and takes them into the state. After an error nothing was appended.
    pub(super) fn append(&mut self, records: Vec<Record>) -> io::Result<()> {
        let mut lines = Vec::new();
        records
            .iter()
            .for_each(|record| journal::encode(record, &mut lines));
        if let Err(error) = self.file.write_all(&lines) {
            // A torn record would be passed over at the next start anyway; this keeps it tidy.
            let _ = self.file.set_len(self.len);
            return Err(named(&self.path, &error));
        }
        self.len += lines.len() as u64;
        self.unsynced = true;
        records
            .into_iter()
            .for_each(|record| self.state.apply(record));
        Ok(())
    }

    /// True where a snapshot would be much shorter.
    pub(super) fn is_outdated(&self) -> bool {
        self.len > COMPACT_ABOVE_BYTES && self.len > COMPACT_RATIO * self.snapshot_len
    }

    /// A second handle, to fsync without holding the store, and the length that it will cover.
    /// `None` where everything is on disk.
    pub(super) fn begin_sync(&mut self) -> io::Result<Option<SyncPoint>> {
        if !self.unsynced {
            return Ok(None);
        }
        let file = self.file.try_clone().map_err(|it| named(&self.path, &it))?;
        self.unsynced = false;
        Ok(Some(SyncPoint {
            path: self.path.clone(),
            file,
            len: self.len,
            snapshots: self.snapshots,
        }))
    }

    /// Notes how the fsync that `point` began ended.
    pub(super) fn end_sync(&mut self, synced: io::Result<()>, point: &SyncPoint) -> io::Result<()> {
        if let Err(error) = synced {
            self.unsynced = true;
            return Err(error);
        }
        if self.snapshots != point.snapshots {
            return Ok(());
        }
        // The mark itself need not reach the disk: without it more is verified.
        let unsynced = self.unsynced;
        self.append(vec![Record::Synced { len: point.len }])?;
        self.unsynced = unsynced;
        Ok(())
    }

    /// Replaces the journal by a snapshot of its state, all of which must be on disk. Failing costs
    /// only disk space.
    pub(super) fn compact(&mut self) {
        match snapshot(&self.path, &self.state) {
            Ok(journal) => {
                self.file = journal.file;
                self.len = journal.len;
                self.snapshot_len = journal.snapshot_len;
                self.snapshots += 1;
            }
            Err(error) => {
                warn!(path = %self.path.display(), %error, "cannot compact the checkpoint journal");
                self.snapshot_len = self.len;
            }
        }
    }
}

/// The lock of a state directory.
struct Lock {
    file: File,
    /// True where another process had it before.
    was_used: bool,
}

/// Takes a lock, or gives back what it says about who holds it.
fn take_lock(
    path: &Path,
    trouble: &dyn Fn(io::Error) -> OpenError,
) -> Result<Result<Lock, String>, OpenError> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o640);
    let mut file = options.open(path).map_err(trouble)?;
    let taken = flock(&file, FlockOperation::NonBlockingLockExclusive);
    let mut holder = String::new();
    let _ = file.read_to_string(&mut holder);
    match taken {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            return Ok(Err(holder.trim().to_owned()));
        }
        Err(error) => return Err(trouble(error.into())),
    }
    let was_used = !holder.is_empty();
    let note = format!("pid {}\n", std::process::id());
    file.set_len(0).map_err(trouble)?;
    file.write_all_at(note.as_bytes(), 0).map_err(trouble)?;
    Ok(Ok(Lock { file, was_used }))
}

/// A hidden name beside a file, which can lie in a folder that is not ours.
fn beside(path: &Path, what: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{what}"))
}

/// True where a file is empty or a journal.
fn holds_positions(path: &Path) -> io::Result<bool> {
    let header = journal::HEADER.as_bytes();
    let mut start = Vec::new();
    let file = File::open(path)?;
    file.take(header.len() as u64).read_to_end(&mut start)?;
    Ok(start.is_empty() || start == header)
}

/// A journal that is open to be appended to.
struct Journal {
    file: File,
    len: u64,
    /// About how long its snapshot would be.
    snapshot_len: u64,
}

fn open_journal(path: &Path, was_used: bool) -> Result<(State, Journal), OpenError> {
    let (state, len) = match load(path, was_used)? {
        Loaded::GoesOn { state, len } => (state, Some(len)),
        Loaded::StartsAnew(state) => (state, None),
    };
    let journal = match len {
        Some(len) => go_on(path, &state, len).map_err(OpenError::journal(path, "be appended to")),
        None => snapshot(path, &state).map_err(OpenError::journal(path, "be written")),
    };
    Ok((state, journal?))
}

/// Opens a journal to append to it.
fn go_on(path: &Path, state: &State, len: u64) -> io::Result<Journal> {
    let mut line = Vec::new();
    journal::encode(&Record::Begin(begin()), &mut line);
    let mut file = OpenOptions::new().append(true).open(path)?;
    if let Err(error) = file.write_all(&line) {
        let _ = file.set_len(len);
        return Err(error);
    }
    Ok(Journal {
        file,
        len: len + line.len() as u64,
        snapshot_len: snapshot_len_of(state),
    })
}

/// Writes a new journal that adds up to `state` and puts it in the place of the old one: temporary
/// file, fsync, rename, fsync of the directory.
fn snapshot(path: &Path, state: &State) -> io::Result<Journal> {
    let temporary = beside(path, "new");
    let (file, len) = match write_new(&temporary, state) {
        Ok(written) => written,
        Err(error) => {
            // Where the disk is full, half of it must not stay.
            let _ = std::fs::remove_file(&temporary);
            return Err(error);
        }
    };
    std::fs::rename(&temporary, path)?;
    if let Some(dir) = path.parent() {
        File::open(dir)?.sync_all()?;
    }
    Ok(Journal {
        file,
        len,
        snapshot_len: len,
    })
}

/// Writes a journal that adds up to `state`, in pieces: of very many files the whole would take more
/// memory than what is known of them. Returns it with its length.
fn write_new(path: &Path, state: &State) -> io::Result<(File, u64)> {
    /// Written by one system call.
    const PIECE_BYTES: usize = 64 << 10;
    let _ = std::fs::remove_file(path);
    let mut options = OpenOptions::new();
    options.append(true).create_new(true).mode(0o640);
    let mut file = options.open(path)?;
    let mut piece = journal::HEADER.as_bytes().to_vec();
    let mut len = 0;
    let first = std::iter::once(Record::Begin(begin()));
    for record in first.chain(state.snapshot()) {
        journal::encode(&record, &mut piece);
        if piece.len() >= PIECE_BYTES {
            file.write_all(&piece)?;
            len += piece.len() as u64;
            piece.clear();
        }
    }
    len += piece.len() as u64;
    let mark = piece.len();
    journal::encode(&Record::Synced { len }, &mut piece);
    file.write_all(&piece)?;
    file.sync_data()?;
    Ok((file, len + (piece.len() - mark) as u64))
}

fn begin() -> Begin {
    Begin {
        boot: boot_id(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}
