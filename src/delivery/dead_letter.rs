//! The dead-letter file: lines that a collector refuses for good, with status and reason. It is put
//! aside when it is large; nothing of it is ever deleted, so when all of it is too large the sink
//! pauses.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::Serialize;
use tokio::task::spawn_blocking;

use crate::model::{Batch, LineSet};
use crate::outputs::rotated;
use crate::queue::Chunk;

/// How large one file becomes, and it and those that were put aside together; a single batch may be
/// larger.
#[derive(Clone, Copy, Debug)]
struct Limits {
    file_bytes: u64,
    all_bytes: u64,
}

/// Appends refused lines as NDJSON. Opened at the first one.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    path: PathBuf,
    limits: Limits,
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
        let limits = Limits {
            file_bytes: 64 << 20,
            all_bytes: 1 << 30,
        };
        Self {
            path,
            limits,
            file: Arc::default(),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
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
        let mut len = file.metadata()?.len();
        let more = body.len() as u64;
        if len > 0 && len + more > self.limits.file_bytes {
            self.put_aside(len + more)?;
            *file = self.open()?;
            len = file.metadata()?.len();
        }
        // The lines' places move on only once they are safe here, power cuts included.
        let written = file.write_all(body).and_then(|()| file.sync_data());
        if written.is_err() {
            // A torn entry would spoil the file for its readers.
            let _ = file.set_len(len);
        }
        written
    }

    /// Makes room for a new file, `bytes` being what this one and what comes now amount to.
    fn put_aside(&self, bytes: u64) -> io::Result<()> {
        let forms = |it: rotated::Rotated| [it.plain, it.compressed, it.unfinished];
        let aside = rotated::list(&self.path)?.into_values().flat_map(forms);
        let sizes = aside.flatten().filter_map(|path| path.metadata().ok());
        let all_bytes = bytes + sizes.map(|it| it.len()).sum::<u64>();
        if all_bytes > self.limits.all_bytes {
            return Err(io::Error::other(format!(
                "it and the files that were put aside beside it hold {} MiB, the most there may be: \
                 move some of them away",
                self.limits.all_bytes >> 20
            )));
        }
        rotated::put_aside(&self.path).map(drop)
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
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o640)
            .open(&self.path)?;
        // Without its name a new file is gone after a power cut.
        let dir = self.path.parent().filter(|dir| !dir.as_os_str().is_empty());
        File::open(dir.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(file)
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

    #[test]
    fn a_large_file_is_put_aside_and_when_all_is_full_nothing_is_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.ndjson");
        let limits = Limits {
            file_bytes: 8,
            all_bytes: 20,
        };
        let dead_letter = DeadLetter {
            limits,
            ..DeadLetter::new(path.clone())
        };
        let aside = || -> Vec<PathBuf> {
            let found = rotated::list(&path).unwrap().into_values();
            found.filter_map(|it| it.plain).collect()
        };

        for line in [b"one\n", b"two\n", b"3rd\n", b"4th\n", b"5th\n"] {
            dead_letter.append(line).unwrap();
        }
        let full = dead_letter.append(b"a longer one\n").unwrap_err();
        let text = |path: &Path| std::fs::read_to_string(path).unwrap();
        let texts: Vec<String> = aside().iter().map(|it| text(it)).collect();
        assert_eq!(texts, ["one\ntwo\n", "3rd\n4th\n"]);
        assert_eq!(text(&path), "5th\n");
        assert!(
            full.to_string().contains("move some of them away"),
            "{full}"
        );

        std::fs::remove_file(&aside()[0]).unwrap();
        std::fs::remove_file(&aside()[0]).unwrap();
        dead_letter.append(b"a longer one\n").unwrap();
        assert_eq!(text(&aside()[0]), "5th\n");
        assert_eq!(text(&path), "a longer one\n");
    }
}
