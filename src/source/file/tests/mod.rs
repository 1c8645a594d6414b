//! A model of a file's history against the source: whatever is done to the file and to the process,
//! each line arrives, and without a kill it arrives once.
//!
//! A history is a list of steps that proptest makes up and, where one fails, makes shorter. The model
//! keeps every rotated file, so that nothing is ever unreadable; where a step would destroy lines
//! that were not read (a truncation without a copy) it waits for them first.

mod histories;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::{FileConfig, Follow, Label, Start, WatchMode};
use crate::checkpoint::Checkpoints;
use crate::queue::Chunk;
use crate::source::SourceKind;
use crate::source::testing::{Seen, beside, source};

/// No history waits longer for a line.
const PATIENCE: Duration = Duration::from_secs(8);

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// So many lines are written in one call.
    Write(u8),
    /// Half of a line is written; the next step that writes to this file finishes it.
    Tear,
    /// logrotate with `create`, or without: then there is no file until the next write.
    Rename { create: bool },
    /// logrotate with `copytruncate`.
    CopyTruncate,
    /// The last file that was moved or copied away, and is not compressed yet, is.
    Compress,
    /// The file is emptied, once everything is read, and so many lines are written at once.
    Truncate(u8),
    /// The file is deleted, once everything is read.
    Delete,
    /// Another file is moved over it, once everything is read.
    MoveOver(u8),
    /// Some milliseconds pass.
    Pass(u8),
    /// Everything is waited for.
    Catch,
    /// The process is killed, and these steps happen before it is started again.
    Kill(Vec<Step>),
}

fn quiet_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1u8..30).prop_map(Step::Write),
        2 => Just(Step::Tear),
        3 => any::<bool>().prop_map(|create| Step::Rename { create }),
        3 => Just(Step::CopyTruncate),
        3 => Just(Step::Compress),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => quiet_step(),
        1 => (1u8..60).prop_map(Step::Truncate),
        1 => Just(Step::Delete),
        1 => (1u8..20).prop_map(Step::MoveOver),
        4 => (0u8..8).prop_map(Step::Pass),
        2 => Just(Step::Catch),
        2 => prop::collection::vec(quiet_step(), 0..6).prop_map(Step::Kill),
    ]
}

/// The file, the program that writes to it, and what is known to have arrived.
struct World {
    dir: tempfile::TempDir,
    /// The writer's handle; it opens the file anew after a rotation that moved it.
    writer: Option<File>,
    /// The end of a line whose beginning is written.
    torn: Option<String>,
    written: u64,
    /// How often each line arrived.
    arrived: BTreeMap<u64, u32>,
    malformed: Vec<String>,
    kills: u32,
}

impl World {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a directory"),
            writer: None,
            torn: None,
            written: 0,
            arrived: BTreeMap::new(),
            malformed: Vec::new(),
            kills: 0,
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("app.log")
    }

    fn append(&mut self, text: &str) {
        let path = self.path();
        let writer = self.writer.get_or_insert_with(|| {
            let mut options = OpenOptions::new();
            options
                .append(true)
                .create(true)
                .open(path)
                .expect("the log opens")
        });
        writer
            .write_all(text.as_bytes())
            .expect("the log is written");
    }

    fn line(&mut self) -> String {
        self.written += 1;
        format!("{:06} a line of the log\n", self.written)
    }

    fn write(&mut self, lines: u8) {
        let mut text = self.torn.take().unwrap_or_default();
        (0..lines).for_each(|_| text += &self.line());
        self.append(&text);
    }

    fn tear(&mut self) {
        let mut line = self.torn.take().unwrap_or_default() + &self.line();
        let rest = line.split_off(line.len() - 9);
        self.append(&line);
        self.torn = Some(rest);
    }

    /// Ends a torn line: in a file that was moved, a slow writer does so through its old handle.
    fn mend(&mut self) {
        if let Some(rest) = self.torn.take() {
            self.append(&rest);
        }
    }

    fn numbered(&self, n: usize, suffix: &str) -> PathBuf {
        self.dir.path().join(format!("app.log.{n}{suffix}"))
    }

    /// Makes room for `app.log.1`.
    fn shift(&self) {
        let suffix = |n: usize| {
            ["", ".gz"]
                .into_iter()
                .find(|it| self.numbered(n, it).exists())
        };
        let suffixes: Vec<&str> = (1..).map_while(suffix).collect();
        for (at, suffix) in suffixes.iter().enumerate().rev() {
            fs::rename(self.numbered(at + 1, suffix), self.numbered(at + 2, suffix))
                .expect("an old log is renamed");
        }
    }

    /// As `gzip` does: the compressed file has the time of the other one, which goes then.
    fn compress(&self) {
        let is_there = |n: &usize| self.numbered(*n, "").exists();
        let Some(plain) = (1..20).find(is_there).map(|n| self.numbered(n, "")) else {
            return;
        };
        let text = fs::read(&plain).expect("an old log is read");
        let modified = plain.metadata().and_then(|it| it.modified());
        let packed = File::create(plain.with_added_extension("gz")).expect("a compressed log");
        let mut encoder = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
        encoder.write_all(&text).expect("a log is compressed");
        let packed = encoder.finish().expect("a log is compressed");
        let modified = modified.expect("a log has a time");
        packed
            .set_modified(modified)
            .expect("a compressed log gets its time");
        fs::remove_file(plain).expect("an old log goes");
    }

    fn quiet(&mut self, step: &Step) {
        let (path, first) = (self.path(), self.dir.path().join("app.log.1"));
        match step {
            Step::Write(lines) => self.write(*lines),
            Step::Tear => self.tear(),
            Step::Rename { create } if path.exists() => {
                self.shift();
                fs::rename(&path, first).expect("the log is renamed");
                self.mend();
                self.writer = None;
                if *create {
                    File::create(&path).expect("a new log");
                }
            }
            Step::CopyTruncate if path.exists() => {
                // What is written between the copy and the truncation is lost by design.
                self.mend();
                self.shift();
                fs::copy(&path, first).expect("the log is copied");
                let log = OpenOptions::new()
                    .write(true)
                    .open(&path)
                    .expect("the log opens");
                log.set_len(0).expect("the log is truncated");
            }
            Step::Compress => self.compress(),
            _ => {}
        }
    }

    fn take(&mut self, chunk: Chunk) {
        for line in chunk.lines.iter() {
            let text = String::from_utf8_lossy(line.text).into_owned();
            let number = text.get(..6).and_then(|number| number.parse().ok());
            match number {
                Some(number) if text.ends_with(" a line of the log") => {
                    *self.arrived.entry(number).or_default() += 1;
                }
                _ => self.malformed.push(text),
            }
        }
        let moved = chunk.ack.settle();
        self.moved(moved.into_iter().collect());
    }

    fn moved(&self, moves: Vec<crate::model::Moved>) {
        CHECKPOINTS.with_borrow(|it| it.as_ref().expect("a run").advance(moves));
    }

    fn missing(&self) -> Vec<u64> {
        let torn = u64::from(self.torn.is_some());
        let wanted = 1..=self.written - torn;
        wanted.filter(|n| !self.arrived.contains_key(n)).collect()
    }

    /// What is wrong once everything had the time to arrive.
    fn judge(&self) -> Result<(), String> {
        let missing = self.missing();
        let doubled = self.arrived.iter().filter(|(_, times)| **times > 1).count();
        let fair = self.kills > 0 || doubled == 0;
        if missing.is_empty() && self.malformed.is_empty() && fair {
            return Ok(());
        }
        Err(format!(
            "missing {missing:?}, doubled {doubled} after {} kills, malformed {:?}",
            self.kills, self.malformed
        ))
    }
}

thread_local! {
    /// The checkpoints of the present run.
    static CHECKPOINTS: std::cell::RefCell<Option<Checkpoints>> = const { std::cell::RefCell::new(None) };
}

fn config(dir: &Path, pattern: &str) -> FileConfig {
    FileConfig {
        paths: vec![dir.join(pattern).display().to_string()],
        start: Start::Beginning,
        follow: Follow::Forever,
        label: Label::Source,
        exclude: Vec::new(),
        ignore_older: None,
        watch: WatchMode::Auto,
        rotate_grace: Duration::from_secs(30),
        forget_after: Duration::from_secs(3600),
        charset: None,
        partial: None,
    }
}

/// Takes what arrives within so many milliseconds.
async fn pass(world: &mut World, seen: &mut Seen, ms: u64) {
    let over = tokio::time::sleep(Duration::from_millis(ms));
    tokio::pin!(over);
    loop {
        tokio::select! {
            chunk = seen.receiver.recv() => world.take(chunk.expect("the source runs")),
            () = &mut over => return,
        }
    }
}

/// Waits until every line has arrived.
async fn catch(world: &mut World, seen: &mut Seen) -> Result<(), String> {
    let all = async {
        while !world.missing().is_empty() {
            let chunk = seen.receiver.recv().await;
            world.take(chunk.expect("the source runs"));
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, all).await;
    in_time.map_err(|_| world.judge().expect_err("something is missing"))
}

/// Lets the steps happen to a running source, up to the next kill. Returns the steps that are left.
async fn live<'s>(
    world: &mut World,
    seen: &mut Seen,
    steps: &'s [Step],
) -> Result<&'s [Step], String> {
    for (n, step) in steps.iter().enumerate() {
        match step {
            Step::Pass(ms) => pass(world, seen, u64::from(*ms)).await,
            Step::Catch => catch(world, seen).await?,
            Step::Truncate(lines) => {
                world.mend();
                catch(world, seen).await?;
                if let Ok(log) = OpenOptions::new().write(true).open(world.path()) {
                    log.set_len(0).expect("the log is truncated");
                }
                world.write(*lines);
            }
            Step::Delete => {
                world.mend();
                catch(world, seen).await?;
                let _ = fs::remove_file(world.path());
                world.writer = None;
            }
            Step::MoveOver(lines) => {
                world.mend();
                catch(world, seen).await?;
                let other = world.dir.path().join("other");
                let text: String = (0..*lines).map(|_| world.line()).collect();
                fs::write(&other, text).expect("another file");
                fs::rename(&other, world.path()).expect("it is moved over");
                world.writer = None;
            }
            Step::Kill(_) => return Ok(&steps[n..]),
            quiet => world.quiet(quiet),
        }
    }
    world.mend();
    catch(world, seen).await?;
    // What would be doubled comes at the next look at the latest.
    pass(world, seen, 30).await;
    Ok(&[])
}

/// Runs a source from its start to the next kill.
async fn run<'s>(
    world: &mut World,
    pattern: &str,
    steps: &'s [Step],
) -> Result<&'s [Step], String> {
    let state = world.dir.path().join("state");
    let checkpoints = Checkpoints::open(&state).expect("the state opens");
    CHECKPOINTS.set(Some(checkpoints.clone()));
    let kind = SourceKind::File(config(world.dir.path(), pattern));
    let (source, mut seen) = source(kind, 1 << 20, checkpoints.clone());
    let writing = checkpoints.run(CancellationToken::new());
    let left = tokio::select! {
        left = beside(source, live(world, &mut seen, steps)) => left,
        () = writing => unreachable!("nobody cancels it"),
    };
    CHECKPOINTS.set(None);
    left
}

fn history(pattern: &str, steps: &[Step]) -> Result<(), String> {
    let mut world = World::new();
    // What was rotated before a path was seen for the first time is nobody's.
    let steps: Vec<Step> = [Step::Write(1), Step::Catch]
        .iter()
        .chain(steps)
        .cloned()
        .collect();
    let mut left = steps.as_slice();
    loop {
        // A runtime of its own: what a killed process was doing on the pool ends with it.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime");
        left = runtime.block_on(run(&mut world, pattern, left))?;
        drop(runtime);
        let Some((Step::Kill(down), rest)) = left.split_first() else {
            return world.judge();
        };
        world.kills += 1;
        down.iter().for_each(|step| world.quiet(step));
        left = rest;
    }
}

// Regression: see each of them.
#[test]
fn histories_that_went_wrong_once_deliver_each_line() {
    let histories = [
        histories::that_went_wrong(),
        histories::with_compression(),
        histories::with_quick_kills(),
        histories::behind_compressed(),
        histories::with_reused_inodes(),
    ]
    .concat();
    for (n, steps) in histories.iter().enumerate() {
        for pattern in ["app.log", "app.log*"] {
            (0..REPEATED).for_each(|_| {
                assert_eq!(history(pattern, steps), Ok(()), "{pattern} and history {n}");
            });
        }
    }
}

/// How often one history is tried: what goes wrong depends on when it is looked.
const REPEATED: u32 = 4;

fn cases() -> u32 {
    if std::env::var_os("LOGWEIR_TEST_LONG").is_some() {
        3_000
    } else {
        16
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        max_shrink_iters: 60,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_history_of_a_file_delivers_each_line(steps in prop::collection::vec(step(), 1..14)) {
        prop_assert_eq!(history("app.log", &steps), Ok(()));
    }

    #[test]
    fn any_history_whose_copies_are_named_too_delivers_each_line(
        steps in prop::collection::vec(step(), 1..14),
    ) {
        prop_assert_eq!(history("app.log*", &steps), Ok(()));
    }
}
