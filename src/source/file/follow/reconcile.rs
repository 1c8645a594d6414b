//! Reconciling: what is there against what is known. Hints may lie, this may not.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use tracing::info;

use super::{FileSource, Named, STATS_PER_LOOK};
use crate::source::SourceError;
use crate::source::file::adopt::Registry;
use crate::source::file::discover::{Match, Scanner};
use crate::source::file::found::Found;
use crate::source::file::generation::{GenerationId, Phase};
use crate::source::file::pump::on_pool;
use crate::source::file::{Inode, open};

impl FileSource {
    /// Looks which files are there, and reconciles.
    pub(super) async fn look(&mut self) -> Result<(), SourceError> {
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
            let before = if self.looked {
                HashMap::new()
            } else {
                self.adopt_moved(&matches).await?
            };
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
