//! The journal on disk: opened under a lock, appended to, compacted into a snapshot.
//!
//! Every call here blocks; callers run it on the blocking pool.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use tracing::warn;

use super::journal::{self, Begin, Line, Record};
use super::output::is_carried_out;
use super::replay::replay;
use super::state::State;

/// The journal is compacted when it is larger than this and than [`COMPACT_RATIO`] snapshots.
const COMPACT_ABOVE_BYTES: u64 = 1 << 20;

/// How many times the size of its last snapshot a journal may grow to.
const COMPACT_RATIO: u64 = 4;

/// Why the checkpoints cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made or written.
    #[error("state directory {}: {cause}", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// Another process uses the directory.
    #[error("state directory {}: in use by another logweir ({holder})", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// Who holds it, as far as the lock file says.
        holder: String,
    },
    /// The journal cannot be read or written.
    #[error("checkpoint journal {}: {cause}", path.display())]
    Journal {
        /// The journal.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
}

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
    pub(super) file: File,
    len: u64,
    snapshots: u64,
}

impl Store {
    /// Opens the journal in `dir`, creating both where they are missing. A journal that cannot be
    /// understood is set aside, said, and a new one begun.
    pub(super) fn open(dir: &Path) -> Result<Self, OpenError> {
        let in_dir = |cause| OpenError::Directory {
            dir: dir.to_owned(),
            cause,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(dir)
            .map_err(in_dir)?;
        let lock = take_lock(dir)?;
        let path = dir.join("journal");
        let in_journal = |cause| OpenError::Journal {
            path: path.clone(),
            cause,
        };
        let loaded = load(&path).map_err(in_journal)?;
        let (state, opened) = match loaded {
            Loaded::GoesOn { state, len } => {
                let opened = go_on(&path, &state, len).map_err(in_journal)?;
                (state, opened)
            }
            Loaded::StartsAnew(state) => {
                let (file, len) = snapshot(&path, &state).map_err(in_journal)?;
                (state, (file, len, len))
            }
        };
        let (file, len, snapshot_len) = opened;
        Ok(Self {
            path,
            file,
            len,
            snapshot_len,
            snapshots: 0,
            state,
            unsynced: true,
            _lock: lock,
        })
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
            return Err(error);
        }
        self.len += lines.len() as u64;
        self.unsynced = true;
        records
            .into_iter()
            .for_each(|record| self.state.apply(record));
        if self.len > COMPACT_ABOVE_BYTES && self.len > COMPACT_RATIO * self.snapshot_len {
            self.compact();
        }
        Ok(())
    }

    /// A second handle, to fsync without holding the store, and the length that it will cover.
    /// `None` where everything is on disk.
    pub(super) fn begin_sync(&mut self) -> io::Result<Option<SyncPoint>> {
        if !self.unsynced {
            return Ok(None);
        }
        let file = self.file.try_clone()?;
        self.unsynced = false;
        Ok(Some(SyncPoint {
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

    /// Replaces the journal by a snapshot of its state. Failing costs only disk space.
    fn compact(&mut self) {
        match snapshot(&self.path, &self.state) {
            Ok((file, len)) => {
                self.file = file;
                self.len = len;
                self.snapshot_len = len;
                self.snapshots += 1;
            }
            Err(error) => {
                warn!(path = %self.path.display(), %error, "cannot compact the checkpoint journal");
                self.snapshot_len = self.len;
            }
        }
    }
}

/// Takes the directory's lock, or says who holds it.
fn take_lock(dir: &Path) -> Result<File, OpenError> {
    let in_dir = |cause| OpenError::Directory {
        dir: dir.to_owned(),
        cause,
    };
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o640);
    let mut lock = options.open(dir.join("lock")).map_err(in_dir)?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut holder = String::new();
        let _ = lock.read_to_string(&mut holder);
        return Err(OpenError::Locked {
            dir: dir.to_owned(),
            holder: holder.trim().to_owned(),
        });
    }
    lock.set_len(0).map_err(in_dir)?;
    lock.write_all(format!("pid {}\n", std::process::id()).as_bytes())
        .map_err(in_dir)?;
    Ok(lock)
}

/// What a journal adds up to, and whether it can be appended to.
enum Loaded {
    /// It is whole, of this boot, and holds little that is outdated.
    GoesOn { state: State, len: u64 },
    /// A fresh one takes its place.
    StartsAnew(State),
}

/// Reads a journal. Missing is empty; damaged parts are said and passed over.
fn load(path: &Path) -> io::Result<Loaded> {
    let empty = || Loaded::StartsAnew(State::default());
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(empty()),
        Err(error) => {
            set_aside(path, &error.to_string())?;
            return Ok(empty());
        }
    };
    let Some(body) = bytes.strip_prefix(journal::HEADER.as_bytes()) else {
        if !bytes.is_empty() {
            let other_version = bytes.starts_with(journal::HEADER_NAME.as_bytes());
            let reason = if other_version {
                "it is of another version"
            } else {
                "it is not a journal"
            };
            set_aside(path, reason)?;
        }
        return Ok(empty());
    };
    let boot = boot_id();
    let same_boot = !boot.is_empty() && journal::last_boot(body).is_some_and(|last| last == boot);
    let mut flaws = Flaws::default();
    let header = journal::HEADER.len() as u64;
    let records = journal::decode(body).filter_map(|(end, line)| match line {
        Line::Intact(record) => Some((header + end, record)),
        Line::Damaged => {
            flaws.damaged += 1;
            None
        }
        Line::Torn => {
            flaws.torn = true;
            None
        }
    });
    let state = if same_boot {
        // Nothing that was written can have been lost: every record counts.
        let mut state = State::default();
        records.for_each(|(_, record)| state.apply(record));
        state
    } else {
        let (state, doubtful) = replay(records.collect(), &boot, is_carried_out);
        for sink in doubtful {
            warn!(
                sink,
                "the machine went down while its output was written: what is not there is written again"
            );
        }
        state
    };
    flaws.tell(path, &bytes)?;
    let len = bytes.len() as u64;
    let outdated = len > COMPACT_ABOVE_BYTES && len > COMPACT_RATIO * snapshot_len_of(&state);
    let goes_on = same_boot && flaws == Flaws::default() && !outdated;
    Ok(match goes_on {
        true => Loaded::GoesOn { state, len },
        false => Loaded::StartsAnew(state),
    })
}

/// What is wrong with a journal.
#[derive(Debug, Default, PartialEq, Eq)]
struct Flaws {
    damaged: u64,
    torn: bool,
}

impl Flaws {
    /// Says it, and keeps a copy of what is damaged.
    fn tell(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if self.damaged > 0 {
            let aside = aside_path(path);
            std::fs::write(&aside, bytes)?;
            warn!(
                path = %path.display(), records = self.damaged, copy = %aside.display(),
                "checkpoint journal is damaged: the intact records are used, lines may be sent twice"
            );
        }
        if self.torn {
            warn!(path = %path.display(), "checkpoint journal ends in a torn record, which is dropped");
        }
        Ok(())
    }
}

/// About how long a snapshot of `state` would be, in bytes.
fn snapshot_len_of(state: &State) -> u64 {
    /// A stream's record and one cursor, measured.
    const STREAM_BYTES: u64 = 330;
    state.len() as u64 * STREAM_BYTES
}

/// Opens a journal to append to it. Returns its length and about how long its snapshot would be.
fn go_on(path: &Path, state: &State, len: u64) -> io::Result<(File, u64, u64)> {
    let mut line = Vec::new();
    journal::encode(&Record::Begin(begin()), &mut line);
    let mut file = OpenOptions::new().append(true).open(path)?;
    file.write_all(&line)?;
    Ok((file, len + line.len() as u64, snapshot_len_of(state)))
}

fn set_aside(path: &Path, reason: &str) -> io::Result<()> {
    let aside = aside_path(path);
    std::fs::rename(path, &aside)?;
    warn!(
        path = %path.display(), moved_to = %aside.display(), reason,
        "checkpoint journal cannot be used: reading starts again as configured"
    );
    Ok(())
}

/// A name beside `path` that is free.
fn aside_path(path: &Path) -> PathBuf {
    (1..)
        .map(|n| path.with_extension(format!("damaged.{n}")))
        .find(|candidate| !candidate.exists())
        .expect("there are fewer than 2^31 damaged journals")
}

/// Writes a new journal that adds up to `state` and puts it in the place of the old one: temporary
/// file, fsync, rename, fsync of the directory.
fn snapshot(path: &Path, state: &State) -> io::Result<(File, u64)> {
    let mut lines = journal::HEADER.as_bytes().to_vec();
    journal::encode(&Record::Begin(begin()), &mut lines);
    state
        .snapshot()
        .for_each(|record| journal::encode(&record, &mut lines));
    let len = lines.len() as u64;
    journal::encode(&Record::Synced { len }, &mut lines);

    let temporary = path.with_extension("new");
    let _ = std::fs::remove_file(&temporary);
    let mut options = OpenOptions::new();
    options.append(true).create_new(true).mode(0o640);
    let mut file = options.open(&temporary)?;
    file.write_all(&lines)?;
    file.sync_data()?;
    std::fs::rename(&temporary, path)?;
    if let Some(dir) = path.parent() {
        File::open(dir)?.sync_all()?;
    }
    Ok((file, lines.len() as u64))
}

fn begin() -> Begin {
    Begin {
        boot: boot_id(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// The kernel's id of this boot; empty where it does not say.
fn boot_id() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    boot.trim().to_owned()
}
