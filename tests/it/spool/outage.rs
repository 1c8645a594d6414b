//! A collector that is down, while logweir is killed; sinks of which one is dead.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::feed::{Feed, Speaks};
use super::{DRAIN, is_kept, line, long, numbers, segments, stored};
use crate::support::{
    Agent, Answer, Collector, Dir, Logweir, PATIENCE, Request, ReservedPort, Rng, Settings, pass,
    within,
};

/// How long the collector is away.
fn outage() -> Duration {
    Duration::from_secs(if long() { 60 } else { 4 })
}

fn config(dir: &Dir, feed: &str, collector: &str) -> std::path::PathBuf {
    dir.config(&format!(
        r#"
        [source.feed]
        url = "{feed}"
        spool = {{ max = "64MiB" }}

        [sink.collector]
        url = "{collector}"
        format = "raw"
        batch = {{ linger = "20ms" }}
        retry = {{ base = "50ms", max = "500ms" }}
        "#
    ))
}

/// Says lines in bursts until told to stop; returns the numbers of those that were seen in the spool, and
/// how many it said.
///
/// A server that repeats nothing cannot know what was read of the last it said on a connection that a kill
/// ended: no spool could keep what never came. So each burst is waited for, in the spool's own files, and
/// only what was seen there must arrive; what was not may or may not.
fn say(feed: &Feed, dir: &Dir, stop: &AtomicBool) -> (BTreeSet<u64>, u64) {
    const BURST: u64 = 20;
    let (mut kept, mut next) = (BTreeSet::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        let numbers = next..next + BURST;
        let lines: Vec<String> = numbers.clone().map(|number| line(number, 100)).collect();
        let last = &lines[lines.len() - 1];
        let connection = feed.say(&lines);
        let is_there = within("a burst in the spool, or a new connection", DRAIN, || {
            // In this order: what the old process wrote is there when the new one connects.
            let is_over = feed.connection() != connection;
            if is_kept(dir, "feed", last) {
                return Some(true);
            }
            is_over.then_some(false)
        });
        if is_there {
            kept.extend(numbers.clone());
        }
        next = numbers.end;
        pass(Duration::from_millis(5));
    }
    (kept, next)
}

/// Kills logweir at random during an outage, which `recover` ends; everything that was read arrives, once.
#[track_caller]
fn trial(speaks: Speaks, collector: &str, dir: Dir, recover: impl FnOnce() -> Collector) {
    let mut rng = Rng::printed(&format!("an outage with kills, {speaks:?}"));
    let dir = Arc::new(dir);
    let feed = Arc::new(Feed::start(speaks));
    let config = config(&dir, &feed.url(), collector);
    let stop = Arc::new(AtomicBool::new(false));
    let saying = {
        let (feed, dir, stop) = (Arc::clone(&feed), Arc::clone(&dir), Arc::clone(&stop));
        thread::spawn(move || say(&feed, &dir, &stop))
    };
    let end = Instant::now() + outage();
    let mut n_kills = 0;
    while Instant::now() < end {
        let before = feed.connection();
        let agent = Logweir::run(&dir, &config).start();
        feed.wait_connected(before);
        pass(rng.millis(50..500));
        agent.kill();
        n_kills += 1;
    }
    let agent = Logweir::run(&dir, &config).start();
    let collector = recover();
    pass(rng.millis(0..300));
    stop.store(true, Ordering::Relaxed);
    let (kept, n_said) = saying.join().expect("the feed says its lines");
    within("everything that was kept", DRAIN, || {
        let arrived: BTreeSet<u64> = stored(&collector).into_iter().collect();
        kept.is_subset(&arrived).then_some(())
    });
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let all = stored(&collector);
    eprintln!(
        "{n_kills} kills, {n_said} lines said, {} seen in the spool, {} arrived",
        kept.len(),
        all.len()
    );
    assert!(all.is_sorted_by(|a, b| a < b), "doubled or out of order");
    assert!(n_kills >= 3 && kept.len() > 100, "nothing was tried");
}

#[test]
fn a_stream_survives_kills_while_its_collector_refuses_connections() {
    let port = ReservedPort::new();
    trial(Speaks::Http, &port.url("/"), Dir::new(), || {
        port.listen(Settings::raw(), |_: &Request| Answer::ok())
    });
}

#[test]
fn a_websocket_survives_kills_while_its_collector_is_unavailable() {
    let collector = Collector::start(Settings::raw(), |_: &Request| Answer::refuse(503));
    trial(Speaks::WebSocket, &collector.url("/"), Dir::new(), || {
        collector.script(|_: &Request| Answer::ok());
        collector
    });
}

/// Says lines a few at a time, so that no record holds many, and waits until they are in the spool.
#[track_caller]
pub(super) fn keep(feed: &Feed, dir: &Dir, numbers: std::ops::Range<u64>, bytes: usize) {
    let all: Vec<String> = numbers.map(|number| line(number, bytes)).collect();
    for part in all.chunks(20) {
        feed.say(part);
        let last = &part[part.len() - 1];
        within("lines in the spool", PATIENCE, || {
            is_kept(dir, "feed", last).then_some(())
        });
    }
}

fn two_sinks(dir: &Dir, feed: &Feed, collector: &str) -> std::path::PathBuf {
    dir.config(&format!(
        r#"
        [source.feed]
        url = "{}"
        max_line = "4KiB"
        spool = {{ max = "1MiB" }}

        [sink.archive]
        path = "{{dir}}/out.log"
        format = "raw"

        [sink.collector]
        url = "{collector}"
        format = "raw"
        memory = "256KiB"
        batch = {{ bytes = "64KiB", linger = "20ms" }}
        retry = {{ base = "50ms", max = "500ms" }}
        "#,
        feed.url()
    ))
}

#[track_caller]
fn wait_lines(agent: &Agent, out: &Path, lines: u64) {
    let arrived = || numbers(&crate::support::read(out)).len() as u64;
    let done = crate::support::poll(DRAIN, || (arrived() >= lines).then_some(()));
    assert!(done.is_some(), "{} of {lines}\n{}", arrived(), agent.said());
}

#[test]
fn a_dead_sink_does_not_hold_another_one_up_and_keeps_its_segments() {
    const LINES: u64 = 5_000;
    let dir = Dir::new();
    let port = ReservedPort::new();
    let feed = Feed::start(Speaks::Http);
    let config = two_sinks(&dir, &feed, &port.url("/"));
    let agent = Logweir::run(&dir, &config).start();

    keep(&feed, &dir, 0..LINES, 100);
    wait_lines(&agent, &dir.path("out.log"), LINES);
    let kept = segments(&dir, "feed").len();
    assert!(kept > 5, "{kept} segments");
    // A restart changes nothing of it, and doubles nothing.
    agent.kill();
    let before = feed.connection();
    let agent = Logweir::run(&dir, &config).start();
    feed.wait_connected(before);
    keep(&feed, &dir, LINES..LINES + 10, 100);
    wait_lines(&agent, &dir.path("out.log"), LINES + 10);
    assert!(segments(&dir, "feed").len() >= kept);

    let collector = port.listen(Settings::raw(), |_: &Request| Answer::ok());
    within("every line at the collector", DRAIN, || {
        (stored(&collector).len() as u64 >= LINES + 10).then_some(())
    });
    within("the segments to go", PATIENCE, || {
        (segments(&dir, "feed").len() == 1).then_some(())
    });
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let expected: Vec<u64> = (0..LINES + 10).collect();
    assert!(numbers(&dir.read("out.log")) == expected, "at the archive");
    assert!(stored(&collector) == expected, "at the collector");
}

#[test]
fn a_new_sink_starts_where_the_others_are() {
    let dir = Dir::new();
    let feed = Feed::start(Speaks::Http);
    let source = format!(
        "[source.feed]\nurl = \"{}\"\nspool = {{ max = \"4MiB\" }}\n",
        feed.url()
    );
    let sink =
        |name: &str| format!("[sink.{name}]\npath = \"{{dir}}/{name}.log\"\nformat = \"raw\"\n");
    let one = dir.config(&format!("{source}{}", sink("one")));
    let agent = Logweir::run(&dir, &one).start();
    keep(&feed, &dir, 0..10, 40);
    wait_lines(&agent, &dir.path("one.log"), 10);
    agent.stop();

    let both = dir.config(&format!("{source}{}{}", sink("one"), sink("two")));
    let before = feed.connection();
    let agent = Logweir::run(&dir, &both).start();
    feed.wait_connected(before);
    keep(&feed, &dir, 10..20, 40);
    wait_lines(&agent, &dir.path("two.log"), 10);
    wait_lines(&agent, &dir.path("one.log"), 20);
    let ended = agent.stop();

    assert!(
        ended.stderr.contains("new sink: it starts"),
        "{}",
        ended.stderr
    );
    assert_eq!(numbers(&dir.read("two.log")), (10..20).collect::<Vec<_>>());
    assert_eq!(numbers(&dir.read("one.log")), (0..20).collect::<Vec<_>>());
}

#[test]
fn standard_input_waits_in_the_spool_for_the_next_run() {
    let dir = Dir::new();
    let port = ReservedPort::new();
    let config = dir.config(&format!(
        r#"
        [source.feed]
        type = "stdin"
        spool = {{ max = "4MiB" }}

        [sink.collector]
        url = "{}"
        format = "raw"
        batch = {{ linger = "20ms" }}
        "#,
        port.url("/")
    ));
    let text: String = (0..1_000).map(|n| line(n, 60) + "\n").collect();
    let input = dir.write("input", text);
    let input = || File::open(&input).expect("opens its input");
    let agent = Logweir::run(&dir, &config).stdin(input()).start();
    within("the last line in the spool", PATIENCE, || {
        is_kept(&dir, "feed", &line(999, 60)).then_some(())
    });
    agent.kill();

    let collector = port.listen(Settings::raw(), |_: &Request| Answer::ok());
    let ended = Logweir::run(&dir, &config).ended();

    // Its input is at its end, and so is it.
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let all = stored(&collector);
    assert!(all == (0..1_000).collect::<Vec<_>>(), "{} lines", all.len());
}

#[test]
fn an_end_does_not_wait_for_a_dead_collector() {
    let dir = Dir::new();
    let port = ReservedPort::new();
    let feed = Feed::start(Speaks::Http);
    let config = config(&dir, &feed.url(), &port.url("/"));
    let agent = Logweir::run(&dir, &config).start();
    keep(&feed, &dir, 0..100, 60);
    agent.wait_said(&["not delivered"]);

    let begun = Instant::now();
    let ended = agent.stop();
    let took = begun.elapsed();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(took < Duration::from_secs(5), "{took:?}");
    let collector = port.listen(Settings::raw(), |_: &Request| Answer::ok());
    let agent = Logweir::run(&dir, &config).start();
    within("every line", DRAIN, || {
        (stored(&collector).len() >= 100).then_some(())
    });
    agent.stop();
    assert_eq!(stored(&collector), (0..100).collect::<Vec<_>>());
}

// Scenario: a collector takes requests and does not answer. Bug: the end waited for the whole time-out of the
// last request, or for all of `shutdown`, with lines in hand that are on disk. Fix: of a sink that is known to
// be out of order only a second is waited for, where its lines are read again.
#[test]
fn an_end_does_not_wait_for_a_collector_that_hangs() {
    let dir = Dir::new();
    let feed = Feed::start(Speaks::WebSocket);
    let collector = Collector::start(Settings::raw(), |_: &Request| Answer::refuse(503));
    let config = config(&dir, &feed.url(), &collector.url("/"));
    let agent = Logweir::run(&dir, &config).start();
    keep(&feed, &dir, 0..100, 60);
    agent.wait_said(&["not delivered"]);
    let n_requests = collector.n_requests();
    collector.wait_requests(n_requests + 1, PATIENCE);
    collector.hold();
    // The one that is answered by now, and the one that hangs.
    agent.wait_idle();

    let begun = Instant::now();
    let ended = agent.stop();
    let took = begun.elapsed();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(took < Duration::from_secs(4), "{took:?}");
    collector.script(|_: &Request| Answer::ok());
    collector.release();
    let agent = Logweir::run(&dir, &config).start();
    within("every line", DRAIN, || {
        (stored(&collector).len() >= 100).then_some(())
    });
    agent.stop();
    let arrived: BTreeSet<u64> = stored(&collector).into_iter().collect();
    assert_eq!(arrived, (0..100).collect());
}
