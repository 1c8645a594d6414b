//! The loop of one file source: it owns every generation, starts pumps where something changed, and
//! reconciles what it knows with what is there.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use tracing::{info, warn};

use super::adopt::{Adopted, Found, Registry};
use super::discover::{Match, Pattern, PatternError, Scanner};
use super::generation::{Generation, GenerationId, Phase, Slot};
use super::pump::{Cursor, End, LastLine, Pump, Pumped, on_pool};
use super::tail::{Change, Place};
use super::watch::{Hints, Watch};
use super::{FileConfig, Follow, Inode, Label, Start};
use crate::framing::Pool;
use crate::model::{Ledger, Origin, StreamKey};
use crate::source::{Common, SourceContext, SourceError};

/// How often it looks whatever the hints say.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Two looks that hints ask for are at least this far apart.
const LOOK_PACE: Duration = Duration::from_millis(10);

/// Files read at the same time.
const PUMPS_MAX: usize = 64;

/// Files kept open; of more, those that were quiet longest are closed.
const OPEN_MAX: usize = 512;

/// A file that was quiet for so long is closed.
const CLOSE_AFTER: Duration = Duration::from_secs(300);

/// Files whose state is asked for at each look, in turn, beside those with events.
const STATS_PER_LOOK: usize = 200;

type Running = BoxFuture<'static, (GenerationId, usize, Pumped)>;

/// One file source.
pub(super) struct FileSource {
    common: Common,
    config: FileConfig,
    cx: SourceContext,
    pool: Pool,
    registry: Option<Registry>,
    scanner: Option<Scanner>,
    watch: Watch,
    /// True where events can be missed everywhere, so that every file is looked at.
    unwatched: bool,
    generations: HashMap<GenerationId, Generation>,
    by_inode: HashMap<Inode, GenerationId>,
    paths: HashMap<PathBuf, Named>,
    next_id: GenerationId,
    ready: VecDeque<(GenerationId, usize)>,
    later: HashMap<(GenerationId, usize), Instant>,
    pumps: FuturesUnordered<Running>,
    /// Paths that could not be read; each is said once and tried again.
    troubles: HashMap<PathBuf, String>,
    /// Paths whose `stat` is due, in turn.
    round: VecDeque<PathBuf>,
    look_at: Instant,
    looked: bool,
}

/// What a path names.
#[derive(Debug)]
struct Named {
    generation: GenerationId,
    entry_ino: u64,
}

impl FileSource {
    pub(super) fn new(
        common: Common,
        config: FileConfig,
        cx: SourceContext,
    ) -> Result<Self, PatternError> {
        let patterns = config.paths.iter().map(|text| Pattern::parse(text));
        let scanner = Scanner::new(patterns.collect::<Result<_, _>>()?);
        Ok(Self {
            common,
            config,
            cx,
            pool: Pool::default(),
            registry: None,
            scanner: Some(scanner),
            watch: Watch::new(),
            unwatched: false,
            generations: HashMap::new(),
            by_inode: HashMap::new(),
            paths: HashMap::new(),
            next_id: 0,
            ready: VecDeque::new(),
            later: HashMap::new(),
            pumps: FuturesUnordered::new(),
            troubles: HashMap::new(),
            round: VecDeque::new(),
            look_at: Instant::now(),
            looked: false,
        })
    }

    pub(super) async fn run(mut self) -> Result<(), SourceError> {
        let shutdown = self.cx.shutdown.clone();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => Ok(()),
            ended = self.follow() => ended,
        }
    }

    async fn follow(&mut self) -> Result<(), SourceError> {
        let sinks: Vec<_> = self
            .cx
            .outlets
            .iter()
            .map(|outlet| outlet.sink.clone())
            .collect();
        let (source, checkpoints) = (self.common.name.clone(), self.cx.checkpoints.clone());
        let load = on_pool(move || Ok(Registry::new(source, sinks, checkpoints)));
        self.registry = Some(load.await.map_err(SourceError::Checkpoint)?);
        self.look().await?;
        self.report_first_attempt();
        loop {
            self.start_pumps();
            if self.is_over() {
                return Ok(());
            }
            let wake = self
                .later
                .values()
                .min()
                .copied()
                .unwrap_or(self.look_at)
                .min(self.look_at);
            tokio::select! {
                biased;
                Some((id, outlet, pumped)) = self.pumps.next(), if !self.pumps.is_empty() => {
                    self.pumped(id, outlet, pumped).await?;
                }
                hints = self.watch.hints() => self.hinted(hints),
                () = tokio::time::sleep_until(wake.into()) => self.wake().await?,
            }
        }
    }

    /// Says once how the first look went.
    fn report_first_attempt(&mut self) {
        let (unused, _) = tokio::sync::oneshot::channel();
        let report = std::mem::replace(&mut self.cx.first_attempt, unused);
        let found = !self.generations.is_empty();
        let waits = self.config.follow == Follow::Forever && !self.troubles.values().any(|_| true);
        let outcome = if found || waits {
            Ok(())
        } else {
            let mut troubles: Vec<_> = self.troubles.values().cloned().collect();
            troubles.sort();
            if troubles.is_empty() {
                troubles.push(format!("no file matches {}", self.config.paths.join(", ")));
            }
            Err(troubles.join("; "))
        };
        // Nobody may be listening.
        let _ = report.send(outcome);
    }

    fn is_over(&self) -> bool {
        let all_closed = !self.generations.is_empty()
            && self
                .generations
                .values()
                .all(|it| it.places.iter().all(|slot| slot.closed));
        let all_read = self.config.follow == Follow::UntilEnd && self.generations.is_empty();
        (all_closed || all_read) && self.pumps.is_empty()
    }

    /// Starts what waits for its turn.
    fn start_pumps(&mut self) {
        let most = if self.config.follow == Follow::UntilEnd {
            1
        } else {
            PUMPS_MAX
        };
        let mut blocked = VecDeque::new();
        while self.pumps.len() < most
            && let Some((id, outlet)) = self.ready.pop_front()
        {
            if !self.start_pump(id, outlet) {
                blocked.push_back((id, outlet));
            }
        }
        self.ready.append(&mut blocked);
    }

    /// Starts one pump; false where another generation must be drained first.
    fn start_pump(&mut self, id: GenerationId, outlet: usize) -> bool {
        let Some(generation) = self.generations.get(&id) else {
            return true;
        };
        let before = generation
            .after
            .and_then(|before| self.generations.get(&before));
        if before.is_some_and(|before| !before.places[outlet].drained) {
            return false;
        }
        let tail = match self.config.follow {
            Follow::Forever => generation.last_line(),
            Follow::UntilEnd => LastLine::IsSent,
        };
        let pump = Pump {
            file: generation.file.clone(),
            location: generation.location(),
            outlet: self.cx.outlets[outlet].clone(),
            origin: Arc::clone(&generation.origin),
            counters: Arc::clone(&self.cx.counters),
            checkpoints: self.cx.checkpoints.clone(),
            pool: self.pool.clone(),
            line_bytes_max: self.common.line_bytes_max,
            tail,
            wants_head: generation.wants_head(),
        };
        let slot = &mut self.generations.get_mut(&id).expect("just found").places[outlet];
        slot.queued = false;
        if let Some(cursor) = slot.cursor.take() {
            self.pumps
                .push(async move { (id, outlet, pump.run(cursor).await) }.boxed());
        }
        true
    }

    /// Asks for a read of one sink's place, at once or when its pace allows.
    fn want(&mut self, id: GenerationId, outlet: usize, now: Instant) {
        let Some(generation) = self.generations.get_mut(&id) else {
            return;
        };
        let slot = &mut generation.places[outlet];
        if slot.closed || slot.queued {
            return;
        }
        if slot.cursor.is_none() {
            slot.again = true;
        } else if slot.not_before <= now {
            slot.queued = true;
            self.later.remove(&(id, outlet));
            self.ready.push_back((id, outlet));
        } else {
            self.later.insert((id, outlet), slot.not_before);
        }
    }

    fn want_all(&mut self, id: GenerationId, now: Instant) {
        for outlet in 0..self.cx.outlets.len() {
            self.want(id, outlet, now);
        }
    }

    fn hinted(&mut self, hints: Hints) {
        let now = Instant::now();
        let mut unknown = false;
        for path in &hints.written {
            match self.paths.get(path).map(|named| named.generation) {
                Some(id) => self.want_all(id, now),
                None => unknown = true,
            }
        }
        if unknown || hints.names {
            // A write through an old handle is reported under the file's new name.
            let not_current = self
                .generations
                .iter()
                .filter(|(_, it)| it.phase != Phase::Current);
            for id in not_current.map(|(id, _)| *id).collect::<Vec<_>>() {
                self.want_all(id, now);
            }
        }
        if hints.names {
            let earliest = now + LOOK_PACE;
            self.look_at = self.look_at.min(earliest);
        }
    }

    /// Does what is due: paced reads, and the regular look.
    async fn wake(&mut self) -> Result<(), SourceError> {
        let now = Instant::now();
        let due = self
            .later
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(key, _)| *key);
        for (id, outlet) in due.collect::<Vec<_>>() {
            self.later.remove(&(id, outlet));
            self.want(id, outlet, now);
        }
        if self.look_at > now {
            return Ok(());
        }
        if self.config.follow == Follow::Forever {
            self.look().await?;
            self.look_after_files(now);
            self.save_records().await;
        }
        self.look_at = Instant::now() + LOOK_INTERVAL;
        Ok(())
    }

    /// Takes a cursor back from its pump and decides what is next.
    async fn pumped(
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
    fn restart(&mut self, id: GenerationId, outlet: usize) {
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
                self.add(adopted, entry_ino, None);
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

    /// Looks which files are there, and reconciles.
    async fn look(&mut self) -> Result<(), SourceError> {
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
        let first = !std::mem::replace(&mut self.looked, true);
        if let Some(matches) = found {
            self.reconcile(matches, first).await?;
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
    async fn reconcile(&mut self, matches: Vec<Match>, first: bool) -> Result<(), SourceError> {
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
        let mut before = HashMap::new();
        for path in gone {
            if let Some(named) = self.paths.remove(&path) {
                before.insert(path, named.generation);
            }
        }
        for candidate in candidates {
            self.consider(candidate, first, &mut before).await?;
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
        first: bool,
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
            if let Some(generation) = self.generations.get_mut(&id)
                && before.values().any(|moved| *moved == id)
            {
                generation.path = candidate.path.clone();
                generation.record.path = candidate.path.display().to_string();
                generation.unsaved = true;
            }
        } else {
            let start = if first {
                self.config.start
            } else {
                Start::Beginning
            };
            let adopted = self.with_registry(move |registry| registry.adopt(found, start));
            let adopted = adopted.await.map_err(SourceError::Checkpoint)?;
            let after = old.or_else(|| before.get(&candidate.path).copied());
            self.add(adopted, candidate.entry_ino, after);
        }
        if let Some(old) = old {
            before.insert(candidate.path, old);
        }
        Ok(())
    }

    /// Runs a blocking call with the registry.
    async fn with_registry<T: Send + 'static>(
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
    fn add(&mut self, adopted: Adopted, entry_ino: u64, after: Option<GenerationId>) {
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
        let slot = |(outlet, place): (&crate::source::Outlet, Place)| {
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
        self.paths.insert(
            found.path,
            Named {
                generation: id,
                entry_ino,
            },
        );
        self.generations.insert(id, generation);
        self.want_all(id, now);
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
                self.consider(candidate, false, &mut before).await?;
                if self.paths.values().all(|named| named.generation != id) {
                    self.replaced(id, now);
                }
            }
            self.want_all(id, now);
        }
        Ok(())
    }

    fn entry_ino(&self, path: &Path) -> u64 {
        self.paths.get(path).map_or(0, |named| named.entry_ino)
    }

    /// Ends what had its grace, closes what was quiet for long, restarts what broke.
    fn look_after_files(&mut self, now: Instant) {
        let mut wanted = Vec::new();
        let mut broken = Vec::new();
        for (id, generation) in &mut self.generations {
            if let Phase::Replaced { until } = generation.phase {
                wanted.push(*id);
                if until <= now && generation.is_drained() {
                    generation.phase = Phase::Ending;
                    generation
                        .places
                        .iter_mut()
                        .for_each(|slot| slot.drained = false);
                }
            }
            for (outlet, slot) in generation.places.iter().enumerate() {
                if slot
                    .cursor
                    .as_ref()
                    .is_some_and(|cursor| cursor.ledger.is_broken())
                {
                    broken.push((*id, outlet));
                }
            }
        }
        wanted.into_iter().for_each(|id| self.want_all(id, now));
        broken
            .into_iter()
            .for_each(|(id, outlet)| self.restart(id, outlet));
        self.close_quiet_files(now);
    }

    fn close_quiet_files(&mut self, now: Instant) {
        let mut open: Vec<(Instant, GenerationId)> = self
            .generations
            .iter()
            .filter(|(_, it)| it.file.is_some() && it.phase == Phase::Current)
            .map(|(id, it)| (it.active, *id))
            .collect();
        open.sort_unstable();
        let excess = open.len().saturating_sub(OPEN_MAX);
        for (n, (active, id)) in open.into_iter().enumerate() {
            let quiet = now.duration_since(active) >= CLOSE_AFTER;
            if (quiet || n < excess)
                && let Some(generation) = self.generations.get_mut(&id)
            {
                generation.file = None;
            }
        }
    }

    /// Journals fingerprints and paths that changed.
    async fn save_records(&mut self) {
        let unsaved: Vec<_> = self
            .generations
            .values_mut()
            .filter_map(|it| std::mem::take(&mut it.unsaved).then(|| it.record.clone()))
            .collect();
        if unsaved.is_empty() {
            return;
        }
        let checkpoints = self.cx.checkpoints.clone();
        if let Err(error) = on_pool(move || checkpoints.register(unsaved, Vec::new())).await {
            // The shorter fingerprint still holds.
            warn!(source = %self.common.name, %error, "cannot note a longer fingerprint");
        }
    }

    /// Says a trouble with a path once.
    fn trouble(&mut self, path: &Path, what: &str) {
        let text = format!("{}: {what}", path.display());
        if self.troubles.get(path) != Some(&text) {
            warn!(source = %self.common.name, path = %path.display(), error = what, "cannot read");
            self.troubles.insert(path.to_owned(), text);
        }
    }

    fn relief(&mut self, path: &Path) {
        if self.troubles.remove(path).is_some() && self.looked {
            info!(source = %self.common.name, path = %path.display(), "can be read now");
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

/// True where this process writes the file itself.
fn is_own(found: &Found, own: &[PathBuf]) -> bool {
    let same = |path: &PathBuf| {
        super::open(path)
            .ok()
            .and_then(|file| Inode::of(&file).ok())
    };
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
