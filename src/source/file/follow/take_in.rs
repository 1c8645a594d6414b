//! Taking files in: known streams go on, new ones begin, and what came before is read before.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use tracing::{debug, info};

use super::{FileSource, Named, OPEN_MAX};
use crate::model::{Ledger, Origin, StreamKey};
use crate::source::file::adopt::{Adopted, Decision, Registry};
use crate::source::file::discover::Match;
use crate::source::file::found::Found;
use crate::source::file::generation::{Generation, GenerationId, Phase, Slot};
use crate::source::file::pump::{Cursor, on_pool};
use crate::source::file::rotation::{Living, bases, find_missed};
use crate::source::file::tail::Place;
use crate::source::file::{Inode, Label, Start};
use crate::source::{Outlet, SourceError};

impl FileSource {
    /// Takes up known streams whose files no pattern names any more: they were renamed, or copied
    /// before a truncation. What is left of them comes before the files that have their paths now.
    /// Returns the last of them for each of these paths.
    pub(super) async fn adopt_moved(
        &mut self,
        matches: &[Match],
    ) -> Result<HashMap<PathBuf, GenerationId>, SourceError> {
        let named: HashSet<PathBuf> = matches.iter().map(|it| it.path.clone()).collect();
        let find = move |registry: &mut Registry| registry.adopt_moved(&named);
        let adopted = self
            .with_registry(find)
            .await
            .map_err(SourceError::Checkpoint)?;
        let mut moved = HashMap::new();
        let until = Instant::now() + self.config.rotate_grace;
        for (path, adopted) in adopted {
            info!(
                source = %self.common.name, path = %path.display(),
                moved_to = %adopted.found.path.display(), ino = adopted.found.inode.ino,
                "file was rotated before: the rest of it is read first"
            );
            let id = self.add(adopted, moved.get(&path).copied());
            if let Some(generation) = self.generations.get_mut(&id) {
                generation.phase = Phase::Replaced { until };
            }
            moved.insert(path, id);
        }
        Ok(moved)
    }

    /// Takes in a file that no generation of this process has, behind those that were at its path
    /// before.
    pub(super) async fn take_in(
        &mut self,
        found: Found,
        candidate: &Match,
        after: Option<GenerationId>,
    ) -> Result<(), SourceError> {
        let after = match after {
            Some(old) => Some(self.take_in_missed(&candidate.path, &found, old).await?),
            None => self.take_in_displaced(&found).await?,
        };
        // What appears later is read from its first byte.
        let start = if self.looked {
            Start::Beginning
        } else {
            self.config.start
        };
        let living = self.living(&candidate.path);
        let adopt = move |registry: &mut Registry| registry.adopt(found, start, &living);
        let decision = self
            .with_registry(adopt)
            .await
            .map_err(SourceError::Checkpoint)?;
        let (path, entry_ino) = (candidate.path.clone(), candidate.entry_ino);
        match decision {
            Decision::Read(adopted) => {
                let generation = self.add(*adopted, after);
                self.name(path, generation, entry_ino);
            }
            Decision::Copy => debug!(
                source = %self.common.name, path = %path.display(),
                "a copy of a file that is read already"
            ),
            Decision::Later => self.undecided.push(candidate.clone()),
        }
        Ok(())
    }

    /// Takes in the copies of known streams whose inode the found file has, but not their content.
    async fn take_in_displaced(
        &mut self,
        found: &Found,
    ) -> Result<Option<GenerationId>, SourceError> {
        let found = found.clone();
        let displaced = self
            .with_registry(move |registry| registry.displaced(&found))
            .await
            .map_err(SourceError::Checkpoint)?;
        let until = Instant::now() + self.config.rotate_grace;
        let mut last = None;
        for adopted in displaced {
            let id = self.add(adopted, last);
            if let Some(generation) = self.generations.get_mut(&id) {
                generation.phase = Phase::Replaced { until };
            }
            last = Some(id);
        }
        Ok(last)
    }

    /// Takes in generations that came after `old` and were renamed away without being seen.
    /// Returns the last one, behind which the present file is read.
    async fn take_in_missed(
        &mut self,
        path: &Path,
        present: &Found,
        old: GenerationId,
    ) -> Result<GenerationId, SourceError> {
        let Some(handle) = self.generations.get(&old).and_then(|it| it.file.clone()) else {
            return Ok(old);
        };
        let mut known: HashSet<Inode> = self.by_inode.keys().copied().collect();
        known.insert(present.inode);
        let at = path.to_owned();
        let find = on_pool(move || Ok(find_missed(&at, &handle, &known)));
        let missed = find.await.map_err(SourceError::Checkpoint)?;
        let until = Instant::now() + self.config.rotate_grace;
        let mut last = old;
        for found in missed {
            let living = self.living(&found.path);
            let shown = found.path.clone();
            let adopt =
                move |registry: &mut Registry| registry.adopt(found, Start::Beginning, &living);
            let decision = self
                .with_registry(adopt)
                .await
                .map_err(SourceError::Checkpoint)?;
            if let Decision::Read(adopted) = decision {
                info!(
                    source = %self.common.name, path = %path.display(),
                    moved_to = %shown.display(),
                    "file came and was renamed unseen: it is read in its turn"
                );
                last = self.add(*adopted, Some(last));
                if let Some(generation) = self.generations.get_mut(&last) {
                    generation.phase = Phase::Replaced { until };
                }
            }
        }
        Ok(last)
    }

    /// The generations that a file at `path` may be a copy of.
    fn living(&self, path: &Path) -> Vec<Living> {
        let bases = bases(path);
        let named = bases.iter().filter_map(|base| self.paths.get(base));
        let generations = named.filter_map(|named| self.generations.get(&named.generation));
        let places = |it: &Generation| {
            let cursors = it.places.iter();
            cursors
                .filter_map(|slot| Some(slot.cursor.as_ref()?.place))
                .collect()
        };
        generations
            .map(|it| Living {
                record: it.record.clone(),
                file: it.file.clone(),
                places: places(it),
            })
            .collect()
    }

    /// Notes what a path names.
    pub(super) fn name(&mut self, path: PathBuf, generation: GenerationId, entry_ino: u64) {
        self.paths.insert(
            path,
            Named {
                generation,
                entry_ino,
            },
        );
    }

    /// Adds a generation and asks for its first read.
    pub(super) fn add(&mut self, adopted: Adopted, after: Option<GenerationId>) -> GenerationId {
        let now = Instant::now();
        let id = self.next_id;
        self.next_id += 1;
        let Adopted {
            found,
            record,
            places,
        } = adopted;
        let registry = self
            .registry
            .as_ref()
            .expect("it comes back from every call");
        let slot = |(outlet, place): (&Outlet, Place)| {
            let key = Arc::new(registry.key(&record, &outlet.sink));
            let ledger = Ledger::new(key, place.position());
            Slot::new(
                Cursor {
                    place,
                    ledger,
                    next_time_ns: 0,
                },
                now,
            )
        };
        let origin = Origin {
            source: self.label(&found.path),
            stream: StreamKey::new(record.id.as_str()),
            path: Some(found.path.to_string_lossy().into()),
            labels: Arc::clone(&self.common.labels),
        };
        let generation = Generation {
            origin: Arc::new(origin),
            path: found.path.clone(),
            inode: found.inode,
            // Of very many files most are quiet: they are opened when they are read.
            file: (self.generations.len() < OPEN_MAX).then_some(found.file),
            phase: Phase::Current,
            after,
            places: self.cx.outlets.iter().zip(places).map(slot).collect(),
            active: now,
            len: 0,
            unsaved: false,
            record,
        };
        self.by_inode.insert(found.inode, id);
        self.generations.insert(id, generation);
        self.want_all(id, now);
        id
    }

    /// What the lines of a file are labelled with.
    fn label(&self, path: &Path) -> Arc<str> {
        match self.config.label {
            Label::Source => Arc::clone(&self.common.name),
            Label::FileStem => {
                let stem = stem(path);
                let others = self.paths.keys().filter(|other| *other != path);
                match path.parent().and_then(Path::file_name) {
                    Some(dir) if others.clone().any(|other| self::stem(other) == stem) => {
                        format!("{}/{stem}", dir.to_string_lossy()).into()
                    }
                    _ => stem.into(),
                }
            }
        }
    }
}

/// A file's name without its last extension.
fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
