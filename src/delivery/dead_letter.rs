//! The dead-letter file: lines that a collector refuses for good, with status and reason.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::Serialize;
use tokio::task::spawn_blocking;

use crate::model::{Batch, LineSet};
use crate::queue::Chunk;

/// A dead-letter file holds at most this much; when it is full the sink pauses.
const BYTES_MAX: u64 = 1 << 30;

/// Appends refused lines as NDJSON. Opened at the first one.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    path: PathBuf,
    file: Arc<Mutex<Option<File>>>,
}

/// One refused line.
#[derive(Serialize)]
struct Entry<'a> {
    sink: &'a str,
    status: u16,
    reason: &'a str,
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    offset: u64,
    line: String,
    /// The line's bytes in base64, where `line` cannot show them all.
    #[serde(skip_serializing_if = "Option::is_none")]
    b64: Option<String>,
}

/// Why lines were refused.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) which: LineSet,
    pub(super) status: u16,
    pub(super) reason: String,
}

impl DeadLetter {
    /// Names the file; its folder is created when it is first needed.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: Arc::default(),
        }
    }

    /// The file.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Appends lines of a batch, all of them or none.
    ///
    /// # Errors
    /// The file cannot be written or is full.
    pub(super) async fn write(
        &self,
        sink: &str,
        batch: &Batch<Chunk>,
        refusals: &[Refusal],
    ) -> io::Result<()> {
        let mut body = Vec::new();
        for refusal in refusals {
            append_entries(&mut body, sink, batch, refusal)?;
        }
        let this = self.clone();
        spawn_blocking(move || this.append(&body))
            .await
            .map_err(io::Error::other)?
    }

    fn append(&self, body: &[u8]) -> io::Result<()> {
        let mut slot = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever moves a full file away makes room for a new one.
        let file = match slot.take() {
            Some(file) if self.is_at_its_path(&file)? => file,
            _ => self.open()?,
        };
        let file = slot.insert(file);
        let len = file.metadata()?.len();
        if len + body.len() as u64 > BYTES_MAX {
            return Err(io::Error::other("the file is full (1 GiB): move it away"));
        }
        // The lines' places move on only once they are safe here, power cuts included.
        let written = file.write_all(body).and_then(|()| file.sync_data());
        if written.is_err() {
            // A torn entry would spoil the file for its readers.
            let _ = file.set_len(len);
        }
        written
    }

    fn is_at_its_path(&self, file: &File) -> io::Result<bool> {
        let open = file.metadata()?;
        let there = std::fs::metadata(&self.path);
        Ok(there.is_ok_and(|it| (it.dev(), it.ino()) == (open.dev(), open.ino())))
    }

    fn open(&self) -> io::Result<File> {
        if let Some(dir) = self.path.parent() {
            DirBuilder::new().recursive(true).mode(0o750).create(dir)?;
        }
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o640)
            .open(&self.path)
    }
}

fn append_entries(
    out: &mut Vec<u8>,
    sink: &str,
    batch: &Batch<Chunk>,
    refusal: &Refusal,
) -> io::Result<()> {
    let counts = batch.items.iter().map(|chunk| chunk.lines.count());
    for run in refusal.which.runs(counts) {
        let chunk = &batch.items[run.item];
        for line in chunk.lines.slice(run.lines).iter() {
            let entry = Entry {
                sink,
                status: refusal.status,
                reason: &refusal.reason,
                source: &chunk.origin.source,
                file: chunk.origin.path.as_deref(),
                offset: line.offset,
                line: String::from_utf8_lossy(line.text).into_owned(),
                b64: std::str::from_utf8(line.text)
                    .is_err()
                    .then(|| BASE64_STANDARD.encode(line.text)),
            };
            serde_json::to_writer(&mut *out, &entry).map_err(io::Error::other)?;
            out.push(b'\n');
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_moved_away_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rejected/out.ndjson");
        let dead_letter = DeadLetter::new(path.clone());

        dead_letter.append(b"one\n").unwrap();
        dead_letter.append(b"two\n").unwrap();
        std::fs::rename(&path, dir.path().join("moved")).unwrap();
        dead_letter.append(b"three\n").unwrap();

        assert_eq!(
            std::fs::read(dir.path().join("moved")).unwrap(),
            b"one\ntwo\n"
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"three\n");
    }
}
