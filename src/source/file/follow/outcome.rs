//! What a pump's return means for its generation.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tracing::{info, warn};

use super::{FileSource, LOOK_INTERVAL};
use crate::checkpoint::StreamRecord;
use crate::model::Ledger;
use crate::source::SourceError;
use crate::source::file::Follow;
use crate::source::file::adopt::Registry;
use crate::source::file::found::Found;
use crate::source::file::generation::{GenerationId, Phase};
use crate::source::file::pump::{End, Pumped, on_pool};
use crate::source::file::rotation::find_copy;
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
        let elsewhere = pumped.inode != generation.inode;
        if let Some(head) = generation.take_back(outlet, pumped, now) {
            generation.grow(&head);
        }
        let path = generation.path.clone();
        let slot = &mut generation.places[outlet];
        let again = std::mem::take(&mut slot.again);
        slot.not_before = now + self.cx.outlets[outlet].pace;
        match end {
            // Meanwhile the generation went on in a copy: what the pump saw is not about that.
            End::CaughtUp { .. } | End::Changed(_) if elsewhere => self.want(id, outlet, now),
            End::CaughtUp {
                unfinished,
                is_open,
                wake,
            } => {
                slot.drained = !is_open;
                if let Some(wake) = wake {
                    self.later.insert((id, outlet), wake);
                }
                let place = slot.cursor.as_ref().map_or(0, |cursor| cursor.place.offset);
                generation.len = generation.len.max(place + unfinished);
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
        let Some(generation) = self.generations.get_mut(&id) else {
            return;
        };
        if !generation.is_drained() {
            return;
        }
        let last = generation.phase == Phase::Ending || self.config.follow == Follow::UntilEnd;
        let first = !std::mem::replace(&mut generation.caught_up, true);
        if last {
            self.end(id);
        } else if first && generation.phase == Phase::Current {
            self.drowsy.push_back((Instant::now(), id));
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
        generation.places[outlet].place = place;
        // Whatever interrupted it may do so again: not at full speed.
        let now = Instant::now();
        generation.places[outlet].not_before = now + LOOK_INTERVAL;
        self.want(id, outlet, now);
    }

    /// The file under a generation became another one: it was truncated or written anew. What was
    /// not read of it may be in a copy; then the generation goes on there.
    async fn changed(
        &mut self,
        id: GenerationId,
        outlet: usize,
        change: Change,
    ) -> Result<(), SourceError> {
        let Some(generation) = self.generations.get(&id) else {
            return Ok(());
        };
        let (path, inode) = (generation.path.clone(), generation.inode);
        let places = generation.places();
        let (record, at) = (generation.record.clone(), path.clone());
        let unread = generation
            .len
            .saturating_sub(places.iter().map(|it| it.offset).min().unwrap_or(0));
        let search = on_pool(move || Ok((Found::look(&at), find_copy(&at, &record, &places))));
        let (there, copy) = search.await.map_err(SourceError::Io)?;
        info!(
            source = %self.common.name, path = %path.display(), dev = inode.dev, ino = inode.ino,
            outlet = %self.cx.outlets[outlet].sink, ?change,
            copy = copy.as_ref().map(|it| it.path.display().to_string()),
            "file was truncated or rewritten: it is read from its start"
        );
        let entry_ino = self.entry_ino(&path);
        let after = match copy {
            Some(copy) => self.go_on_in_copy(id, copy),
            None => {
                self.count_lost(&path, unread);
                self.end(id);
                None
            }
        };
        match there {
            // What replaced it meanwhile is found by the next look.
            Ok(Some(found)) if found.inode == inode => {
                let after = match after {
                    Some(old) => Some(self.take_in_missed(&path, &found, old).await?),
                    None => None,
                };
                let begin =
                    move |registry: &mut Registry| Ok(registry.begin(found, Place::beginning()));
                let adopted = self.with_registry(begin).await.map_err(SourceError::Io)?;
                let generation = self.add_awake(adopted, after);
                self.name(path, generation, entry_ino, None);
            }
            Ok(_) => {}
            Err(error) => self.trouble(&path, &error.to_string()),
        }
        self.look_at = Instant::now();
        Ok(())
    }

    /// Moves a generation to the copy that was made of its file before it was truncated.
    fn go_on_in_copy(&mut self, id: GenerationId, copy: Found) -> Option<GenerationId> {
        let now = Instant::now();
        let generation = self.generations.get_mut(&id)?;
        if self.by_inode.get(&generation.inode) == Some(&id) {
            self.by_inode.remove(&generation.inode);
        }
        self.by_inode.insert(copy.inode, id);
        generation.inode = copy.inode;
        generation.file = Some(copy.file);
        let record = Arc::make_mut(&mut generation.record);
        record.path = copy.path.to_string_lossy().into();
        record.dev = copy.inode.dev;
        record.ino = copy.inode.ino;
        generation.path = copy.path.as_path().into();
        generation.unsaved = true;
        generation.replaced(now, self.config.rotate_grace);
        self.want_all(id, now);
        Some(id)
    }

    /// A generation that is not open is nowhere to be found.
    fn lost(&mut self, id: GenerationId, outlet: usize) {
        let Some(generation) = self.generations.get_mut(&id) else {
            return;
        };
        let offset = generation.places[outlet].place.offset;
        let unread = generation.len.saturating_sub(offset);
        let path = generation.path.clone();
        generation.places[outlet].closed = true;
        let last = generation.places.iter().all(|slot| slot.closed);
        self.count_lost(&path, unread);
        if last {
            self.end(id);
        }
    }

    /// Says and counts bytes that no longer exist anywhere.
    fn count_lost(&self, path: &Path, bytes: u64) {
        if bytes > 0 {
            self.cx.counters.lost_bytes.add(bytes);
            warn!(
                source = %self.common.name, path = %path.display(), bytes,
                "bytes were unread when their file went: they are lost"
            );
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
        let mut record = StreamRecord::clone(&generation.record);
        record.ended = true;
        record.len = generation.len;
        if let Err(error) = self.cx.checkpoints.register(vec![record], Vec::new()) {
            warn!(source = %self.common.name, %error, "cannot note the end of a file");
        }
    }
}
