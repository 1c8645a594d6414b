//! Reconciling: what is there against what is known. Hints may lie, this may not.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use tracing::{debug, info};

use super::{FileSource, Named, OPEN_MAX, STATS_PER_LOOK};
use crate::model::{Ledger, Origin, StreamKey};
use crate::source::file::adopt::{Adopted, Decision, Found, Living, Registry, find_missed};
use crate::source::file::discover::{Match, Scanner};
use crate::source::file::generation::{Generation, GenerationId, Phase, Slot};
use crate::source::file::pump::{Cursor, on_pool};
use crate::source::file::tail::Place;
use crate::source::file::{Inode, Label, Start, open};
use crate::source::{Outlet, SourceError};

impl FileSource {
    /// Takes up streams that were renamed while nobody watched: what is left of them comes before
    /// the files that have their paths now. Returns them by those paths.
    pub(super) async fn adopt_moved(
        &mut self,
    ) -> Result<HashMap<PathBuf, GenerationId>, SourceError> {
        let find = |registry: &mut Registry| registry.adopt_moved();
        let adopted = self
            .with_registry(find)
            .await
            .map_err(SourceError::Checkpoint)?;
        let mut moved = HashMap::new();
        let until = Instant::now() + self.config.rotate_grace;
        for (old_path, adopted) in adopted {
            info!(
                source = %self.common.name, path = %old_path.display(),
                moved_to = %adopted.found.path.display(), ino = adopted.found.inode.ino,
                "file was renamed while stopped: the rest of it is read first"
            );
            let id = self.add(adopted, None);
            if let Some(generation) = self.generations.get_mut(&id) {
                generation.phase = Phase::Replaced { until };
            }
            moved.insert(old_path, id);
        }
        Ok(moved)
    }

    /// Looks which files are there, and reconciles. `before` holds what was at paths until now,
    /// beside what is known of them.
    pub(super) async fn look(
        &mut self,
        before: HashMap<PathBuf, GenerationId>,
    ) -> Result<(), SourceError> {
        let Some(mut scanner) = self.scanner.take() else {
            return Ok(());
        };
        let looked = on_pool(move || {
            let found = scanner.look();
            let dirs = found.is_some().then(|| scanner.dirs());
            Ok((scanner, found, dirs))
        });
        let (scanner, found, dirs) = looked.await.map_err(SourceError::Checkpoint)?;
        if let Some(dirs) = dirs {
            self.unwatched = !self.watch.set(&dirs);
        }
        self.note_missing(&scanner);
        self.scanner = Some(scanner);
        if let Some(matches) = found {
            self.reconcile(matches, before).await?;
        }
        for candidate in std::mem::take(&mut self.undecided) {
            self.consider(candidate, &mut HashMap::new()).await?;
        }
        self.sweep().await
    }

    /// Says which literal paths are not there.
    fn note_missing(&mut self, scanner: &Scanner) {
        let literal = scanner
            .patterns()
            .iter()
            .filter(|pattern| pattern.is_literal());
        let missing: Vec<(PathBuf, Option<String>)> = literal
            .map(|pattern| {
                let error = pattern.path().metadata().err();
                (
                    pattern.path().to_owned(),
                    error.map(|error| error.to_string()),
                )
            })
            .collect();
        for (path, error) in missing {
            match error {
                Some(error) if !self.looked => self.trouble(&path, &error),
                // A rotation leaves a path without a file for a moment.
                Some(_) => {}
                None => self.relief(&path),
            }
        }
    }

    /// Makes generations and paths agree with what was found.
    async fn reconcile(
        &mut self,
        matches: Vec<Match>,
        mut before: HashMap<PathBuf, GenerationId>,
    ) -> Result<(), SourceError> {
        let now = Instant::now();
        let is_new = |it: &&Match| {
            self.paths
                .get(&it.path)
                .is_none_or(|named| named.entry_ino != it.entry_ino)
        };
        let candidates: Vec<Match> = matches.iter().filter(is_new).cloned().collect();
        let there: HashSet<PathBuf> = matches.into_iter().map(|it| it.path).collect();
        let gone: Vec<PathBuf> = self
            .paths
            .keys()
            .filter(|path| !there.contains(*path))
            .cloned()
            .collect();
        for path in gone {
            if let Some(named) = self.paths.remove(&path) {
                before.insert(path, named.generation);
            }
        }
        for candidate in candidates {
            self.consider(candidate, &mut before).await?;
        }
        let named: HashSet<GenerationId> = self.paths.values().map(|it| it.generation).collect();
        for id in before.into_values().filter(|id| !named.contains(id)) {
            self.replaced(id, now);
        }
        Ok(())
    }

    /// Takes in a path that is new or names another file than before.
    async fn consider(
        &mut self,
        candidate: Match,
        before: &mut HashMap<PathBuf, GenerationId>,
    ) -> Result<(), SourceError> {
        let path = candidate.path.clone();
        let own = Arc::clone(&self.cx.own_files);
        let looked = on_pool(move || Ok(Found::look(&path)?.map(|it| (is_own(&it, &own), it))));
        let found = match looked.await {
            Ok(Some((false, found))) => found,
            Ok(Some((true, _))) => return Ok(()),
            Ok(None) => {
                self.trouble(&candidate.path, "not a regular file");
                return Ok(());
            }
            Err(error) => {
                self.trouble(&candidate.path, &error.to_string());
                return Ok(());
            }
        };
        self.relief(&candidate.path);
        let old = self
            .paths
            .get(&candidate.path)
            .map(|named| named.generation);
        if let Some(id) = self.by_inode.get(&found.inode).copied() {
            // It moved here, or it has two names; either way it is read once.
            let entry_ino = candidate.entry_ino;
            self.paths.insert(
                candidate.path.clone(),
                Named {
                    generation: id,
                    entry_ino,
                },
            );
            if let Some(generation) = self.generations.get_mut(&id) {
                // It has a name that is asked for, so it is not at its end.
                generation.phase = Phase::Current;
                if before.values().any(|moved| *moved == id) {
                    generation.path = candidate.path.clone();
                    generation.record.path = candidate.path.display().to_string();
                    generation.unsaved = true;
                }
            }
        } else {
            let after = old.or_else(|| before.get(&candidate.path).copied());
            self.take_in(found, &candidate, after).await?;
        }
        if let Some(old) = old {
            before.insert(candidate.path, old);
        }
        Ok(())
    }

    /// Takes in a file that no generation of this process has, behind those that were at its path
    /// before.
    async fn take_in(
        &mut self,
        found: Found,
        candidate: &Match,
        after: Option<GenerationId>,
    ) -> Result<(), SourceError> {
        let after = match after {
            Some(old) => Some(self.take_in_missed(&candidate.path, &found, old).await?),
            None => None,
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
        let beside = self
            .generations
            .values()
            .filter(|it| it.path.parent() == path.parent());
        let living = beside.map(|it| Living {
            record: it.record.clone(),
            file: it.file.clone(),
            places: it
                .places
                .iter()
                .filter_map(|slot| Some(slot.cursor.as_ref()?.place))
                .collect(),
        });
        living.collect()
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

    /// Runs a blocking call with the registry.
    pub(super) async fn with_registry<T: Send + 'static>(
        &mut self,
        call: impl FnOnce(&mut Registry) -> std::io::Result<T> + Send + 'static,
    ) -> std::io::Result<T> {
        let mut registry = self.registry.take().expect("it comes back from every call");
        let (registry, result) = on_pool(move || {
            let result = call(&mut registry);
            Ok((registry, result))
        })
        .await?;
        self.registry = Some(registry);
        result
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
            file: (self.open_files() < OPEN_MAX).then_some(found.file),
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

    fn open_files(&self) -> usize {
        // Counting is as cheap as keeping count while there are few generations.
        self.generations
            .values()
            .filter(|it| it.file.is_some())
            .take(OPEN_MAX)
            .count()
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

    fn replaced(&mut self, id: GenerationId, now: Instant) {
        let Some(generation) = self.generations.get_mut(&id) else {
            return;
        };
        if generation.phase != Phase::Current {
            return;
        }
        info!(
            source = %self.common.name, path = %generation.path.display(),
            dev = generation.inode.dev, ino = generation.inode.ino,
            "file was renamed or deleted: the rest of it is read"
        );
        generation.replaced(now, self.config.rotate_grace);
        self.want_all(id, now);
    }

    /// Asks for the state of some files in turn, in case an event was lost.
    async fn sweep(&mut self) -> Result<(), SourceError> {
        let count = if self.unwatched {
            usize::MAX
        } else {
            STATS_PER_LOOK
        };
        if self.round.is_empty() {
            self.round.extend(self.paths.keys().cloned());
        }
        let count = count.min(self.round.len());
        let asked: Vec<(GenerationId, PathBuf, Inode, u64)> = self
            .round
            .drain(..count)
            .filter_map(|path| {
                let id = self.paths.get(&path)?.generation;
                let generation = self.generations.get(&id)?;
                Some((id, path, generation.inode, generation.len))
            })
            .collect();
        let swept = on_pool(move || Ok(asked.into_iter().filter_map(differs).collect::<Vec<_>>()));
        let now = Instant::now();
        for (id, path, other_file) in swept.await.map_err(SourceError::Checkpoint)? {
            if other_file {
                // A symbolic link that was turned elsewhere: its directory may look as before.
                let candidate = Match {
                    path: path.clone(),
                    entry_ino: self.entry_ino(&path),
                };
                let mut before = HashMap::new();
                self.consider(candidate, &mut before).await?;
                if self.paths.values().all(|named| named.generation != id) {
                    self.replaced(id, now);
                }
            }
            self.want_all(id, now);
        }
        Ok(())
    }

    pub(super) fn entry_ino(&self, path: &Path) -> u64 {
        self.paths.get(path).map_or(0, |named| named.entry_ino)
    }
}

/// A file's name without its last extension.
fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// True where this process writes the file itself.
fn is_own(found: &Found, own: &[PathBuf]) -> bool {
    let same = |path: &PathBuf| open(path).ok().and_then(|file| Inode::of(&file).ok());
    own.iter()
        .any(|path| found.path.starts_with(path) || same(path) == Some(found.inode))
}

/// A file that has another length or is another file; `None` where it is as it was.
fn differs(
    (id, path, inode, len): (GenerationId, PathBuf, Inode, u64),
) -> Option<(GenerationId, PathBuf, bool)> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = path.metadata().ok()?;
    let other = (metadata.dev(), metadata.ino()) != (inode.dev, inode.ino);
    (other || metadata.len() != len).then_some((id, path, other))
}
