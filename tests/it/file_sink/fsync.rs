//! What is forced to disk when, as the kernel is asked for it: read from `strace`.

use std::process::{Command, Stdio};

use crate::support::{Agent, Dir, Logweir, PATIENCE, poll, read, within};

use super::aside::aside;

/// A system call on one of the two files that matter, in the order in which they began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    WriteOutput,
    SyncOutput,
    /// The output was renamed.
    Rotate,
    /// The journal got an intent, and how long it is then.
    Intend(u64),
    /// The journal got other records.
    Note,
    SyncJournal,
    /// A snapshot took the journal's place.
    Compact,
    /// The journal got the mark that so much of it is on disk, with the outputs that it speaks of.
    Mark(u64),
}

/// A run under `strace`.
struct Traced {
    dir: Dir,
    agent: Agent,
}

/// True where programs can be traced here; else it is said that `test` is skipped, which is a
/// failure in CI.
fn can_trace(test: &str) -> bool {
    let mut tried = Command::new("strace");
    tried.args(["-D", "-f", "-o", "/dev/null", "true"]);
    let quiet = tried.stdin(Stdio::null()).stderr(Stdio::null());
    let good = quiet.status().is_ok_and(|status| status.success());
    if !good {
        let text = format!("SKIPPED: {test}: needs strace (apt-get install strace)");
        let is_ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
        assert!(!is_ci, "{text}");
        eprintln!("{text}");
    }
    good
}

impl Traced {
    fn start(sink: &str) -> Self {
        let dir = Dir::new();
        let config = dir.copy_config(sink);
        // The tracer is the grandchild: signals go to logweir, and it ends with it.
        let script = format!(
            "exec strace -D -f -y -s 64 -o '{}' -e trace=write,fdatasync,fsync,rename,renameat2 \"$@\"",
            dir.text("trace")
        );
        let args = ["run", "-c", config.to_str().unwrap()];
        let agent = Logweir::shell(&dir, &script, args).start();
        Self { dir, agent }
    }

    /// What was called so far.
    fn calls(&self) -> Vec<Call> {
        calls(&self.dir, &self.trace())
    }

    fn trace(&self) -> String {
        String::from_utf8_lossy(&read(&self.dir.path("trace"))).into_owned()
    }

    /// Has a line copied, and waits until everything of it is forced to disk that will be.
    #[track_caller]
    fn round(&self, n: usize, settled: impl Fn(&[Call]) -> bool) {
        let line = format!("line {n}\n");
        self.dir.append("app.log", &line);
        super::wait_end(&self.dir.path("out.log"), line.as_bytes());
        let all = || {
            let calls = self.calls();
            let written = |it: &&Call| **it == Call::WriteOutput;
            calls.iter().filter(written).count() > n && settled(&calls)
        };
        let arrived = poll(2 * PATIENCE, || all().then_some(()));
        assert!(arrived.is_some(), "{:?}", self.calls());
    }

    /// Ends logweir and returns all of its calls.
    #[track_caller]
    fn end(self) -> (Dir, Vec<Call>) {
        let Self { dir, agent } = self;
        let ended = agent.stop();
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let trace = within("the end of the trace", PATIENCE, || {
            let trace = String::from_utf8_lossy(&read(&dir.path("trace"))).into_owned();
            let last = trace.lines().last().unwrap_or_default();
            last.contains("+++ exited with").then_some(trace)
        });
        let calls = calls(&dir, &trace);
        (dir, calls)
    }
}

fn calls(dir: &Dir, trace: &str) -> Vec<Call> {
    let (output, journal) = (dir.text("out.log"), dir.text("state/journal"));
    let mut journal_len = 0;
    let mut call = |line: &str| {
        // PID NAME(FD</path>, "TEXT"..., LEN) = LEN, or what of it was there when it was interrupted.
        let (name, arguments) = line.split_once(' ')?.1.trim_start().split_once('(')?;
        if name.starts_with("rename") && arguments.contains("journal.new") {
            return Some(Call::Compact);
        }
        if name.starts_with("rename") {
            return arguments
                .contains(&format!("\"{output}\""))
                .then_some(Call::Rotate);
        }
        let path = arguments.split_once('<')?.1.split_once('>')?.0;
        let of_output = path == output || path.starts_with(&format!("{output}."));
        let of_journal = path == journal || path == format!("{journal}.new");
        match name {
            "write" if of_output => Some(Call::WriteOutput),
            "fdatasync" | "fsync" if of_output => Some(Call::SyncOutput),
            "fdatasync" | "fsync" if of_journal => Some(Call::SyncJournal),
            "write" if of_journal => {
                let len = arguments.rsplit_once(", ")?.1;
                // A snapshot of so little is written in one piece.
                let before = if path == journal { journal_len } else { 0 };
                journal_len = before + number(len);
                let mark = arguments.split_once(r#"{\"synced\":{\"len\":"#);
                Some(match mark {
                    Some((_, len)) => Call::Mark(number(len)),
                    None if arguments.contains(r#"{\"intent\""#) => Call::Intend(journal_len),
                    None => Call::Note,
                })
            }
            _ => None,
        }
    };
    // The tracer may be in the middle of its last line.
    let whole = trace.rfind('\n').map_or(0, |end| end + 1);
    trace[..whole].lines().filter_map(&mut call).collect()
}

/// The number that a text begins with.
#[track_caller]
fn number(text: &str) -> u64 {
    let end = text.find(|c: char| !c.is_ascii_digit());
    text[..end.unwrap_or(text.len())].parse().expect("a number")
}

/// Fails unless an intent is right before each write to the output.
#[track_caller]
fn expect_intents(calls: &[Call]) {
    let mut intended = false;
    for (at, call) in calls.iter().enumerate() {
        match call {
            Call::Intend(_) => intended = true,
            Call::WriteOutput => {
                assert!(intended, "call {at}: {:?}", around(calls, at));
                intended = false;
            }
            _ => {}
        }
    }
}

/// Fails unless whatever the journal calls done is on disk when it says so, but for the write of its
/// last intent, which is compared with the output after a power cut.
#[track_caller]
fn expect_covered(calls: &[Call]) {
    let (mut intents, mut unsynced) = (vec![0], Vec::new());
    for (at, call) in calls.iter().enumerate() {
        match call {
            Call::Intend(end) => intents.push(*end),
            Call::WriteOutput => unsynced.extend(intents.last()),
            Call::SyncOutput => unsynced.clear(),
            Call::Rotate => assert!(unsynced.is_empty(), "call {at}: {:?}", around(calls, at)),
            Call::Mark(_) | Call::Compact => {
                let all = u64::MAX;
                let len = if let Call::Mark(len) = call {
                    len
                } else {
                    &all
                };
                let last = intents.iter().rev().find(|end| *end <= len);
                let early = unsynced
                    .iter()
                    .find(|end| *end <= len && Some(*end) != last);
                assert_eq!(early, None, "call {at}: {:?}", around(calls, at));
                if *call == Call::Compact {
                    intents = vec![0];
                    unsynced.fill(0);
                }
            }
            Call::Note | Call::SyncJournal => {}
        }
    }
}

/// What was called before and at a place.
fn around(calls: &[Call], at: usize) -> &[Call] {
    &calls[at.saturating_sub(40)..=at]
}

fn count(calls: &[Call], wanted: Call) -> usize {
    calls.iter().filter(|call| **call == wanted).count()
}

/// True once the journal was forced to disk behind the last write to the output.
fn journal_is_synced(calls: &[Call]) -> bool {
    let last = |wanted| calls.iter().rposition(|call| *call == wanted);
    last(Call::SyncJournal) > last(Call::WriteOutput)
}

#[test]
fn by_interval_the_output_is_forced_to_disk_before_the_journal() {
    if !can_trace("fsync = \"interval\"") {
        return;
    }
    let traced = Traced::start("");

    (0..3).for_each(|n| traced.round(n, journal_is_synced));
    let (_, calls) = traced.end();

    expect_intents(&calls);
    expect_covered(&calls);
    let syncs = count(&calls, Call::SyncOutput);
    assert!(
        (3..=count(&calls, Call::SyncJournal)).contains(&syncs),
        "{calls:?}"
    );
}

#[test]
fn never_is_never_and_the_journal_is_forced_to_disk_all_the_same() {
    if !can_trace("fsync = \"never\"") {
        return;
    }
    let traced = Traced::start("fsync = \"never\"\nrotate = { size = \"1KiB\" }");

    (0..3).for_each(|n| traced.round(n, journal_is_synced));
    traced
        .dir
        .append("app.log", format!("{}\nlast\n", "x".repeat(2_000)));
    super::wait_end(&traced.dir.path("out.log"), b"last\n");
    let (dir, calls) = traced.end();

    expect_intents(&calls);
    assert_eq!(count(&calls, Call::SyncOutput), 0, "{calls:?}");
    assert!(count(&calls, Call::SyncJournal) >= 3, "{calls:?}");
    assert_eq!(aside(&dir, "out.log").len(), count(&calls, Call::Rotate));
}

#[test]
fn by_batch_each_write_is_forced_to_disk_before_the_next_is_intended() {
    if !can_trace("fsync = \"batch\"") {
        return;
    }
    let traced = Traced::start("fsync = \"batch\"\nbatch = { lines = 10 }");
    let lines: String = (0..100).map(|n| format!("line {n} of many\n")).collect();
    traced.dir.append("app.log", lines);
    super::wait_end(&traced.dir.path("out.log"), b"line 99 of many\n");
    let (_, calls) = traced.end();

    expect_intents(&calls);
    assert!(count(&calls, Call::WriteOutput) >= 10, "{calls:?}");
    for (at, _) in calls
        .iter()
        .enumerate()
        .filter(|(_, it)| **it == Call::WriteOutput)
    {
        let of_sink =
            |it: &&Call| matches!(it, Call::SyncOutput | Call::WriteOutput | Call::Intend(_));
        let next = calls[at + 1..].iter().find(of_sink);
        assert_eq!(
            next,
            Some(&Call::SyncOutput),
            "call {at}: {:?}",
            around(&calls, at)
        );
    }
}

#[test]
fn an_output_is_on_disk_before_it_is_put_aside() {
    if !can_trace("rotation") {
        return;
    }
    for policy in ["interval", "batch"] {
        let sink = format!("fsync = \"{policy}\"\nrotate = {{ size = \"1KiB\" }}");
        let traced = Traced::start(&sink);
        for n in 0..4 {
            let text = format!("{}\nline {n}\n", "x".repeat(700));
            traced.dir.append("app.log", &text);
            super::wait_end(
                &traced.dir.path("out.log"),
                format!("line {n}\n").as_bytes(),
            );
        }
        let (dir, calls) = traced.end();

        expect_intents(&calls);
        expect_covered(&calls);
        assert_eq!(count(&calls, Call::Rotate), 3, "{calls:?}");
        assert_eq!(aside(&dir, "out.log").len(), 3);
    }
}

// Regression. Scenario: the journal is replaced by a snapshot while lines are written, or the process
// is told to end then, and the power is cut. Bug: the snapshot said of all positions that their
// outputs were on disk, which nobody had seen to since the last second; and at the end the outputs
// were closed before the last fsync, which covers open ones. Fix: the outputs are forced to disk
// before a snapshot, and an output that is closed at the end is covered like any other.
#[test]
fn outputs_are_on_disk_before_a_snapshot_or_the_last_mark_says_so() {
    if !can_trace("snapshot") {
        return;
    }
    let traced = Traced::start("batch = { lines = 1 }");
    let lines: String = (0..4_000)
        .map(|n| format!("line {n} of very many\n"))
        .collect();
    traced.dir.append("app.log", lines);
    let compacted = || count(&traced.calls(), Call::Compact) >= 2;
    within("a snapshot in the middle", 3 * PATIENCE, || {
        compacted().then_some(())
    });
    let (_, calls) = traced.end();

    expect_intents(&calls);
    expect_covered(&calls);
}
