//! Rotation of an output: put aside under a name with the time, and begun anew.
//!
//! It happens between two batches. The rename is one step of the file system, and the intent of the
//! batch before is confirmed in the journal first, so that whatever becomes of the old file
//! afterwards (compressed, deleted, moved to another disk), its lines count as written.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use tracing::{info, warn};

use super::open::{Output, Outputs};
use super::{Fsync, Inner};
use crate::outputs::rotated;

/// How long rotation that failed is not tried again.
const PAUSE: Duration = Duration::from_secs(5);

/// When an output is put aside, and what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotate {
    /// Before it would be larger than this; a single batch may be.
    pub size: Option<u64>,
    /// When it was begun so long ago.
    pub every: Option<Duration>,
    /// How many of those that were put aside are kept.
    pub keep: usize,
    /// True to compress them.
    pub compress: bool,
}

impl Inner {
    /// True where an output of `len` bytes is put aside before `more` are written.
    pub(super) fn is_due(&self, output: &Output, len: u64, more: u64) -> bool {
        let Some(rotate) = self.config.rotate.filter(|_| len > 0) else {
            return false;
        };
        if output.not_rotated.is_some_and(|at| at.elapsed() < PAUSE) {
            return false;
        }
        let full = rotate.size.is_some_and(|size| len + more > size);
        let old = |every| {
            let age = SystemTime::now().duration_since(output.born);
            age.is_ok_and(|age| age >= every)
        };
        full || rotate.every.is_some_and(old)
    }

    /// Puts an output aside and opens a new one in its place. Where that cannot be done, it is said
    /// and the same output goes on.
    ///
    /// # Errors
    /// The new one cannot be opened.
    pub(super) fn rotate(&self, mut output: Output, outputs: &Outputs) -> io::Result<Output> {
        let (sink, path) = (&self.cx.name, &output.real);
        match self.put_aside(&output, outputs) {
            Ok(aside) => {
                info!(%sink, path = %path.display(), aside = %aside.display(), "output was rotated");
            }
            Err(error) => {
                if output.not_rotated.is_none() {
                    let path = path.display();
                    warn!(%sink, %path, %error, "cannot rotate this output: it goes on growing");
                }
                output.not_rotated = Some(Instant::now());
                return Ok(output);
            }
        }
        let path = output.path.clone();
        self.close(output);
        self.open_output(&path, Instant::now())
    }

    fn put_aside(&self, output: &Output, outputs: &Outputs) -> io::Result<PathBuf> {
        let checkpoints = &self.cx.checkpoints;
        // One batch after the other: the last one was written whole, if this process intended it.
        // One of the run before was settled by recovery, and may not have been carried out.
        if let Some((intent, _)) = checkpoints.last_intent(&self.cx.name)
            && outputs.made
        {
            checkpoints.adopt(intent.after)?;
        }
        if self.config.fsync != Fsync::Never {
            checkpoints.sync()?;
        }
        if !output.is_at(&output.real) {
            return Err(io::Error::other("another file has its path"));
        }
        rotated::put_aside(&output.real)
    }
}
