//! Server-sent events through a spool into a file: exactly once, however often logweir is killed.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::{DRAIN, dropped, is_kept, line, numbers, segments, stored};
use crate::support::{
    Answer, Collector, Dir, Faults, Logweir, PATIENCE, Request, ReservedPort, Rng, Settings, pass,
    within,
};

const KILLS: usize = 20;

/// Events with ids; whoever comes with a `Last-Event-ID` gets what is behind it, whoever comes without
/// gets everything. Once `last` is not zero, it is the last.
struct Events {
    port: u16,
    last: Arc<AtomicU64>,
    /// The ids that were asked for.
    asked: Arc<Mutex<Vec<Option<u64>>>>,
}

impl Events {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listens");
        let port = listener.local_addr().expect("has an address").port();
        let events = Self {
            port,
            last: Arc::default(),
            asked: Arc::default(),
        };
        let (last, asked) = (Arc::clone(&events.last), Arc::clone(&events.asked));
        thread::spawn(move || {
            for socket in listener.incoming() {
                let (socket, last) = (socket.expect("accepts"), Arc::clone(&last));
                let Some(id) = read_id(&socket) else { continue };
                asked.lock().expect("nobody panicked").push(id);
                thread::spawn(move || send(socket, id.map_or(0, |id| id + 1), &last));
            }
        });
        events
    }
}

/// The id in a request; `None`: it is none.
fn read_id(socket: &TcpStream) -> Option<Option<u64>> {
    let mut id = None;
    for head in BufReader::new(socket).lines() {
        let head = head.ok()?.to_ascii_lowercase();
        if head.is_empty() {
            return Some(id);
        }
        if let Some(value) = head.strip_prefix("last-event-id: ") {
            id = Some(value.parse().expect("an id of ours"));
        }
    }
    None
}

fn send(mut socket: TcpStream, first: u64, last: &AtomicU64) {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
    let mut going = socket.write_all(head.as_bytes()).is_ok();
    let mut next = first;
    while going {
        let last = last.load(Ordering::Relaxed);
        let to = if last == 0 {
            next + 8
        } else {
            (next + 8).min(last + 1)
        };
        let events = (next..to).map(|id| format!("id: {id}\ndata: {}\n\n", line(id, 120)));
        let text: String = events.collect();
        // With comments, so that the reader's end is noticed.
        going = socket.write_all(format!("{text}:\n").as_bytes()).is_ok();
        next = to;
        pass(Duration::from_millis(2));
    }
}

#[test]
fn events_are_in_a_file_once_however_often_logweir_is_killed() {
    let mut rng = Rng::printed("events through a spool");
    let dir = Dir::new();
    let events = Events::start();
    let config = dir.config(&format!(
        r#"
        [source.feed]
        url = "http://127.0.0.1:{}/events"
        spool = {{ max = "16MiB" }}

        [sink.out]
        path = "{{dir}}/out.log"
        format = "raw"
        "#,
        events.port
    ));

    for _ in 0..KILLS {
        let before = dir.size("out.log");
        let agent = Logweir::run(&dir, &config).start();
        within("more events", PATIENCE, || {
            (dir.size("out.log") > before).then_some(())
        });
        pass(rng.millis(0..200));
        agent.kill();
    }
    let agent = Logweir::run(&dir, &config).start();
    let arrived = numbers(&dir.read("out.log")).len() as u64;
    let last = arrived + 2_000;
    events.last.store(last, Ordering::Relaxed);
    within("the last event", DRAIN, || {
        (numbers(&dir.read("out.log")).last() >= Some(&last)).then_some(())
    });
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let all = numbers(&dir.read("out.log"));
    let expected: Vec<u64> = (0..=*all.last().expect("events")).collect();
    assert!(all == expected, "missing, doubled or out of order");
    let asked = events.asked.lock().expect("nobody panicked");
    eprintln!("{} events in {} connections", all.len(), asked.len());
    assert_eq!(
        asked.iter().filter(|id| id.is_none()).count(),
        1,
        "{asked:?}"
    );
}

fn two_sinks(dir: &Dir, port: u16, collector: &str) -> std::path::PathBuf {
    dir.config(&format!(
        r#"
        [source.feed]
        url = "http://127.0.0.1:{}/events"
        max_line = "4KiB"
        spool = {{ max = "1MiB" }}

        [sink.out]
        path = "{{dir}}/out.log"
        format = "raw"

        [sink.collector]
        url = "{}"
        format = "raw"
        memory = "256KiB"
        batch = {{ bytes = "64KiB", lines = 100, linger = "20ms" }}
        retry = {{ base = "20ms", max = "100ms" }}
        "#,
        port, collector
    ))
}

/// Small segments that come and go, a collector that is often away, and a kill at any moment of all that.
#[test]
fn two_sinks_miss_nothing_while_segments_come_and_go_under_kills() {
    let mut rng = Rng::printed("two sinks of a spool");
    let dir = Dir::new();
    let events = Events::start();
    let faults = Faults::collector(rng.fork());
    let settings = Settings {
        honour_keys: true,
        ..Settings::raw()
    };
    let collector = Collector::start(settings, faults);
    let config = two_sinks(&dir, events.port, &collector.url("/"));

    let mut n_segments = BTreeSet::new();
    for _ in 0..KILLS {
        let before = dir.size("out.log");
        let agent = Logweir::run(&dir, &config).start();
        within("more events", PATIENCE, || {
            (dir.size("out.log") > before).then_some(())
        });
        pass(rng.millis(0..400));
        agent.kill();
        n_segments.extend(segments(&dir, "feed"));
    }
    collector.script(|_: &Request| Answer::ok());
    let agent = Logweir::run(&dir, &config).start();
    let last = numbers(&dir.read("out.log")).len() as u64 + 2_000;
    events.last.store(last, Ordering::Relaxed);
    let at_collector = || -> BTreeSet<u64> { stored(&collector).into_iter().collect() };
    within("the last event at both", DRAIN, || {
        let in_file = numbers(&dir.read("out.log")).last() >= Some(&last);
        (in_file && at_collector().last() >= Some(&last)).then_some(())
    });
    within("the segments to go", DRAIN, || {
        (segments(&dir, "feed").len() == 1).then_some(())
    });
    let ended = agent.stop();

    assert_eq!((ended.code, dropped(&ended)), (0, 0), "{}", ended.stderr);
    let all = numbers(&dir.read("out.log"));
    let last = *all.last().expect("events");
    assert!(
        all == (0..=last).collect::<Vec<_>>(),
        "missing, doubled or out of order in the file"
    );
    let arrived = at_collector();
    let missing = (0..=last).filter(|it| !arrived.contains(it)).count();
    let n_doubled = stored(&collector).len() - arrived.len();
    eprintln!(
        "{} events, {} segments seen, {n_doubled} doubled at the collector",
        all.len(),
        n_segments.len()
    );
    assert_eq!(missing, 0, "at the collector");
    // At each kill a batch and the one behind it may have been on their way.
    assert!(n_doubled <= KILLS * 200, "{n_doubled} doubled");
    assert!(n_segments.len() > 5, "{n_segments:?}");
    let asked = events.asked.lock().expect("nobody panicked");
    assert_eq!(
        asked.iter().filter(|id| id.is_none()).count(),
        1,
        "{asked:?}"
    );
}

// Scenario: `spool` is taken out of the configuration while lines wait in it, put in again later, and taken
// out again. Bug: what was in it waited until there was a spool again, the events went on where the
// checkpoints from before the spool stood, and came twice. Fix: it is delivered to its end before the source
// is read without it, and where the source goes on is handed over.
#[test]
fn a_spool_that_is_switched_off_and_on_again_costs_nothing() {
    let dir = Dir::new();
    let port = ReservedPort::new();
    let (events, url) = (Events::start(), port.url("/"));
    let config = |spool: &str| {
        dir.config(&format!(
            "[source.feed]\nurl = \"http://127.0.0.1:{}/events\"\n{spool}\n\
             [sink.collector]\nurl = \"{url}\"\nformat = \"raw\"\n\
             batch = {{ linger = \"20ms\" }}\nretry = {{ base = \"50ms\", max = \"200ms\" }}\n",
            events.port
        ))
    };
    let (on, off) = ("spool = { max = \"4MiB\" }", "");
    let n_asked = || events.asked.lock().expect("nobody panicked").len();
    events.last.store(50, Ordering::Relaxed);
    let agent = Logweir::run(&dir, &config(on)).start();
    within("the last event in the spool", DRAIN, || {
        is_kept(&dir, "feed", &line(50, 120)).then_some(())
    });
    agent.kill();

    let before = n_asked();
    for _ in 0..2 {
        let agent = Logweir::run(&dir, &config(off)).start();
        agent.wait_said(&["this source has no spool any more", "lines=51"]);
        agent.wait_idle();
        agent.kill();
        std::fs::remove_file(dir.path("stderr")).expect("removes a log");
    }
    assert_eq!(
        n_asked(),
        before,
        "it was read while its spool was not empty"
    );
    let collector = port.listen(Settings::raw(), |_: &Request| Answer::ok());
    for (spool, last) in [(off, 100), (on, 150), (off, 200), (off, 250)] {
        events.last.store(last, Ordering::Relaxed);
        let agent = Logweir::run(&dir, &config(spool)).start();
        within("the last event", DRAIN, || {
            (stored(&collector).last() == Some(&last)).then_some(())
        });
        let ended = agent.stop();
        assert_eq!((ended.code, dropped(&ended)), (0, 0), "{}", ended.stderr);
        let is_there = dir.path("state/spool/feed.d").exists();
        assert_eq!(is_there, spool == on, "{}", ended.stderr);
    }

    let all = stored(&collector);
    assert!(
        all == (0..=250).collect::<Vec<_>>(),
        "missing, doubled or out of order: {all:?}"
    );
    let asked = events.asked.lock().expect("nobody panicked");
    let ids: Vec<_> = asked.iter().skip(before).collect();
    assert_eq!(ids, [&Some(50), &Some(100), &Some(150), &Some(200)]);
}

#[test]
fn a_spool_that_is_switched_under_kills_loses_nothing() {
    let mut rng = Rng::printed("a spool that is switched");
    let dir = Dir::new();
    let events = Events::start();
    let config = |spool: &str| {
        dir.config(&format!(
            "[source.feed]\nurl = \"http://127.0.0.1:{}/events\"\n{spool}\n\
             [sink.out]\npath = \"{{dir}}/out.log\"\nformat = \"raw\"\n",
            events.port
        ))
    };
    let spools = ["spool = { max = \"4MiB\" }", ""];
    for round in 0..KILLS {
        let before = dir.size("out.log");
        let spool = spools[if rng.chance(33) { 0 } else { round % 2 }];
        let agent = Logweir::run(&dir, &config(spool)).start();
        within("more events", PATIENCE, || {
            (dir.size("out.log") > before).then_some(())
        });
        pass(rng.millis(0..150));
        agent.kill();
    }
    let agent = Logweir::run(&dir, &config("")).start();
    let last = numbers(&dir.read("out.log")).len() as u64 + 2_000;
    events.last.store(last, Ordering::Relaxed);
    within("the last event", DRAIN, || {
        (numbers(&dir.read("out.log")).last() >= Some(&last)).then_some(())
    });
    let ended = agent.stop();

    assert_eq!((ended.code, dropped(&ended)), (0, 0), "{}", ended.stderr);
    let all = numbers(&dir.read("out.log"));
    let last = *all.last().expect("events");
    assert!(
        all == (0..=last).collect::<Vec<_>>(),
        "missing, doubled or out of order"
    );
    assert!(!dir.path("state/spool/feed.d").exists());
}
