//! Spooled lines are documents with ids that are the same on every resend, also after a kill.

use std::collections::BTreeSet;

use super::feed::{Feed, Speaks};
use super::outage::keep;
use crate::support::{Answer, Body, Collector, Dir, Logweir, PATIENCE, Request, Settings, within};

/// The ids of the documents in a bulk body.
#[track_caller]
fn ids(body: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(body).expect("JSON is UTF-8");
    let actions = text.lines().step_by(2);
    let id = |action: &str| {
        let action: serde_json::Value = serde_json::from_str(action).expect("an action");
        action["create"]["_id"].as_str().map(str::to_owned)
    };
    actions.map(|action| id(action).expect("an id")).collect()
}

#[test]
fn lines_of_a_spooled_stream_have_the_same_ids_after_a_kill() {
    const LINES: u64 = 50;
    let dir = Dir::new();
    let feed = Feed::start(Speaks::WebSocket);
    let settings = Settings {
        body: Body::Opaque,
        ..Settings::default()
    };
    let collector = Collector::start(settings, |_: &Request| Answer::refuse(503));
    let config = dir.config(&format!(
        r#"
        [source.feed]
        url = "{}"
        spool = {{ max = "4MiB" }}

        [sink.elastic]
        url = "{}"
        format = "elasticsearch"
        index = "logs"
        batch = {{ linger = "1s" }}
        "#,
        feed.url(),
        collector.url("/")
    ));
    let sent = || -> Vec<String> {
        let outcomes = collector.outcomes();
        let last = outcomes.last();
        last.map_or_else(Vec::new, |it| ids(&it.request.body))
    };
    let agent = Logweir::run(&dir, &config).start();
    // Equal lines are documents of their own.
    for _ in 0..LINES {
        feed.say(&["the same again and again".to_owned()]);
    }
    keep(&feed, &dir, 0..1, 40);
    within("a request", PATIENCE, || (!sent().is_empty()).then_some(()));
    agent.kill();

    let mut all = Vec::new();
    for _ in 0..2 {
        let n_requests = collector.n_requests();
        let agent = Logweir::run(&dir, &config).start();
        // All of them are there at once now.
        within("a request with all", PATIENCE, || {
            (collector.n_requests() > n_requests && sent().len() as u64 == LINES + 1).then_some(())
        });
        agent.kill();
        all.push(sent());
    }

    assert_eq!(all[0], all[1]);
    let distinct: BTreeSet<&String> = all[0].iter().collect();
    assert_eq!(distinct.len() as u64, LINES + 1);
}
