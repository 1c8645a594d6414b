//! What a request looks like on the wire.

use super::Trial;
use crate::support::{Answer, Collector, PATIENCE, Request, Settings};

/// The first request that a sink with `keys` sends to `target`.
#[track_caller]
fn first_request(target: &str, keys: &str) -> Request {
    let collector = Collector::willing();
    let _trial = Trial::start(&collector.url(target), keys);
    collector.wait_requests(1, PATIENCE)[0].request.clone()
}

#[test]
fn lines_are_posted_as_ndjson_to_the_url_as_written() {
    let request = first_request("/in/gest?a=%20b&c", "");

    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("POST", "/in/gest?a=%20b&c")
    );
    assert_eq!(request.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(request.header("content-encoding"), None);
    assert_eq!(request.body.last(), Some(&b'\n'));
    assert!(!request.key().is_empty(), "{:?}", request.headers);
}

#[test]
fn records_carry_host_file_and_offset() {
    let collector = Collector::willing();
    let trial = Trial::start_with("one\ntwo\n", &collector.url("/"), "");

    let request = collector.wait_requests(1, PATIENCE)[0].request.clone();

    let last = request
        .body
        .trim_ascii_end()
        .rsplit(|&byte| byte == b'\n')
        .next()
        .unwrap();
    let record: serde_json::Value = serde_json::from_slice(last).unwrap();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(record["_source"], "app");
    assert_eq!(record["_msg"], "two");
    assert_eq!(record["_file"], trial.dir.text("app.log"));
    assert_eq!(record["_offset"], 4);
    assert_eq!(record["_host"], host.trim_end());
}

#[test]
fn raw_is_the_bytes_themselves() {
    let collector = Collector::start(Settings::raw(), |_: &Request| Answer::ok());

    let trial = Trial::start(&collector.url("/"), "format = \"raw\"");
    collector.wait_lines(trial.plan.writer, trial.plan.n_lines, PATIENCE);

    assert_eq!(
        String::from_utf8(collector.stored_bytes()).unwrap(),
        trial.plan.text()
    );
}

#[test]
fn gzip_is_smaller_and_says_so() {
    let collector = Collector::willing();
    let trial = Trial::start(&collector.url("/"), "compression = \"gzip\"");

    let request = collector.wait_requests(1, PATIENCE)[0].request.clone();
    trial.finish_exact(&collector);

    assert_eq!(request.header("content-encoding"), Some("gzip"));
    assert!(
        request.wire_bytes < request.body.len() / 2,
        "{} bytes",
        request.wire_bytes
    );
}

#[test]
fn configured_headers_are_sent() {
    let request = first_request("/", r#"headers = { X-Scope = "tenant 1", X-Other = "2" }"#);

    assert_eq!(request.header("x-scope"), Some("tenant 1"));
    assert_eq!(request.header("x-other"), Some("2"));
    assert_eq!(request.header("authorization"), None);
}

#[test]
fn a_bearer_token_is_sent() {
    let request = first_request("/", "bearer = \"hunter2\"");

    assert_eq!(request.header("authorization"), Some("Bearer hunter2"));
}

#[test]
fn basic_credentials_are_sent() {
    let request = first_request("/", r#"basic = { user = "user", password = "pass:word" }"#);

    // printf 'user:pass:word' | base64
    assert_eq!(
        request.header("authorization"),
        Some("Basic dXNlcjpwYXNzOndvcmQ=")
    );
}

#[test]
fn credentials_are_never_said() {
    let collector = Collector::start(Settings::default(), |_: &Request| Answer::refuse(401));
    let url = collector
        .url("/?token=hunter3")
        .replace("http://", "http://me:hunter4@");
    let trial = Trial::start(&url, r#"headers = { X-Key = "hunter5" }"#);

    trial.agent.wait_said(&["401"]);
    let ended = trial.agent.stop();

    assert!(!ended.stderr.contains("hunter"), "{}", ended.stderr);
}

#[test]
fn an_empty_file_sends_nothing() {
    let collector = Collector::willing();
    let trial = Trial::start_with("", &collector.url("/"), "");

    trial.dir.append("app.log", "unterminated");
    trial.agent.wait_idle();
    trial.dir.append("app.log", "\n");
    let first = collector.wait_requests(1, PATIENCE)[0].request.clone();

    let body = String::from_utf8(first.body).unwrap();
    assert!(
        body.contains(r#""_msg":"unterminated""#) && body.lines().count() == 1,
        "{body}"
    );
}
