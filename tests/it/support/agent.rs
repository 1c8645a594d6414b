//! The real binary: started, watched, killed and started again.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::dir::{Dir, read};
use super::wait::{PATIENCE, within};

/// A command line of the binary, with nothing of this process's environment.
pub(crate) struct Logweir {
    command: Command,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Logweir {
    /// `logweir ARGS…`; what it prints goes to `stdout` and `stderr` in `dir`, appended.
    pub(crate) fn new<A: AsRef<OsStr>>(dir: &Dir, args: impl IntoIterator<Item = A>) -> Self {
        Self::wrapped(dir, Command::new(env!("CARGO_BIN_EXE_logweir")), args)
    }

    /// `logweir run -c CONFIG`.
    pub(crate) fn run(dir: &Dir, config: &Path) -> Self {
        Self::new(
            dir,
            [OsStr::new("run"), OsStr::new("-c"), config.as_os_str()],
        )
    }

    /// `logweir tail ARGS…`.
    pub(crate) fn tail<A: AsRef<OsStr>>(dir: &Dir, args: impl IntoIterator<Item = A>) -> Self {
        let mut this = Self::new(dir, ["tail"]);
        this.command.args(args);
        this
    }

    /// `SCRIPT` in a shell in which `"$@"` is `logweir ARGS…`.
    pub(crate) fn shell<A: AsRef<OsStr>>(
        dir: &Dir,
        script: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh", env!("CARGO_BIN_EXE_logweir")]);
        Self::wrapped(dir, shell, args)
    }

    fn wrapped<A: AsRef<OsStr>>(
        dir: &Dir,
        mut command: Command,
        args: impl IntoIterator<Item = A>,
    ) -> Self {
        let (stdout, stderr) = (dir.path("stdout"), dir.path("stderr"));
        command
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::null());
        command.stdout(appended(&stdout)).stderr(appended(&stderr));
        Self {
            command,
            stdout,
            stderr,
        }
    }

    /// With a variable in its environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// With another standard output.
    pub(crate) fn stdout(mut self, to: impl Into<Stdio>) -> Self {
        self.command.stdout(to);
        self
    }

    /// With another standard input.
    pub(crate) fn stdin(mut self, from: impl Into<Stdio>) -> Self {
        self.command.stdin(from);
        self
    }

    /// Starts it.
    pub(crate) fn start(mut self) -> Agent {
        let child = self.command.spawn().expect("starts logweir");
        Agent {
            child,
            stdout: self.stdout,
            stderr: self.stderr,
        }
    }

    /// Runs it to its end, which must come by itself.
    #[track_caller]
    pub(crate) fn ended(self) -> Ended {
        self.start().wait()
    }
}

fn appended(path: &Path) -> File {
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .expect("opens an output")
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// As a shell would show it: 128 + the signal where one ended it.
    pub(crate) code: i32,
    /// Everything on standard output, also of earlier runs in the same directory.
    pub(crate) stdout: Vec<u8>,
    /// The same of standard error.
    pub(crate) stderr: String,
}

impl Ended {
    /// Fails unless it ended well; returns its standard output.
    #[track_caller]
    pub(crate) fn good(self) -> Vec<u8> {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self.stdout
    }

    /// Fails unless it ended with `code` and said every one of `words` on standard error.
    #[track_caller]
    pub(crate) fn failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{}", self.stderr);
        for word in words {
            assert!(
                self.stderr.contains(word),
                "nothing about {word:?} in:\n{}",
                self.stderr
            );
        }
    }
}

/// A running logweir; killed when dropped.
pub(crate) struct Agent {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Agent {
    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The pipe of [`Logweir::stdout`], once.
    pub(crate) fn pipe(&mut self) -> std::process::ChildStdout {
        self.child
            .stdout
            .take()
            .expect("standard output is a pipe that nobody took")
    }

    /// What it said so far, also in earlier runs in the same directory.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&read(&self.stderr)).into_owned()
    }

    /// What it printed so far, also in earlier runs in the same directory.
    pub(crate) fn printed(&self) -> Vec<u8> {
        read(&self.stdout)
    }

    /// Waits until it said every one of `words`.
    #[track_caller]
    pub(crate) fn wait_said(&self, words: &[&str]) {
        within(&format!("{words:?} on standard error"), PATIENCE, || {
            let said = self.said();
            words.iter().all(|word| said.contains(word)).then_some(())
        });
    }

    /// Waits until it printed exactly `bytes`.
    #[track_caller]
    pub(crate) fn wait_printed(&self, bytes: &[u8]) {
        within("the expected output", PATIENCE, || {
            let printed = self.printed();
            let wrong = printed.len() > bytes.len() || !bytes.starts_with(&printed);
            assert!(
                !wrong,
                "printed {:?} instead of {:?}\n{}",
                String::from_utf8_lossy(&printed),
                String::from_utf8_lossy(bytes),
                self.said()
            );
            (printed.len() == bytes.len()).then_some(())
        });
    }

    /// Waits until SIGTERM makes it end in good order.
    #[track_caller]
    pub(crate) fn wait_listening(&self) {
        within("logweir to listen to signals", PATIENCE, || {
            self.is_listening().then_some(())
        });
    }

    /// True where SIGTERM makes it end in good order: a service has started then.
    pub(crate) fn is_listening(&self) -> bool {
        let status = self.proc("status");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        caught.is_some_and(|caught| {
            let caught = u64::from_str_radix(caught.trim(), 16).expect("a mask");
            caught & (1 << (Signal::TERM.as_raw() - 1)) != 0
        })
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("signals logweir");
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// SIGTERM, and waits until it is gone.
    #[track_caller]
    pub(crate) fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits for its end, which must come by itself.
    #[track_caller]
    pub(crate) fn wait(self) -> Ended {
        self.wait_for(3 * PATIENCE)
    }

    /// Waits for its end, which must come by itself within `limit`.
    #[track_caller]
    pub(crate) fn wait_for(mut self, limit: Duration) -> Ended {
        let status = within("the end of logweir", limit, || self.status());
        let code = status
            .code()
            .or_else(|| status.signal().map(|signal| 128 + signal));
        Ended {
            code: code.expect("a process ends by itself or by a signal"),
            stdout: self.printed(),
            stderr: self.said(),
        }
    }

    /// How it ended; `None` while it runs.
    pub(crate) fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("waits for logweir")
    }

    /// The most memory of its own that was ever resident, in KiB: without the pages of the program
    /// file, of which a debug build has ten times as many as a release.
    pub(crate) fn peak_kib(&self) -> u64 {
        self.kib("VmHWM:").saturating_sub(self.kib("RssFile:"))
    }

    /// The memory of its own that is resident now, in KiB; of an optimized build with the pages of
    /// the program file.
    pub(crate) fn resident_kib(&self) -> u64 {
        let file = if cfg!(debug_assertions) {
            self.kib("RssFile:")
        } else {
            0
        };
        self.kib("VmRSS:").saturating_sub(file)
    }

    fn kib(&self, key: &str) -> u64 {
        let status = self.proc("status");
        let value = status.lines().find_map(|line| line.strip_prefix(key));
        let value = value.and_then(|value| value.trim().strip_suffix(" kB"));
        value
            .and_then(|value| value.parse().ok())
            .expect("logweir runs")
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.id()))
            .expect("logweir runs")
            .count()
    }

    /// Processor time used so far.
    pub(crate) fn cpu(&self) -> Duration {
        const TICKS_PER_SECOND: u64 = 100;
        let stat = self.proc("stat");
        // The second field is the name in parentheses, which may hold anything.
        let rest = stat.rsplit_once(')').expect("stat has a name").1;
        let field = |n: usize| -> u64 {
            rest.split_whitespace()
                .nth(n - 3)
                .and_then(|word| word.parse().ok())
                .expect("a number")
        };
        Duration::from_millis((field(14) + field(15)) * 1000 / TICKS_PER_SECOND)
    }

    /// Waits until it does no work any more, and returns the time it had used by then.
    #[track_caller]
    pub(crate) fn wait_idle(&self) -> Duration {
        let mut quiet = Quiet::default();
        within("logweir to be idle", 3 * PATIENCE, || {
            let cpu = self.cpu();
            quiet.look(cpu).then_some(cpu)
        })
    }

    /// Waits until `event`, or until it does no work any more.
    #[track_caller]
    pub(crate) fn wait_idle_or(&self, event: impl Fn() -> bool) {
        let mut quiet = Quiet::default();
        within("logweir to be idle", 3 * PATIENCE, || {
            (event() || quiet.look(self.cpu())).then_some(())
        });
    }

    /// Waits until it ended, or does no work any more.
    #[track_caller]
    pub(crate) fn wait_idle_or_end(&mut self) {
        let mut quiet = Quiet::default();
        within("logweir to be idle or gone", 3 * PATIENCE, || {
            (self.status().is_some() || quiet.look(self.cpu())).then_some(())
        });
    }

    fn proc(&self, name: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{name}", self.id())).expect("logweir runs")
    }

    fn end(&mut self) {
        // An `Err` is a process that ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            eprintln!("--- logweir said ---\n{}", self.said());
        }
    }
}

/// Sees when a process does no work any more.
#[derive(Default)]
struct Quiet {
    cpu: Duration,
    polls: usize,
}

impl Quiet {
    /// True after a hundred looks without a tick of 10 ms: blocked, not just between two lines.
    fn look(&mut self, cpu: Duration) -> bool {
        self.polls = if cpu == self.cpu { self.polls + 1 } else { 0 };
        self.cpu = cpu;
        self.polls > 100
    }
}
