//! Servers that want other credentials: said once, not tried again, and 77 where all of them do; and
//! the credentials of a command line, as servers see them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::server::Server;
use super::tls;
use crate::support::{Dir, Logweir};

/// The head of a request.
fn asked(socket: &TcpStream) -> String {
    let mut head = String::new();
    let mut reader = BufReader::new(socket);
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).expect("a request") > 0 {}
    head
}

fn answer(socket: &mut TcpStream, status: &str, body: &str) {
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    let length = match status {
        // A stream, which has no end of its own.
        "200 OK" => String::new(),
        _ => format!("Content-Length: {}\r\n", body.len()),
    };
    let text = format!("{head}{length}\r\n{body}");
    socket.write_all(text.as_bytes()).expect("answers");
}

/// Answers everything by `status`, and counts.
fn refusing(status: &'static str) -> (Server, Arc<AtomicUsize>) {
    let asked_for = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked_for);
    let server = Server::start(move |mut socket| {
        asked(&socket);
        count.fetch_add(1, Ordering::Relaxed);
        answer(&mut socket, status, "");
    });
    (server, asked_for)
}

/// What stands on stderr without the summary.
fn notes(stderr: &str) -> Vec<&str> {
    stderr
        .lines()
        .filter(|line| !line.starts_with("= "))
        .collect()
}

#[test]
fn who_is_denied_everywhere_is_told_so_at_once() {
    let dir = Dir::new();
    let (one, two) = (refusing("401 Unauthorized").0, refusing("403 Forbidden").0);
    let (missing, _) = refusing("404 Not Found");

    let denied = Logweir::tail(&dir, [one.url("one=http", "/"), two.url("two=http", "/")]).ended();
    let other = Dir::new();
    let missing = Logweir::tail(&other, [missing.url("web=http", "/")]).ended();

    denied.failed(
        77,
        &[
            "error: one 401 Unauthorized: not retrying (no credentials were sent)\n",
            "error: two 403 Forbidden: not retrying (no credentials were sent)\n",
        ],
    );
    missing.failed(69, &["web: HTTP 404 Not Found"]);
}

// Scenario: one of several sources is answered 401. Bug: it was tried every 30 seconds for ever, with
// credentials that cannot change while the command runs. Fix: in `tail` it ends, and says so.
#[test]
fn a_denied_source_is_not_tried_again_and_ends() {
    for (args, code) in [(&["-r"][..], 0), (&["-r", "--strict"], 1)] {
        let dir = Dir::new();
        let (server, asked_for) = refusing("401 Unauthorized");
        let sources = [server.url("web=http", "/"), "-".to_owned()];
        let args = args.iter().map(|it| (*it).to_owned()).chain(sources);
        dir.write("in", "one\n");
        let stdin = std::fs::File::open(dir.path("in")).expect("opens a test file");

        let ended = Logweir::tail(&dir, args).stdin(stdin).ended();

        assert_eq!((ended.code, &ended.stdout[..]), (code, &b"one\n"[..]));
        let said = "! web 401 Unauthorized: not retrying (no credentials were sent)";
        assert_eq!(notes(&ended.stderr), [said]);
        assert_eq!(asked_for.load(Ordering::Relaxed), 1);
    }
}

#[test]
fn a_source_that_is_denied_later_ends_too() {
    let dir = Dir::new();
    let n_asked = Arc::new(AtomicUsize::new(0));
    let server = Server::start(move |mut socket| {
        asked(&socket);
        match n_asked.fetch_add(1, Ordering::Relaxed) {
            0 => answer(&mut socket, "200 OK", "one\n"),
            _ => answer(&mut socket, "403 Forbidden", ""),
        }
    });

    let ended = Logweir::tail(&dir, ["-r".to_owned(), server.url("web=http", "/")]).ended();

    assert_eq!((ended.code, &ended.stdout[..]), (0, &b"one\n"[..]));
    let said = notes(&ended.stderr);
    let [connected, cut, denied] = said[..] else {
        panic!("{said:?}");
    };
    assert_eq!(connected, "+ web connected (lines)");
    assert!(cut.starts_with("~ web "), "{cut}");
    assert_eq!(
        denied,
        "! web 403 Forbidden: not retrying (no credentials were sent)"
    );
}

#[test]
fn who_is_denied_is_told_where_its_credentials_come_from() {
    let dir = Dir::new();
    let (server, _) = refusing("401 Unauthorized");
    let url = server.url("web=http", "/");
    dir.write("token", "t0ken\n");
    dir.write("netrc", "default login me password s3cret\n");
    let config = |bearer: &str| {
        let url = url.trim_start_matches("web=");
        format!("sink.out = 'stdout'\n[source.web]\nurl = '{url}'\n{bearer}\n")
    };
    let env = dir.write("env.toml", config("bearer = '${env:TOKEN:-s3cret}'"));
    let file = config(&format!(
        "headers.X-Api-Key = '${{file:{}}}'",
        dir.text("token")
    ));
    let file = dir.write("file.toml", file);
    let (env, file) = (env.display().to_string(), file.display().to_string());
    let token = dir.text("token");
    let at_token = format!("@{token}");
    let with_user = url.replace("://", "://me:s3cret@");
    let cases: [(&[&str], String); 7] = [
        (
            &["-c", &env],
            "token from ${env:TOKEN}; is it set?".to_owned(),
        ),
        (
            &["-c", &file],
            format!("header X-Api-Key from ${{file:{token}}}; is it right?"),
        ),
        (
            &["--bearer", &at_token, &url],
            format!("token from {token}; is it right?"),
        ),
        (
            &["-H", "Authorization: s3cret", &url],
            "header Authorization from -H; is it right?".to_owned(),
        ),
        (
            &["--netrc", &url],
            "password from --netrc; is it right?".to_owned(),
        ),
        (
            &[&with_user],
            "are user and password of its URL right?".to_owned(),
        ),
        (
            &["-H", "X-Tenant: a", &url],
            "no credentials were sent".to_owned(),
        ),
    ];

    for (args, hint) in cases {
        let own = Dir::new();
        // Without advice about the command line.
        let ended = Logweir::tail(&own, [&["-q"], args].concat())
            .env("NETRC", &dir.text("netrc"))
            .env("TOKEN", "")
            .ended();

        let expected = format!("error: web 401 Unauthorized: not retrying ({hint})\n");
        assert_eq!((ended.code, ended.stderr), (77, expected));
    }
}

/// Streams the value of `Authorization` as a line.
fn echo() -> Server {
    Server::start(|mut socket| {
        let head = asked(&socket);
        let value = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("authorization")
                .then(|| value.to_owned())
        });
        let value = value.unwrap_or_else(|| "nothing".to_owned());
        answer(&mut socket, "200 OK", &format!("{value}\n"));
        // Whoever asked goes when it has its line.
        let _ = socket.read(&mut [0]);
    })
}

#[test]
fn credentials_of_the_command_line_reach_the_server() {
    let dir = Dir::new();
    let url = echo().url("web=http", "/");
    let netrc = dir.write(
        "netrc",
        "machine other login x password y\nmachine 127.0.0.1\n login me password s3cret\n",
    );
    dir.write("token", "t0ken\n");
    let token = format!("@{}", dir.text("token"));
    let netrc = netrc.to_str().expect("a path");
    let run = |args: &[&str], variables: &[(&str, &str)]| {
        let args = [&["-r", "-q", "--limit", "1", &url], args].concat();
        let dir = Dir::new();
        let tail = Logweir::tail(&dir, args);
        let tail = variables
            .iter()
            .fold(tail, |tail, (name, value)| tail.env(name, value));
        String::from_utf8(tail.ended().good()).expect("text")
    };

    assert_eq!(run(&[], &[]), "nothing\n");
    assert_eq!(
        run(&["--netrc"], &[("NETRC", netrc)]),
        "Basic bWU6czNjcmV0\n"
    );
    assert_eq!(run(&["--bearer", &token], &[]), "Bearer t0ken\n");
    assert_eq!(run(&[], &[("LOGWEIR_BEARER", "env")]), "Bearer env\n");
    assert_eq!(run(&["-H", "web=Authorization: Own x"], &[]), "Own x\n");
}

#[test]
fn a_certificate_of_nobody_is_read_with_k_only() {
    let dir = Dir::new();
    let (server, _) = tls::server(&dir, |mut tls| {
        if tls::read_request(&mut tls).is_some() {
            // An `Err` is a reader that has gone.
            let _ = tls.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nover https\n");
            let _ = tls.flush();
            let _ = tls.read(&mut [0]);
        }
    });
    let url = server.url("a=https", "/");

    let trusting = Logweir::tail(&dir, ["-r", "-q", "-k", "--limit", "1", &url]).ended();
    let careful = Logweir::tail(&Dir::new(), ["-r", "--limit", "1", &url]).ended();

    assert_eq!(trusting.good(), b"over https\n");
    careful.failed(69, &["a", "certificate"]);
}
