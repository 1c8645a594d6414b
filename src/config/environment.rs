//! What a configuration takes from outside its files: variables, token files, who runs it.

use std::env::VarError;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::http::{ClientError, Tls};

/// A referenced file is a token, a password or a name: anything longer is a mistake.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// A file behind `${file:…}` or `${cred:…}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferencedFile {
    /// Its whole text.
    pub text: String,
    /// True if every user of the machine may read it.
    pub world_readable: bool,
}

/// Where references are looked up; tests bring their own.
pub trait Environment {
    /// The value of an environment variable.
    ///
    /// # Errors
    /// As [`std::env::var`].
    fn var(&self, name: &str) -> Result<String, VarError>;

    /// Reads a referenced file.
    ///
    /// # Errors
    /// If it cannot be read, is not UTF-8, or is longer than 64 KiB.
    fn file(&self, path: &Path) -> io::Result<ReferencedFile>;

    /// True if the process runs as root.
    fn is_root(&self) -> bool;

    /// Reads certificates and keys.
    ///
    /// # Errors
    /// If they cannot be read, or are none.
    fn tls(&self, tls: &Tls) -> Result<(), ClientError>;
}

/// The environment of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn tls(&self, tls: &Tls) -> Result<(), ClientError> {
        tls.read()
    }

    fn var(&self, name: &str) -> Result<String, VarError> {
        std::env::var(name)
    }

    fn file(&self, path: &Path) -> io::Result<ReferencedFile> {
        let file = std::fs::File::open(path)?;
        let world_readable = file.metadata()?.permissions().mode() & 0o004 != 0;
        let mut text = String::new();
        file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "longer than 64 KiB",
            ));
        }
        Ok(ReferencedFile {
            text,
            world_readable,
        })
    }

    fn is_root(&self) -> bool {
        rustix::process::geteuid().is_root()
    }
}
