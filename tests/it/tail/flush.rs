//! When lines are written: when nothing more comes, at 64 KiB, or 20 ms after the first that waits;
//! neither a system call a line nor blocks. And nobody is starved.
//!
//! Standard output is a datagram socket here, which keeps writes apart: each is a message.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use crate::support::{Agent, Dir, Logweir, PATIENCE, pass};

/// How late a line may be on a machine on which other tests run.
const LATE: Duration = Duration::from_millis(500);

/// One write, and when it came.
type Written = (Instant, Vec<u8>);

/// Starts `tail` with each write of it as a message.
fn watched(dir: &Dir, args: &[&str]) -> (Agent, Receiver<Written>) {
    let (ours, theirs) = UnixDatagram::pair().expect("a pair of sockets");
    let agent = Logweir::tail(dir, args)
        .stdout(OwnedFd::from(theirs))
        .start();
    let (sender, receiver) = sync_channel(1 << 16);
    std::thread::spawn(move || {
        let mut message = vec![0; 1 << 20];
        // It ends when both ends of the pair are gone, or nobody listens.
        while let Ok(length) = ours.recv(&mut message) {
            if length == 0
                || sender
                    .send((Instant::now(), message[..length].to_vec()))
                    .is_err()
            {
                return;
            }
        }
    });
    (agent, receiver)
}

/// Reads writes until `n_bytes` came.
#[track_caller]
fn until(writes: &Receiver<Written>, n_bytes: usize) -> Vec<Written> {
    let mut all = Vec::new();
    let mut left = n_bytes;
    while left > 0 {
        let write = writes.recv_timeout(PATIENCE);
        let write = write.unwrap_or_else(|_| panic!("{left} bytes are missing"));
        left = left
            .checked_sub(write.1.len())
            .expect("more came than was written");
        all.push(write);
    }
    all
}

#[test]
fn a_line_is_written_as_soon_as_nothing_more_comes() {
    for (n_files, delay) in [(1, 0), (2, 200)] {
        let dir = Dir::new();
        let names = ["app.log", "other.log"].map(|name| {
            dir.write(name, "");
            dir.text(name)
        });
        let files = names[..n_files].iter().map(String::as_str);
        let args: Vec<&str> = ["-r", "-q"].into_iter().chain(files).collect();
        let (agent, writes) = watched(&dir, &args);
        agent.wait_listening();

        for _ in 0..5 {
            let begun = Instant::now();
            dir.append("app.log", "one line\n");
            let came = until(&writes, 9);

            assert_eq!(came.len(), 1);
            let late = came[0].0 - begun;
            assert!(
                late < Duration::from_millis(delay) + LATE,
                "{args:?}: {late:?}"
            );
        }
        agent.kill();
    }
}

#[test]
fn a_backlog_is_written_in_large_pieces_and_whole_lines() {
    let dir = Dir::new();
    let line = "x".repeat(99) + "\n";
    dir.write("app.log", line.repeat(1_500));
    let (agent, writes) = watched(&dir, &["-r", "-q", "-n", "all", &dir.text("app.log")]);

    let came = until(&writes, 150_000);

    assert!(came.len() <= 4, "{} writes of 150 kB", came.len());
    assert!(came.iter().all(|(_, bytes)| bytes.ends_with(b"\n")));
    drop(agent);
}

#[test]
fn lines_that_come_one_by_one_are_neither_kept_nor_written_one_by_one() {
    const N_LINES: usize = 20_000;
    let dir = Dir::new();
    dir.write("app.log", "");
    // All of them: the first may be there before the first look.
    let (_agent, writes) = watched(&dir, &["-r", "-q", "-n", "all", &dir.text("app.log")]);
    let mut log = std::fs::OpenOptions::new()
        .append(true)
        .open(dir.path("app.log"))
        .expect("opens the log");

    // Each line by a write of its own, as fast as that goes, and when it was there.
    let due: Vec<Instant> = (0..N_LINES)
        .map(|number| {
            writeln!(log, "{number:05}").expect("writes the log");
            Instant::now()
        })
        .collect();
    let came = until(&writes, 6 * N_LINES);

    let mut number = 0;
    for (at, bytes) in &came {
        for line in bytes.lines() {
            assert_eq!(line.expect("text"), format!("{number:05}"));
            let late = at.saturating_duration_since(due[number]);
            assert!(late < LATE, "line {number} after {late:?}");
            number += 1;
        }
    }
    // Where each needs a hundred microseconds and more, most of them are alone between two reads.
    let took = due[N_LINES - 1] - due[0];
    let most = 20 + usize::try_from(took.as_millis()).expect("small");
    assert!(came.len() <= most, "{} writes in {took:?}", came.len());
}

#[test]
fn line_buffered_is_a_write_for_each_line() {
    let dir = Dir::new();
    dir.write("app.log", "one\ntwo\nthree\n");
    let args = [
        "-r",
        "-q",
        "--line-buffered",
        "-n",
        "all",
        &dir.text("app.log"),
    ];
    let (agent, writes) = watched(&dir, &args);

    let came = until(&writes, 14);

    let came: Vec<&[u8]> = came.iter().map(|(_, bytes)| &bytes[..]).collect();
    assert_eq!(came, [&b"one\n"[..], b"two\n", b"three\n"]);
    drop(agent);
}

#[test]
fn what_waits_for_others_is_written_at_the_end() {
    let dir = Dir::new();
    dir.write("app.log", "");
    dir.write("other.log", "");
    let args = [
        "-r",
        "--order",
        "10s",
        &dir.text("app.log"),
        &dir.text("other.log"),
    ];
    let (agent, writes) = watched(&dir, &args);
    agent.wait_listening();
    dir.append("app.log", "it waits\n");
    agent.wait_idle();

    agent.signal(rustix::process::Signal::INT);
    let came = until(&writes, 9);
    let ended = agent.wait();

    assert_eq!(came[0].1, b"it waits\n");
    ended.failed(130, &["= 2 sources, 1 line,"]);
}

/// Starts `tail` of a flood and a quiet file; returns how late each quiet line was.
fn beside_a_flood(order: &str) -> Vec<Duration> {
    let dir = Dir::new();
    dir.write("quiet.log", "");
    // As fast as anybody reads.
    let script = format!(
        "mkfifo '{0}/flood'; yes 'a line of the flood that is as long as a line mostly is' >'{0}/flood' & \
         trap \"kill $!\" EXIT; \"$@\"",
        dir.path("").display()
    );
    let (flood, quiet) = (dir.text("flood"), dir.text("quiet.log"));
    let args = ["tail", "-r", "-q", "--order", order, &flood, &quiet];
    let mut agent = Logweir::shell(&dir, &script, args)
        .stdout(Stdio::piped())
        .start();
    let pipe = agent.pipe();
    let (sender, seen) = sync_channel(1 << 10);
    std::thread::spawn(move || {
        for line in BufReader::with_capacity(1 << 20, pipe).split(b'\n') {
            let Ok(line) = line else { return };
            if line.starts_with(b"quiet") && sender.send(Instant::now()).is_err() {
                return;
            }
        }
    });
    // Written again until it is there: which file is taken up when is not what this is about.
    let first = (0..200).find_map(|_| {
        dir.append("quiet.log", "quiet\n");
        seen.recv_timeout(Duration::from_millis(50)).ok()
    });
    assert!(first.is_some(), "nothing of the quiet file came at all");
    pass(LATE);
    while seen.try_recv().is_ok() {}

    let late = (0..20).map(|_| {
        let begun = Instant::now();
        dir.append("quiet.log", "quiet\n");
        let came = seen.recv_timeout(PATIENCE).expect("the quiet line");
        came - begun
    });
    let late = late.collect();
    agent.signal(rustix::process::Signal::TERM);
    late
}

#[test]
fn a_flood_does_not_starve_a_quiet_file() {
    let mut late = beside_a_flood("off");

    late.sort();
    assert!(late[late.len() / 2] < LATE, "{late:?}");
    assert!(late[late.len() - 1] < 4 * LATE, "{late:?}");
}

#[test]
fn a_flood_does_not_starve_a_quiet_file_that_is_merged_with_it() {
    let mut late = beside_a_flood("200ms");

    late.sort();
    assert!(late[late.len() / 2] < 2 * LATE, "{late:?}");
    assert!(late[late.len() - 1] < 4 * LATE, "{late:?}");
}
