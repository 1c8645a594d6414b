//! The file sink: appends, and is exactly once for input that comes from files.
//!
//! Before each write the journal gets an *intent*: which file, from which length to which, the
//! bytes' checksums, and where the cursors stand afterwards. At the start the last intent is compared
//! with the file: carried out (its positions are adopted), torn (what was written of it is saved and
//! cut off), or unknown (nothing is touched, the batch is written again).
//!
//! A batch whose lines belong into several files makes one write to each, one after the other, each
//! with its intent; it is delivered once all of them are made. All lines of one stream in a batch go
//! to one file, so that each write can be told from the others after a crash.

mod archive;
mod open;
mod payload;
mod recover;
mod rotate;
mod sums;
mod write;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

pub use payload::Payload;
pub use rotate::Rotate;

use super::body::Bodies;
use crate::blocking::Crew;
use crate::checkpoint::Checkpoints;
use crate::delivery::{Part, Sink, SinkError};
use crate::encoding::Encoder;
use crate::model::Batch;
use crate::outputs::{OwnFiles, Template};
use crate::queue::Chunk;
use archive::Archive;
use open::Outputs;
use sums::Foresight;

/// Which files are appended to, and how safely.
#[derive(Clone, Debug, PartialEq)]
pub struct FileSinkConfig {
    /// The output file; created with `mode` where it is missing.
    pub path: Template,
    /// When written bytes are forced to disk.
    pub fsync: Fsync,
    /// When an output is put aside and a new one begun; `None`: never.
    pub rotate: Option<Rotate>,
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

/// Asks sinks to open their files anew, as after somebody renamed them.
#[derive(Clone, Debug, Default)]
pub struct Reopen(Arc<AtomicU64>);

impl Reopen {
    /// Asks for it: each sink does so before its next write.
    pub fn ask(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it was asked for.
    fn asked(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a file sink is given beside its configuration.
#[derive(Debug)]
pub struct Surroundings {
    /// The sink's name.
    pub name: Arc<str>,
    /// This machine's name, for `{host}`.
    pub host: String,
    /// Where intents and positions are kept.
    pub checkpoints: Checkpoints,
    /// Where writes are made.
    pub crew: Crew,
    /// What sources must not read.
    pub own_files: Arc<OwnFiles>,
    /// When to open the outputs anew.
    pub reopen: Reopen,
}

/// Appends batches to files.
#[derive(Debug)]
pub struct FileSink(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: FileSinkConfig,
    cx: Surroundings,
    bodies: Bodies,
    archive: Option<Arc<Archive>>,
    foresight: Foresight,
    outputs: Mutex<Outputs>,
}

impl FileSink {
    /// Prepares the sink: what the last run may have left half-written is settled first. Blocks.
    pub fn open(config: FileSinkConfig, encoder: Encoder, cx: Surroundings) -> Self {
        recover::recover(&cx);
        let archive = config.rotate.map(|rotate| Arc::new(Archive::new(rotate)));
        let this = Self(Arc::new(Inner {
            config,
            cx,
            bodies: Bodies::new(encoder),
            archive,
            foresight: Foresight::default(),
            outputs: Mutex::default(),
        }));
        this.0.tidy_up();
        this
    }
}

impl Sink for FileSink {
    type Payload = Arc<Payload>;

    fn encode(&self, batch: &Batch<Chunk>, _whole: &Part) -> Arc<Payload> {
        // A batch of a file sink is never delivered in parts: see the limits in `agent`.
        let Inner {
            config,
            cx,
            bodies,
            foresight,
            ..
        } = &*self.0;
        let mut payload = payload::encode(bodies, batch, &config.path, &cx.host);
        if let [write] = &mut payload.writes[..]
            && !config.path.has_source()
        {
            write.foretold = Some(foresight.foretell(&write.body));
        }
        Arc::new(payload)
    }

    fn n_cut(&self, payload: &Arc<Payload>) -> u64 {
        payload.writes.iter().map(|write| write.body.cut).sum()
    }

    async fn deliver(&self, payload: &Arc<Payload>) -> Result<(), SinkError> {
        let (inner, payload) = (Arc::clone(&self.0), Arc::clone(payload));
        match self.0.cx.crew.run(move || inner.write(&payload)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(trouble)) => Err(SinkError::Retryable {
                cause: trouble.to_string(),
                after: None,
            }),
            Err(panic) => Err(SinkError::Fatal {
                cause: format!("{}: {panic}", self.0.config.path.text()),
            }),
        }
    }
}
