//! Sources that hang, flood, send garbage and refuse do not delay another one.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::server::Server;
use crate::support::{Dir, Logweir, PATIENCE, ReservedPort, Rng, pass};

/// One measurement at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Lines whose delay is measured.
const LINES: usize = 400;
const EVERY: Duration = Duration::from_millis(5);
const DELAY_MAX: Duration = Duration::from_millis(100);
fn now() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("after 1970")
}

/// Says what time it is, again and again.
fn clock() -> Server {
    Server::stream(|socket| {
        loop {
            writeln!(socket, "tick {}", now().as_nanos())?;
            pass(EVERY);
        }
    })
}

fn flood() -> Server {
    Server::stream(|socket| {
        let lines = "a line that comes far too often, as lines of debug logs do\n".repeat(1_000);
        loop {
            socket.write_all(lines.as_bytes())?;
        }
    })
}

fn garbage() -> Server {
    Server::stream(|socket| {
        let mut rng = Rng::seeded(7);
        loop {
            let bytes: Vec<u8> = (0..512).flat_map(|_| rng.next().to_le_bytes()).collect();
            socket.write_all(&bytes)?;
            // Garbage, not a flood: that is another test.
            pass(Duration::from_millis(10));
        }
    })
}

/// Takes connections and says nothing, not even that it heard.
fn hang() -> Server {
    Server::start(|_socket| pass(6 * PATIENCE))
}

/// The delays of the clock's lines, the shortest first, while `others` are read too.
#[track_caller]
fn delays(others: &[String]) -> Vec<Duration> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = Dir::new();
    let clock = clock().url("clock=http", "/");
    // grep, for this program without optimization would be what is slow.
    let script = r#""$@" | exec timeout 25 grep --line-buffered '"_source":"clock"'"#;
    let args = [
        &["tail", "-q", "-o", "json", "--order", "off", &clock],
        &others.iter().map(String::as_str).collect::<Vec<_>>()[..],
    ]
    .concat();
    let shell = Logweir::shell(&dir, script, args);
    let mut agent = shell.stdout(Stdio::piped()).start();
    let mut pipe = BufReader::new(agent.pipe()).lines();
    let mut delays: Vec<Duration> = (0..LINES)
        .map(|_| {
            let line = pipe.next().expect("more lines").expect("a line");
            let (_, rest) = line.split_once("tick ").expect("a tick");
            let sent: u64 = rest[..rest.find('"').expect("its end")]
                .parse()
                .expect("a time");
            now().saturating_sub(Duration::from_nanos(sent))
        })
        .collect();
    delays.sort();
    delays
}

/// Says what was measured, and fails where one in a hundred lines was later than allowed.
#[track_caller]
fn judge(what: &str, delays: &[Duration]) {
    let (p50, p99) = (delays[LINES / 2], delays[LINES * 99 / 100]);
    let max = delays[LINES - 1];
    eprintln!("{what}: p50 {p50:?}, p99 {p99:?}, max {max:?}");
    assert!(p99 <= DELAY_MAX, "{what}: p50 {p50:?}, p99 {p99:?}");
}

#[test]
fn sources_in_trouble_do_not_delay_another() {
    let refused = ReservedPort::new();
    let (hang, garbage) = (hang(), garbage());
    let others = [
        format!("refused={}", refused.url("/")),
        hang.url("hang=http", "/"),
        hang.url("hang-ws=ws", "/"),
        garbage.url("garbage=http", "/"),
        garbage.url("garbage-ws=ws", "/"),
    ];

    judge("trouble", &delays(&others));
}

#[test]
fn a_flood_does_not_delay_another() {
    let flood = flood();

    judge("flood", &delays(&[flood.url("flood=http", "/")]));
}
