//! Taking files in: known streams go on, new ones begin, and what came before is read before.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tracing::{debug, info, warn};

use super::{FileSource, Named, OPEN_MAX};
use crate::source::SourceError;
use crate::source::file::adopt::{Adopted, Decision, Registry, Rotated};
use crate::source::file::discover::Match;
use crate::source::file::found::Found;
use crate::source::file::generation::{GenerationId, HOT_FOR, Phase, Sleeper};
use crate::source::file::intake::{
    Examined, Origins, Sight, Stated, alias_of, examine_all, stat_all,
};
use crate::source::file::resting::Resting;
use crate::source::file::since::Since;
use crate::source::file::{Follow, Inode, Label, Start};

/// Files looked at in one go: a blocking call cannot be aborted, so none may be long.
const BATCH_FILES: usize = 256;

/// A file that was written to more recently than this at its first sight is kept open for as long.
const WARM_FOR: Duration = Duration::from_secs(10);

impl FileSource {
    /// Takes in files at paths of which nothing is known, and which can be judged by themselves.
    /// Returns those that turned out to be other names of files that are read.
    pub(super) async fn take_in_all(
        &mut self,
        candidates: Vec<Match>,
    ) -> Result<Vec<Match>, SourceError> {
        self.by_inode.reserve(candidates.len());
        self.paths.reserve(candidates.len());
        self.sleepers.reserve(candidates.len());
        let mut candidates = candidates.into_iter();
        let mut known = Vec::new();
        let mut batch = self.stat(&mut candidates).await?;
        while !batch.is_empty() {
            let sight = Sight {
                living: std::mem::take(&mut self.by_inode),
                own: Arc::clone(&self.cx.own_files),
                origins: self.origins(),
            };
            let examine = move |registry: &mut Registry| {
                let examined = examine_all(registry, &sight, batch);
                // What cannot be journalled now stays to be, and is said at the end of the look.
                let _ = registry.write();
                Ok((sight.living, examined))
            };
            // The system looks at the next ones meanwhile, which is half of the work where all are
            // as they were.
            let next = self.stat(&mut candidates);
            let (next, examined) = tokio::join!(next, self.with_registry(examine));
            let (living, examined) = examined.map_err(SourceError::Io)?;
            batch = next?;
            self.by_inode = living;
            for (candidate, alias, examined) in examined {
                match examined {
                    Examined::Known => known.push(candidate),
                    examined => self.take(candidate, alias, examined).await?,
                }
            }
        }
        Ok(known)
    }

    /// Asks the system about the next files.
    fn stat(
        &self,
        candidates: &mut std::vec::IntoIter<Match>,
    ) -> impl Future<Output = Result<Vec<Stated>, SourceError>> + use<> {
        let batch: Vec<Match> = candidates.take(BATCH_FILES).collect();
        let crew = self.cx.crew.clone();
        async move {
            if batch.is_empty() {
                return Ok(Vec::new());
            }
            let stat = crew.io(move || Ok(stat_all(batch)));
            stat.await.map_err(SourceError::Io)
        }
    }

    /// Takes one file in as it was found to be.
    async fn take(
        &mut self,
        candidate: Match,
        alias: Option<PathBuf>,
        examined: Examined,
    ) -> Result<(), SourceError> {
        let path = Arc::clone(&candidate.path);
        match examined {
            Examined::Failed(error) if error.kind() == ErrorKind::NotFound => {
                return self.vanished(&candidate, &error).await;
            }
            Examined::Failed(error) => {
                self.note_refusal(&error);
                self.trouble(&path, &error.to_string());
                return Ok(());
            }
            Examined::NotAFile => {
                self.trouble(&path, "not a regular file");
                return Ok(());
            }
            // What is known is considered beside what else is there.
            Examined::Own | Examined::Known => return Ok(()),
            Examined::Moved => {
                self.moved_meanwhile = true;
                return Ok(());
            }
            Examined::Asleep {
                record,
                places,
                len,
                doubtful,
            } => {
                let sleeper = Sleeper {
                    record,
                    path: Arc::clone(&path),
                    places,
                    len,
                    after: None,
                    doubtful,
                };
                let id = self.lay_down(sleeper);
                self.name(path, id, candidate.entry_ino, alias);
            }
            Examined::Taken {
                displaced,
                decision,
            } => {
                let after = self.add_rotated(&path, displaced, None);
                let after = self.missed_before(&path, &decision, after).await?;
                self.decided(decision, &candidate, after, alias);
            }
        }
        self.relief(&candidate.path);
        Ok(())
    }

    /// Does what was decided on a file.
    fn decided(
        &mut self,
        decision: Decision,
        candidate: &Match,
        after: Option<GenerationId>,
        alias: Option<PathBuf>,
    ) {
        match decision {
            Decision::Read(adopted) => {
                let id = self.add(*adopted, after);
                self.note_empty(&candidate.path, id);
                let path = self.path_of(id, &candidate.path);
                self.name(path, id, candidate.entry_ino, alias);
            }
            Decision::Copy => debug!(
                source = %self.common.name, path = %candidate.path.display(),
                "a copy of a file that is read already"
            ),
            Decision::Later => {
                // As long as it has no generation, each look finds it anew.
                if !self.undecided.contains(candidate) {
                    self.undecided.push(candidate.clone());
                }
            }
        }
    }

    /// Where a file is read from that is seen for the first time: one that appears later from its
    /// first byte.
    fn start(&self) -> Start {
        if self.looked {
            Start::Beginning
        } else {
            self.config.start
        }
    }

    /// What tells how old a line is, where that says where a file is read from.
    fn since(&self) -> Option<Since> {
        let start = self.start();
        if !matches!(start, Start::Since(_) | Start::NotBefore(_)) {
            return None;
        }
        let recording = &self.rules.recording;
        let time = self.rules.refine.time();
        Some(Since::new(
            start,
            time,
            recording.container,
            recording.charset,
        ))
    }

    fn origins(&self) -> Origins {
        Origins {
            start: self.start(),
            since: self.since(),
            ignore_older: self.config.ignore_older,
            is_first: !self.looked,
        }
    }

    /// Says what was unread of files that are nowhere to be found.
    pub(super) fn tell_gone(&mut self) {
        let registry = self
            .registry
            .as_mut()
            .expect("it comes back from every call");
        registry.shrink();
        let gone = registry.gone();
        for (record, bytes) in gone.into_iter().filter(|(_, bytes)| *bytes > 0) {
            self.cx.counters.lost_bytes.add(bytes);
            warn!(
                source = %self.common.name, path = &*record.path, ino = record.ino, bytes,
                "a file is gone of which something was unread: it is lost unless the file comes back"
            );
        }
    }

    /// Takes up known streams whose files no pattern names any more: they were renamed, or copied
    /// before a truncation. What is left of them comes before the files that have their paths now.
    /// Returns the last of them for each of these paths.
    pub(super) async fn adopt_moved(
        &mut self,
        matches: &[Match],
    ) -> Result<HashMap<PathBuf, GenerationId>, SourceError> {
        let named = matches
            .iter()
            .map(|it| (Arc::clone(&it.path), it.entry_ino));
        let named: HashMap<Arc<Path>, u64> = named.collect();
        let living: HashSet<Inode> = self.by_inode.keys().copied().collect();
        let names = Arc::clone(&self.names);
        let find = move |registry: &mut Registry| registry.adopt_moved(&named, &names, living);
        let rotated = self.with_registry(find).await.map_err(SourceError::Io)?;
        let mut moved = HashMap::new();
        for (path, rotated) in rotated {
            if let Rotated::Read(adopted) = &rotated {
                info!(
                    source = %self.common.name, path = %path.display(),
                    moved_to = %adopted.found.path.display(), ino = adopted.found.inode.ino,
                    "file was rotated before: the rest of it is read first"
                );
            }
            // Behind what an earlier one of the first looks found.
            let before = self.left.remove(&path);
            let before = moved.get(&path).copied().or(before);
            if let Some(last) = self.add_rotated(&path, vec![rotated], before) {
                moved.insert(path, last);
            }
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
        let displaced = self.take_in_displaced(&found, after).await?;
        let living = self.living(&candidate.path, after);
        let origins = self.origins();
        let alias = alias_of(candidate, found.inode);
        let adopt = move |registry: &mut Registry| {
            let start = origins.start_of(&found, registry)?;
            registry.adopt(found, start, &living)
        };
        match self.with_registry(adopt).await {
            Ok(decision) => {
                let after = displaced.or(after);
                let after = self.missed_before(&candidate.path, &decision, after);
                let after = after.await?;
                self.decided(decision, candidate, after, alias);
            }
            Err(error) => self.trouble(&candidate.path, &error.to_string()),
        }
        Ok(())
    }

    /// Takes in the copies of known streams whose inode the found file has, but not their content;
    /// they are read behind `after`.
    async fn take_in_displaced(
        &mut self,
        found: &Found,
        after: Option<GenerationId>,
    ) -> Result<Option<GenerationId>, SourceError> {
        let (found, path) = (found.clone(), found.path.clone());
        let living = self.by_inode.clone();
        let displaced = self
            .with_registry(move |registry| registry.displaced(&found, &living))
            .await
            .map_err(SourceError::Io)?;
        Ok(self.add_rotated(&path, displaced, after))
    }

    /// Adds what was at `path` and must be read behind `after`, oldest first. Returns the last of it.
    fn add_rotated(
        &mut self,
        path: &Path,
        rotated: Vec<Rotated>,
        after: Option<GenerationId>,
    ) -> Option<GenerationId> {
        let until = Instant::now() + self.config.rotate_grace;
        let mut last = after;
        for it in rotated {
            match it {
                Rotated::Read(adopted) => {
                    let id = self.add_awake(*adopted, last);
                    if let Some(generation) = self.generations.get_mut(&id) {
                        generation.phase = Phase::Replaced { until };
                    }
                    last = Some(id);
                }
                Rotated::Undecided(found) => self.decide_later(path, *found, last),
            }
        }
        last
    }

    /// Notes what a path names, and what events call it where that is something else.
    pub(super) fn name(
        &mut self,
        path: Arc<Path>,
        generation: GenerationId,
        entry_ino: u64,
        alias: Option<PathBuf>,
    ) {
        if let Some(alias) = alias {
            self.aliases.insert(alias, generation);
        }
        self.paths.insert(
            path,
            Named {
                generation,
                entry_ino,
            },
        );
    }

    /// Adds a file that was decided on: one that appears in a running process stays open, of the
    /// many at the first look each is opened in its turn.
    fn add(&mut self, adopted: Adopted, after: Option<GenerationId>) -> GenerationId {
        let warm = |it: &Found| {
            let age = SystemTime::now().duration_since(it.modified);
            age.map_or(true, |age| age < WARM_FOR)
        };
        let hot_for = match self.looked {
            true => HOT_FOR,
            false if warm(&adopted.found) => WARM_FOR,
            false => Duration::ZERO,
        };
        if self.looked || after.is_some() || !hot_for.is_zero() && self.generations.len() < OPEN_MAX
        {
            let id = self.add_awake(adopted, after);
            if let Some(generation) = self.generations.get_mut(&id) {
                generation.hot_until = Instant::now() + hot_for;
            }
            return id;
        }
        let sleeper = self.sleeper_of(&adopted, after);
        let id = self.lay_down(sleeper);
        self.unwritten.insert(id);
        id
    }

    /// Adds a file that sleeps; it is woken in its turn where something of it is unread.
    fn lay_down(&mut self, sleeper: Sleeper) -> GenerationId {
        let id = self.next_id;
        self.next_id += 1;
        self.by_inode.insert(sleeper.inode(), id);
        if sleeper.has_unread() || self.config.follow == Follow::UntilEnd {
            self.backlog.push_back(id);
        }
        self.sleepers.insert(id, sleeper);
        id
    }

    fn sleeper_of(&self, adopted: &Adopted, after: Option<GenerationId>) -> Sleeper {
        Sleeper {
            record: Arc::clone(&adopted.record),
            path: adopted.found.path.as_path().into(),
            places: Resting::new(&adopted.places),
            len: adopted.found.content_len(),
            after,
            doubtful: false,
        }
    }

    /// Has a generation read to its end once more, because another one waits for that: what was
    /// written to it since it was read last comes first.
    fn drain_again(&mut self, id: GenerationId) {
        self.wake(id);
        if let Some(generation) = self.generations.get_mut(&id)
            && generation.phase != Phase::Ending
        {
            let slots = generation.places.iter_mut();
            slots.for_each(|slot| slot.drained = false);
        }
        self.want_all(id, Instant::now());
    }

    /// Adds a generation and asks for its first read.
    pub(super) fn add_awake(
        &mut self,
        adopted: Adopted,
        after: Option<GenerationId>,
    ) -> GenerationId {
        if let Some(before) = after {
            self.drain_again(before);
        }
        let id = self.next_id;
        self.next_id += 1;
        let sleeper = self.sleeper_of(&adopted, after);
        let mut generation = self.generation_of(sleeper);
        generation.file = Some(adopted.found.file);
        if self.looked {
            generation.hot_until = Instant::now() + HOT_FOR;
        }
        self.by_inode.insert(generation.inode, id);
        self.generations.insert(id, Box::new(generation));
        self.unwritten.insert(id);
        self.want_all(id, Instant::now());
        id
    }

    /// A path of a file, which shares what the file is known by where it is the same.
    fn path_of(&self, id: GenerationId, path: &Path) -> Arc<Path> {
        let awake = self.generations.get(&id).map(|it| &it.path);
        let known = awake.or_else(|| self.sleepers.get(&id).map(|it| &it.path));
        let same = known.filter(|known| known.as_os_str() == path.as_os_str());
        same.map_or_else(|| path.into(), Arc::clone)
    }

    /// What the lines of a file are labelled with.
    pub(super) fn label(&self, path: &Path) -> Arc<str> {
        if self.config.label == Label::Source {
            return Arc::clone(&self.common.name);
        }
        let stem = path.file_stem().unwrap_or_default();
        let shared = self.stems.get(stem).is_some_and(|count| *count > 1);
        match path.parent().and_then(Path::file_name) {
            Some(dir) if shared => {
                format!("{}/{}", dir.to_string_lossy(), stem.to_string_lossy()).into()
            }
            _ => stem.to_string_lossy().into(),
        }
    }
}
