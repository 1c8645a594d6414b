//! Files that came and were renamed, or copied and truncated, between two looks: they are looked for
//! beside the paths, and read in their turn.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tracing::info;

use super::FileSource;
use crate::checkpoint::StreamRecord;
use crate::source::SourceError;
use crate::source::file::adopt::{Decision, Registry};
use crate::source::file::discover::Match;
use crate::source::file::folders::Folders;
use crate::source::file::found::{Found, noted_at};
use crate::source::file::generation::{GenerationId, Phase};
use crate::source::file::pump::locate;
use crate::source::file::rotation::{Living, came_by, find_missed, find_renamed};
use crate::source::file::{Inode, Start};

/// A file that came to `path` and was renamed away unseen, as long as it may be a copy that is being
/// made.
#[derive(Debug)]
pub(super) struct Missed {
    path: PathBuf,
    found: Found,
    /// What is read before it.
    after: Option<GenerationId>,
    /// What was at the path when it was last looked at.
    was_there: Option<GenerationId>,
    /// What was being taken in at the path.
    present: Option<Living>,
    /// A copy is made by then.
    until: Instant,
}

/// From when on something may have come to a path unseen.
#[derive(Debug)]
pub(super) struct Since {
    time: SystemTime,
    /// It is looked for until then.
    until: Instant,
}

/// A path at which a file may have come and gone.
#[derive(Debug)]
struct Gap {
    path: PathBuf,
    /// What was there last, where it is still read.
    before: Option<GenerationId>,
    /// What must be there still; `None` for nothing.
    there: Option<Inode>,
    /// What is older was there before.
    since: SystemTime,
}

/// What came to these paths and went again. Nearly always nothing, and the paths can be very many: so
/// each directory is listed once. Blocks.
fn find_in_gaps(gaps: Vec<Gap>, known: &HashSet<Inode>) -> Vec<(Gap, Vec<Found>)> {
    let inos: HashSet<u64> = known.iter().map(|it| it.ino).collect();
    let mut folders = Folders::default();
    let found = gaps.into_iter().filter_map(|gap| {
        if !folders.have_missed(&gap.path, gap.since, |ino| inos.contains(&ino)) {
            return None;
        }
        let missed = find_missed(&gap.path, gap.since, None, known);
        // Where something came meanwhile, the next look tells what is older than it.
        let now = gap.path.metadata().ok().map(|it| Inode::of_metadata(&it));
        (now == gap.there && !missed.is_empty()).then_some((gap, missed))
    });
    found.collect()
}

/// However busy it is, what came is seen within this.
const SEEN_WITHIN: Duration = Duration::from_secs(60);

impl FileSource {
    /// Takes in what must be read between `after` and a file that was decided on. Returns the last
    /// one, behind which the file is read.
    pub(super) async fn missed_before(
        &mut self,
        path: &Path,
        decision: &Decision,
        after: Option<GenerationId>,
    ) -> Result<Option<GenerationId>, SourceError> {
        let Decision::Read(adopted) = decision else {
            return Ok(after);
        };
        if let Some(old) = after {
            let living = Living::of(adopted);
            let last = self.missed_since(path, &adopted.found, old, Some(living));
            return last.await.map(Some);
        }
        let is_new = adopted.places.iter().all(|place| place.offset == 0);
        let left = self.left_read.remove(path).map(|it| it.time);
        if !is_new || self.looked && left.is_none() {
            return Ok(None);
        }
        // It was stopped in a gap behind a file that was at its end.
        let at = path.to_owned();
        let last = self.with_registry(move |registry| Ok(registry.last_ended(&at)));
        let Some(since) = left.or(last.await.map_err(SourceError::Io)?) else {
            return Ok(None);
        };
        let known = self.by_inode.keys().copied().collect();
        let (at, present) = (path.to_owned(), adopted.found.clone());
        let find = self
            .cx
            .crew
            .io(move || Ok(find_missed(&at, since, Some(&present), &known)));
        let missed = find.await.map_err(SourceError::Io)?;
        self.add_missed(path, missed, None, Some(Living::of(adopted)))
            .await
    }

    /// Takes in generations that came after `old` and were renamed away, or copied and truncated,
    /// without being seen. Returns the last one, behind which the present file is read.
    async fn missed_since(
        &mut self,
        path: &Path,
        present: &Found,
        old: GenerationId,
        living: Option<Living>,
    ) -> Result<GenerationId, SourceError> {
        self.wake(old);
        let Some(generation) = self.generations.get(&old) else {
            return Ok(old);
        };
        let (old_file, location) = (generation.file.clone(), generation.location());
        let noted = noted_at(&generation.record);
        let known = self.by_inode.keys().copied().collect();
        let (at, found) = (path.to_owned(), present.clone());
        let find = self.cx.crew.io(move || {
            let handle = old_file.map_or_else(|| locate(&location), |it| Ok(Some(it)))?;
            let since = handle.and_then(|handle| came_by(&handle)).unwrap_or(noted);
            let mut missed = find_missed(&at, since, Some(&found), &known);
            // A file that was truncated again and again is older than what was compressed before it
            // was ever seen.
            missed.retain(|it| it.packing.is_none() || it.modified + SEEN_WITHIN >= noted);
            Ok(missed)
        });
        let missed = find.await.map_err(SourceError::Io)?;
        Ok(self
            .add_missed(path, missed, Some(old), living)
            .await?
            .unwrap_or(old))
    }

    /// A file that was listed is not at its path any more: it is taken in where rotation put it.
    pub(super) async fn vanished(
        &mut self,
        candidate: &Match,
        error: &io::Error,
    ) -> Result<(), SourceError> {
        if self.cx.own_files.name(&candidate.path) {
            return Ok(());
        }
        let (path, entry_ino) = (candidate.path.clone(), candidate.entry_ino);
        let find = self.cx.crew.io(move || Ok(find_renamed(&path, entry_ino)));
        let found = find.await.map_err(SourceError::Io)?;
        let found = found.filter(|it| !self.by_inode.contains_key(&it.inode));
        let Some(found) = found else {
            self.trouble(&candidate.path, &error.to_string());
            return Ok(());
        };
        let path = &*candidate.path;
        let old = self.at_path(path);
        let mut last = old.or_else(|| self.left.get(path).copied());
        if let Some(before) = last {
            last = Some(self.missed_since(path, &found, before, None).await?);
        }
        let Some(last) = self.add_missed(path, vec![found], last, None).await? else {
            return Ok(());
        };
        // What comes to the path is read after it.
        self.left.insert(path.to_owned(), last);
        if let Some(old) = old {
            self.paths.remove(path);
            self.replaced(old, Instant::now());
        }
        Ok(())
    }

    /// Looks whether files came to paths that have none and went again, for as long as what was there
    /// before is kept; and whether one that was seen empty only was filled, copied and emptied.
    pub(super) async fn watch_gaps(&mut self) -> Result<(), SourceError> {
        let gaps = self.gaps();
        if gaps.is_empty() {
            return Ok(());
        }
        let known: HashSet<Inode> = self.by_inode.keys().copied().collect();
        let find = self.cx.crew.io(move || Ok(find_in_gaps(gaps, &known)));
        for (gap, missed) in find.await.map_err(SourceError::Io)? {
            let last = self.add_missed(&gap.path, missed, gap.before, None).await?;
            let was_read = self.left_read.remove(&gap.path).is_some();
            if let Some(last) = last.filter(|_| was_read || self.left.contains_key(&gap.path)) {
                self.left.insert(gap.path, last);
            }
        }
        // What was filled since then was looked at once more.
        let mut empty = std::mem::take(&mut self.empty);
        empty.retain(|_, id| self.is_empty(*id));
        self.empty = empty;
        Ok(())
    }

    fn gaps(&mut self) -> Vec<Gap> {
        let mut empty = std::mem::take(&mut self.empty);
        empty.retain(|path, id| self.at_path(path) == Some(*id));
        self.empty = empty;
        let gap = |(path, id): (&PathBuf, &GenerationId)| {
            let record = match self.generations.get(id) {
                Some(generation) => &generation.record,
                None => &self.sleepers.get(id)?.record,
            };
            let is_there = self.empty.contains_key(path);
            Some(Gap {
                path: path.clone(),
                before: Some(*id),
                there: is_there.then(|| Inode::of_record(record)),
                since: noted_at(record),
            })
        };
        let known = self.left.iter().chain(&self.empty).filter_map(gap);
        let mut gaps: Vec<Gap> = known.collect();
        let now = Instant::now();
        self.left_read.retain(|_, since| now < since.until);
        gaps.extend(self.left_read.iter().map(|(path, since)| Gap {
            path: path.clone(),
            before: None,
            there: None,
            since: since.time,
        }));
        gaps
    }

    /// Keeps in mind the paths that a compressed file left which was read to its end, as long as what
    /// is not compressed would be kept.
    pub(super) fn note_left(&mut self, id: GenerationId, record: &StreamRecord) {
        let until = Instant::now() + self.config.rotate_grace;
        let paths = self.left.extract_if(|_, of| *of == id);
        for (path, _) in paths {
            let time = noted_at(record);
            self.left_read.insert(path, Since { time, until });
        }
    }

    fn is_empty(&self, id: GenerationId) -> bool {
        let len = self.generations.get(&id).map(|it| it.len);
        len.or_else(|| self.sleepers.get(&id).map(|it| it.len)) == Some(0)
    }

    /// Notes that a file was seen empty: should it be filled, copied and truncated again before the
    /// next look, nothing but the copy tells.
    pub(super) fn note_empty(&mut self, path: &Path, id: GenerationId) {
        if self.is_empty(id) {
            self.empty.insert(path.to_owned(), id);
        }
    }

    /// Adds generations that were missed, one behind the other, before `present`. Returns the last one.
    pub(super) async fn add_missed(
        &mut self,
        path: &Path,
        missed: Vec<Found>,
        after: Option<GenerationId>,
        present: Option<Living>,
    ) -> Result<Option<GenerationId>, SourceError> {
        let until = Instant::now() + self.config.rotate_grace;
        let mut last = after;
        for found in missed {
            let missed = Missed {
                present: present.clone(),
                path: path.to_owned(),
                found,
                after: last,
                was_there: after,
                until,
            };
            last = self.add_one_missed(missed).await?.or(last);
        }
        Ok(last)
    }

    /// Adds a generation that was missed, or keeps it in mind where it may be a copy that is being
    /// made.
    async fn add_one_missed(
        &mut self,
        missed: Missed,
    ) -> Result<Option<GenerationId>, SourceError> {
        if self.by_inode.contains_key(&missed.found.inode) {
            return Ok(None);
        }
        let now = Instant::now();
        let mut living = Vec::new();
        if now < missed.until {
            living = self.living(&missed.found.path, missed.was_there);
            living.extend(missed.present.clone());
        }
        let (found, own) = (missed.found.clone(), Arc::clone(&self.cx.own_files));
        let adopt = move |registry: &mut Registry| {
            if found.is_own(&own) {
                return Ok(None);
            }
            registry.adopt(found, Start::Beginning, &living).map(Some)
        };
        let decision = self.with_registry(adopt).await.map_err(SourceError::Io)?;
        match decision {
            None | Some(Decision::Copy) => Ok(None),
            Some(Decision::Later) => {
                self.missed.push(missed);
                Ok(None)
            }
            Some(Decision::Read(adopted)) => {
                info!(
                    source = %self.common.name, path = %missed.path.display(),
                    moved_to = %missed.found.path.display(),
                    "file came and was renamed or copied unseen: it is read in its turn"
                );
                let id = self.add_awake(*adopted, missed.after);
                if let Some(generation) = self.generations.get_mut(&id) {
                    let until = now + self.config.rotate_grace;
                    generation.phase = Phase::Replaced { until };
                }
                Ok(Some(id))
            }
        }
    }

    /// Keeps a file in mind that was rotated away from `path`, and is read behind `after` unless it is
    /// a copy.
    pub(super) fn decide_later(&mut self, path: &Path, found: Found, after: Option<GenerationId>) {
        self.missed.push(Missed {
            path: path.to_owned(),
            found,
            after,
            was_there: after,
            present: None,
            until: Instant::now() + self.config.rotate_grace,
        });
    }

    /// Decides on the missed files that could not be told from copies before.
    pub(super) async fn reconsider_missed(&mut self) -> Result<(), SourceError> {
        for mut missed in std::mem::take(&mut self.missed) {
            let (file, path) = (Arc::clone(&missed.found.file), missed.found.path.clone());
            let look = self.cx.crew.io(move || Found::of(file, &path));
            if let Some(found) = look.await.map_err(SourceError::Io)? {
                missed.found = found;
                self.add_one_missed(missed).await?;
            }
        }
        Ok(())
    }
}
