//! What a pump's return means for its generation.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tracing::{info, warn};

use super::{FileSource, LOOK_INTERVAL, Named};
use crate::checkpoint::StreamRecord;
use crate::model::Ledger;
use crate::source::SourceError;
use crate::source::file::Follow;
use crate::source::file::adopt::Registry;
use crate::source::file::ending::{Meaning, growth_pause};
use crate::source::file::found::{Found, noted_at};
use crate::source::file::generation::{GenerationId, Phase};
use crate::source::file::pump::{End, Pumped, lock};
use crate::source::file::rotation::{find_copy, find_missed, is_copied_unread};
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
        self.keep_behind(id, outlet, &mut pumped);
        let Some(generation) = self.generations.get_mut(&id) else {
            return Ok(());
        };
        let end = std::mem::replace(&mut pumped.end, End::Broken);
        let elsewhere = pumped.inode != generation.inode;
        let took = pumped.took;
        if let Some(head) = generation.take_back(outlet, pumped, now) {
            generation.grow(&head);
        }
        let path = generation.path.clone();
        let slot = &mut generation.places[outlet];
        let again = std::mem::take(&mut slot.again);
        slot.not_before = Some(now + self.cx.outlets[outlet].pace);
        match end {
            // Meanwhile the generation went on in a copy: what the pump saw is not about that.
            End::CaughtUp { .. } | End::Torn | End::Changed(_) | End::Missing if elsewhere => {
                self.want(id, outlet, now);
            }
            End::CaughtUp {
                unfinished,
                is_open,
                wake,
                packed,
            } => {
                // Asked for again: what came since this read began is not read. But a compressed file
                // that can end here is usually whole, and what waits for it would wait for long.
                let is_over = packed == Some(Meaning::Over);
                slot.drained = !is_open && (!again || packed.is_some());
                if packed.is_some() {
                    slot.not_before = Some(now + growth_pause(took));
                }
                generation.is_packed = packed.is_some();
                generation.is_finite |= is_over;
                if let Some(wake) = wake {
                    self.later.insert((id, outlet), wake);
                }
                let len = slot.place.offset + unfinished;
                if len < generation.len {
                    // Nothing that was read is gone, and what was there is: it is another content.
                    self.changed(id, outlet, Change::Shrunk { len }).await?;
                } else {
                    generation.len = len;
                    self.caught_up(id);
                }
            }
            End::Torn => {
                let at = now + growth_pause(took);
                slot.not_before = Some(at);
                slot.drained = false;
                generation.is_packed = true;
                self.later.insert((id, outlet), at);
            }
            End::Closed => slot.closed = true,
            // The source stops, too.
            End::Stopped => {}
            End::Broken => self.restart(id, outlet),
            End::Changed(change) => self.changed(id, outlet, change).await?,
            End::Missing => self.missing(id, outlet).await?,
            End::Failed(error) => self.trouble(&path, &error.to_string()),
        }
        if again {
            self.want(id, outlet, now);
        }
        self.announce_successors(id, outlet);
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
        let last = generation.phase == Phase::Ending
            || generation.is_finite
            || self.config.follow == Follow::UntilEnd;
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
        // Whoever wants no more breaks ledgers, too.
        if self.cx.outlets[outlet].sender.is_closed() {
            generation.places[outlet].closed = true;
            return;
        }
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
        cursor.whole = None;
        *lock(&cursor.progress) = place;
        generation.places[outlet].place = place;
        // Whatever interrupted it may do so again: not at full speed.
        let now = Instant::now();
        generation.places[outlet].not_before = Some(now + LOOK_INTERVAL);
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
        let offset = places.iter().map(|it| it.offset).min().unwrap_or(0);
        let unread = generation.len.saturating_sub(offset);
        let (known, handle) = (Arc::clone(&record), generation.file.clone());
        let search = self.cx.crew.io(move || {
            // It may have been renamed or deleted since; what was written to it is read all the same.
            let (there, is_at_path) = match (Found::look(&at), handle) {
                (Ok(Some(found)), _) if found.inode == inode => (Ok(Some(found)), true),
                (_, Some(handle)) => (Found::of(handle, &at), false),
                (there, None) => (there, false),
            };
            let there = there.map(|it| it.filter(|found| found.inode == inode));
            let copy = find_copy(&at, &record, &places);
            let is_copied = copy.is_some() || is_copied_unread(&at, &record, &places);
            Ok((there, is_at_path, copy, is_copied))
        });
        let (there, is_at_path, copy, is_copied) = search.await.map_err(SourceError::Io)?;
        let now = there.as_ref().ok().and_then(Option::as_ref);
        info!(
            source = %self.common.name, path = %path.display(), dev = inode.dev, ino = inode.ino,
            sink = %self.cx.outlets[outlet].sink, ?change,
            known_head_len = known.head_len, known_head_hash = known.head_hash,
            head_len = now.map(|it| it.head.len()), head_hash = now.map(|it| it.head.hash()),
            len = now.map(|it| it.len), offset,
            copy = copy.as_ref().map(|it| it.path.display().to_string()),
            "file was truncated or rewritten: it is read from its start"
        );
        match copy {
            Some(copy) => self.go_on_in_copy(id, copy),
            None => self.end(id),
        }
        let there = there.unwrap_or_else(|error| {
            self.trouble(&path, &error.to_string());
            None
        });
        // What replaced it meanwhile, where something did, is found by the next look.
        let anew = match there {
            Some(found) => Some(self.begin_anew(found, id, is_at_path).await?),
            None => None,
        };
        if anew.is_none() {
            self.unname(id);
        }
        // It can have been truncated several times since, each time after a copy.
        let inodes = self.by_inode.keys().copied().collect();
        let (at, since) = (Arc::clone(&path), noted_at(&known));
        let find = move || Ok(find_missed(&at, since, None, &inodes));
        let missed = self.cx.crew.io(find).await.map_err(SourceError::Io)?;
        if missed.is_empty() && !is_copied {
            self.count_lost(&path, unread);
        }
        let last = self.add_missed(&path, missed, Some(id), None).await?;
        if let Some(generation) = anew.and_then(|anew| self.generations.get_mut(&anew)) {
            generation.after = last;
        }
        self.look_at = Instant::now();
        Ok(())
    }

    /// Puts a generation in the place of another one: what comes to its paths comes after it.
    fn take_place(&mut self, of: GenerationId, by: GenerationId) {
        let named = self.paths.values_mut().map(|it| &mut it.generation);
        let left = self.left.values_mut();
        for generation in named.chain(left).filter(|it| **it == of) {
            *generation = by;
        }
    }

    /// Begins a stream with what a file holds that was truncated or written anew, in the place of
    /// what it held before.
    async fn begin_anew(
        &mut self,
        found: Found,
        after: GenerationId,
        is_at_path: bool,
    ) -> Result<GenerationId, SourceError> {
        let path: Arc<Path> = found.path.as_path().into();
        let entry_ino = self.entry_ino(&path);
        let begin = move |registry: &mut Registry| Ok(registry.begin(found, Place::beginning()));
        let adopted = self.with_registry(begin).await.map_err(SourceError::Io)?;
        let anew = self.add_awake(adopted, Some(after));
        self.take_place(after, anew);
        if is_at_path {
            self.note_empty(&path, anew);
            self.name(path, anew, entry_ino, None);
        } else {
            self.note_as_moved([anew]);
            self.replaced(anew, Instant::now());
        }
        Ok(anew)
    }

    /// Moves a generation to the copy that was made of its file before it was truncated.
    fn go_on_in_copy(&mut self, id: GenerationId, copy: Found) {
        let now = Instant::now();
        let Some(generation) = self.generations.get_mut(&id) else {
            return;
        };
        if self.by_inode.get(&generation.inode) == Some(&id) {
            self.by_inode.remove(&generation.inode);
        }
        self.by_inode.insert(copy.inode, id);
        generation.inode = copy.inode;
        generation.is_packed = copy.packing.is_some();
        generation.file = Some(copy.file);
        let record = Arc::make_mut(&mut generation.record);
        record.path = copy.path.to_string_lossy().into();
        record.dev = copy.inode.dev;
        record.ino = copy.inode.ino;
        record.born = copy.born;
        generation.path = copy.path.as_path().into();
        // At once: a copy that nobody knows after a kill would be read again.
        let noted = vec![StreamRecord::clone(&generation.record)];
        if let Err(error) = self.cx.checkpoints.register(noted, Vec::new()) {
            warn!(source = %self.common.name, %error, "cannot note where a copied file goes on");
            generation.unsaved = true;
        }
        generation.replaced(now, self.config.rotate_grace);
        self.want_all(id, now);
    }

    /// A generation that is not open is not at its path any more: it goes on in a copy, or is lost.
    async fn missing(&mut self, id: GenerationId, outlet: usize) -> Result<(), SourceError> {
        let Some(generation) = self.generations.get(&id) else {
            return Ok(());
        };
        let (at, record) = (Arc::clone(&generation.path), Arc::clone(&generation.record));
        let places = generation.places();
        let search = self
            .cx
            .crew
            .io(move || Ok(find_copy(&at, &record, &places)));
        match search.await.map_err(SourceError::Io)? {
            Some(copy) => self.go_on_in_copy(id, copy),
            None => self.lost(id, outlet),
        }
        self.unname(id);
        Ok(())
    }

    /// Takes the paths from a generation whose file is not there. What comes to them is another file,
    /// even one with its inode, and is read after it.
    fn unname(&mut self, id: GenerationId) {
        let lost =
            |(path, named): (&Arc<Path>, &Named)| (named.generation == id).then(|| path.clone());
        for path in self.paths.iter().filter_map(lost).collect::<Vec<_>>() {
            self.paths.remove(&path);
            self.left.insert(path.to_path_buf(), id);
        }
        self.look_at = Instant::now();
    }

    /// A generation is nowhere to be found.
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
        if generation.is_finite {
            self.note_left(id, &generation.record);
        }
        if generation.is_finite
            && let (Some(file), Some(registry)) = (&generation.file, &mut self.registry)
        {
            registry.note_read(generation.inode, file);
            // Should it grow all the same, it is found as others are.
            if self.at_path(&generation.path) == Some(id) {
                self.paths.remove(&generation.path);
            }
        }
        let mut record = StreamRecord::clone(&generation.record);
        record.ended = true;
        record.len = generation.content_len();
        if let Err(error) = self.cx.checkpoints.register(vec![record], Vec::new()) {
            warn!(source = %self.common.name, %error, "cannot note the end of a file");
        }
    }
}
