//! The loop of one file source: it owns every file and starts pumps where something changed.
//!
//! `reconcile` compares what is known with what is there, `take_in` adds files, `missed` finds those
//! that came and went unseen, `living` those that a file may be a copy of, `sleep` keeps those small of
//! which nothing is to be read, `outcome` decides what a pump's return means, `sweep` finds changes
//! that no event told of, `upkeep` does what is due every second, `start` starts pumps, `merging`
//! announces the backlog to sinks that merge by time, `stop` gives out what waits for more at the end.

mod living;
mod merging;
mod missed;
mod outcome;
mod reconcile;
mod sleep;
mod start;
mod stop;
mod sweep;
mod take_in;
mod troubles;
mod upkeep;

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::HashMap as QuickMap;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tracing::{error, info, warn};

use super::adopt::Registry;
use super::discover::{Match, Scanner};
use super::generation::{Generation, GenerationId, Sleeper};
use super::pattern::{Names, PatternError};
use super::pump::{Pumped, Rules};
use super::watch::{Hints, Polled, Watch};
use super::{FileConfig, Follow, Inode};
use crate::framing::{Pool, Recording};
use crate::notes::{FirstFailure, Note};
use crate::source::quiet::Patience;
use crate::source::{Common, SourceContext, SourceError};
use merging::Merging;

/// How often it looks whatever the hints say.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Between two looks that hints ask for there is at least this, and [`LOOK_SHARE`] times what the
/// last one took: names that change all the time in a huge directory must not cost a core.
const LOOK_PACE: Duration = Duration::from_millis(10);

/// See [`LOOK_PACE`].
const LOOK_SHARE: u32 = 2;

/// Files that have no path any more are asked for late lines this long after an event that may be
/// about one of them: names that move all the time bring very many events.
const LATE_PACE: Duration = Duration::from_millis(20);

/// Files read at the same time for one sink: more make threads, not speed.
const PUMPS_MAX: usize = 8;

/// Renamed files that others are compared with.
const MOVED_MAX: usize = 8;

/// Files kept open; of more, those that nothing is written to are closed.
const OPEN_MAX: usize = 512;

type Running = BoxFuture<'static, (GenerationId, usize, Pumped)>;

/// One file source.
pub(super) struct FileSource {
    common: Common,
    config: FileConfig,
    cx: SourceContext,
    pool: Pool,
    rules: Rules,
    registry: Option<Registry>,
    names: Arc<Names>,
    scanner: Option<Scanner>,
    watch: Watch,
    /// Where changes bring no events.
    polled: Polled,
    /// True where events were lost: every file is looked at once.
    lost_events: bool,
    /// Files that are read, kept open or being moved. A file is here or in `sleepers`.
    generations: QuickMap<GenerationId, Box<Generation>>,
    /// Files of which nothing is to be read now.
    sleepers: QuickMap<GenerationId, Sleeper>,
    /// Those of the sleepers that have something unread, in the order in which they are read.
    backlog: VecDeque<GenerationId>,
    /// Generations that were read to their end, since when, and may fall asleep once that is settled.
    drowsy: VecDeque<(Instant, GenerationId)>,
    by_inode: QuickMap<Inode, GenerationId>,
    paths: QuickMap<Arc<Path>, Named>,
    /// Paths at which nothing is now, and the last file that each of them had: rotation leaves gaps,
    /// and whatever comes after one is read after that file.
    left: HashMap<PathBuf, GenerationId>,
    /// The same, where the last file was a compressed one that was read to its end.
    left_read: HashMap<PathBuf, missed::Since>,
    /// The last files that were renamed: a copy can have been made of one before that.
    moved: VecDeque<GenerationId>,
    /// Files that were seen empty only.
    empty: HashMap<PathBuf, GenerationId>,
    /// What events call files that are named through symbolic links.
    aliases: HashMap<PathBuf, GenerationId>,
    /// How many of the named files have a stem; only where files are labelled by it.
    stems: HashMap<OsString, usize>,
    next_id: GenerationId,
    /// Which files wait for a read, per outlet.
    ready: Vec<VecDeque<GenerationId>>,
    /// How many files are read, per outlet.
    running: Vec<usize>,
    later: HashMap<(GenerationId, usize), Instant>,
    pumps: FuturesUnordered<Running>,
    merging: Merging,
    /// Generations that are not in the journal yet: none of their lines may be sent.
    unwritten: HashSet<GenerationId>,
    /// True while the journal cannot be written.
    journal_fails: bool,
    /// Paths that could not be read; each is said once and tried again.
    troubles: HashMap<PathBuf, String>,
    /// Files that cannot be judged yet; they are considered again at each look.
    undecided: Vec<Match>,
    /// The same, of files that were renamed before they were seen.
    missed: Vec<missed::Missed>,
    /// Files whose `stat` is due, in turn.
    round: Vec<GenerationId>,
    look_at: Instant,
    /// When files that were replaced are asked for late lines, if an event asked for that.
    ask_late_at: Option<Instant>,
    /// When an event told last that names appeared, vanished or moved.
    names_moved: Instant,
    /// True where names moved since it was looked whether files came and went unseen.
    gaps_due: bool,
    /// When the last look ended, and what it took.
    looked_last: (Instant, Duration),
    /// True where a file was not taken in, because it was renamed since it was listed.
    moved_meanwhile: bool,
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
        let names = Arc::new(Names::parse(&config.paths, &config.exclude)?);
        let now = Instant::now();
        let outlets = cx.outlets.len();
        let rules = Rules {
            line_bytes_max: common.line_bytes_max,
            recording: Recording {
                charset: config.charset,
                ..common.recording.clone()
            },
            refine: common.refine.clone(),
            patience: Patience {
                record: common.recording.timeout(),
                line: config.partial,
            },
        };
        Ok(Self {
            watch: Watch::new(config.watch),
            common,
            config,
            cx,
            pool: Pool::default(),
            rules,
            registry: None,
            scanner: Some(Scanner::new(Arc::clone(&names))),
            names,
            polled: Polled::default(),
            lost_events: false,
            generations: QuickMap::default(),
            sleepers: QuickMap::default(),
            backlog: VecDeque::new(),
            drowsy: VecDeque::new(),
            by_inode: QuickMap::default(),
            paths: QuickMap::default(),
            left: HashMap::new(),
            left_read: HashMap::new(),
            moved: VecDeque::new(),
            empty: HashMap::new(),
            aliases: HashMap::new(),
            stems: HashMap::new(),
            next_id: 0,
            ready: vec![VecDeque::new(); outlets],
            running: vec![0; outlets],
            later: HashMap::new(),
            pumps: FuturesUnordered::new(),
            merging: Merging::default(),
            unwritten: HashSet::new(),
            journal_fails: false,
            troubles: HashMap::new(),
            undecided: Vec::new(),
            missed: Vec::new(),
            round: Vec::new(),
            look_at: now,
            ask_late_at: None,
            names_moved: now,
            gaps_due: false,
            looked_last: (now, Duration::ZERO),
            moved_meanwhile: false,
            looked: false,
        })
    }

    pub(super) async fn run(mut self) -> Result<(), SourceError> {
        let shutdown = self.cx.shutdown.clone();
        let ended = tokio::select! {
            biased;
            () = shutdown.cancelled() => Ok(()),
            ended = self.follow() => ended,
        };
        if shutdown.is_cancelled() {
            self.give_out_open().await;
        }
        self.note_lengths();
        ended
    }

    async fn follow(&mut self) -> Result<(), SourceError> {
        let outlets = self.cx.outlets.iter();
        let sinks: Vec<_> = outlets.map(|outlet| outlet.sink.clone()).collect();
        let (source, checkpoints) = (self.common.name.clone(), self.cx.checkpoints.clone());
        let forget_after = self.config.forget_after;
        let load = self
            .cx
            .crew
            .io(move || Ok(Registry::new(source, sinks, checkpoints, forget_after)));
        self.registry = Some(load.await.map_err(SourceError::Io)?);
        self.look_and_announce().await?;
        self.looked = true;
        self.tell_gone();
        self.report_first_attempt();
        loop {
            self.settle_down();
            self.start_pumps();
            self.merging.go_on();
            if self.is_over() {
                return Ok(());
            }
            let wake = self.wake_at();
            tokio::select! {
                biased;
                Some((id, outlet, pumped)) = self.pumps.next(), if !self.pumps.is_empty() => {
                    self.running[outlet] -= 1;
                    self.pumped(id, outlet, pumped).await?;
                }
                hints = self.watch.hints() => self.hinted(hints),
                () = tokio::time::sleep_until(wake.into()) => self.wake_up().await?,
            }
        }
    }

    /// Looks until everything that was there is taken in: what is known of it tells what came while
    /// no process looked, and that must not be judged by names that moved meanwhile.
    async fn look_first(&mut self) -> Result<(), SourceError> {
        /// Names that move all the time are not waited for.
        const LOOKS_MAX: usize = 16;
        for _ in 0..LOOKS_MAX {
            self.moved_meanwhile = false;
            self.look().await?;
            if !self.moved_meanwhile {
                break;
            }
        }
        Ok(())
    }

    /// When something is due next.
    fn wake_at(&self) -> Instant {
        /// How soon it is looked whether what was read is settled, while files wait for that.
        const SETTLED_CHECK: Duration = Duration::from_millis(20);
        let paced = self.later.values().min().copied();
        let settled = (!self.backlog.is_empty()).then(|| Instant::now() + SETTLED_CHECK);
        let due = [paced, settled, self.ask_late_at].into_iter().flatten();
        due.fold(self.look_at, Instant::min)
    }

    /// Says once how the first look went: a failure where nothing can be read yet. What cannot be
    /// read beside others is a warning.
    fn report_first_attempt(&mut self) {
        let (unused, _) = tokio::sync::oneshot::channel();
        let report = std::mem::replace(&mut self.cx.first_attempt, unused);
        let mut troubles: Vec<_> = self.troubles.values().cloned().collect();
        troubles.sort();
        let found = !(self.generations.is_empty() && self.sleepers.is_empty());
        let outcome = match self.config.follow {
            _ if found => Ok(()),
            Follow::Forever if troubles.is_empty() => {
                // A word that is wrong looks like a file that is quiet.
                let paths = self.config.paths.join(", ");
                let text = &format!("no file matches {paths} yet: waiting for one");
                self.cx.notes.tell(&self.common.name, &Note::Hint { text });
                Ok(())
            }
            Follow::UntilEnd if troubles.is_empty() => Err(FirstFailure {
                trouble: format!("no file matches {}", self.config.paths.join(", ")),
                is_retried: false,
            }),
            follow => Err(FirstFailure {
                trouble: format!("cannot read {}", troubles.join("; ")),
                is_retried: follow == Follow::Forever,
            }),
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
        let closed = self
            .cx
            .outlets
            .iter()
            .all(|outlet| outlet.sender.is_closed());
        let nothing_left = self.generations.is_empty() && self.sleepers.is_empty();
        let all_read = self.config.follow == Follow::UntilEnd && nothing_left;
        (closed || all_read) && self.pumps.is_empty()
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
        } else if let Some(at) = slot.not_before.filter(|at| *at > now) {
            self.later.insert((id, outlet), at);
        } else {
            slot.queued = true;
            self.later.remove(&(id, outlet));
            self.ready[outlet].push_back(id);
        }
    }

    /// Asks for a read of a file for every sink; one that sleeps is woken.
    fn want_all(&mut self, id: GenerationId, now: Instant) {
        self.wake(id);
        for outlet in 0..self.cx.outlets.len() {
            self.want(id, outlet, now);
        }
    }

    fn hinted(&mut self, hints: Hints) {
        let now = Instant::now();
        let mut unknown = false;
        for path in &hints.written {
            let named = self.paths.get(path.as_path()).map(|named| named.generation);
            match named.or_else(|| self.aliases.get(path).copied()) {
                Some(id) => self.want_all(id, now),
                None => unknown = true,
            }
        }
        if unknown || hints.names {
            // A write through an old handle is reported under the file's new name.
            self.ask_late_at.get_or_insert(now + LATE_PACE);
        }
        self.lost_events |= hints.lost;
        if hints.names || hints.lost {
            self.names_moved = now;
            self.gaps_due = true;
            self.look_soon();
        }
    }

    /// Asks for a look as soon as their pace allows.
    fn look_soon(&mut self) {
        self.look_at = self.look_at.min(self.may_look_at().max(Instant::now()));
    }

    /// When the pace allows the next look.
    fn may_look_at(&self) -> Instant {
        let (ended, took) = self.looked_last;
        ended + LOOK_PACE.max(took * LOOK_SHARE).min(LOOK_INTERVAL)
    }

    /// Does what is due: paced reads, and the regular look.
    async fn wake_up(&mut self) -> Result<(), SourceError> {
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
        if self.ask_late_at.is_some_and(|at| at <= now) {
            self.ask_late().await?;
        }
        if self.look_at > now {
            return Ok(());
        }
        self.look_at = now + LOOK_INTERVAL;
        if self.config.follow == Follow::Forever {
            self.look().await?;
            self.look_after_files(now);
            self.save_records().await;
        }
        let ended = Instant::now();
        self.looked_last = (ended, ended - now);
        // It may have asked for the next one itself.
        self.look_at = self.look_at.max(self.may_look_at());
        Ok(())
    }

    /// Journals what was decided. While that cannot be done, what it is about is not read: its lines
    /// would be sent again after a restart.
    async fn write_decisions(&mut self) -> Result<(), SourceError> {
        let write = |registry: &mut Registry| {
            let written = registry.write();
            registry.heads = None;
            Ok(written)
        };
        let written = self.with_registry(write).await;
        match written.map_err(SourceError::Io)? {
            Ok(()) => {
                self.unwritten.clear();
                if std::mem::take(&mut self.journal_fails) {
                    info!(source = %self.common.name, "new files are taken in again");
                }
            }
            Err(error) if !std::mem::replace(&mut self.journal_fails, true) => error!(
                source = %self.common.name, %error,
                "cannot write the checkpoint journal: new files wait until it can be"
            ),
            Err(_) => {}
        }
        Ok(())
    }
}
