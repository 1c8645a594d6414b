//! The file sink: appends, and is exactly once for input that comes from files.
//!
//! Before each write the journal gets an *intent*: which file, from which length to which, the
//! bytes' checksum, and where the cursors stand afterwards. At the start the last intent is compared
//! with the file: carried out (its positions are adopted), torn (what was written of it is saved and
//! cut off), or unknown (nothing is touched, the batch is written again).

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;
use tracing::{info, warn};
use twox_hash::XxHash3_64;

use super::body::{Bodies, Body};
use crate::checkpoint::{Checkpoints, CursorRecord, Intent, OutputId, to_record};
use crate::delivery::{Part, Sink, SinkError};
use crate::encoding::Encoder;
use crate::model::Batch;
use crate::queue::Chunk;

/// How many of the first bytes identify an output, beside device and inode.
const HEAD_BYTES: usize = 1024;

/// How often it is checked that the path still names the open file.
const REOPEN_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Which file is appended to, and how safely.
#[derive(Clone, Debug, PartialEq)]
pub struct FileSinkConfig {
    /// The output file; created with `mode` where it is missing.
    pub path: PathBuf,
    /// When written bytes are forced to disk.
    pub fsync: Fsync,
    /// Permission bits of a new file.
    pub mode: u32,
}

/// When written bytes are forced to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// By the operating system alone.
    Never,
    /// Once a second.
    Interval,
    /// After every batch, before it is acknowledged.
    Batch,
}

/// Appends batches to one file.
#[derive(Debug)]
pub struct FileSink(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: Arc<str>,
    config: FileSinkConfig,
    bodies: Bodies,
    checkpoints: Checkpoints,
    output: Mutex<Option<Output>>,
}

/// The open output file.
#[derive(Debug)]
struct Output {
    file: Arc<File>,
    dev: u64,
    ino: u64,
    /// False for devices and FIFOs, which have no length to speak of.
    regular: bool,
    /// The first bytes, up to [`HEAD_BYTES`].
    head: Vec<u8>,
    checked: Instant,
    /// A write that failed half-way, to be continued by its retry.
    begun: Option<Begun>,
}

#[derive(Debug)]
struct Begun {
    number: u64,
    written: usize,
}

/// A batch as it will stand in the file.
#[derive(Debug)]
pub struct Payload {
    body: Body,
    crc: u32,
    number: u64,
    after: Vec<CursorRecord>,
}

impl FileSink {
    /// Prepares the sink: what the last run may have left half-written is settled first. Blocks.
    pub fn open(
        name: Arc<str>,
        config: FileSinkConfig,
        encoder: Encoder,
        checkpoints: Checkpoints,
    ) -> Self {
        for intent in checkpoints.open_intents(&name) {
            recover(&intent, &checkpoints);
        }
        let output = Mutex::new(None);
        Self(Arc::new(Inner {
            name,
            config,
            bodies: Bodies::new(encoder),
            checkpoints,
            output,
        }))
    }
}

impl Sink for FileSink {
    type Payload = Arc<Payload>;

    fn encode(&self, batch: &Batch<Chunk>, part: &Part) -> Arc<Payload> {
        let body = self.0.bodies.encode(batch, part);
        let mut crc = crc32fast::Hasher::new();
        body.pieces.iter().for_each(|piece| crc.update(piece));
        let after = cursors_after(batch);
        Arc::new(Payload {
            body,
            crc: crc.finalize(),
            number: batch.number,
            after,
        })
    }

    fn n_cut(&self, payload: &Arc<Payload>) -> u64 {
        payload.body.cut
    }

    async fn deliver(&self, payload: &Arc<Payload>) -> Result<(), SinkError> {
        let (inner, payload) = (Arc::clone(&self.0), Arc::clone(payload));
        let path = self.0.config.path.display();
        match spawn_blocking(move || inner.write(&payload)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(SinkError::Retryable {
                cause: format!("{path}: {error}"),
                after: None,
            }),
            Err(panic) => Err(SinkError::Fatal {
                cause: format!("{path}: {panic}"),
            }),
        }
    }
}

/// Where each cursor stands once the whole batch is written.
fn cursors_after(batch: &Batch<Chunk>) -> Vec<CursorRecord> {
    let mut after: Vec<CursorRecord> = Vec::new();
    for chunk in &batch.items {
        let Some(cursor) = to_record(chunk.ack.key(), chunk.ack.end()) else {
            continue;
        };
        let same = |known: &&mut CursorRecord| {
            known.stream == cursor.stream && known.source == cursor.source
        };
        match after.iter_mut().find(same) {
            Some(known) => *known = cursor,
            None => after.push(cursor),
        }
    }
    after
}

impl Inner {
    fn write(&self, payload: &Payload) -> io::Result<()> {
        let mut slot = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let moved_away = |output: &mut Output| !output.is_current(&self.config.path, now);
        if slot.as_mut().is_some_and(moved_away) {
            info!(sink = %self.name, path = %self.config.path.display(), "output was moved away: opened again");
            *slot = None;
        }
        let output = match &mut *slot {
            Some(output) => output,
            None => slot.insert(self.open_output(now)?),
        };
        let skip = match output.begun.take() {
            Some(begun) if begun.number == payload.number => begun.written,
            _ => {
                self.intend(output, payload)?;
                0
            }
        };
        let mut written = skip;
        let result = write_from(&output.file, &payload.body, &mut written);
        output.note_head(&payload.body);
        if result.is_err() {
            output.begun = Some(Begun {
                number: payload.number,
                written,
            });
            return result;
        }
        if self.config.fsync == Fsync::Batch && output.regular {
            output.file.sync_data()?;
        }
        Ok(())
    }

    fn open_output(&self, now: Instant) -> io::Result<Output> {
        let path = &self.config.path;
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o750).create(dir)?;
        }
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(self.config.mode);
        // Reading serves the fingerprint only; a FIFO or a write-only file does without.
        let file = match options.clone().read(true).open(path) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => options.open(path)?,
            opened => opened?,
        };
        let metadata = file.metadata()?;
        let file = Arc::new(file);
        let regular = metadata.is_file();
        let head = if regular {
            read_head(&file).unwrap_or_default()
        } else {
            Vec::new()
        };
        if regular && self.config.fsync != Fsync::Never {
            self.checkpoints.cover(&file);
        }
        let (dev, ino) = (metadata.dev(), metadata.ino());
        Ok(Output {
            file,
            dev,
            ino,
            regular,
            head,
            checked: now,
            begun: None,
        })
    }

    fn intend(&self, output: &Output, payload: &Payload) -> io::Result<()> {
        if !output.regular || payload.after.is_empty() {
            return Ok(());
        }
        let start = output.file.metadata()?.len();
        let intent = Intent {
            sink: self.name.to_string(),
            output: OutputId {
                path: self.config.path.display().to_string(),
                dev: output.dev,
                ino: output.ino,
                head_len: u32::try_from(output.head.len()).expect("at most 1024"),
                head_hash: XxHash3_64::oneshot(&output.head),
            },
            start,
            end: start + payload.body.len as u64,
            crc: payload.crc,
            after: payload.after.clone(),
        };
        self.checkpoints.intend(intent)
    }
}

impl Output {
    /// True while the path names this file; asked of the system at most once a second. A batch
    /// that is half-written belongs into this file wherever it is now.
    fn is_current(&mut self, path: &Path, now: Instant) -> bool {
        let due = now.duration_since(self.checked) >= REOPEN_CHECK_INTERVAL;
        if !due || !self.regular || self.begun.is_some() {
            return true;
        }
        self.checked = now;
        std::fs::metadata(path)
            .is_ok_and(|there| there.dev() == self.dev && there.ino() == self.ino)
    }

    fn note_head(&mut self, body: &Body) {
        if self.regular && self.head.len() < HEAD_BYTES && body.len > 0 {
            self.head = read_head(&self.file).unwrap_or_default();
        }
    }
}

/// Writes what is left of `body` after its first `written` bytes, and counts it there.
fn write_from(mut file: &File, body: &Body, written: &mut usize) -> io::Result<()> {
    let mut skip = *written;
    for piece in &body.pieces {
        let mut rest = &piece[skip.min(piece.len())..];
        skip = skip.saturating_sub(piece.len());
        while !rest.is_empty() {
            #[expect(clippy::disallowed_methods, reason = "the loop counts short writes")]
            match file.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(len) => {
                    *written += len;
                    rest = &rest[len..];
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

fn read_head(file: &File) -> io::Result<Vec<u8>> {
    let mut head = vec![0; HEAD_BYTES];
    let mut len = 0;
    while len < HEAD_BYTES {
        match file.read_at(&mut head[len..], len as u64)? {
            0 => break,
            read => len += read,
        }
    }
    head.truncate(len);
    Ok(head)
}

/// Finds out whether an intent was carried out, and makes file and positions agree. What cannot be
/// told is left alone.
fn recover(intent: &Intent, checkpoints: &Checkpoints) {
    let outcome = settle_intent(intent, checkpoints);
    let (sink, path) = (&intent.sink, &intent.output.path);
    match outcome {
        Ok(Outcome::CarriedOut) => info!(sink, path, "the last batch was written: not repeated"),
        Ok(Outcome::NotBegun) => {}
        Ok(Outcome::Cut { bytes, saved }) => warn!(
            sink, path, bytes, saved = %saved.display(),
            "the last batch was torn: what was written of it is saved and cut off"
        ),
        Ok(Outcome::Unknown(reason)) => warn!(
            sink,
            path,
            reason,
            "cannot tell whether the last batch was written: nothing is cut, it is written again"
        ),
        Err(error) => warn!(
            sink, path, %error,
            "cannot tell whether the last batch was written: nothing is cut, it is written again"
        ),
    }
}

enum Outcome {
    CarriedOut,
    NotBegun,
    Cut { bytes: u64, saved: PathBuf },
    Unknown(&'static str),
}

fn settle_intent(intent: &Intent, checkpoints: &Checkpoints) -> io::Result<Outcome> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&intent.output.path)?;
    let metadata = file.metadata()?;
    if let Some(reason) = other_file(&intent.output, &file, &metadata)? {
        return Ok(Outcome::Unknown(reason));
    }
    let size = metadata.len();
    if size < intent.start {
        return Ok(Outcome::Unknown(
            "the file is shorter than before the write",
        ));
    }
    if size == intent.start {
        return Ok(Outcome::NotBegun);
    }
    let len = usize::try_from(intent.end.min(size) - intent.start).map_err(io::Error::other)?;
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, intent.start)?;
    if size >= intent.end {
        if crc32fast::hash(&bytes) != intent.crc {
            return Ok(Outcome::Unknown("other bytes stand in its place"));
        }
        checkpoints.adopt(intent)?;
        return Ok(Outcome::CarriedOut);
    }
    let saved = save_cut(&bytes, intent, checkpoints)?;
    file.set_len(intent.start)?;
    file.sync_data()?;
    Ok(Outcome::Cut {
        bytes: bytes.len() as u64,
        saved,
    })
}

/// Why `file` is not the one that the intent speaks of; `None` where it is.
fn other_file(id: &OutputId, file: &File, metadata: &Metadata) -> io::Result<Option<&'static str>> {
    if !metadata.is_file() {
        return Ok(Some("it is not a regular file"));
    }
    if (metadata.dev(), metadata.ino()) != (id.dev, id.ino) {
        return Ok(Some("another file has its path"));
    }
    let mut head = read_head(file)?;
    head.truncate(id.head_len as usize);
    if head.len() < id.head_len as usize || XxHash3_64::oneshot(&head) != id.head_hash {
        return Ok(Some("its beginning has changed"));
    }
    Ok(None)
}

/// Saves bytes that are about to be cut off, in `<state>/cut/`.
fn save_cut(bytes: &[u8], intent: &Intent, checkpoints: &Checkpoints) -> io::Result<PathBuf> {
    let state = checkpoints
        .dir()
        .ok_or_else(|| io::Error::other("no state directory"))?;
    let dir = state.join("cut");
    DirBuilder::new().recursive(true).mode(0o750).create(&dir)?;
    let name = |n: u32| dir.join(format!("{}-{}-{n}", intent.sink, intent.start));
    let path = (0..)
        .map(name)
        .find(|path| !path.exists())
        .expect("fewer than 2^32 cuts");
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(&path)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    Ok(path)
}
