//! The loop of one file source: it owns every generation and starts pumps where something changed.
//! `reconcile` compares what is known with what is there, `take_in` adds files, `outcome` decides what a pump's return
//! means, `upkeep` does what is due every second.

mod outcome;
mod reconcile;
mod take_in;
mod upkeep;

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use tracing::{info, warn};

use super::adopt::Registry;
use super::discover::{Match, Pattern, PatternError, Scanner};
use super::generation::{Generation, GenerationId, Phase};
use super::pump::{LastLine, Pump, Pumped, on_pool};
use super::watch::{Hints, Watch};
use super::{FileConfig, Follow, Inode};
use crate::framing::Pool;
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
    /// Files that cannot be judged yet; they are considered again at each look.
    undecided: Vec<Match>,
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
            undecided: Vec::new(),
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
        let forget_after = self.config.forget_after;
        let load = on_pool(move || Registry::new(source, sinks, checkpoints, forget_after));
        self.registry = Some(load.await.map_err(SourceError::Checkpoint)?);
        self.look().await?;
        self.looked = true;
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

    /// Says once how the first look went: a failure where nothing can be read yet. What cannot be
    /// read beside others is a warning.
    fn report_first_attempt(&mut self) {
        let (unused, _) = tokio::sync::oneshot::channel();
        let report = std::mem::replace(&mut self.cx.first_attempt, unused);
        let mut troubles: Vec<_> = self.troubles.values().cloned().collect();
        troubles.sort();
        let found = !self.generations.is_empty();
        let outcome = match self.config.follow {
            _ if found => Ok(()),
            Follow::Forever if troubles.is_empty() => Ok(()),
            Follow::UntilEnd if troubles.is_empty() => {
                Err(format!("no file matches {}", self.config.paths.join(", ")))
            }
            _ => Err(troubles.join("; ")),
        };
        if outcome.is_ok() {
            for trouble in troubles {
                warn!(source = %self.common.name, "cannot read {trouble}");
            }
        }
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

    /// Says a trouble with a path once.
    fn trouble(&mut self, path: &Path, what: &str) {
        let text = format!("{}: {what}", path.display());
        if self.troubles.get(path) == Some(&text) {
            return;
        }
        // Those of the first look are reported together.
        if self.looked {
            warn!(source = %self.common.name, "cannot read {text}");
        }
        self.troubles.insert(path.to_owned(), text);
    }

    fn relief(&mut self, path: &Path) {
        if self.troubles.remove(path).is_some() && self.looked {
            info!(source = %self.common.name, path = %path.display(), "can be read now");
        }
    }
}
