//! Writes numbered lines into a file the way careless programs do, in a thread or a process.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::oracle::line;
use super::rng::Rng;
use super::wait::pass;

/// What is written, and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Where to.
    pub(crate) path: PathBuf,
    /// Marks the lines.
    pub(crate) writer: u32,
    /// The first line's number.
    pub(crate) from: u64,
    /// How many.
    pub(crate) n_lines: u64,
    /// About how long one is.
    pub(crate) line_bytes: usize,
    /// How fast; 0: as fast as it goes.
    pub(crate) per_second: u64,
    /// True to cut writes at any byte instead of between lines.
    pub(crate) torn: bool,
    /// What happens to the file meanwhile.
    pub(crate) rotation: Rotation,
}

/// What happens to the file, each time after so many lines and never after the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Rotation {
    /// Nothing.
    None,
    /// `app.log` becomes `app.log.1`, which became `app.log.2`; all are kept.
    Rename { every: u64 },
    /// As `Rename`, but by a copy, and the file itself is truncated.
    CopyTruncate { every: u64 },
    /// The file is deleted and made anew.
    Recreate { every: u64 },
}

impl Rotation {
    fn every(self) -> u64 {
        match self {
            Self::None => u64::MAX,
            Self::Rename { every } | Self::CopyTruncate { every } | Self::Recreate { every } => {
                every
            }
        }
    }
}

/// Carries a [`Plan`] to the process that writes.
const PLAN: &str = "LOGWEIR_TEST_WRITER";

impl Plan {
    /// Whole lines of 120 bytes without rotation, by writer 1, as fast as it goes.
    pub(crate) fn new(path: PathBuf, n_lines: u64) -> Self {
        Self {
            path,
            writer: 1,
            from: 0,
            n_lines,
            line_bytes: 120,
            per_second: 0,
            torn: false,
            rotation: Rotation::None,
        }
    }

    /// The numbered lines themselves.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for number in self.from..self.from + self.n_lines {
            text.push_str(&line(self.writer, number, self.line_bytes));
            text.push('\n');
        }
        text
    }

    /// Writes in a thread.
    pub(crate) fn spawn(self) -> JoinHandle<()> {
        thread::spawn(move || self.write())
    }

    /// Writes in a process of its own: this test binary, run for one test only.
    pub(crate) fn process(&self) -> Child {
        Command::new(std::env::current_exe().expect("the test binary has a path"))
            .args([
                "--exact",
                "support::writer::tests::a_writer_process_writes_its_plan",
            ])
            .env(PLAN, serde_json::to_string(self).expect("a plan is JSON"))
            .stdout(Stdio::null())
            .spawn()
            .expect("starts a writer")
    }

    /// Writes everything now.
    pub(crate) fn write(&self) {
        let mut rng = Rng::seeded(u64::from(self.writer));
        let mut file = open(&self.path);
        let mut pending = Vec::new();
        let start = Instant::now();
        for done in 0..self.n_lines {
            if done > 0 && done.is_multiple_of(self.rotation.every()) {
                file.write_all(&pending).expect("writes test lines");
                pending.clear();
                file = rotate(&self.path, file, self.rotation);
            }
            if let Some(due) = self.turn(done) {
                flush(&mut file, &mut pending, self.torn.then_some(&mut rng));
                pass(due.saturating_sub(start.elapsed()));
            }
            pending
                .extend_from_slice(line(self.writer, self.from + done, self.line_bytes).as_bytes());
            pending.push(b'\n');
            if pending.len() >= 32 << 10 {
                flush(&mut file, &mut pending, self.torn.then_some(&mut rng));
            }
        }
        file.write_all(&pending).expect("writes test lines");
    }

    /// When the line after `done` others is due, where it begins one of fifty bursts a second: the
    /// pace of a busy program, which does not make one system call per line.
    fn turn(&self, done: u64) -> Option<Duration> {
        let burst = (self.per_second / 50).max(1);
        let begins = self.per_second > 0 && done.is_multiple_of(burst);
        begins.then(|| Duration::from_micros(done * 1_000_000 / self.per_second))
    }
}

/// Writes what is pending; torn: all but the last few bytes, which wait for the next call.
fn flush(file: &mut File, pending: &mut Vec<u8>, torn: Option<&mut Rng>) {
    let kept = torn
        .map_or(0, |rng| rng.below(0..100) as usize)
        .min(pending.len());
    let rest = pending.split_off(pending.len() - kept);
    file.write_all(pending).expect("writes test lines");
    *pending = rest;
}

fn open(path: &Path) -> File {
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .expect("opens a test log")
}

fn rotate(path: &Path, mut file: File, rotation: Rotation) -> File {
    match rotation {
        Rotation::None => return file,
        Rotation::Rename { .. } => {
            shift(path);
            fs::rename(path, numbered(path, 1)).expect("renames a test log");
        }
        Rotation::CopyTruncate { .. } => {
            shift(path);
            fs::copy(path, numbered(path, 1)).expect("copies a test log");
            file.set_len(0).expect("truncates a test log");
            file.seek(SeekFrom::Start(0)).expect("rewinds a test log");
            return file;
        }
        Rotation::Recreate { .. } => fs::remove_file(path).expect("deletes a test log"),
    }
    open(path)
}

/// Makes room for a new `.1`.
fn shift(path: &Path) {
    let last = (1..)
        .find(|&n| !numbered(path, n).exists())
        .expect("numbers do not end");
    for n in (1..last).rev() {
        fs::rename(numbered(path, n), numbered(path, n + 1)).expect("renames a test log");
    }
}

fn numbered(path: &Path, n: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    PathBuf::from(name)
}

mod tests {
    use super::*;
    use crate::support::Dir;

    /// Not a test by itself: what [`Plan::process`] runs. Without a plan it has nothing to do.
    #[test]
    fn a_writer_process_writes_its_plan() {
        let Ok(plan) = std::env::var(PLAN) else {
            return;
        };
        let plan: Plan = serde_json::from_str(&plan).expect("a plan is JSON");
        plan.write();
    }

    #[test]
    fn a_process_with_rotations_writes_every_line_once() {
        let dir = Dir::new();
        let plan = Plan {
            torn: true,
            per_second: 50_000,
            rotation: Rotation::Rename { every: 700 },
            ..Plan::new(dir.path("app.log"), 2_000)
        };

        let status = plan.process().wait().expect("waits for a writer");

        let parts = ["app.log.2", "app.log.1", "app.log"].map(|name| dir.read(name));
        assert!(status.success());
        assert_eq!(String::from_utf8_lossy(&parts.concat()), plan.text());
    }
}
