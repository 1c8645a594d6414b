//! Why the checkpoints cannot be used, and what to do about it.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Why the checkpoints cannot be used.
#[derive(Debug)]
pub struct OpenError {
    /// The state directory, or the journal in it.
    path: PathBuf,
    trouble: Trouble,
}

#[derive(Debug)]
enum Trouble {
    /// The directory cannot be made or locked.
    Directory {
        attempt: &'static str,
        cause: io::Error,
    },
    /// Another process uses the directory.
    Locked {
        /// Who holds it, as far as the lock file says.
        holder: String,
    },
    /// The one file of an ad-hoc run cannot be one.
    CursorFile { reason: String },
    /// The one file of an ad-hoc run cannot be read or written.
    CursorFileFails { cause: io::Error },
    /// The journal cannot be read or written.
    Journal {
        attempt: &'static str,
        cause: io::Error,
    },
}

impl OpenError {
    /// What the system said when the directory was to `attempt`.
    pub(super) fn directory(dir: &Path, attempt: &'static str) -> impl Fn(io::Error) -> Self {
        let trouble = move |cause| Trouble::Directory { attempt, cause };
        move |cause| Self {
            path: dir.to_owned(),
            trouble: trouble(cause),
        }
    }

    /// What the system said when the journal was to `attempt`.
    pub(super) fn journal(path: &Path, attempt: &'static str) -> impl Fn(io::Error) -> Self {
        let trouble = move |cause| Trouble::Journal { attempt, cause };
        move |cause| Self {
            path: path.to_owned(),
            trouble: trouble(cause),
        }
    }

    /// Another process uses the directory.
    pub(super) fn locked(dir: &Path, holder: String) -> Self {
        Self {
            path: dir.to_owned(),
            trouble: Trouble::Locked { holder },
        }
    }

    /// Why the one file of an ad-hoc run cannot be used.
    pub(super) fn cursor_file(path: &Path, reason: String) -> Self {
        Self {
            path: path.to_owned(),
            trouble: Trouble::CursorFile { reason },
        }
    }

    /// What the system said about the one file of an ad-hoc run.
    pub(super) fn cursor_file_fails(path: &Path, cause: io::Error) -> Self {
        Self {
            path: path.to_owned(),
            trouble: Trouble::CursorFileFails { cause },
        }
    }

    /// The same of the one file of an ad-hoc run.
    pub(super) fn of_cursor_file(self, path: &Path) -> Self {
        match self.trouble {
            Trouble::Directory { cause, .. } | Trouble::Journal { cause, .. } => {
                Self::cursor_file_fails(path, cause)
            }
            Trouble::Locked { .. }
            | Trouble::CursorFile { .. }
            | Trouble::CursorFileFails { .. } => self,
        }
    }

    /// True where another file must be named on the command line, or this one made usable.
    pub fn is_usage(&self) -> bool {
        match &self.trouble {
            Trouble::CursorFile { .. } => true,
            Trouble::CursorFileFails { cause } => !is_full(cause.kind()),
            Trouble::Directory { .. } | Trouble::Locked { .. } | Trouble::Journal { .. } => false,
        }
    }

    /// True where there is no room: it may be there the next time.
    pub fn is_full_disk(&self) -> bool {
        self.cause().is_some_and(|it| is_full(it.kind()))
    }

    fn cause(&self) -> Option<&io::Error> {
        match &self.trouble {
            Trouble::Directory { cause, .. }
            | Trouble::Journal { cause, .. }
            | Trouble::CursorFileFails { cause } => Some(cause),
            Trouble::Locked { .. } | Trouble::CursorFile { .. } => None,
        }
    }
}

fn is_full(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

impl std::error::Error for OpenError {}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.trouble {
            Trouble::Directory { attempt, cause } => {
                write!(f, "state directory {path}: cannot {attempt}: {cause}")?;
            }
            Trouble::Journal { attempt, cause } => {
                write!(f, "checkpoint journal {path}: cannot {attempt}: {cause}")?;
            }
            Trouble::CursorFile { reason } => write!(f, "cursor file {path}: {reason}")?,
            Trouble::CursorFileFails { cause } => write!(f, "cursor file {path}: {cause}")?,
            Trouble::Locked { holder } => write!(
                f,
                "state directory {path}: in use by another logweir ({holder}): stop that one, or \
                 give each a `state` of its own"
            )?,
        }
        let is_cursor_file = matches!(self.trouble, Trouble::CursorFileFails { .. });
        let user = rustix::process::geteuid();
        match self.cause().map(io::Error::kind) {
            Some(ErrorKind::PermissionDenied) => {
                write!(f, ": let user {} read and write it", user.as_raw())
            }
            Some(kind) if is_cursor_file && !is_full(kind) => f.write_str(": name another one"),
            Some(ErrorKind::ReadOnlyFilesystem) => f.write_str(
                ": mount it to be written, or set `state` in [agent] to a directory elsewhere",
            ),
            Some(kind) if is_full(kind) => f.write_str(": make room there"),
            Some(_) => f.write_str(": `state` in [agent] says where it is"),
            None => Ok(()),
        }
    }
}
