//! Kinds of sources that share the spool, each through kills while the collector is down: remote files,
//! health checks, containers' logs of Docker, and streams that are replayed by time.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

use super::{DRAIN, dropped, line, numbers, segments};
use crate::support::{
    Answer, Collector, Dir, Logweir, PATIENCE, Request, ReservedPort, Rng, Settings, pass, within,
};

const KILLS: usize = 5;
const EVERY: Duration = Duration::from_millis(2);

/// Answers each request of each connection by its first line and its head in small letters, until an answer
/// says that nothing follows it.
fn serve(answer: impl Fn(&mut TcpStream, &str) -> Option<()> + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listens");
    let port = listener.local_addr().expect("has an address").port();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let (mut socket, answer) = (socket.expect("accepts"), answer.clone());
            thread::spawn(move || {
                let mut reader = BufReader::new(socket.try_clone().ok()?);
                loop {
                    let mut head = String::new();
                    while !head.ends_with("\r\n\r\n") {
                        if reader.read_line(&mut head).ok()? == 0 {
                            return None::<()>;
                        }
                    }
                    answer(&mut socket, &head.to_ascii_lowercase())?;
                }
            });
        }
    });
    port
}

/// Bytes in the spool.
fn spooled(dir: &Dir) -> u64 {
    let sizes = segments(dir, "feed").into_iter();
    sizes
        .filter_map(|it| Some(std::fs::metadata(it).ok()?.len()))
        .sum()
}

/// A source with these keys, and a collector that is down.
fn config(dir: &Dir, keys: &str, port: &ReservedPort) -> std::path::PathBuf {
    dir.config(&format!(
        r#"
        [source.feed]
        {keys}
        spool = {{ max = "64MiB" }}

        [sink.collector]
        url = "{}"
        format = "raw"
        batch = {{ linger = "20ms" }}
        retry = {{ base = "50ms", max = "200ms" }}
        "#,
        port.url("/")
    ))
}

/// Kills logweir at random while the collector is down; then lets it deliver, and returns what arrived once
/// `is_enough`.
#[track_caller]
fn trial(
    name: &str,
    dir: &Dir,
    (config, port): (&Path, ReservedPort),
    is_enough: impl Fn(&[u8]) -> bool,
) -> Vec<u8> {
    let mut rng = Rng::printed(&format!("{name} through a spool"));
    for _ in 0..KILLS {
        let before = spooled(dir);
        let agent = Logweir::run(dir, config).start();
        within("more in the spool", PATIENCE, || {
            (spooled(dir) > before).then_some(())
        });
        pass(rng.millis(50..300));
        agent.kill();
    }
    let agent = Logweir::run(dir, config).start();
    let collector: Collector = port.listen(Settings::raw(), |_: &Request| Answer::ok());
    within("what was kept and more", DRAIN, || {
        is_enough(&collector.stored_bytes()).then_some(())
    });
    let ended = agent.stop();

    assert_eq!((ended.code, dropped(&ended)), (0, 0), "{}", ended.stderr);
    collector.stored_bytes()
}

/// What is written to a log all the time: (when, its text).
type Log = Arc<Mutex<Vec<(i128, String)>>>;

/// Numbered lines, for ever.
fn written() -> (Log, Arc<AtomicU64>) {
    let (log, count) = (Log::default(), Arc::<AtomicU64>::default());
    let (writing, counted) = (Arc::clone(&log), Arc::clone(&count));
    thread::spawn(move || {
        for number in 0.. {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = i128::try_from(now.expect("after 1970").as_nanos()).expect("it is small");
            let mut log = writing.lock().expect("nobody panicked");
            log.push((now, line(number, 100)));
            drop(log);
            counted.store(number + 1, Ordering::Relaxed);
            pass(EVERY);
        }
    });
    (log, count)
}

/// Fails unless these are all lines from the first on, once each and in order.
#[track_caller]
fn expect_all(all: &[u64]) {
    let expected: Vec<u64> = (0..all.len() as u64).collect();
    assert!(all == expected, "missing, doubled or out of order: {all:?}");
}

#[test]
fn a_remote_file_is_read_once_through_kills() {
    let (log, count) = written();
    let server = serve(move |socket, head| {
        let text: String = {
            let log = log.lock().expect("nobody panicked");
            log.iter().map(|(_, text)| format!("{text}\n")).collect()
        };
        let from = head.split("range: bytes=").nth(1);
        let from = from.and_then(|it| it.split('-').next()?.parse::<usize>().ok());
        let (status, part) = match from {
            Some(from) if from < text.len() => {
                let all = text.len();
                let range = format!("Content-Range: bytes {from}-{}/{all}\r\n", all - 1);
                (format!("206 Partial Content\r\n{range}"), &text[from..])
            }
            Some(_) => ("416 Range Not Satisfiable\r\n".to_owned(), ""),
            None => ("200 OK\r\n".to_owned(), &*text),
        };
        let head = format!("HTTP/1.1 {status}Content-Length: {}\r\n\r\n", part.len());
        socket.write_all([&head, part].concat().as_bytes()).ok()
    });
    let (dir, port) = (Dir::new(), ReservedPort::new());
    let keys = format!(
        "type = \"range\"\nurl = \"http://127.0.0.1:{server}/app.log\"\ninterval = \"10ms\""
    );
    let config = config(&dir, &keys, &port);

    let arrived = trial("a remote file", &dir, (&config, port), |bytes| {
        let said = count.load(Ordering::Relaxed);
        numbers(bytes).len() as u64 + 100 > said
    });

    expect_all(&numbers(&arrived));
}

/// The query's time, in nanoseconds since 1970: seconds, or RFC 3339.
fn since(head: &str) -> i128 {
    let path = head.split(' ').nth(1).unwrap_or_default();
    let value = path.split("since=").nth(1).unwrap_or_default();
    let value = value.split('&').next().unwrap_or_default().to_uppercase();
    let value = value.replace("%3A", ":");
    match value.parse::<i128>() {
        Ok(seconds) => seconds * 1_000_000_000,
        Err(_) => value
            .parse::<Timestamp>()
            .map_or(0, Timestamp::as_nanosecond),
    }
}

/// Follows the log from the time that is asked for; `framed` makes bytes of a line.
fn following(
    kind: &'static str,
    log: Log,
    framed: impl Fn(u64, &str) -> Vec<u8> + Clone + Send + 'static,
) -> u16 {
    serve(move |socket, head| {
        let since = since(head);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n");
        socket.write_all(head.as_bytes()).ok()?;
        let mut next = 0;
        loop {
            let lines: Vec<(i128, String)> = {
                let log = log.lock().expect("nobody panicked");
                log[next..].to_vec()
            };
            for (when, text) in lines {
                if when >= since {
                    let when = Timestamp::from_nanosecond(when).expect("it is of today");
                    let text = format!("{when:.9} {text}\n");
                    socket.write_all(&framed(next as u64, &text)).ok()?;
                }
                next += 1;
            }
            pass(EVERY);
        }
    })
}

/// The numbers of lines that begin with a time.
fn timed_numbers(bytes: &[u8]) -> Vec<u64> {
    let text = std::str::from_utf8(bytes).expect("text");
    let lines = text.lines().filter_map(|it| it.split_once(' '));
    let lines: String = lines.map(|(_, rest)| format!("{rest}\n")).collect();
    numbers(lines.as_bytes())
}

#[track_caller]
fn replayed(name: &str, keys: &str, (server, count): (u16, &AtomicU64)) {
    let (dir, port) = (Dir::new(), ReservedPort::new());
    let keys = format!("url = \"http://127.0.0.1:{server}/logs?follow=1\"\n{keys}");
    let config = config(&dir, &keys, &port);

    let arrived = trial(name, &dir, (&config, port), |bytes| {
        let said = count.load(Ordering::Relaxed);
        timed_numbers(bytes).len() as u64 + 100 > said
    });

    expect_all(&timed_numbers(&arrived));
}

#[test]
fn a_stream_that_is_replayed_by_time_is_read_once_through_kills() {
    let (log, count) = written();
    let server = following("text/plain", log, |_, text| text.as_bytes().to_vec());

    let keys = r#"resume = { param = "since", from = "leading" }"#;
    replayed("a replay", keys, (server, &count));
}

// Docker's API: frames of two outputs, the lines with their times, `since` in Unix seconds.
#[test]
fn a_containers_log_is_read_once_through_kills() {
    let (log, count) = written();
    let kind = "application/vnd.docker.multiplexed-stream";
    let server = following(kind, log, |_, text| {
        let len = u32::try_from(text.len()).expect("a short line");
        [&[1, 0, 0, 0], &len.to_be_bytes()[..], text.as_bytes()].concat()
    });

    let keys = "framing = \"docker\"\nresume = { param = \"since\", from = \"leading\" }";
    replayed("a container", keys, (server, &count));
}

// What was asked and answered when logweir was killed may be missing; a check cannot be made again.
#[test]
fn health_checks_wait_for_the_collector_and_come_once() {
    const STATUSES: u64 = 199;
    let asked = Arc::<AtomicU64>::default();
    let counted = Arc::clone(&asked);
    let server = serve(move |socket, _| {
        // Each answer has a number of its own; 204 and 304 would have no body and no length.
        let n = counted.fetch_add(1, Ordering::Relaxed);
        let status = 400 + n % STATUSES;
        let head = format!("HTTP/1.1 {status} N\r\nContent-Length: 0\r\n\r\n");
        socket.write_all(head.as_bytes()).ok()
    });
    let (dir, port) = (Dir::new(), ReservedPort::new());
    let keys = format!(
        "type = \"health\"\nurls = [\"http://127.0.0.1:{server}/health\"]\ninterval = \"100ms\"\n\
         emit = \"all\"\nexpect = \"400-599\""
    );
    let config = config(&dir, &keys, &port);
    let statuses = |bytes: &[u8]| -> Vec<u64> {
        let text = std::str::from_utf8(bytes).expect("text");
        let end = text.rfind('\n').map_or(0, |last| last + 1);
        let status = |line: &str| {
            let record: serde_json::Value = serde_json::from_str(line).expect("a record");
            assert_eq!(record["healthy"], true, "{line}");
            record["status"].as_u64().expect("a status")
        };
        text[..end].lines().map(status).collect()
    };

    let arrived = trial("health checks", &dir, (&config, port), |bytes| {
        statuses(bytes).len() >= 20
    });

    let all = statuses(&arrived);
    // What is missing before each: how far its number is from the one that would follow.
    let missing = all
        .windows(2)
        .map(|pair| (pair[1] + STATUSES - pair[0] - 1) % STATUSES);
    let missing: Vec<u64> = missing.filter(|it| *it > 0).collect();
    eprintln!("{} checks, missing at kills: {missing:?}", all.len());
    assert_eq!(all[0], 400);
    assert!(missing.len() <= KILLS, "{missing:?}");
    assert!(missing.iter().all(|it| *it <= 2), "{missing:?}");
}
