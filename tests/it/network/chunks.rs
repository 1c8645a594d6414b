//! Lines, NDJSON and events from uvicorn in chunks that know nothing of them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::peer::{Peer, Port, python};
use super::{logged, records};
use crate::support::{Dir, Logweir, PATIENCE, Rng, within};

const KINDS: [&str; 3] = ["lines", "ndjson", "events"];
/// Answers of each kind that end well, and as many that are torn.
const ENDS: usize = 4;

/// The records that were logged with `word`, by kind.
fn named(dir: &Dir, word: &str) -> BTreeMap<String, Vec<u64>> {
    let mut all: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for line in logged(dir, word) {
        let (kind, number) = line.split_once(' ').unwrap_or((&line, "0"));
        let number = number.parse().expect("a number");
        all.entry(kind.to_owned()).or_default().push(number);
    }
    all
}

/// The number of a record that arrived whole; `None`: it is a piece of a torn one.
fn number(record: &Value) -> Option<u64> {
    let text = match record["_source"].as_str() {
        Some("lines") => record["_msg"].as_str()?.strip_prefix("wörd ✓ "),
        Some("events") => record["_msg"].as_str()?.strip_prefix("wörd ✓\n"),
        Some("ndjson") => record["wörd"].as_str()?.strip_prefix("✓ "),
        source => panic!("of nobody: {source:?}"),
    };
    text?.parse().ok()
}

#[test]
fn chunked_lines_ndjson_and_events_of_uvicorn_arrive_once_each() {
    let Some(python) = python("chunks of uvicorn") else {
        return;
    };
    let mut rng = Rng::printed("chunks of uvicorn");
    let (dir, port) = (Dir::new(), Port::new());
    let _peer = Peer::start(python, "chunks.py", &port, &dir, &[&rng.next().to_string()]);
    let url = |kind: &str| format!("{kind}=http://127.0.0.1:{}/{kind}", port.number());
    let urls = KINDS.map(url);

    let args = ["-o", "json", "--order", "off"].map(str::to_owned);
    let agent = Logweir::tail(&dir, args.iter().chain(&urls)).start();
    within("both ends of each kind", 6 * PATIENCE, || {
        let (torn, ended) = (named(&dir, "torn"), named(&dir, "ended"));
        let enough = |of: &BTreeMap<String, Vec<u64>>, kind: &str| {
            of.get(kind).is_some_and(|all| all.len() >= ENDS)
        };
        let all = KINDS.iter();
        all.clone()
            .all(|kind| enough(&torn, kind) && enough(&ended, kind))
            .then_some(())
    });
    let (sent, torn) = (named(&dir, "sent"), named(&dir, "torn"));
    let arrived = || {
        let mut all: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for record in records(&agent.printed()) {
            let source = record["_source"].as_str().expect("a source").to_owned();
            if let Some(number) = number(&record) {
                all.entry(source).or_default().push(number);
            }
        }
        all
    };
    within("everything that was sent", PATIENCE, || {
        let arrived = arrived();
        let has = |kind: &str, number: &u64| {
            let all = arrived.get(kind);
            all.is_some_and(|all| all.binary_search(number).is_ok())
        };
        KINDS
            .iter()
            .all(|kind| sent[*kind].iter().all(|it| has(kind, it)))
            .then_some(())
    });

    let arrived = arrived();
    for kind in KINDS {
        let (all, torn) = (&arrived[kind], &torn[kind]);
        assert!(all.is_sorted_by(|a, b| a < b), "{kind}: doubled or moved");
        let whole = torn.iter().filter(|it| all.contains(it)).count();
        assert_eq!(whole, 0, "{kind}: a torn record arrived as a whole one");
        eprintln!(
            "{kind}: {} records in chunks, {} torn",
            all.len(),
            torn.len()
        );
    }
}
