//! `check --connect`: one line about each place, and an exit code for scripts.

use super::formats::CASES;
use crate::support::{Answer, Collector, Dir, Ended, Logweir, Request, ReservedPort, Settings};

fn check(dir: &Dir, toml: &str) -> Ended {
    let config = dir.config(toml);
    let config = config.to_str().expect("temporary paths are UTF-8");
    Logweir::new(dir, ["check", "--connect", "-c", config]).ended()
}

/// The line about `subject`.
#[track_caller]
fn line<'a>(ended: &'a Ended, subject: &str) -> &'a str {
    let mut lines = ended.stderr.lines();
    let found = lines.find(|line| {
        let is_finding = line.starts_with("ok: ") || line.starts_with("bad: ");
        is_finding && line.contains(subject)
    });
    found.unwrap_or_else(|| panic!("nothing about {subject} in:\n{}", ended.stderr))
}

#[test]
fn everything_is_reached_and_said_in_one_line_each() {
    let dir = Dir::new();
    let collector = Collector::willing();
    let refusing = Collector::start(Settings::default(), |_: &Request| Answer::refuse(401));
    let nobody = ReservedPort::new();
    dir.write("app.log", "");

    let ended = check(
        &dir,
        &format!(
            r#"
            [source]
            app = "{{dir}}/app.log"
            none = "{{dir}}/none.log"
            feed = "{}"
            refused = "{}"
            [sink]
            good = "{}"
            away = "{}"
            file = "{{dir}}/out/all.log"
            [sink.elastic]
            url = "{}"
            format = "elasticsearch"
            index = "logs"
            bearer = "hunter2"
            "#,
            collector.url("/feed"),
            refusing.url("/feed").replace("http:", "ws:"),
            collector.url("/in?key=hunter3"),
            nobody.url("/"),
            refusing.url("/"),
        ),
    );

    assert_eq!(ended.code, 69, "{}", ended.stderr);
    for (subject, words) in [
        ("source `app`", "ok: .*readable"),
        ("source `none`", "ok: .*not there yet"),
        ("source `feed`", "ok: .*reached: GET is answered by 200"),
        (
            "source `refused`",
            "bad: .*401 Unauthorized (is the token right",
        ),
        ("sink `good`", "ok: .*/in: reached: HEAD is answered by 200"),
        (
            "sink `away`",
            "bad: .*: cannot connect to 127.0.0.1:.*: Connection refused",
        ),
        ("sink `file`", "ok: .*writable"),
        ("sink `elastic`", "bad: .*GET is answered by HTTP 401"),
        ("state: ", "ok: .*writable"),
    ] {
        let line = line(&ended, subject);
        let mut rest = line;
        for word in words.split(".*") {
            let at = rest
                .find(word)
                .unwrap_or_else(|| panic!("{word:?} in {line}"));
            rest = &rest[at + word.len()..];
        }
    }
    assert!(
        ended.stderr.ends_with("3 cannot be used\n"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("hunter"), "{}", ended.stderr);
}

#[test]
fn a_collector_of_every_format_is_asked_without_being_given_a_line() {
    for case in CASES {
        let collector = Collector::start(Settings::default(), |request: &Request| {
            // What Splunk, Loki and Datadog say to nothing.
            let is_empty = request.body.len() < 20 && request.method == "POST";
            Answer::refuse(if is_empty { 400 } else { 200 })
        });
        let dir = Dir::new();
        let toml = |url: &str| {
            format!(
                "[source]\nin = \"{{dir}}/in.log\"\n[sink.out]\nurl = \"{url}\"\n{}",
                case.keys
            )
        };
        let good = check(&dir, &toml(&collector.url(case.path)));
        let dir = Dir::new();
        collector.script(|_: &Request| Answer::refuse(403).body("not you"));
        let bad = check(&dir, &toml(&collector.url(case.path)));

        let is_good = case.name != "otlp";
        assert_eq!(
            good.code,
            if is_good { 0 } else { 69 },
            "{case:?}: {}",
            good.stderr
        );
        assert_eq!(bad.code, 69, "{case:?}: {}", bad.stderr);
        let said = line(&bad, "bad: sink `out`");
        assert!(said.contains("403"), "{said}");
        for outcome in collector.outcomes() {
            let body = outcome.request.body;
            let is_nothing =
                body.is_empty() || serde_json::from_slice::<serde_json::Value>(&body).is_ok();
            assert!(is_nothing, "{case:?}: {body:?}");
        }
    }
}
