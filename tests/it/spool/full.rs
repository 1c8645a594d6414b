//! What happens when a spool holds what it may: what is dropped is counted to the line.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use super::feed::{Feed, Speaks};
use super::{DRAIN, dropped, line, numbers, segments, stored};
use crate::support::{
    Agent, Answer, Collector, Dir, Logweir, Request, ReservedPort, Settings, within,
};

const MAX_BYTES: u64 = 1 << 20;
const LINES: u64 = 40_000;
const LINE_BYTES: usize = 100;

fn config(dir: &Dir, feed: &Feed, collector: &str, full: &str) -> std::path::PathBuf {
    dir.config(&format!(
        r#"
        [source.feed]
        url = "{}"
        max_line = "4KiB"
        spool = {{ max = "1MiB", full = "{full}" }}

        [sink.collector]
        url = "{collector}"
        format = "raw"
        memory = "256KiB"
        batch = {{ bytes = "64KiB", linger = "20ms" }}
        retry = {{ base = "50ms", max = "200ms" }}
        "#,
        feed.url()
    ))
}

fn on_disk(dir: &Dir) -> u64 {
    let sizes = segments(dir, "feed").into_iter();
    // One may be removed at this moment.
    sizes
        .filter_map(|it| Some(fs::metadata(it).ok()?.len()))
        .sum()
}

/// Says all lines in parts.
fn say(feed: &Feed, numbers: std::ops::Range<u64>) {
    let all: Vec<u64> = numbers.collect();
    for part in all.chunks(50) {
        let lines: Vec<String> = part
            .iter()
            .map(|number| line(*number, LINE_BYTES))
            .collect();
        feed.say(&lines);
    }
}

/// A spool that is filled four times while the collector is down; what arrives afterwards, and how many
/// lines it says were dropped.
#[track_caller]
fn trial(full: &str, said: &str) -> (Vec<u64>, u64) {
    let dir = Dir::new();
    let port = ReservedPort::new();
    let feed = Feed::start(Speaks::Http);
    let config = config(&dir, &feed, &port.url("/"), full);
    let agent = Logweir::run(&dir, &config).start();

    say(&feed, 0..LINES);
    agent.wait_said(&[said]);
    agent.wait_idle();
    let bytes = on_disk(&dir);
    assert!(
        bytes > MAX_BYTES / 2 && bytes <= MAX_BYTES + 4096,
        "{bytes} bytes"
    );
    let collector = port.listen(Settings::raw(), |_: &Request| Answer::ok());
    within("the segments to go", DRAIN, || {
        (segments(&dir, "feed").len() == 1).then_some(())
    });
    agent.wait_idle();
    // It goes on as if nothing had been.
    say(&feed, LINES..LINES + 10);
    wait_for(&collector, LINES + 9);
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    for word in [said, "so many lines were dropped"] {
        assert_eq!(ended.stderr.matches(word).count(), 1, "{}", ended.stderr);
    }
    let all = stored(&collector);
    assert!(all.is_sorted_by(|a, b| a < b), "doubled or out of order");
    (all, dropped(&ended))
}

#[track_caller]
fn wait_for(collector: &Collector, number: u64) {
    within("the last line", DRAIN, || {
        (stored(collector).last() == Some(&number)).then_some(())
    });
}

#[test]
fn the_oldest_are_given_up_and_counted() {
    let (all, dropped) = trial("drop_oldest", "its oldest lines are given up for a sink");

    eprintln!("{} of {LINES} arrived, {dropped} dropped", all.len());
    assert_eq!(all.len() as u64 + dropped, LINES + 10);
    assert!(dropped > LINES / 4, "{dropped}");
    // The newest are there.
    let arrived: BTreeSet<u64> = all.into_iter().collect();
    assert!((LINES - 1_000..LINES).all(|it| arrived.contains(&it)));
}

#[test]
fn the_newest_are_dropped_and_counted() {
    let (all, dropped) = trial("drop_newest", "what comes is dropped until sinks");

    eprintln!("{} of {LINES} arrived, {dropped} dropped", all.len());
    assert_eq!(all.len() as u64 + dropped, LINES + 10);
    assert!(dropped > LINES / 4, "{dropped}");
    let arrived: BTreeSet<u64> = all.into_iter().collect();
    assert!((0..1_000).all(|it| arrived.contains(&it)));
}

/// More lines than spool and sockets hold.
const FLOOD: u64 = LINES * 5;

/// A full spool whose source waits, and a sender that waits for it.
struct Blocked {
    dir: Dir,
    port: ReservedPort,
    config: PathBuf,
    agent: Agent,
    saying: thread::JoinHandle<()>,
    _feed: Arc<Feed>,
}

impl Blocked {
    #[track_caller]
    fn new() -> Self {
        let (dir, port) = (Dir::new(), ReservedPort::new());
        let feed = Arc::new(Feed::start(Speaks::WebSocket));
        let config = config(&dir, &feed, &port.url("/"), "block");
        let agent = Logweir::run(&dir, &config).start();
        let saying = {
            let feed = Arc::clone(&feed);
            thread::spawn(move || say(&feed, 0..FLOOD))
        };
        agent.wait_said(&["the source is not read until sinks"]);
        agent.wait_idle();
        assert!(!saying.is_finished(), "the sender is not made to wait");
        Self {
            dir,
            port,
            config,
            agent,
            saying,
            _feed: feed,
        }
    }
}

#[test]
fn a_source_that_waits_loses_nothing() {
    let blocked = Blocked::new();
    let bytes = on_disk(&blocked.dir);
    assert!(
        bytes > MAX_BYTES / 2 && bytes <= MAX_BYTES + 4096,
        "{bytes} bytes"
    );

    let settings = Settings::raw();
    let collector = blocked.port.listen(settings, |_: &Request| Answer::ok());
    blocked.saying.join().expect("it says everything");
    wait_for(&collector, FLOOD - 1);
    let ended = blocked.agent.stop();

    assert_eq!((ended.code, dropped(&ended)), (0, 0), "{}", ended.stderr);
    let all = stored(&collector);
    assert!(all == (0..FLOOD).collect::<Vec<_>>(), "{} lines", all.len());
    assert!(
        ended.stderr.contains("the spool is no longer full"),
        "{}",
        ended.stderr
    );
}

// The end must not cost what was read: it is kept beyond `max`. What is missing is what the connection held
// that ended then, one run of messages.
#[test]
fn what_is_in_hand_at_the_end_of_a_full_spool_is_kept() {
    let blocked = Blocked::new();
    let before = on_disk(&blocked.dir);

    let ended = blocked.agent.stop();

    assert_eq!((ended.code, dropped(&ended)), (0, 0), "{}", ended.stderr);
    assert!(on_disk(&blocked.dir) > before, "nothing was in hand");
    let settings = Settings::raw();
    let collector = blocked.port.listen(settings, |_: &Request| Answer::ok());
    let agent = Logweir::run(&blocked.dir, &blocked.config).start();
    blocked.saying.join().expect("it says everything");
    wait_for(&collector, FLOOD - 1);
    agent.stop();
    let all = stored(&collector);
    let gaps = all.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
    assert!(gaps <= 1 && all.is_sorted_by(|a, b| a < b), "{gaps} gaps");
}

#[test]
fn a_dead_sink_loses_its_oldest_lines_and_the_other_one_nothing() {
    let dir = Dir::new();
    let port = ReservedPort::new();
    let feed = Feed::start(Speaks::Http);
    let config = config(&dir, &feed, &port.url("/"), "drop_oldest");
    let mut toml = fs::read_to_string(&config).expect("reads a test file");
    toml += &format!(
        "[sink.archive]\npath = \"{}\"\nformat = \"raw\"\n",
        dir.text("out.log")
    );
    fs::write(&config, toml).expect("writes a test file");
    let in_archive = || numbers(&dir.read("out.log"));
    let agent = Logweir::run(&dir, &config).start();

    // As fast as the archive takes it: it would lose some, too.
    for first in (0..LINES).step_by(500) {
        say(&feed, first..first + 500);
        within("the lines in the archive", DRAIN, || {
            (in_archive().last() == Some(&(first + 499))).then_some(())
        });
    }
    agent.wait_said(&["its oldest lines are given up for a sink"]);
    // What is in flight when it is killed is gone with its segment, which is said then.
    agent.kill();
    let collector = port.listen(Settings::raw(), |_: &Request| Answer::ok());
    let before = feed.connection();
    let agent = Logweir::run(&dir, &config).start();
    feed.wait_connected(before);
    say(&feed, LINES..LINES + 10);
    wait_for(&collector, LINES + 9);
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let all = stored(&collector);
    let missing = LINES + 10 - all.len() as u64;
    assert!(missing > LINES / 4, "{missing}");
    assert_eq!(dropped(&ended), missing, "{}", ended.stderr);
    let said = "are gone that this sink had not settled when the process ended";
    assert_eq!(ended.stderr.matches(said).count(), 1, "{}", ended.stderr);
    let archived = in_archive();
    assert!(
        archived == (0..LINES + 10).collect::<Vec<_>>(),
        "{} lines",
        archived.len()
    );
}
