//! Writes numbered lines into a file the way careless programs do, in a thread or a process.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::oracle::line;
use super::rng::Rng;
use super::rotation::{self, Next, Opened, Rotation};
use super::wait::{pass, within};

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
    /// How the file is opened.
    pub(crate) opened: Opened,
    /// How long nothing is at the path after a rotation.
    pub(crate) gap_ms: u64,
    /// So many lines of `writer + 1` go to the old file after each rotation, while new lines go to
    /// the new one already.
    pub(crate) late_lines: u64,
    /// The copy that is made of the file. The writer waits until its first line is in there: what was
    /// rotated before a file's first sight is nobody's. And before a rotation deletes bytes it waits
    /// until the first of them are in there: then they are being read, however slow the machine is.
    pub(crate) copy: Option<PathBuf>,
}

/// Carries a [`Plan`] to the process that writes.
const PLAN: &str = "LOGWEIR_TEST_WRITER";

/// How long a writer waits for a copy before it gives up.
const COPY_PATIENCE: Duration = Duration::from_secs(60);

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
            opened: Opened::ToAppend,
            gap_ms: 0,
            late_lines: 0,
            copy: None,
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

    /// What is written by whom, as [`super::Oracle::report`] takes it.
    pub(crate) fn written(&self) -> Vec<(u32, u64)> {
        let turns = (self.n_lines.max(1) - 1) / self.rotation.every();
        let late = (self.writer + 1, turns * self.late_lines);
        let all = [(self.writer, self.n_lines), late];
        all.into_iter()
            .filter(|(_, n_lines)| *n_lines > 0)
            .collect()
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

    /// As [`Plan::process`], and it does not outlive the test.
    pub(crate) fn start(&self) -> Writer {
        Writer(self.process())
    }

    /// Writes everything now.
    pub(crate) fn write(&self) {
        Writing::new(self).run();
    }

    /// When the line after `done` others is due, where it begins one of fifty bursts a second: the
    /// pace of a busy program, which does not make one system call per line.
    fn turn(&self, done: u64) -> Option<Duration> {
        let burst = (self.per_second / 50).max(1);
        let begins = self.per_second > 0 && done.is_multiple_of(burst);
        begins.then(|| Duration::from_micros(done * 1_000_000 / self.per_second))
    }
}

/// A process that writes; killed when dropped.
pub(crate) struct Writer(Child);

impl Writer {
    /// How it ended: true where it wrote everything. `None` while it writes.
    pub(crate) fn ended(&mut self) -> Option<bool> {
        let status = self.0.try_wait().expect("waits for a writer");
        status.map(|status| status.success())
    }

    /// Waits until it wrote everything.
    #[track_caller]
    pub(crate) fn wait(mut self, limit: Duration) {
        let good = within("the end of the writer", limit, || self.ended());
        assert!(good, "the writer failed");
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // An `Err` is a process that ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end();
    }
}

/// A [`Plan`] on its way.
struct Writing<'a> {
    plan: &'a Plan,
    file: File,
    pending: Vec<u8>,
    rng: Rng,
    /// Bytes written so far, and before each generation that still has a file.
    written: u64,
    begun: VecDeque<u64>,
    turns: u64,
    /// The old file, and how many lines it still gets.
    late: Option<(File, u64)>,
    late_number: u64,
}

impl<'a> Writing<'a> {
    fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            file: rotation::first(&plan.path, plan.rotation, plan.opened),
            pending: Vec::new(),
            rng: Rng::seeded(u64::from(plan.writer)),
            written: 0,
            begun: VecDeque::from([0]),
            turns: 0,
            late: None,
            late_number: 0,
        }
    }

    fn run(mut self) {
        let plan = self.plan;
        let start = Instant::now();
        for done in 0..plan.n_lines {
            if done > 0 && done.is_multiple_of(plan.rotation.every()) {
                self.rotate();
            }
            if let Some(due) = plan.turn(done) {
                self.flush();
                pass(due.saturating_sub(start.elapsed()));
            }
            let text = line(plan.writer, plan.from + done, plan.line_bytes);
            self.pending.extend_from_slice(text.as_bytes());
            self.pending.push(b'\n');
            self.write_late(1);
            if done == 0 {
                self.flush_all();
                self.wait_for_copy(1);
            }
            if self.pending.len() >= 32 << 10 {
                self.flush();
            }
        }
        self.write_late(u64::MAX);
        self.flush_all();
    }

    /// Writes what is pending; torn: all but the last few bytes, which wait for the next call.
    fn flush(&mut self) {
        let most = if self.plan.torn {
            self.rng.below(0..100)
        } else {
            0
        };
        let kept = usize::try_from(most)
            .expect("small")
            .min(self.pending.len());
        let rest = self.pending.split_off(self.pending.len() - kept);
        self.flush_all();
        self.pending = rest;
    }

    fn flush_all(&mut self) {
        self.file
            .write_all(&self.pending)
            .expect("writes test lines");
        self.written += self.pending.len() as u64;
        self.pending.clear();
    }

    fn rotate(&mut self) {
        let plan = self.plan;
        self.write_late(u64::MAX);
        self.flush_all();
        self.wait_before_erasing();
        self.turns += 1;
        match plan.rotation.turn(&plan.path, self.turns) {
            Next::Same => return,
            Next::Truncated => rotation::truncate(&mut self.file, plan.opened),
            Next::Anew => {
                pass(Duration::from_millis(plan.gap_ms));
                let new = rotation::open(&plan.path, plan.opened);
                let old = std::mem::replace(&mut self.file, new);
                self.late = (plan.late_lines > 0).then_some((old, plan.late_lines));
            }
        }
        self.begun.push_back(self.written);
        if let Some(keep) = plan.rotation.keeps() {
            while self.begun.len() > keep + 1 {
                self.begun.pop_front();
            }
        }
    }

    /// Waits until the copy has the first lines of what the next rotation deletes, or all of it
    /// where an open handle does not keep it.
    fn wait_before_erasing(&self) {
        let Some(keep) = self.plan.rotation.keeps() else {
            return;
        };
        if self.begun.len() <= keep {
            return;
        }
        self.wait_for_copy(match self.plan.rotation.erases() {
            true => self.written,
            false => self.begun.front().map_or(0, |begun| begun + 1),
        });
    }

    fn wait_for_copy(&self, len: u64) {
        let Some(copy) = &self.plan.copy else {
            return;
        };
        within("the lines in the copy", COPY_PATIENCE, || {
            let there = std::fs::metadata(copy).map_or(0, |meta| meta.len());
            (there >= len).then_some(())
        });
    }

    /// Writes up to so many of the lines that the old file still gets.
    fn write_late(&mut self, most: u64) {
        let Some((old, left)) = &mut self.late else {
            return;
        };
        let now = most.min(*left);
        for _ in 0..now {
            let text = line(self.plan.writer + 1, self.late_number, self.plan.line_bytes);
            writeln!(old, "{text}").expect("writes test lines");
            self.late_number += 1;
        }
        *left -= now;
        if *left == 0 {
            self.late = None;
        }
    }
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
