//! The open outputs of a file sink: at most so many, the one that was used least recently is closed.

use std::collections::HashMap;
use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tracing::info;

use super::write::Begun;
use super::{Fsync, Inner};
use crate::checkpoint::{HEAD_BYTES, read_head};
use crate::outputs::Claim;

/// How often it is checked that the path still names the open file.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Outputs that are open at once.
const OPEN_MAX: usize = 64;

/// The open outputs, and what is under way.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    open: HashMap<PathBuf, Output>,
    /// A batch that failed half-way, to be continued by its retry.
    pub(super) begun: Option<Begun>,
    /// True where this process carried the sink's last intent out. Before its first one, and where
    /// a batch was given up half-way, recovery has looked at the last one and settled it.
    pub(super) made: bool,
    /// Counts uses.
    clock: u64,
    /// The requests to open everything anew that were met.
    reopened: u64,
}

/// An open output file.
#[derive(Debug)]
pub(super) struct Output {
    /// What was asked for.
    pub(super) path: PathBuf,
    /// Where the file itself is: elsewhere, where `path` is a symbolic link.
    pub(super) real: PathBuf,
    pub(super) file: Arc<File>,
    pub(super) dev: u64,
    pub(super) ino: u64,
    /// False for devices and FIFOs, which have no length to speak of.
    pub(super) regular: bool,
    /// The first bytes, up to [`HEAD_BYTES`].
    pub(super) head: Vec<u8>,
    /// When the file was made.
    pub(super) born: SystemTime,
    /// How long it was after the last write here; `None`: nothing was written yet.
    pub(super) end: Option<u64>,
    /// When rotation failed: it is said once, and tried again after a while.
    pub(super) not_rotated: Option<Instant>,
    checked: Instant,
    used: u64,
    /// Absent for devices and FIFOs, which may have several writers.
    _claim: Option<Claim>,
}

impl Inner {
    /// Takes an output out of the open ones to write to it; opens it where it is not, and anew where
    /// its path names another file by now.
    pub(super) fn take_output(&self, outputs: &mut Outputs, path: &Path) -> io::Result<Output> {
        let now = Instant::now();
        self.reopen_if_asked(outputs);
        if let Some(mut output) = outputs.open.remove(path) {
            if output.is_current(now) {
                return Ok(output);
            }
            let sink = &self.cx.name;
            info!(%sink, path = %path.display(), "output was moved away: opened again");
            self.close(output);
        }
        self.open_output(path, now)
    }

    /// Puts an output back, and closes another one where too many are open.
    pub(super) fn keep_output(&self, outputs: &mut Outputs, mut output: Output) {
        outputs.clock += 1;
        output.used = outputs.clock;
        if outputs.open.len() >= OPEN_MAX {
            let oldest = outputs.open.values().min_by_key(|it| it.used);
            let oldest = oldest.map(|it| it.path.clone());
            if let Some(oldest) = oldest.and_then(|path| outputs.open.remove(&path)) {
                self.close(oldest);
            }
        }
        outputs.open.insert(output.path.clone(), output);
    }

    /// Closes an output. What it was given is still forced to disk before the journal that says so.
    pub(super) fn close(&self, output: Output) {
        if output.regular {
            self.cx.own_files.note(output.dev, output.ino, &output.head);
            if self.config.fsync == Fsync::Interval {
                self.cx.checkpoints.cover_closed(output.file);
            }
        }
    }

    fn reopen_if_asked(&self, outputs: &mut Outputs) {
        let asked = self.cx.reopen.asked();
        if outputs.reopened != asked {
            outputs.reopened = asked;
            for (_, output) in std::mem::take(&mut outputs.open) {
                self.close(output);
            }
        }
    }

    pub(super) fn open_output(&self, path: &Path, now: Instant) -> io::Result<Output> {
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o750).create(dir)?;
        }
        let file = open_for_append(path, self.config.mode)?;
        let metadata = file.metadata()?;
        let regular = metadata.is_file();
        let claim = if regular {
            Some(self.claim(&metadata)?)
        } else {
            None
        };
        let mut output = Output {
            path: path.to_owned(),
            real: real_path(path),
            file: Arc::new(file),
            dev: metadata.dev(),
            ino: metadata.ino(),
            regular,
            head: Vec::new(),
            born: born(&metadata),
            end: None,
            not_rotated: None,
            checked: now,
            used: 0,
            _claim: claim,
        };
        if regular {
            output.head = read_head(&output.file).unwrap_or_default();
            self.cx.own_files.note(output.dev, output.ino, &output.head);
            if self.config.fsync != Fsync::Never {
                self.cx.checkpoints.cover(&output.file);
            }
            if let Some(archive) = &self.archive {
                archive.wake(output.real.clone());
            }
        }
        Ok(output)
    }
}

impl Drop for Inner {
    /// What was written last is forced to disk with the last fsync of the journal.
    fn drop(&mut self) {
        let outputs = self.outputs.get_mut().map(std::mem::take);
        let outputs = outputs.unwrap_or_else(|poisoned| std::mem::take(poisoned.into_inner()));
        let begun = outputs.begun.and_then(Begun::into_output);
        outputs
            .open
            .into_values()
            .chain(begun)
            .for_each(|output| self.close(output));
    }
}

impl Inner {
    /// Makes sure that no other sink writes to a file.
    fn claim(&self, metadata: &Metadata) -> io::Result<Claim> {
        let claims = self.cx.own_files.claims();
        let claim = claims.claim((metadata.dev(), metadata.ino()), &self.cx.name);
        claim.map_err(|other| {
            io::Error::other(format!(
                "sink `{other}` writes to this file, too: give each sink a file of its own"
            ))
        })
    }
}

impl Output {
    /// True while the path names this file; asked of the system at most once a second.
    fn is_current(&mut self, now: Instant) -> bool {
        if !self.regular || now.duration_since(self.checked) < CHECK_INTERVAL {
            return true;
        }
        self.checked = now;
        self.is_at(&self.path)
    }

    /// True where `path` names this file.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        let there = std::fs::metadata(path);
        there.is_ok_and(|it| (it.dev(), it.ino()) == (self.dev, self.ino))
    }

    /// True where somebody else wrote to it, or a run that nothing is known of, and it ends in the
    /// middle of a line. One that cannot be read is taken to be in order.
    pub(super) fn is_mid_line(&self, len: u64) -> bool {
        if len == 0 || self.end == Some(len) {
            return false;
        }
        let mut last = [b'\n'];
        let read = self.file.read_exact_at(&mut last, len - 1);
        read.is_ok() && last != [b'\n']
    }

    /// Looks at the first bytes again as long as they are few.
    pub(super) fn note_head(&mut self) -> bool {
        if !self.regular || self.head.len() >= HEAD_BYTES {
            return false;
        }
        self.head = read_head(&self.file).unwrap_or_default();
        true
    }
}

fn open_for_append(path: &Path, mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(mode);
    // Reading serves the fingerprint only; a FIFO or a write-only file does without.
    match options.clone().read(true).open(path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => options.open(path),
        opened => opened,
    }
}

fn real_path(path: &Path) -> PathBuf {
    let is_link = path.symlink_metadata().is_ok_and(|it| it.is_symlink());
    let real = if is_link {
        path.canonicalize().ok()
    } else {
        None
    };
    real.unwrap_or_else(|| path.to_owned())
}

/// Where the file system does not remember when a file was made, it was now.
fn born(metadata: &Metadata) -> SystemTime {
    metadata.created().unwrap_or_else(|_| SystemTime::now())
}
