//! The file source against writers that misbehave: every rotation, truncation, replacement, glob,
//! line, signal and full disk that RELIABILITY names, with kills at random times. The writer is a
//! process of its own, and each line has a number.

mod discovery;
mod disk;
mod globs;
mod lines;
mod logrotate;
mod many;
pub(crate) mod namespace;
mod packed;
mod permission;
mod process;
mod replacement;
mod rotation;
mod since;
mod stopped;
mod trial;
mod truncation;

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::{Agent, Dir, Ended, Logweir, Oracle, PATIENCE, Plan, Rng, Writer, pass, poll};

/// How long a machine on which other tests run may take for all lines of a trial.
const DRAIN: Duration = Duration::from_secs(60);

/// Files that are copied to `out.log`, raw.
struct Scene {
    dir: Dir,
    config: PathBuf,
    order: Order,
}

/// In which order the lines of a trial must come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// As they were written, whatever file they went to.
    Kept,
    /// As they were written to each file: where a glob names several generations and a kill left
    /// each of them unread in part, they are read side by side.
    OfEachFile,
}

impl Scene {
    /// Copies what `pattern` names; `more` are further keys of the source.
    fn new(pattern: &str, more: &str) -> Self {
        let dir = Dir::new();
        let config = dir.config(&copy_config(pattern, more));
        Self {
            dir,
            config,
            order: Order::Kept,
        }
    }

    /// Starts logweir.
    fn start(&self) -> Agent {
        Logweir::run(&self.dir, &self.config).start()
    }

    /// Starts logweir, waits until the whole output is `expected`, and kills it.
    #[track_caller]
    fn run(&self, expected: &str) {
        let agent = self.start();
        self.expect(&agent, expected);
        agent.kill();
    }

    /// Waits until the whole output is `expected`.
    #[track_caller]
    fn expect(&self, agent: &Agent, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        let out = || self.dir.read("out.log");
        let arrived = poll(PATIENCE, || {
            let out = out();
            // What is wrong already stays wrong.
            (out == expected || !expected.starts_with(&out)).then_some(())
        });

        let text = |bytes: &[u8]| {
            let shown = &bytes[bytes.len().saturating_sub(400)..];
            String::from_utf8_lossy(shown).into_owned()
        };
        assert!(
            out() == expected,
            "in time: {}; {} bytes instead of {}, ending in:\n{}\ninstead of:\n{}\n{}",
            arrived.is_some(),
            out().len(),
            expected.len(),
            text(&out()),
            text(expected),
            agent.said()
        );
    }

    /// Numbered lines to `app.log` whose copy is known to the writer.
    fn plan(&self, n_lines: u64) -> Plan {
        Plan {
            copy: Some(self.dir.path("out.log")),
            ..Plan::new(self.dir.path("app.log"), n_lines)
        }
    }

    /// A trial with its plan, and `kills` kills on the way: afterwards every line is in the copy
    /// exactly once and in the order of its writer, and no byte was called lost.
    #[track_caller]
    fn trial(&self, test: &str, plan: &Plan, kills: u64) {
        let mut rng = Rng::printed(test);

        let kills = Kills::many(kills);
        let (agent, kills) = kill_in_a_loop(|| self.start(), plan.start(), &kills, &mut rng);

        eprintln!("{test}: {kills} kills");
        self.finish(agent, plan);
    }

    /// Waits for the whole copy of a plan, and judges it.
    #[track_caller]
    fn finish(&self, agent: Agent, plan: &Plan) {
        let written = plan.written();
        let wanted: u64 = written.iter().map(|(_, n_lines)| n_lines).sum();
        let lines = || {
            let out = self.dir.read("out.log");
            memchr::memchr_iter(b'\n', &out).count() as u64
        };
        // More lines than wanted are wrong as well, and are reported below.
        let arrived = poll(DRAIN, || (lines() >= wanted).then_some(()));
        agent.wait_listening();
        let ended = agent.stop();

        eprintln!("{}", ended.stderr);
        let report = Oracle::file(&self.dir.path("out.log")).report(&written);
        match self.order {
            Order::Kept => report.expect_exact(),
            Order::OfEachFile => report.expect_complete(0),
        }
        assert!(arrived.is_some(), "{} of {wanted} lines", lines());
        assert_eq!((ended.code, lost_bytes(&ended)), (0, 0), "{}", ended.stderr);
        if written.len() == 1 && self.order == Order::Kept {
            assert!(self.dir.read("out.log") == plan.text().as_bytes(), "cmp");
        }
    }
}

/// A config that copies what `pattern` names to `out.log`; `more` are further keys of the source.
fn copy_config(pattern: &str, more: &str) -> String {
    format!(
        "[source.app]\npath = \"{{dir}}/{pattern}\"\n{more}\n\n\
         [sink.out]\npath = \"{{dir}}/out.log\"\nformat = \"raw\"\n"
    )
}

/// How often logweir is killed, and how long it lives, in milliseconds.
struct Kills {
    min: u64,
    life_ms: Range<u64>,
}

impl Kills {
    /// At least so many, of lives that are short.
    fn many(min: u64) -> Self {
        Self {
            min,
            life_ms: 10..300,
        }
    }
}

/// Starts and kills logweir at random times until `writer` has ended and it happened often enough;
/// then starts it once more and leaves it running. Without kills it runs all the time.
#[track_caller]
fn kill_in_a_loop(
    start: impl Fn() -> Agent,
    mut writer: Writer,
    kills: &Kills,
    rng: &mut Rng,
) -> (Agent, u64) {
    if kills.min == 0 {
        let agent = start();
        writer.wait(DRAIN);
        return (agent, 0);
    }
    let mut n_kills = 0;
    loop {
        let agent = start();
        pass(rng.millis(kills.life_ms.clone()));
        match writer.ended() {
            Some(good) if n_kills >= kills.min => {
                assert!(good, "the writer failed");
                return (agent, n_kills);
            }
            _ => agent.kill(),
        }
        n_kills += 1;
    }
}

/// What logweir said in the end about bytes that it could not read.
#[track_caller]
fn lost_bytes(ended: &Ended) -> u64 {
    let mut lines = ended.stderr.lines().rev();
    let last = lines.find(|line| line.contains("lost_bytes="));
    let value = last.and_then(|line| line.split("lost_bytes=").nth(1));
    let digits = value.map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    let number = digits.flatten().and_then(|digits| digits.parse().ok());
    number.unwrap_or_else(|| panic!("no lost_bytes in:\n{}", ended.stderr))
}

/// True where a long run was asked for instead of the default one.
fn long() -> bool {
    std::env::var_os("LOGWEIR_TEST_LONG").is_some()
}
