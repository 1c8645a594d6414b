//! Many streams at once: nothing is lost, and each costs little.
//!
//! `LOGWEIR_TEST_STREAMS=1000 cargo test --profile bench --test it many` is the whole of it; what it
//! prints of the processor counts only there.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::server::Server;
use crate::support::{Dir, Logweir, PATIENCE, pass, within};

/// Lines of each stream, and how often.
const LINES: usize = 50;
const EVERY: Duration = Duration::from_millis(100);

/// KiB that each stream may cost: the target is for an optimized build.
const KIB_MAX: u64 = 64;

fn n_streams() -> usize {
    let given = std::env::var("LOGWEIR_TEST_STREAMS").ok();
    given.map_or(100, |it| it.parse().expect("a number of streams"))
}

/// Keeps the connections of all streams.
fn server(sockets: &Arc<Mutex<Vec<TcpStream>>>) -> Server {
    let sockets = Arc::clone(sockets);
    Server::stream(move |socket| {
        let mut all = sockets.lock().expect("nobody panicked");
        all.push(socket.try_clone()?);
        drop(all);
        // Its end is that of logweir.
        std::io::Read::read(socket, &mut [0]).map(drop)
    })
}

#[test]
fn many_streams_lose_nothing_and_cost_little() {
    let n_streams = n_streams();
    let dir = Dir::new();
    let sockets = Arc::new(Mutex::new(Vec::new()));
    let server = server(&sockets);
    let sources: Vec<String> = (0..n_streams)
        .map(|n| format!("s{n} = \"{}\"\n", server.url("http", &format!("/{n}"))))
        .collect();
    let sink = "[sink.out]\npath = \"{dir}/out.log\"\nformat = \"raw\"\n";
    let idle = dir.config(&format!("[source]\nnone = \"{{dir}}/none.log\"\n{sink}"));
    let agent = Logweir::run(&dir, &idle).start();
    agent.wait_idle();
    let alone_kib = agent.resident_kib();
    agent.stop();

    let config = dir.config(&format!("[source]\n{}{sink}", sources.concat()));
    let agent = Logweir::run(&dir, &config).start();
    within("every connection", 3 * PATIENCE, || {
        (sockets.lock().expect("nobody panicked").len() == n_streams).then_some(())
    });
    let cpu_before = agent.cpu();
    let begun = Instant::now();
    let mut late = Duration::ZERO;
    for number in 0..LINES {
        let due = begun + EVERY * u32::try_from(number).expect("a small number");
        pass(due.saturating_duration_since(Instant::now()));
        late = late.max(Instant::now().saturating_duration_since(due));
        let mut all = sockets.lock().expect("nobody panicked");
        for (stream, socket) in all.iter_mut().enumerate() {
            writeln!(
                socket,
                "stream {stream} line {number} of a service that says little"
            )
            .expect("logweir reads");
        }
    }
    let took = begun.elapsed();
    let lines = || {
        dir.read("out.log")
            .iter()
            .filter(|it| **it == b'\n')
            .count()
    };
    within("every line", 3 * PATIENCE, || {
        (lines() >= n_streams * LINES).then_some(())
    });
    let (cpu, kib) = (agent.cpu() - cpu_before, agent.resident_kib());
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let text = String::from_utf8(dir.read("out.log")).expect("text");
    let mut next: BTreeMap<&str, usize> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let stream = words.nth(1).expect("a stream");
        let number: usize = words
            .nth(1)
            .and_then(|it| it.parse().ok())
            .expect("a number");
        let next = next.entry(stream).or_default();
        assert_eq!(number, *next, "of stream {stream}");
        *next += 1;
    }
    assert_eq!(next.len(), n_streams);
    assert!(next.values().all(|n| *n == LINES));
    let each = kib.saturating_sub(alone_kib) / n_streams as u64;
    eprintln!(
        "{n_streams} streams of {} lines/s: {:.3} of a core, {each} KiB each ({kib} KiB in all, \
         {alone_kib} without), the writer {late:?} late at most",
        1000 / EVERY.as_millis(),
        cpu.as_secs_f64() / took.as_secs_f64(),
    );
    assert!(each <= KIB_MAX, "{each} KiB a stream");
}
