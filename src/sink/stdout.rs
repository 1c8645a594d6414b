//! The stdout sink: writes each batch at once, ends silently when the reader has gone.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, poll};

use super::body::{Bodies, Body};
use crate::blocking::Crew;
use crate::delivery::{Part, Sink, SinkError};
use crate::encoding::Encoder;
use crate::model::Batch;
use crate::queue::Chunk;
use crate::terminal;

/// Held by whoever writes.
static WRITING: Mutex<()> = Mutex::new(());

/// Writes lines to this process's standard output.
#[derive(Debug)]
pub struct StdoutSink {
    bodies: Bodies,
    /// A duplicate of file descriptor 1: `std::io::stdout()` would flush at every newline.
    out: Arc<File>,
    /// Lines still wanted; absent without a limit.
    wanted: Option<AtomicU64>,
    crew: Crew,
}

impl StdoutSink {
    /// Opens standard output. With `limit`, delivery ends after so many lines.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn open(encoder: Encoder, limit: Option<u64>) -> io::Result<Self> {
        let out = Arc::new(File::from(io::stdout().as_fd().try_clone_to_owned()?));
        Ok(Self {
            bodies: Bodies::new(encoder),
            out,
            wanted: limit.map(AtomicU64::new),
            crew: Crew::default(),
        })
    }

    /// The duplicate, to watch it for a reader that goes.
    pub fn file(&self) -> Arc<File> {
        Arc::clone(&self.out)
    }

    /// How many of so many lines are still wanted, and whether the limit is reached with them.
    fn within_limit(&self, lines: u64) -> (u64, bool) {
        let Some(wanted) = &self.wanted else {
            return (lines, false);
        };
        let left = wanted.load(Ordering::Relaxed);
        wanted.store(left.saturating_sub(lines), Ordering::Relaxed);
        (lines.min(left), lines >= left)
    }
}

/// What is still wanted of a part of a batch.
#[derive(Debug)]
pub struct Wanted {
    body: Body,
    /// True where the limit is reached with it.
    is_last: bool,
}

impl Sink for StdoutSink {
    type Payload = Wanted;

    /// Batches are encoded one by one, in their order, and never again: so the limit is kept here, where
    /// lines are still told apart. One that is read as several in the output is given out whole.
    fn encode(&self, batch: &Batch<Chunk>, part: &Part) -> Wanted {
        let total = batch.weight.lines;
        let (wanted, is_last) = self.within_limit(part.which.len(total));
        let part = Part {
            which: part.which.first(wanted, total),
            suffix: part.suffix.clone(),
        };
        let body = self.bodies.encode(batch, &part);
        Wanted { body, is_last }
    }

    fn hands_on(&self) -> bool {
        self.bodies.hands_on()
    }

    fn n_cut(&self, wanted: &Wanted) -> u64 {
        wanted.body.cut
    }

    async fn deliver(&self, wanted: &Wanted) -> Result<(), SinkError> {
        let pieces = wanted.body.pieces.clone();
        let out = Arc::clone(&self.out);
        let writing = self.crew.io(move || {
            terminal::records_come();
            // Of several sinks that print, each writes whole lines.
            let _whole = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
            pieces.iter().try_for_each(|piece| write_all(&out, piece))
        });
        let written = writing.await;
        match written {
            Ok(()) if wanted.is_last => Err(SinkError::Ended {
                owned: wanted.body.lines,
            }),
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                Err(SinkError::Ended { owned: 0 })
            }
            Err(error) => Err(SinkError::Fatal {
                cause: format!("cannot write to stdout: {error}"),
            }),
        }
    }
}

/// Writes everything, also where a process that shares the terminal made it non-blocking.
fn write_all(mut out: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        #[expect(clippy::disallowed_methods, reason = "the loop handles short writes")]
        match out.write(bytes) {
            Ok(len) => bytes = &bytes[len..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(out, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
