//! What the end of a compressed file means: nothing follows, or it is still being written.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::packed::Ending;
use super::pump::{Cursor, End, LastLine, Pump, on_pool};
use super::tail::{Change, Reading};

/// A compressed file that ends in the middle is being written if it grew more recently than this.
pub(super) const TORN_PATIENCE: Duration = Duration::from_secs(30);

/// How often such a file is read further, at most.
const TORN_PACE: Duration = Duration::from_secs(1);

/// What it holds so far is decompressed anew each time: that may take one part in so many of a core.
const TORN_SHARE: u32 = 5;

/// What the end of a compressed file means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// More will come: it is still being written.
    GoesOn,
    /// That was all.
    Over,
}

/// How long a file that ends in the middle is left alone after a read that took so long.
pub(super) fn torn_pause(took: Duration) -> Duration {
    TORN_PACE.max(took * (TORN_SHARE - 1))
}

impl Pump {
    /// What the end that was found means; says what is wrong with it.
    pub(super) async fn judge(
        &self,
        file: &Arc<File>,
        ending: Ending,
        reading: &Reading,
        cursor: &Cursor,
    ) -> Result<Meaning, End> {
        if ending == Ending::Whole {
            return Ok(Meaning::Over);
        }
        let handle = Arc::clone(file);
        let metadata = on_pool(move || handle.metadata()).await;
        let metadata = metadata.map_err(End::Failed)?;
        let (source, path) = (&self.origin.source, self.location.path.display());
        let content = reading.input.content_len();
        match ending {
            Ending::Whole => {}
            Ending::Torn => {
                let age = metadata.modified().ok().and_then(|it| it.elapsed().ok());
                let is_young = age.is_none_or(|age| age < TORN_PATIENCE);
                if is_young && self.tail == LastLine::Waits {
                    return Ok(Meaning::GoesOn);
                }
                if content < cursor.place.offset {
                    // What was read of it is not in it any more.
                    return Err(End::Changed(Change::Shrunk { len: content }));
                }
                warn!(
                    %source, %path, at = metadata.len(), content,
                    "compressed file ends in the middle: what could be decompressed is sent"
                );
            }
            Ending::Damaged { at, damage } => {
                let lost = metadata.len().saturating_sub(at);
                self.counters.lost_bytes.add(lost);
                warn!(
                    %source, %path, at, content, lost, %damage,
                    "compressed file is damaged: what could be decompressed is sent, the rest is lost"
                );
            }
        }
        Ok(Meaning::Over)
    }
}
