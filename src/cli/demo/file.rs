//! A file that grows in a folder of its own, which is removed at the end.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::feed::Feed;

/// The file and its folder.
#[derive(Debug)]
pub(super) struct AppLog {
    folder: PathBuf,
    path: PathBuf,
    file: File,
}

impl AppLog {
    /// Creates an empty file that only this user can read.
    pub(super) fn create() -> io::Result<Self> {
        let name = format!("logweir-demo-{}", crate::random::id());
        let folder = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&folder)?;
        let path = folder.join("app.log");
        let file = OpenOptions::new().append(true).create_new(true).open(&path);
        match file {
            Ok(file) => Ok(Self { folder, path, file }),
            Err(error) => {
                remove(&folder);
                Err(error)
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends the lines of `feed` until it is dropped or the disk is full.
    pub(super) fn writer(&self, feed: Feed) -> impl Future<Output = ()> + Send + use<> {
        let file = self.file.try_clone();
        async move {
            let Ok(mut file) = file else { return };
            for n in 0.. {
                let lines = feed.line(n).await;
                // A few hundred bytes into the page cache: microseconds.
                if file.write_all(format!("{lines}\n").as_bytes()).is_err() {
                    return;
                }
            }
        }
    }
}

impl Drop for AppLog {
    fn drop(&mut self) {
        remove(&self.folder);
    }
}

fn remove(folder: &Path) {
    // What cannot be removed is left to whoever tidies the temporary files.
    let _ = std::fs::remove_dir_all(folder);
}
