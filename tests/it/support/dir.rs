//! A fresh directory per test, and the files in it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A directory that goes away with the test.
pub(crate) struct Dir(TempDir);

impl Dir {
    /// Makes an empty one.
    pub(crate) fn new() -> Self {
        Self(
            tempfile::Builder::new()
                .prefix("logweir-it-")
                .tempdir()
                .expect("a fresh directory"),
        )
    }

    /// Names a file in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Its own path, as the text that configs and command lines take.
    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name)
            .into_os_string()
            .into_string()
            .expect("temporary paths are UTF-8")
    }

    /// Writes a whole file.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("writes a test file");
        path
    }

    /// Appends to a file, creating it where it is missing.
    pub(crate) fn append(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let mut file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.path(name))
            .expect("opens a test file");
        file.write_all(bytes.as_ref())
            .expect("appends to a test file");
    }

    /// Reads a whole file; one that does not exist is empty.
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        read(&self.path(name))
    }

    /// The size of a file; one that does not exist is empty.
    pub(crate) fn size(&self, name: &str) -> u64 {
        fs::metadata(self.path(name)).map_or(0, |meta| meta.len())
    }

    /// Writes `agent.toml`: `toml` with `{dir}` replaced, after an `[agent]` table whose state is
    /// in this directory.
    pub(crate) fn config(&self, toml: &str) -> PathBuf {
        self.bare_config(&format!(
            "[agent]\nstate = \"{{dir}}/state\"\nshutdown = \"10s\"\n\n{toml}"
        ))
    }

    /// Writes an `agent.toml` that copies `app.log` to `out.log`, raw; `sink` is further keys of the
    /// sink.
    pub(crate) fn copy_config(&self, sink: &str) -> PathBuf {
        self.config(&format!(
            "[source.app]\npath = \"{{dir}}/app.log\"\n\n\
             [sink.out]\npath = \"{{dir}}/out.log\"\nformat = \"raw\"\n{sink}\n"
        ))
    }

    /// Writes `agent.toml`: `toml` with `{dir}` replaced, and nothing else.
    pub(crate) fn bare_config(&self, toml: &str) -> PathBuf {
        let dir = self.0.path().to_str().expect("temporary paths are UTF-8");
        self.write("agent.toml", toml.replace("{dir}", dir))
    }

    /// Every regular file below a folder of it, in order of their paths.
    pub(crate) fn files_below(&self, name: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.path(name)];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = fs::read_dir(&folder) else {
                continue;
            };
            for entry in entries {
                let path = entry.expect("lists a test folder").path();
                let kind = fs::symlink_metadata(&path)
                    .expect("stats a test file")
                    .file_type();
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_file() {
                    found.push(path);
                }
            }
        }
        found.sort();
        found
    }
}

/// Reads a whole file; one that does not exist is empty.
pub(crate) fn read(path: &Path) -> Vec<u8> {
    match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => panic!("reads {}: {error}", path.display()),
    }
}
