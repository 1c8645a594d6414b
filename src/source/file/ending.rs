//! What the end of a compressed file means: nothing follows, or it is still being written.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tracing::warn;

use super::packed::Ending;
use super::pump::{Cursor, End, LastLine, Pump};
use super::rotation::has_number;
use super::tail::{Change, Reading};

/// A compressed file gets no more when nobody wrote to it for so long.
const QUIET_AFTER: Duration = Duration::from_secs(30);

/// How often one that grows is read further, at most.
const GROWTH_PACE: Duration = Duration::from_secs(1);

/// What it holds so far is decompressed anew each time: that may take one part in so many of a core.
const GROWTH_SHARE: u32 = 5;

/// What the end of a compressed file means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It is in the middle of something: it is still being written.
    GoesOn,
    /// It can end here, but somebody may append to it until then.
    MayGoOn(Instant),
    /// That was all.
    Over,
}

/// How long a file that grows is left alone after a read that took so long.
pub(super) fn growth_pause(took: Duration) -> Duration {
    GROWTH_PACE.max(took * (GROWTH_SHARE - 1))
}

/// How long a file that was written to then may still get more; `None` where it was left long ago.
pub(super) fn may_grow_for(modified: SystemTime) -> Option<Duration> {
    match modified.elapsed() {
        Ok(age) => QUIET_AFTER.checked_sub(age).filter(|left| !left.is_zero()),
        // A clock that was set back a little, or a time that says nothing.
        Err(ahead) => (ahead.duration() < QUIET_AFTER).then_some(QUIET_AFTER),
    }
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
        let (len, more) = self.outlook(file).await?;
        let (source, path) = (&self.origin.source, self.location.path.display());
        let content = reading.input.content_len();
        match ending {
            // Nobody appends to it.
            Ending::Whole if has_number(&self.location.path) => {}
            Ending::Whole => return Ok(more.map_or(Meaning::Over, Meaning::MayGoOn)),
            Ending::Torn => {
                if more.is_some() {
                    return Ok(Meaning::GoesOn);
                }
                if content < cursor.place.offset {
                    // What was read of it is not in it any more.
                    return Err(End::Changed(Change::Shrunk { len: content }));
                }
                warn!(
                    %source, %path, at = len, content,
                    "compressed file ends in the middle: what could be decompressed is sent"
                );
            }
            Ending::Damaged { at, damage } => {
                let lost = len.saturating_sub(at);
                self.counters.lost_bytes.add(lost);
                warn!(
                    %source, %path, at, content, lost, %damage,
                    "compressed file is damaged: what could be decompressed is sent, the rest is lost"
                );
            }
        }
        Ok(Meaning::Over)
    }

    /// A file that was read to its end before, and did not grow since: that need not be done again.
    pub(super) async fn still_whole(
        &self,
        file: &Arc<File>,
        cursor: &Cursor,
    ) -> Result<Option<End>, End> {
        let Some(whole) = cursor.whole else {
            return Ok(None);
        };
        let (len, more) = self.outlook(file).await?;
        Ok((len == whole).then_some(End::CaughtUp {
            unfinished: 0,
            is_open: false,
            wake: more,
            packed: Some(more.map_or(Meaning::Over, Meaning::MayGoOn)),
        }))
    }

    /// A file's length, and until when it may get more.
    async fn outlook(&self, file: &Arc<File>) -> Result<(u64, Option<Instant>), End> {
        let handle = Arc::clone(file);
        let looked = self.crew.io(move || {
            let metadata = handle.metadata()?;
            Ok((metadata.len(), may_grow_for(metadata.modified()?)))
        });
        let (len, more) = looked.await.map_err(End::Failed)?;
        let more = more.filter(|_| self.tail == LastLine::Waits);
        Ok((len, more.map(|left| Instant::now() + left)))
    }
}
