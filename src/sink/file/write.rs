//! One batch into its files: the intent, the bytes, and what is left to do after a failure.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use tracing::warn;
use twox_hash::XxHash3_64;

use super::open::{Output, Outputs};
use super::payload::{Payload, Write};
use super::{Fsync, Inner, recover};
use crate::checkpoint::{HEAD_BYTES, HeadAfter, Intent, OutputId};
use crate::sink::body::Body;

/// A batch that is written in part.
#[derive(Debug)]
pub(super) struct Begun {
    payload: Arc<Payload>,
    /// Writes that are made.
    made: usize,
    /// The output of the next write and how many bytes of it are there, once it was intended. It
    /// goes on in this file wherever that is now.
    open: Option<(Output, usize)>,
}

impl Begun {
    /// The output that it has open.
    pub(super) fn into_output(self) -> Option<Output> {
        self.open.map(|(output, _)| output)
    }
}

/// Which output could not be written, and why.
#[derive(Debug)]
pub(super) struct Trouble {
    path: PathBuf,
    error: io::Error,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot write to {}: {}", self.path.display(), self.error)
    }
}

impl Inner {
    /// Makes what is left of a batch's writes.
    pub(super) fn write(&self, payload: &Arc<Payload>) -> Result<(), Trouble> {
        let mut outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        let mut begun = match outputs.begun.take() {
            Some(begun) if Arc::ptr_eq(&begun.payload, payload) => begun,
            other => {
                if let Some(Begun {
                    open: Some((output, _)),
                    ..
                }) = other
                {
                    // Its lines come again in another batch.
                    self.close(output);
                    recover::recover(&self.cx);
                    outputs.made = false;
                }
                Begun {
                    payload: Arc::clone(payload),
                    made: 0,
                    open: None,
                }
            }
        };
        while let Some(write) = payload.writes.get(begun.made) {
            if let Err(error) = self.write_one(&mut outputs, write, &mut begun.open) {
                outputs.begun = Some(begun);
                let path = write.path.clone();
                return Err(Trouble { path, error });
            }
            begun.made += 1;
        }
        Ok(())
    }

    fn write_one(
        &self,
        outputs: &mut Outputs,
        write: &Write,
        open: &mut Option<(Output, usize)>,
    ) -> io::Result<()> {
        if open.is_none() {
            let output = self.ready(outputs, write)?;
            *open = Some((output, 0));
        }
        let Some((output, written)) = open else {
            return Ok(());
        };
        let result = write_from(&output.file, &write.body, written);
        if output.note_head() {
            self.cx.own_files.note(output.dev, output.ino, &output.head);
        }
        result?;
        if self.config.fsync == Fsync::Batch && output.regular {
            output.file.sync_data()?;
        }
        if let Some((output, _)) = open.take() {
            outputs.made |= output.regular;
            self.keep_output(outputs, output);
        }
        Ok(())
    }

    /// The output for a write, rotated where that is due, with the intent in the journal.
    fn ready(&self, outputs: &mut Outputs, write: &Write) -> io::Result<Output> {
        let mut output = self.take_output(outputs, &write.path)?;
        if !output.regular {
            return Ok(output);
        }
        let mut start = output.file.metadata()?.len();
        if self.is_due(&output, start, write.body.len as u64) {
            output = self.rotate(output, outputs)?;
            start = output.file.metadata()?.len();
        }
        if output.is_mid_line(start) {
            start += self.end_line(&output)?;
        }
        let intent = self.intent(outputs, &output, start, write);
        if let Err(error) = self.cx.checkpoints.intend(intent) {
            self.keep_output(outputs, output);
            return Err(error);
        }
        outputs.made = false;
        output.end = Some(start + write.body.len as u64);
        Ok(output)
    }

    /// Ends a line that is not ours to cut, so that it does not spoil the first of ours. Returns how
    /// many bytes that took.
    fn end_line(&self, output: &Output) -> io::Result<u64> {
        warn!(
            sink = %self.cx.name, path = %output.path.display(),
            "output ends in the middle of a line that is not known: it gets its newline"
        );
        (&*output.file).write_all(b"\n")?;
        Ok(1)
    }

    fn intent(&self, outputs: &Outputs, output: &Output, start: u64, write: &Write) -> Intent {
        let foretold = write.foretold.as_ref();
        let sums = self.foresight.sums(foretold, &write.body, start);
        Intent {
            sink: self.cx.name.to_string(),
            output: OutputId {
                path: output.real.display().to_string(),
                dev: output.dev,
                ino: output.ino,
                head_len: u32::try_from(output.head.len()).expect("at most 1024"),
                head_hash: XxHash3_64::oneshot(&output.head),
            },
            start,
            end: start + write.body.len as u64,
            crc: sums.crc,
            prefixes: sums.prefixes,
            pages: Some(sums.pages).filter(|pages| !pages.crcs.is_empty()),
            pieces: sums.pieces,
            head_after: head_after(output, start, &write.body),
            replayable: write.replayable.clone(),
            after: write.after.clone(),
            anew: !outputs.made,
        }
    }
}

/// The first bytes of an output once `body` is written; `None` where those that identify it are
/// there already.
fn head_after(output: &Output, start: u64, body: &Body) -> Option<HeadAfter> {
    if output.head.len() >= HEAD_BYTES || output.head.len() as u64 != start {
        return None;
    }
    let mut head = output.head.clone();
    for piece in &body.pieces {
        head.extend_from_slice(&piece[..piece.len().min(HEAD_BYTES - head.len())]);
    }
    Some(HeadAfter {
        len: u32::try_from(head.len()).expect("at most 1024"),
        hash: XxHash3_64::oneshot(&head),
    })
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
