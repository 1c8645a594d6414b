//! What is on its way: a part of a batch, and the parts that it falls into.
//!
//! Pure: no I/O, no clock.

use std::sync::Arc;

use super::Part;
use crate::model::{Batch, LineSet, Position};
use crate::queue::Chunk;

/// A part of a batch on its way.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) batch: Arc<Batch<Chunk>>,
    pub(super) part: Part,
    /// The suffix before the first partial failure.
    base: String,
    /// Partial failures so far.
    round: u32,
}

impl Job {
    fn new(batch: &Arc<Batch<Chunk>>, which: LineSet, suffix: String) -> Self {
        Self {
            batch: Arc::clone(batch),
            base: suffix.clone(),
            part: Part { which, suffix },
            round: 0,
        }
    }

    /// True where all of its lines can be read again, and so need not be delivered before the end.
    pub(super) fn is_replayable(&self) -> bool {
        let in_file = |chunk: &Chunk| matches!(chunk.ack.end(), Position::File { .. });
        self.batch.items.iter().all(in_file)
    }

    /// Number of its lines.
    pub(super) fn lines(&self) -> u64 {
        self.part.which.len(self.batch.weight.lines)
    }

    /// Bytes of its lines; of a part of a batch roughly.
    pub(super) fn bytes(&self) -> usize {
        let all = self.batch.weight;
        let share = self.lines() as f64 / all.lines.max(1) as f64;
        (all.bytes as f64 * share) as usize
    }

    /// The job's two halves; `None` for a single line.
    pub(super) fn halve(&self) -> Option<[Job; 2]> {
        let (left, right) = self.part.which.halve(self.batch.weight.lines)?;
        let half = |which, n| {
            let suffix = format!("{}.{n}", self.part.suffix);
            Self::new(&self.batch, which, suffix)
        };
        Some([half(left, 0), half(right, 1)])
    }

    /// Some of its lines, by their numbers in it: a body of its own, so a suffix of its own.
    pub(super) fn narrowed(&self, lines: &[u64]) -> Job {
        let round = self.round + 1;
        let suffix = format!("{}.r{round}", self.base);
        Job {
            batch: Arc::clone(&self.batch),
            part: Part {
                which: self.part.which.pick(lines),
                suffix,
            },
            base: self.base.clone(),
            round,
        }
    }
}

/// The parts that a batch is delivered in: more than one only where a single chunk holds more lines
/// than a batch may.
pub(super) fn jobs(batch: Batch<Chunk>, lines_max: u64) -> Vec<Job> {
    let batch = Arc::new(batch);
    let total = batch.weight.lines;
    if total <= lines_max {
        return vec![Job::new(&batch, LineSet::All, String::new())];
    }
    let parts = LineSet::All.parts(lines_max, total);
    let numbered = parts.into_iter().enumerate();
    numbered
        .map(|(n, which)| Job::new(&batch, which, format!(".{n}")))
        .collect()
}
