//! Servers that mean no good: memory stays bounded, what happened is said, and others are not harmed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::records;
use super::server::Server;
use crate::support::{Dir, Logweir, PATIENCE, pass, within};

/// TARGETS: at most 32 MB resident whatever the peers do, of which 8 are the release program's.
const PEAK_KIB_MAX: u64 = 24 << 10;
const LINES: usize = 500;

/// Writes until the reader has gone.
fn for_ever(socket: &mut TcpStream, bytes: &[u8]) {
    while socket.write_all(bytes).is_ok() {}
}

/// Answers with a head, and then does something.
fn answering(head: &'static str, then: impl Fn(&mut TcpStream) + Clone + Send + 'static) -> Server {
    Server::start(move |mut socket| {
        // An `Err` is a reader that has gone.
        let _ = socket.read(&mut [0; 4096]);
        let _ = socket.write_all(head.as_bytes());
        then(&mut socket);
    })
}

/// 64 MiB of one line in a thousandth of it.
fn bomb() -> Server {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..64 {
        encoder.write_all(&[b'x'; 1 << 20]).expect("compresses");
    }
    let packed = encoder.finish().expect("compresses");
    answering(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n",
        move |socket| drop(socket.write_all(&packed)),
    )
}

/// A message that claims to be 1 GiB long.
fn frame() -> Server {
    Server::start(|socket| {
        let socket = tokio_tungstenite::tungstenite::accept(socket);
        let mut socket = socket.expect("a handshake");
        let head = [&[0x81, 127][..], &(1_u64 << 30).to_be_bytes()].concat();
        let _ = socket.get_mut().write_all(&head);
        for_ever(socket.get_mut(), &[b'x'; 4096]);
    })
}

/// Numbered lines, now and then one.
fn good() -> Server {
    Server::stream(|socket| {
        for number in 0..LINES {
            writeln!(socket, "{{\"number\":{number}}}")?;
            pass(Duration::from_millis(4));
        }
        socket.read(&mut [0]).map(drop)
    })
}

/// All of them, each named by what it does, as keys and values.
fn sources() -> [(&'static str, String); 9] {
    const OK: &str = "HTTP/1.1 200 OK\r\n";
    const CIRCLE: &str = "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\
                          Connection: close\r\n\r\n";
    let headers = answering(OK, |socket| for_ever(socket, b"X-Flood: yes\r\n"));
    let header = answering("HTTP/1.1 200 OK\r\nX-Flood: ", |socket| {
        for_ever(socket, &[b'x'; 4096]);
    });
    let circle = answering(CIRCLE, |_| {});
    let endless = answering("HTTP/1.1 200 OK\r\n\r\n", |socket| {
        let block = [b'x'; 64 << 10];
        (0..1024).for_each(|_| drop(socket.write_all(&block)));
    });
    let page = answering("HTTP/1.1 200 OK\r\n\r\n[", |socket| {
        for_ever(
            socket,
            b"1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,",
        );
    });
    [
        ("headers", headers.url("http", "/")),
        ("header", header.url("http", "/")),
        ("circle", circle.url("http", "/")),
        ("endless", endless.url("http", "/")),
        ("bomb", bomb().url("http", "/")),
        ("frame", frame().url("ws", "/")),
        ("good", good().url("http", "/")),
        ("page.url", page.url("poll+http", "/")),
        ("page.max_body", "1MiB".to_owned()),
    ]
}

#[test]
fn hostile_servers_cost_no_memory_are_said_and_harm_no_other() {
    let dir = Dir::new();
    let sources = sources().map(|(name, url)| format!("{name} = \"{url}\"\n"));
    let sink = "[sink.out]\npath = \"{dir}/out.log\"\n";
    let config = dir.config(&format!("[source]\n{}{sink}", sources.concat()));

    let agent = Logweir::run(&dir, &config).start();
    let numbers = || -> Vec<u64> {
        let records = records(&dir.read("out.log"));
        records
            .iter()
            .filter_map(|it| it["number"].as_u64())
            .collect()
    };
    within("the good lines", 2 * PATIENCE, || {
        (numbers().len() >= LINES).then_some(())
    });
    let is_cut = |name: &str| {
        let records = records(&dir.read("out.log"));
        let mut own = records.iter().filter(|it| it["_source"] == name);
        own.any(|it| it["_truncated"] == true)
    };
    within("lines that were cut", 3 * PATIENCE, || {
        (is_cut("endless") && is_cut("bomb")).then_some(())
    });
    agent.wait_said(&[
        "headers: no answer",
        "header: no answer",
        "more than 5 redirects",
        "longer than max_body",
        "(max_message)",
    ]);
    let peak_kib = agent.peak_kib();
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let expected: Vec<u64> = (0..LINES as u64).collect();
    assert_eq!(numbers(), expected);
    eprintln!("{peak_kib} KiB at most");
    assert!(peak_kib <= PEAK_KIB_MAX, "{peak_kib} KiB");
}
