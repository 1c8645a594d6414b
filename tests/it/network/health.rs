//! Services that are well, refuse, hang, are ill, or show certificates that will not do.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, date_time_ymd};
use rustix::process::Signal;
use serde_json::Value;

use super::records;
use super::server::Server;
use super::tls;
use crate::support::{Agent, Dir, Logweir, PATIENCE, ReservedPort, pass, within};

const DAY: u64 = 86_400;

/// Answers every question with this.
fn answering(head: &'static str, body: &'static str) -> Server {
    Server::stream_of(head, move |socket| socket.write_all(body.as_bytes()))
}

/// The health source of these URLs, each asked once, into `out.log`.
fn checked(dir: &Dir, urls: &[String], keys: &str) -> Agent {
    let config = dir.config(&format!(
        r#"
        [source.services]
        type = "health"
        urls = {urls:?}
        interval = "1h"
        {keys}

        [sink]
        archive = "{{dir}}/out.log"
        "#
    ));
    Logweir::run(dir, &config).start()
}

/// What was found of each, by its URL, once all are there.
#[track_caller]
fn found(dir: &Dir, n: usize) -> BTreeMap<String, Value> {
    within("a line of each service", PATIENCE, || {
        let all = records(&dir.read("out.log"));
        (all.len() == n).then_some(all)
    })
    .into_iter()
    .map(|it| (it["url"].as_str().expect("a URL").to_owned(), it))
    .collect()
}

#[test]
fn a_signal_says_in_the_log_how_each_service_is() {
    let dir = Dir::new();
    let refused = ReservedPort::new();
    let hanging = Server::start(|_socket| pass(3 * PATIENCE));
    let good = answering("200 OK", "all is up");
    let (ill, odd) = (
        answering("503 Service Unavailable", "up"),
        answering("200 OK", "down"),
    );
    let urls = [
        good.url("http", "/health?key=s3cret"),
        refused.url("/health"),
        hanging.url("http", "/"),
        ill.url("http", "/"),
        odd.url("http", "/"),
    ];
    let keys = "body_match = \"up\"\ntimeout = \"2s\"";
    let agent = checked(&dir, &urls, keys);
    found(&dir, urls.len());

    agent.signal(Signal::USR2);
    // Sinks come last.
    agent.wait_said(&["sink=\"archive\" lines=5"]);
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let target = |url: &str| {
        let url = url.split('?').next().unwrap_or(url);
        let name = url.trim_start_matches("http://");
        let line = ended
            .stderr
            .lines()
            .find(|it| it.contains(&format!("target={name:?} ")));
        let line = line.unwrap_or_else(|| panic!("nothing of {name} in {}", ended.stderr));
        let counts = line.find("checks=").map_or("", |at| &line[at..]);
        (line.contains("up=true"), counts.to_owned())
    };
    let counts = |kind: &str| {
        let of = |it: &str| u8::from(it == kind);
        format!(
            "checks=1 failures={} unreachable={} late={} status={} body={}",
            u8::from(!kind.is_empty()),
            of("unreachable"),
            of("late"),
            of("status"),
            of("body")
        )
    };
    let kinds = ["", "unreachable", "late", "status", "body"];
    for (url, kind) in urls.iter().zip(kinds) {
        assert_eq!(target(url), (kind.is_empty(), counts(kind)), "{url}");
    }
    assert!(
        ended.stderr.contains("source=\"services\" lines=5 "),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
}

/// A certificate for `name` that is over so many seconds from now.
fn certificate(name: &str, seconds: i64) -> CertificateParams {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let end = now
        .expect("after 1970")
        .as_secs()
        .checked_add_signed(seconds);
    let end = Duration::from_secs(end.expect("after 1970"));
    let mut params = CertificateParams::new([name.to_owned()]).expect("makes parameters");
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(1970, 1, 1) + end;
    params
}

/// A service over TLS that is well, and where its CA's certificate is.
fn encrypted(dir: &Dir, params: &CertificateParams) -> (String, String) {
    let (server, ca) = tls::server_with(dir, params, |mut tls| {
        while tls::read_request(&mut tls).is_some() {
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            // An `Err` is a client that has gone.
            let _ = tls.write_all(answer.as_bytes()).and_then(|()| tls.flush());
        }
    });
    let ca = std::fs::read_to_string(ca).expect("reads a test file");
    (server.url("https", "/health"), ca)
}

#[test]
fn days_until_a_certificate_expires_are_exact_and_a_bad_one_is_told() {
    let dir = Dir::new();
    let half = i64::try_from(DAY / 2).expect("it is small");
    let day = 2 * half;
    let (own, other) = ("127.0.0.1", "other.internal");
    let (long, ca_1) = encrypted(&dir, &certificate(own, 30 * day + half));
    let (short, ca_2) = encrypted(&dir, &certificate(own, half));
    let (expired, ca_3) = encrypted(&dir, &certificate(own, -half));
    let (misnamed, ca_4) = encrypted(&dir, &certificate(other, day));
    let (unknown, _) = encrypted(&dir, &certificate(own, day));
    dir.write("ca.pem", [ca_1, ca_2, ca_3, ca_4].concat());
    let urls = [&long, &short, &expired, &misnamed, &unknown].map(String::clone);
    let keys = format!("tls = {{ ca = {:?} }}", dir.text("ca.pem"));

    let agent = checked(&dir, &urls, &keys);
    let found = found(&dir, urls.len());
    agent.stop();

    let well = |url: &str| {
        let line = &found[url];
        (line["healthy"].as_bool(), line["tls_days"].as_i64())
    };
    assert_eq!(well(&long), (Some(true), Some(30)), "{}", found[&long]);
    assert_eq!(well(&short), (Some(true), Some(0)), "{}", found[&short]);
    for (url, words) in [
        (&expired, ["certificate", "expired"]),
        (&misnamed, ["not valid for name", "other.internal"]),
        (&unknown, ["certificate", "UnknownIssuer"]),
    ] {
        assert_eq!(well(url), (Some(false), None), "{}", found[url]);
        let error = found[url]["error"].as_str().expect("an error");
        assert!(words.iter().all(|it| error.contains(it)), "{error}");
    }
}

#[test]
fn days_of_an_expired_certificate_are_negative_where_it_is_not_checked() {
    let dir = Dir::new();
    let ago = -i64::try_from(DAY + DAY / 2).expect("it is small");
    let (url, _) = encrypted(&dir, &certificate("127.0.0.1", ago));

    let agent = checked(&dir, std::slice::from_ref(&url), "tls = { verify = false }");
    let found = found(&dir, 1);
    agent.stop();

    let line = &found[&url];
    assert_eq!(
        (line["healthy"].as_bool(), line["tls_days"].as_i64()),
        (Some(true), Some(-2)),
        "{line}"
    );
}
