//! Network sources and stdin in a pipeline: Ctrl-C, `<(command)` and `| head`.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::server::Server;
use crate::support::{Dir, Logweir, PATIENCE, pass};

#[test]
fn ctrl_c_ends_it_although_stdin_stays_open() {
    let dir = Dir::new();
    let (reader, mut writer) = std::io::pipe().expect("makes a pipe");
    let tail = Logweir::tail(&dir, ["-r", "-"]).stdin(reader);
    let agent = tail.start();
    std::io::Write::write_all(&mut writer, b"one\n").expect("writes into a pipe");
    agent.wait_printed(b"one\n");

    let start = Instant::now();
    agent.signal(Signal::INT);
    let ended = agent.wait_for(PATIENCE);

    ended.failed(130, &["= 1 source, 1 line,"]);
    assert!(
        start.elapsed() < Duration::from_millis(1500),
        "{:?}",
        start.elapsed()
    );
    drop(writer);
}

#[test]
fn the_end_of_stdin_ends_it_well() {
    let dir = Dir::new();
    let script = r#"printf 'one\ntwo' | "$@""#;

    let ended = Logweir::shell(&dir, script, ["tail", "-r", "-"]).ended();

    assert_eq!(ended.good(), b"one\ntwo\n");
}

#[test]
fn a_process_substitution_is_read_to_its_end() {
    let dir = Dir::new();
    let script = r#"exec bash -c '"$0" tail -r <(echo hi)' "$1""#;

    let ended = Logweir::shell::<&str>(&dir, script, []).ended();

    assert_eq!(ended.good(), b"hi\n");
}

#[test]
fn head_of_a_quiet_stream_ends_at_once() {
    let dir = Dir::new();
    let server = Server::stream(|socket| {
        std::io::Write::write_all(socket, b"one\ntwo\n")?;
        pass(3 * PATIENCE);
        Ok(())
    });
    let url = server.url("feed=http", "/");
    let script = r#"{ "$@"; echo "code $?" >&2; } | head -n 1"#;

    let start = Instant::now();
    let shell = Logweir::shell(&dir, script, ["tail", "-q", "-r", &url]);
    let ended = shell.ended();

    assert_eq!(ended.stdout, b"one\n");
    assert_eq!(ended.stderr, "code 0\n");
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_reader_that_goes_ends_a_websocket_without_messages() {
    let dir = Dir::new();
    let server = Server::start(|socket| {
        let socket = tokio_tungstenite::tungstenite::accept(socket);
        let mut socket = socket.expect("a handshake");
        socket.send("one".into()).expect("sends a message");
        // Until the other side goes.
        let _ = socket.read();
    });
    let url = server.url("feed=ws", "/");
    let tail = Logweir::tail(&dir, ["-r", &url]);
    let mut agent = tail.stdout(Stdio::piped()).start();
    let mut pipe = agent.pipe();
    let mut line = [0; 4];
    std::io::Read::read_exact(&mut pipe, &mut line).expect("reads a pipe");
    drop(pipe);

    let start = Instant::now();
    let ended = agent.wait_for(PATIENCE);

    assert_eq!((&line, ended.code), (b"one\n", 0), "{}", ended.stderr);
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
}
