//! Answers that mean "again, later": the same body, the same key, and not before it is due.

use std::time::{Duration, SystemTime};

use super::Trial;
use crate::support::{Answer, Collector, Outcome, PATIENCE, Request, Settings};

/// Answers with each of `answers` in turn, then with 200.
fn in_turn(answers: Vec<Answer>) -> impl FnMut(&Request) -> Answer + Send {
    let mut answers = answers.into_iter();
    move |_| answers.next().unwrap_or_else(Answer::ok)
}

/// Fails unless all requests are the first one, sent again.
#[track_caller]
fn expect_same(outcomes: &[Outcome]) {
    let first = &outcomes[0].request;
    assert!(!first.key().is_empty(), "{:?}", first.headers);
    for outcome in outcomes {
        assert_eq!(outcome.request.key(), first.key());
        assert!(outcome.request.body == first.body, "the body changed");
    }
}

#[test]
fn temporary_refusals_are_retried_with_the_same_body_and_key() {
    for status in [408, 425, 429, 500, 502, 503, 504, 507] {
        let answers = vec![Answer::refuse(status), Answer::refuse(status)];
        let collector = Collector::start(Settings::default(), in_turn(answers));
        let trial = Trial::start(&collector.url("/"), "");

        let outcomes = collector.wait_requests(3, PATIENCE);
        trial.finish_exact(&collector);

        expect_same(&outcomes[..3]);
    }
}

/// The time from the first request to the second, where the first was answered 503 with this
/// `Retry-After`.
#[track_caller]
fn gap(retry_after: &str, retry: &str) -> Duration {
    let answer = Answer::refuse(503).header("Retry-After", retry_after);
    let collector = Collector::start(Settings::default(), in_turn(vec![answer]));
    let trial = Trial::start(&collector.url("/"), &format!("retry = {retry}"));

    let outcomes = collector.wait_requests(2, 2 * PATIENCE);
    trial.finish_exact(&collector);

    outcomes[1].request.at - outcomes[0].request.at
}

const QUICK: &str = r#"{ base = "10ms", max = "30s" }"#;

#[test]
fn retry_after_in_seconds_is_honoured() {
    let gap = gap("2", QUICK);

    assert!(gap >= Duration::from_secs(2), "{gap:?}");
}

#[test]
fn retry_after_as_a_date_is_honoured() {
    let due = jiff::Timestamp::now() + Duration::from_secs(3);
    let date = due.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();

    let gap = gap(&date, QUICK);

    // The date has no fraction, and the first request takes a moment to come.
    assert!(gap >= Duration::from_secs(1), "{gap:?}");
    assert!(SystemTime::now() >= SystemTime::from(due) - Duration::from_secs(1));
}

#[test]
fn retry_after_junk_is_tolerated() {
    let junk = [
        "soon",
        "-1",
        "",
        "1e9",
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "99999999999999999999",
    ];
    for value in junk {
        let gap = gap(value, r#"{ base = "10ms", max = "300ms" }"#);

        assert!(gap < PATIENCE, "{value:?}: {gap:?}");
    }
}

#[test]
fn retry_after_is_capped() {
    let gap = gap("3600", r#"{ base = "10ms", max = "200ms" }"#);

    assert!(
        gap >= Duration::from_millis(200) && gap < PATIENCE,
        "{gap:?}"
    );
}

#[test]
fn an_outage_is_said_once_when_it_begins_and_once_when_it_ends() {
    let answers = (0..10).map(|_| Answer::refuse(503)).collect();
    let collector = Collector::start(Settings::default(), in_turn(answers));
    let trial = Trial::start(
        &collector.url("/"),
        "retry = { base = \"10ms\", max = \"20ms\" }",
    );

    collector.wait_requests(11, PATIENCE);
    let ended = trial.agent.stop();

    let n_lines = ended
        .stderr
        .lines()
        .filter(|line| line.contains("503"))
        .count();
    assert_eq!(n_lines, 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("out"), "{}", ended.stderr);
}
