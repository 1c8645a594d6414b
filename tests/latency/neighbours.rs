//! Sources that hang, flood, send garbage and refuse do not delay another one.

use std::ffi::OsStr;
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

/// Begins an answer and does not go on.
fn hang_in_body() -> Server {
    Server::stream(|socket| {
        socket.write_all(b"[{\"id\": 1}, {\"id\"")?;
        pass(6 * PATIENCE);
        Ok(())
    })
}

/// Accepts a WebSocket, and says and hears nothing.
fn hang_as_websocket() -> Server {
    Server::start(|socket| {
        let _socket = tokio_tungstenite::tungstenite::accept(socket);
        pass(6 * PATIENCE);
    })
}

/// The delays of the clock's lines, the shortest first, while `others` are read too.
#[track_caller]
fn delays(others: &[String]) -> Vec<Duration> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = Dir::new();
    let clock = clock().url("clock=http", "/");
    let args = [
        &["tail", "-q", "-o", "json", "--order", "off", &clock],
        &others.iter().map(String::as_str).collect::<Vec<_>>()[..],
    ]
    .concat();
    delays_of(&dir, args)
}

/// The delays of the lines of a source called clock that `logweir ARGS…` prints.
#[track_caller]
fn delays_of<A: AsRef<OsStr>>(dir: &Dir, args: impl IntoIterator<Item = A>) -> Vec<Duration> {
    // grep, for this program without optimization would be what is slow.
    let script = r#""$@" | exec timeout 25 grep --line-buffered '"_source":"clock"'"#;
    let shell = Logweir::shell(dir, script, args);
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

// Ten of each kind, and within a kind every way to hang: before an answer, in the middle of one, and after
// the upgrade to a WebSocket.
#[test]
fn fifty_that_hang_do_not_delay_another() {
    const OF_EACH: usize = 10;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = Dir::new();
    let (clock, silent, begun, upgraded) = (clock(), hang(), hang_in_body(), hang_as_websocket());
    let urls = |scheme: &str, servers: [&Server; 2]| -> Vec<String> {
        let paths = (0..OF_EACH).map(|n| (n, format!("/{n}")));
        paths
            .map(|(n, path)| servers[n % 2].url(scheme, &path))
            .collect()
    };
    let singles = [
        ("stream", urls("sse+http", [&silent, &begun])),
        ("range", urls("range+http", [&silent, &begun])),
        ("socket", urls("ws", [&silent, &upgraded])),
    ];
    let mut sources = format!("clock = {:?}\n", clock.url("http", "/"));
    for (kind, urls) in singles {
        for (n, url) in urls.iter().enumerate() {
            sources += &format!("{kind}{n} = {url:?}\n");
        }
    }
    let many = urls("http", [&silent, &begun]);
    let config = dir.config(&format!(
        r#"
        [source]
        {sources}
        [source.apis]
        type = "poll"
        urls = {many:?}
        interval = "100ms"
        concurrency = 5

        [source.services]
        type = "health"
        urls = {many:?}
        interval = "100ms"
        timeout = "20s"
        body_match = "up"
        concurrency = 5

        [sink]
        out = "stdout"
        "#
    ));

    let args = [OsStr::new("run"), OsStr::new("-c"), config.as_os_str()];
    judge("fifty that hang", &delays_of(&dir, args));
}

#[test]
fn a_flood_does_not_delay_another() {
    let flood = flood();

    judge("flood", &delays(&[flood.url("flood=http", "/")]));
}
