//! `logweir demo`: what a person sees first.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;

use super::records;
use crate::support::{Dir, Logweir, PATIENCE, within};

const SOURCES: [&str; 8] = [
    "app", "auth", "billing", "events", "gateway", "metrics", "orders", "search",
];

#[test]
fn all_sources_appear_every_line_parses_and_the_one_that_is_cut_comes_back() {
    let dir = Dir::new();
    let started = Timestamp::try_from(SystemTime::now()).unwrap();

    let ended = Logweir::new(&dir, ["demo", "-o", "json", "--for", "5s"]).ended();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let mut times = BTreeMap::<String, Vec<Timestamp>>::new();
    for record in records(&ended.stdout) {
        let source = record["_source"].as_str().expect("_source is text");
        let time = record["_time"].as_str().expect("_time is text");
        let time = time.parse().expect("a time");
        times.entry(source.to_owned()).or_default().push(time);
    }
    assert!(times.keys().eq(SOURCES.iter()), "{:?}", times.keys());
    for (source, times) in &times {
        let first = times[0].duration_since(started);
        assert!(
            first.as_secs_f64() < 2.0,
            "{source}: {first:?}\n{}",
            ended.stderr
        );
    }
    // It is cut after two seconds.
    let gateway = &times["gateway"];
    let span = gateway[gateway.len() - 1].duration_since(gateway[0]);
    assert!(span.as_secs_f64() > 2.2, "{span:?}\n{}", ended.stderr);
    ended.failed(0, &["~ gateway", "= 8 sources", " lines", " 0 dropped, 5s"]);
    let connected = ended.stderr.matches("+ gateway connected").count();
    assert!(connected >= 2, "{}", ended.stderr);
    let others = SOURCES.iter().filter(|it| !["gateway", "app"].contains(it));
    for source in others {
        let note = format!("+ {source} connected");
        assert_eq!(ended.stderr.matches(&note).count(), 1, "{}", ended.stderr);
    }
    let shown: BTreeSet<_> = ended.stderr.lines().map(|line| &line[..1]).collect();
    assert!(
        shown.iter().all(|sign| "+~=".contains(sign)),
        "{}",
        ended.stderr
    );
}

#[test]
fn jq_reads_every_line() {
    if Command::new("jq").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no jq");
        return;
    }
    let dir = Dir::new();
    let script = r#""$@" | jq -c . > "$0.jq""#;

    let ended = Logweir::shell(
        &dir,
        &script.replace("$0.jq", &dir.text("jq")),
        ["demo", "-q", "-o", "json", "--for", "2s"],
    )
    .ended();

    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    let lines = dir.read("jq");
    assert!(records(&lines).len() > 50, "{}", lines.len());
}

#[test]
fn a_limit_ends_it_and_its_folder_is_gone() {
    let dir = Dir::new();

    let demo = Logweir::new(&dir, ["demo", "-r", "--limit", "40"]);
    let ended = demo.env("TMPDIR", &dir.text("")).ended();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(
        ended.stdout.iter().filter(|byte| **byte == b'\n').count(),
        40
    );
    let left = std::fs::read_dir(dir.path("")).expect("lists a test folder");
    let left: BTreeSet<_> = left
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert!(left.iter().eq(["stderr", "stdout"]), "{left:?}");
}

#[test]
fn ctrl_c_ends_it_as_sigint_with_a_summary() {
    let dir = Dir::new();
    let demo = Logweir::new(&dir, ["demo", "--color", "always", "-o", "text"]);
    let agent = demo.stdout(Stdio::null()).start();
    agent.wait_said(&["+ events connected", "+ billing connected"]);

    let start = Instant::now();
    agent.signal(rustix::process::Signal::INT);
    let ended = agent.wait_for(PATIENCE);

    ended.failed(130, &["= 8 sources, "]);
    assert!(
        start.elapsed() < Duration::from_millis(1500),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn labels_are_aligned_from_the_first_line() {
    let dir = Dir::new();
    let demo = Logweir::new(&dir, ["demo", "-q", "-o", "text", "--color", "never"]);
    let agent = demo.start();

    let text = within("some lines", PATIENCE, || {
        let text = String::from_utf8(agent.printed()).unwrap();
        (text.lines().count() > 40).then_some(text)
    });

    let end = text.rfind('\n').unwrap();
    let columns: BTreeSet<_> = text[..end]
        .lines()
        .map(|line| line.chars().position(|char| char == '│'))
        .collect();
    assert_eq!(columns.len(), 1, "{text}");
}
