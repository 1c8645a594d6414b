//! Every format against every kind of answer, with the real binary.
//!
//! Bodies are told apart by marks (`line-0042`), which stand in all of them as they are, protobuf
//! included.

use serde_json::json;

use super::Trial;
use super::refusals::dead_letters;
use crate::support::{Answer, Collector, PATIENCE, Request, Settings, within};

/// A format under test.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    /// What the sink's table holds beside the URL.
    pub(super) keys: &'static str,
    pub(super) path: &'static str,
    /// What the request is sent to.
    target: &'static str,
    content_type: &'static str,
}

pub(super) const CASES: [Case; 11] = [
    Case {
        name: "raw",
        keys: "format = \"raw\"",
        path: "/",
        target: "/",
        content_type: "text/plain",
    },
    Case {
        name: "json",
        keys: "",
        path: "/in?a=b",
        target: "/in?a=b",
        content_type: "application/x-ndjson",
    },
    Case {
        name: "json_array",
        keys: "format = \"json_array\"",
        path: "/",
        target: "/",
        content_type: "application/json",
    },
    Case {
        name: "elasticsearch",
        keys: "format = \"elasticsearch\"\nindex = \"logs\"",
        path: "/es",
        target: "/es/_bulk?filter_path=errors,items.*.error,items.*.status",
        content_type: "application/x-ndjson",
    },
    Case {
        name: "loki",
        keys: "format = \"loki\"",
        path: "",
        target: "/loki/api/v1/push",
        content_type: "application/json",
    },
    Case {
        name: "otlp",
        keys: "format = \"otlp\"",
        path: "",
        target: "/v1/logs",
        content_type: "application/x-protobuf",
    },
    Case {
        name: "otlp",
        keys: "format = \"otlp\"\nencoding = \"json\"",
        path: "/otlp",
        target: "/otlp",
        content_type: "application/json",
    },
    Case {
        name: "splunk",
        keys: "format = \"splunk\"\ntoken = \"hunter2\"",
        path: "",
        target: "/services/collector/event",
        content_type: "application/json",
    },
    Case {
        name: "splunk",
        keys: "format = \"splunk\"\ntoken = \"hunter2\"\nindex = \"main\"",
        path: "/services/collector/raw",
        target: "/services/collector/raw?index=main",
        content_type: "text/plain",
    },
    Case {
        name: "datadog",
        keys: "format = \"datadog\"\ntoken = \"hunter2\"",
        path: "",
        target: "/api/v2/logs",
        content_type: "application/json",
    },
    Case {
        name: "kafka",
        keys: "format = \"kafka\"",
        path: "/topics/logs",
        target: "/topics/logs",
        content_type: "application/vnd.kafka.json.v2+json",
    },
];

impl Case {
    /// What a collector of this kind answers where it took everything.
    fn ok(&self, request: &Request) -> Answer {
        let offset = json!({"partition": 0, "offset": 1, "error_code": null, "error": null});
        let body = match self.name {
            "elasticsearch" => json!({"took": 1, "errors": false, "items": []}).to_string(),
            "splunk" => json!({"text": "Success", "code": 0}).to_string(),
            "kafka" => json!({"offsets": vec![offset; marks(request).len()]}).to_string(),
            "otlp" => String::new(),
            _ => "stored".to_owned(),
        };
        Answer::ok().body(&body)
    }

    fn is_otlp(&self) -> bool {
        self.name == "otlp"
    }
}

/// The marks in a body, in order.
fn marks(request: &Request) -> Vec<u32> {
    let body = &request.body;
    memchr::memmem::find_iter(body, b"line-")
        .filter_map(|at| {
            let digits = body.get(at + 5..at + 9)?;
            std::str::from_utf8(digits).ok()?.parse().ok()
        })
        .collect()
}

/// Lines with marks.
fn lines(n_lines: u32) -> String {
    (0..n_lines)
        .map(|number| format!("INFO line-{number:04} is here\n"))
        .collect()
}

/// The marks of all stored bodies, in order, once there are `n_lines`.
#[track_caller]
fn stored_marks(collector: &Collector, n_lines: usize) -> Vec<u32> {
    within("the lines at the collector", 2 * PATIENCE, || {
        let stored = collector.stored();
        let marks: Vec<u32> = stored.iter().flat_map(marks).collect();
        (marks.len() >= n_lines).then_some(marks)
    })
}

fn settings() -> Settings {
    // The oracle knows none of these formats.
    Settings {
        body: crate::support::Body::Opaque,
        ..Settings::default()
    }
}

#[test]
fn requests_are_what_each_collector_expects() {
    for case in CASES {
        let collector = Collector::start(settings(), move |request: &Request| case.ok(request));
        let trial = Trial::start_with(&lines(3), &collector.url(case.path), case.keys);

        assert_eq!(stored_marks(&collector, 3), [0, 1, 2], "{case:?}");
        assert_eq!(trial.agent.stop().code, 0);

        let request = &collector.stored()[0];
        assert_eq!(request.target, case.target, "{case:?}");
        assert_eq!(request.header("content-type"), Some(case.content_type));
        let agent = format!("logweir/{}", env!("CARGO_PKG_VERSION"));
        assert_eq!(request.header("user-agent"), Some(agent.as_str()));
        match case.name {
            "splunk" => assert_eq!(request.header("authorization"), Some("Splunk hunter2")),
            "datadog" => assert_eq!(request.header("dd-api-key"), Some("hunter2")),
            _ => assert_eq!(request.header("authorization"), None),
        }
        let is_kafka = case.name == "kafka";
        let accept = is_kafka.then_some("application/vnd.kafka.v2+json");
        assert_eq!(request.header("accept").filter(|it| *it != "*/*"), accept);
    }
}

#[test]
fn passing_trouble_and_mistakes_of_the_set_up_send_the_same_body_again() {
    for case in CASES {
        let mut statuses = vec![408, 429, 502, 503, 504, 401, 403, 404, 407];
        if !case.is_otlp() {
            statuses.extend([425, 500, 507]);
        }
        let n_refusals = statuses.len();
        let mut left = statuses.into_iter();
        let collector = Collector::start(settings(), move |request: &Request| {
            left.next().map_or_else(|| case.ok(request), Answer::refuse)
        });
        let keys = format!(
            "retry = {{ base = \"1ms\", max = \"10ms\" }}\n{}",
            case.keys
        );

        let trial = Trial::start_with(&lines(3), &collector.url(case.path), &keys);

        assert_eq!(stored_marks(&collector, 3), [0, 1, 2], "{case:?}");
        let dead = trial.dir.files_below("state/rejected");
        assert_eq!(trial.agent.stop().code, 0);
        let outcomes = collector.outcomes();
        assert_eq!(outcomes.len(), n_refusals + 1, "{case:?}");
        for outcome in &outcomes {
            assert_eq!(outcome.request.key(), outcomes[0].request.key(), "{case:?}");
            assert!(outcome.request.body == outcomes[0].request.body, "{case:?}");
        }
        assert!(dead.is_empty(), "{case:?}: {dead:?}");
    }
}

#[test]
fn what_is_too_large_is_halved_down_to_a_line() {
    for case in CASES {
        let collector = Collector::start(settings(), move |request: &Request| {
            if marks(request).len() > 1 {
                Answer::refuse(413)
            } else {
                case.ok(request)
            }
        });

        let trial = Trial::start_with(&lines(5), &collector.url(case.path), case.keys);

        assert_eq!(stored_marks(&collector, 5), [0, 1, 2, 3, 4], "{case:?}");
        assert_eq!(trial.agent.stop().code, 0);
        assert!(trial.dir.files_below("state/rejected").is_empty());
    }
}

/// Refuses bodies that hold the third line with `status`; returns the marks that were stored and the
/// number of dead letters, of which there must be `n_dead`.
#[track_caller]
fn poisoned(case: Case, status: u16, n_dead: usize) -> Vec<u32> {
    let collector = Collector::start(settings(), move |request: &Request| {
        if marks(request).contains(&2) {
            Answer::refuse(status).body("not this one")
        } else {
            case.ok(request)
        }
    });
    let trial = Trial::start_with(&lines(5), &collector.url(case.path), case.keys);

    let letters = dead_letters(&trial.dir.path("state/rejected/out.ndjson"), n_dead);
    let stored = stored_marks(&collector, 5 - n_dead);

    assert_eq!(trial.agent.stop().code, 0);
    assert_eq!(letters.len(), n_dead, "{case:?} {status}: {letters:?}");
    for letter in &letters {
        assert_eq!(letter["status"], status, "{case:?}: {letter}");
        let reason = letter["reason"].as_str().unwrap();
        assert!(reason.contains("not this one"), "{case:?}: {letter}");
    }
    if n_dead == 5 {
        assert_eq!(collector.n_requests(), 1, "{case:?}: never sent again");
    }
    stored
}

#[test]
fn a_refused_body_is_bisected_only_where_nothing_of_it_is_stored() {
    for case in CASES {
        for status in [400, 422] {
            let is_bisected = !["loki", "otlp", "splunk"].contains(&case.name);
            if is_bisected {
                assert_eq!(poisoned(case, status, 1), [0, 1, 3, 4], "{case:?} {status}");
            } else {
                assert!(poisoned(case, status, 5).is_empty(), "{case:?} {status}");
            }
        }
        if case.is_otlp() {
            // Of its 5xx only four may be retried.
            assert_eq!(poisoned(case, 500, 1), [0, 1, 3, 4], "{case:?}");
        }
    }
}

#[test]
fn any_other_refusal_sets_the_whole_body_aside() {
    for case in CASES {
        for status in [405, 410] {
            assert!(poisoned(case, status, 5).is_empty(), "{case:?} {status}");
        }
    }
    let loki = CASES.into_iter().find(|case| case.name == "loki").unwrap();
    assert!(poisoned(loki, 260, 5).is_empty());
}

#[test]
fn a_partial_success_of_otlp_is_set_aside_with_its_count_and_never_sent_again() {
    for case in CASES.into_iter().filter(Case::is_otlp) {
        let collector = Collector::start(settings(), |request: &Request| {
            if request.header("content-type") == Some("application/json") {
                let partial = json!({"rejectedLogRecords": "2", "errorMessage": "too old"});
                Answer::ok().body(&json!({ "partialSuccess": partial }).to_string())
            } else {
                Answer::ok().body("\u{a}\u{b}\u{8}\u{2}\u{12}\u{7}too old")
            }
        });
        let trial = Trial::start_with(&lines(5), &collector.url(case.path), case.keys);

        let letters = dead_letters(&trial.dir.path("state/rejected/out.ndjson"), 5);
        let ended = trial.agent.stop();

        assert_eq!(collector.n_requests(), 1, "{case:?}");
        assert!(
            letters[0]["reason"]
                .as_str()
                .unwrap()
                .contains("2 of 5 lines refused: too old")
        );
        assert!(ended.stderr.contains("rejected=2"), "{}", ended.stderr);
    }
}

#[test]
fn splunk_blames_one_event() {
    let case = CASES
        .into_iter()
        .find(|case| case.name == "splunk")
        .unwrap();
    let mut n_requests = 0;
    let collector = Collector::start(settings(), move |request: &Request| {
        n_requests += 1;
        if n_requests == 1 {
            let body = json!({"text": "Invalid data", "code": 6, "invalid-event-number": 1});
            Answer::refuse(400).body(&body.to_string())
        } else {
            case.ok(request)
        }
    });

    let trial = Trial::start_with(&lines(5), &collector.url(case.path), case.keys);

    let letters = dead_letters(&trial.dir.path("state/rejected/out.ndjson"), 2);
    assert_eq!(stored_marks(&collector, 3), [2, 3, 4]);
    assert_eq!(trial.agent.stop().code, 0);
    assert!(
        letters[0]["reason"]
            .as_str()
            .unwrap()
            .starts_with("perhaps stored")
    );
    assert_eq!(letters[1]["line"], "INFO line-0001 is here");
}

#[test]
fn kafka_records_are_retried_and_set_aside_one_by_one() {
    let case = CASES.into_iter().find(|case| case.name == "kafka").unwrap();
    let mut n_requests = 0;
    let collector = Collector::start(settings(), move |request: &Request| {
        n_requests += 1;
        if n_requests > 1 {
            return case.ok(request);
        }
        let offset = |code: Option<u32>| json!({"offset": 1, "error_code": code, "error": "why"});
        let codes = [None, Some(2), Some(1), None, Some(50_003)].map(offset);
        Answer::refuse(200).body(&json!({ "offsets": codes }).to_string())
    });

    let trial = Trial::start_with(&lines(5), &collector.url(case.path), case.keys);

    let letters = dead_letters(&trial.dir.path("state/rejected/out.ndjson"), 1);
    assert_eq!(stored_marks(&collector, 2), [1, 4]);
    assert_eq!(trial.agent.stop().code, 0);
    assert_eq!(letters[0]["line"], "INFO line-0002 is here");
}

#[test]
fn long_lines_are_cut_for_collectors_that_would_skip_them() {
    let long = format!("{}\nshort\n", "x".repeat(300 << 10));
    for (path, keys) in [
        ("/insert/jsonline?_msg_field=_msg", ""),
        ("/", "max_line = \"100KiB\""),
        ("", "format = \"loki\""),
    ] {
        let collector = Collector::start(settings(), |_: &Request| Answer::ok());
        let trial = Trial::start_with(&long, &collector.url(path), keys);

        let body = within("the lines", PATIENCE, || {
            let body = collector.stored_bytes();
            memchr::memmem::find(&body, b"short").map(|_| body)
        });
        let ended = trial.agent.stop();

        let most = if keys.starts_with("max_line") {
            100 << 10
        } else {
            256 << 10
        };
        let n_x = body.iter().filter(|byte| **byte == b'x').count();
        assert!((most..most + 100).contains(&n_x), "{path}{keys}: {n_x}");
        assert!(
            memchr::memmem::find(&body, b"truncated\":").is_some(),
            "{path}{keys}"
        );
        assert!(ended.stderr.contains("truncated=1"), "{}", ended.stderr);
    }
}
