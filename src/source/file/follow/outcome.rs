//! What a pump's return means for its generation.

use std::sync::Arc;
use std::time::Instant;

use tracing::{info, warn};

use super::{FileSource, LOOK_INTERVAL, Named};
use crate::model::Ledger;
use crate::source::SourceError;
use crate::source::file::Follow;
use crate::source::file::adopt::{Found, Registry};
use crate::source::file::generation::{GenerationId, Phase};
use crate::source::file::pump::{End, Pumped, on_pool};
use crate::source::file::tail::{Change, Place};

impl FileSource {
    /// Takes a cursor back from its pump and decides what is next.
    pub(super) async fn pumped(
        &mut self,
        id: GenerationId,
        outlet: usize,
        mut pumped: Pumped,
    ) -> Result<(), SourceError> {
        let now = Instant::now();
        let Some(generation) = self.generations.get_mut(&id) else {
            return Ok(());
        };
        let end = std::mem::replace(&mut pumped.end, End::Broken);
        if let Some(head) = generation.take_back(outlet, pumped, now) {
            generation.grow(&head);
        }
        let path = generation.path.clone();
        let slot = &mut generation.places[outlet];
        let again = std::mem::take(&mut slot.again);
        slot.not_before = now + self.cx.outlets[outlet].pace;
        match end {
            End::CaughtUp { unterminated } => {
                slot.drained = true;
                let place = slot.cursor.as_ref().map_or(0, |cursor| cursor.place.offset);
                generation.len = generation.len.max(place + unterminated as u64);
                self.caught_up(id);
            }
            End::Closed => slot.closed = true,
            End::Broken => self.restart(id, outlet),
            End::Changed(change) => self.changed(id, outlet, change).await?,
            End::Missing => self.lost(id, outlet),
            End::Failed(error) => self.trouble(&path, &error.to_string()),
        }
        if again {
            self.want(id, outlet, now);
        }
        Ok(())
    }

    /// A generation that gets no new lines ends once every sink has all of it.
    fn caught_up(&mut self, id: GenerationId) {
        let Some(generation) = self.generations.get(&id) else {
            return;
        };
        let last = generation.phase == Phase::Ending || self.config.follow == Follow::UntilEnd;
        if last && generation.is_drained() {
            self.end(id);
        }
    }

    /// Restarts a cursor whose ledger broke from its committed position.
    pub(super) fn restart(&mut self, id: GenerationId, outlet: usize) {
        let Some(generation) = self.generations.get_mut(&id) else {
            return;
        };
        let Some(cursor) = &mut generation.places[outlet].cursor else {
            return;
        };
        let committed = cursor.ledger.committed();
        let Some(place) = Place::from_position(&committed) else {
            return;
        };
        warn!(
            source = %self.common.name, path = %generation.path.display(), offset = place.offset,
            "delivery was interrupted: read again from the last settled line"
        );
        cursor.ledger = Ledger::new(Arc::clone(cursor.ledger.key()), committed);
        cursor.place = place;
        // Whatever interrupted it may do so again: not at full speed.
        let now = Instant::now();
        generation.places[outlet].not_before = now + LOOK_INTERVAL;
        self.want(id, outlet, now);
    }

    /// The file under a generation became another one: it was truncated or written anew.
    async fn changed(
        &mut self,
        id: GenerationId,
        outlet: usize,
        change: Change,
    ) -> Result<(), SourceError> {
        let Some(generation) = self.generations.get(&id) else {
            return Ok(());
        };
        let offset = generation.places[outlet]
            .cursor
            .as_ref()
            .map(|cursor| cursor.place.offset);
        let (path, inode) = (generation.path.clone(), generation.inode);
        info!(
            source = %self.common.name, path = %path.display(), dev = inode.dev, ino = inode.ino,
            offset, ?change, "file was truncated or rewritten: it is read from its start"
        );
        self.end(id);
        let looked = on_pool({
            let path = path.clone();
            move || Found::look(&path)
        });
        match looked.await {
            // What replaced it meanwhile is found by the next look.
            Ok(Some(found)) if found.inode == inode => {
                let entry_ino = self.entry_ino(&path);
                let begin = |registry: &mut Registry| registry.begin(found, Place::beginning());
                let adopted = self
                    .with_registry(begin)
                    .await
                    .map_err(SourceError::Checkpoint)?;
                let generation = self.add(adopted, None);
                self.paths.insert(
                    path,
                    Named {
                        generation,
                        entry_ino,
                    },
                );
            }
            Ok(_) => {}
            Err(error) => self.trouble(&path, &error.to_string()),
        }
        self.look_at = Instant::now();
        Ok(())
    }

    /// A generation that is not open is nowhere to be found.
    fn lost(&mut self, id: GenerationId, outlet: usize) {
        let Some(generation) = self.generations.get_mut(&id) else {
            return;
        };
        let offset = generation.places[outlet]
            .cursor
            .as_ref()
            .map_or(0, |cursor| cursor.place.offset);
        let unread = generation.len.saturating_sub(offset);
        if unread > 0 {
            self.cx.counters.lost_bytes.add(unread);
            warn!(
                source = %self.common.name, path = %generation.path.display(), bytes = unread,
                "file is gone with unread bytes: they are lost"
            );
        }
        generation.places[outlet].closed = true;
        if generation.places.iter().all(|slot| slot.closed) {
            self.end(id);
        }
    }

    /// Forgets a generation that gets no new lines and is delivered or gone.
    fn end(&mut self, id: GenerationId) {
        let Some(generation) = self.generations.remove(&id) else {
            return;
        };
        if self.by_inode.get(&generation.inode) == Some(&id) {
            self.by_inode.remove(&generation.inode);
        }
        let mut record = generation.record;
        record.ended = true;
        if let Err(error) = self.cx.checkpoints.register(vec![record], Vec::new()) {
            warn!(source = %self.common.name, %error, "cannot note the end of a file");
        }
    }
}
