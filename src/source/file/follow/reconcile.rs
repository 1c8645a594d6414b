//! Reconciling: what is there against what is known. Hints may lie, this may not.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::info;

use super::{FileSource, MOVED_MAX};
use crate::source::SourceError;
use crate::source::file::adopt::Registry;
use crate::source::file::discover::{Match, was_renamed};
use crate::source::file::found::Found;
use crate::source::file::generation::{GenerationId, Phase};
use crate::source::file::intake::alias_of;
use crate::source::file::rotation::{bases, is_compressed};
use crate::source::file::watch::Polled;
use crate::source::file::{Inode, Label};

/// Names that did not move for so long have been rotated to where they stay.
const NAMES_SETTLE: Duration = Duration::from_millis(200);

/// What is at a path.
enum Sighted {
    File(Box<Found>),
    /// A file that this process writes itself, or a compressed one that needs no reading.
    NothingNew,
    NotAFile,
}

impl FileSource {
    /// Looks which files are there, and reconciles.
    pub(super) async fn look(&mut self) -> Result<(), SourceError> {
        let Some(mut scanner) = self.scanner.take() else {
            return Ok(());
        };
        let looked = self.cx.crew.io(move || {
            let found = scanner.look();
            let dirs = found.is_some().then(|| scanner.dirs());
            let missing = scanner.missing();
            Ok((scanner, found, dirs, missing))
        });
        let (scanner, found, dirs, missing) = looked.await.map_err(SourceError::Io)?;
        self.scanner = Some(scanner);
        self.note_missing(missing);
        if let Some(matches) = found {
            self.gaps_due = true;
            let before = if self.looked {
                HashMap::new()
            } else {
                self.adopt_moved(&matches).await?
            };
            self.reconcile(matches, before).await?;
        }
        // While names move all the time, the next look tells in which order they came.
        // Where no events come nothing else tells that names moved.
        self.gaps_due |= self.polled != Polled::Nothing;
        if self.gaps_due && self.names_moved.elapsed() > NAMES_SETTLE {
            self.gaps_due = false;
            self.watch_gaps().await?;
        }
        for candidate in std::mem::take(&mut self.undecided) {
            self.consider(candidate, &mut HashMap::new()).await?;
        }
        self.reconsider_missed().await?;
        if let Some(mut dirs) = dirs {
            // A link's target changes in the directory where it lies.
            let targets = self.aliases.keys().filter_map(|alias| alias.parent());
            dirs.extend(targets.map(Path::to_owned));
            self.polled = self.watch.set(&dirs);
        }
        self.sweep().await?;
        self.write_decisions().await
    }

    /// Says which literal paths are not there.
    fn note_missing(&mut self, missing: Vec<(PathBuf, Option<String>)>) {
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
        if self.config.label == Label::FileStem {
            self.count_stems(&matches);
        }
        self.note_gone(&matches, &mut before);
        self.note_moved(&matches, &before);
        let paths = &self.paths;
        let is_new = |it: &Match| {
            let named = paths.get(&it.path);
            named.is_none_or(|named| named.entry_ino != it.entry_ino)
        };
        let candidates: Vec<Match> = matches.into_iter().filter(is_new).collect();
        if candidates.iter().any(|it| is_compressed(&it.path)) {
            // What it may be a copy of is told by what the journal knows of the others.
            self.save_records().await;
        }
        let (alone, mut beside) = self.apart(candidates, &before);
        beside.extend(self.take_in_all(alone).await?);
        for candidate in beside {
            self.consider(candidate, &mut before).await?;
        }
        let named: HashSet<GenerationId> = self.paths.values().map(|it| it.generation).collect();
        before.retain(|_, id| !named.contains(id));
        before.values().for_each(|id| self.replaced(*id, now));
        self.leave(before);
        Ok(())
    }

    /// Remembers which files were at paths at which nothing is now. One that was found under a name
    /// that rotation gives was at the path before.
    fn leave(&mut self, before: HashMap<PathBuf, GenerationId>) {
        let generations = &self.generations;
        self.left.retain(|_, id| generations.contains_key(id));
        for (path, id) in before {
            for base in bases(&path).into_iter().chain([path]) {
                if !self.paths.contains_key(&*base) {
                    self.left.insert(base, id);
                }
            }
        }
    }

    /// Takes note of the files that were renamed or are gone.
    fn note_moved(&mut self, matches: &[Match], before: &HashMap<PathBuf, GenerationId>) {
        let other = |it: &&Match| {
            let named = self.paths.get(&it.path);
            named.filter(|named| named.entry_ino != it.entry_ino)
        };
        let others = matches.iter().filter_map(|it| other(&it));
        let moved: Vec<GenerationId> = others.map(|it| it.generation).collect();
        self.note_as_moved(moved.into_iter().chain(before.values().copied()));
    }

    /// Copies may be made of these, which have no path any more.
    pub(super) fn note_as_moved(&mut self, ids: impl IntoIterator<Item = GenerationId>) {
        self.moved.extend(ids);
        let excess = self.moved.len().saturating_sub(MOVED_MAX);
        self.moved.drain(..excess);
    }

    /// Takes note of the paths that are not there any more, and which files had them.
    fn note_gone(&mut self, matches: &[Match], before: &mut HashMap<PathBuf, GenerationId>) {
        if self.paths.is_empty() {
            return;
        }
        let there: HashSet<&OsStr> = matches.iter().map(|it| it.path.as_os_str()).collect();
        let gone = self
            .paths
            .keys()
            .filter(|path| !there.contains(path.as_os_str()));
        for path in gone.cloned().collect::<Vec<_>>() {
            if let Some(named) = self.paths.remove(&path) {
                self.aliases.retain(|_, id| *id != named.generation);
                before.insert(path.to_path_buf(), named.generation);
            }
        }
    }

    /// Tells the candidates that can be judged by themselves, many at a time, from those that must
    /// be judged beside what was at their path or what rotation may have made them from.
    fn apart(
        &self,
        candidates: Vec<Match>,
        before: &HashMap<PathBuf, GenerationId>,
    ) -> (Vec<Match>, Vec<Match>) {
        let rotated = |it: &Match| !bases(&it.path).is_empty();
        let mut new: HashSet<Arc<Path>> = HashSet::new();
        if candidates.iter().any(rotated) {
            new.extend(candidates.iter().map(|it| Arc::clone(&it.path)));
        }
        let is_named =
            |base: &PathBuf| self.paths.contains_key(&**base) || new.contains(base.as_path());
        let is_alone = |it: &Match| {
            let known = self.paths.contains_key(&*it.path)
                || before.contains_key(&*it.path)
                || self.left.contains_key(&*it.path);
            !known && (new.is_empty() || !bases(&it.path).iter().any(is_named))
        };
        let by_itself = before.is_empty();
        candidates
            .into_iter()
            .partition(|it| by_itself && is_alone(it))
    }

    /// Counts the files of each stem: those that share one are labelled with their folder.
    fn count_stems(&mut self, matches: &[Match]) {
        self.stems.clear();
        for stem in matches.iter().filter_map(|it| it.path.file_stem()) {
            *self.stems.entry(stem.to_owned()).or_default() += 1;
        }
    }

    /// Takes in a path that is new or names another file than before.
    pub(super) async fn consider(
        &mut self,
        candidate: Match,
        before: &mut HashMap<PathBuf, GenerationId>,
    ) -> Result<(), SourceError> {
        // What has a rotated name can be younger than what was at the path before it when that was
        // looked at: the next look has them in order.
        if !self.looked || !bases(&candidate.path).is_empty() {
            let listed = candidate.clone();
            let renamed = self.cx.crew.io(move || Ok(was_renamed(&listed)));
            if renamed.await.map_err(SourceError::Io)? {
                self.moved_meanwhile = true;
                self.look_soon();
                return Ok(());
            }
        }
        let path = candidate.path.clone();
        let own = Arc::clone(&self.cx.own_files);
        let look = move |registry: &mut Registry| {
            let metadata = path.metadata()?;
            let state = (metadata.len(), metadata.modified()?);
            if registry.is_copy(Inode::of_metadata(&metadata), state) {
                return Ok(Sighted::NothingNew);
            }
            Ok(match Found::look(&path)? {
                Some(found) if found.is_own(&own) => Sighted::NothingNew,
                Some(found) => Sighted::File(Box::new(found)),
                None => Sighted::NotAFile,
            })
        };
        let found = match self.with_registry(look).await {
            Ok(Sighted::File(found)) => *found,
            Ok(Sighted::NothingNew) => return Ok(()),
            Ok(Sighted::NotAFile) => {
                self.trouble(&candidate.path, "not a regular file");
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return self.vanished(&candidate, &error).await;
            }
            Err(error) => {
                self.note_refusal(&error);
                self.trouble(&candidate.path, &error.to_string());
                return Ok(());
            }
        };
        self.relief(&candidate.path);
        let old = self.at_path(&candidate.path);
        self.part_from_gone(&found);
        if let Some(id) = self.by_inode.get(&found.inode).copied() {
            // It moved here, or it has two names; either way it is read once.
            let path = Arc::clone(&candidate.path);
            let alias = alias_of(&candidate, found.inode);
            self.name(Arc::clone(&path), id, candidate.entry_ino, alias);
            self.wake(id);
            if let Some(generation) = self.generations.get_mut(&id) {
                // It has a name that is asked for, so it is not at its end.
                generation.phase = Phase::Current;
                if before.values().any(|moved| *moved == id) {
                    Arc::make_mut(&mut generation.record).path = path.to_string_lossy().into();
                    generation.path = path;
                    generation.unsaved = true;
                }
            }
            self.want_all(id, Instant::now());
        } else {
            let before = old.or_else(|| before.get(&*candidate.path).copied());
            let after = before.or_else(|| self.left.remove(&*candidate.path));
            self.take_in(found, &candidate, after).await?;
        }
        if let Some(old) = old {
            before.insert(candidate.path.to_path_buf(), old);
        }
        Ok(())
    }

    /// Takes an inode from the generation that had it, where it was given to this file since.
    fn part_from_gone(&mut self, found: &Found) {
        let Some(id) = self.by_inode.get(&found.inode).copied() else {
            return;
        };
        let awake = self.generations.get(&id).map(|it| &it.record);
        let known = awake.or_else(|| self.sleepers.get(&id).map(|it| &it.record));
        if known.is_some_and(|known| found.is_reborn(known)) {
            self.by_inode.remove(&found.inode);
            self.want_all(id, Instant::now());
        }
    }

    /// Runs a blocking call with the registry.
    pub(super) async fn with_registry<T: Send + 'static>(
        &mut self,
        call: impl FnOnce(&mut Registry) -> std::io::Result<T> + Send + 'static,
    ) -> std::io::Result<T> {
        let mut registry = self.registry.take().expect("it comes back from every call");
        let (registry, result) = self
            .cx
            .crew
            .io(move || {
                let result = call(&mut registry);
                Ok((registry, result))
            })
            .await?;
        self.registry = Some(registry);
        result
    }

    pub(super) fn replaced(&mut self, id: GenerationId, now: Instant) {
        self.wake(id);
        let Some(generation) = self.generations.get_mut(&id) else {
            return;
        };
        if generation.phase != Phase::Current {
            return;
        }
        info!(
            source = %self.common.name, path = %generation.path.display(),
            dev = generation.inode.dev, ino = generation.inode.ino, len = generation.len,
            "file was renamed or deleted: the rest of it is read"
        );
        generation.replaced(now, self.config.rotate_grace);
        self.want_all(id, now);
    }

    pub(super) fn entry_ino(&self, path: &Path) -> u64 {
        self.paths.get(path).map_or(0, |named| named.entry_ino)
    }
}
