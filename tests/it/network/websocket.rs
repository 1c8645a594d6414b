//! Messages of every shape from Python's `websockets` and Node's `ws`, which are killed at random.

use std::collections::BTreeSet;

use super::peer::{Peer, Port, node, python};
use super::{logged, records};
use crate::support::{Dir, Logweir, PATIENCE, Rng, pass, within};

const ROUNDS: usize = 5;
const SUBSCRIBE: &str = r#"{"op":"subscribe","channel":"logs"}"#;

/// The names of the messages in an output; fails on one that was torn or made up.
#[track_caller]
fn names(ndjson: &[u8]) -> Vec<String> {
    records(ndjson)
        .iter()
        .map(|record| {
            // A message that is one JSON value is one record and keeps its own keys.
            if let Some(name) = record["json"].as_str() {
                return name.to_owned();
            }
            let message = record["_msg"].as_str().expect("a line or a record");
            let (shape, name) = message.rsplit_once(' ').expect("a shape and a name");
            let known = ["text", "binary", "fragments", "binary fragments"];
            assert!(known.contains(&shape), "{message:?}");
            name.to_owned()
        })
        .collect()
}

#[test]
fn every_message_of_websockets_arrives_and_each_connect_subscribes() {
    let Some(python) = python("websocket") else {
        return;
    };
    for mode in ["deflate", "plain"] {
        every_message_arrives([python, "websocket.py", mode], Port::new());
    }
}

#[test]
fn every_message_of_nodes_ws_arrives_and_each_connect_subscribes() {
    let Some(node) = node("websocket of Node") else {
        return;
    };
    for mode in ["deflate", "plain"] {
        every_message_arrives([node, "ws.cjs", mode], Port::new().released());
    }
}

#[track_caller]
fn every_message_arrives([program, script, mode]: [&str; 3], port: Port) {
    let mut rng = Rng::printed(script);
    let dir = Dir::new();
    let config = dir.config(&format!(
        r#"
        [source.feed]
        url = "ws://127.0.0.1:{}/feed"
        send = ['{SUBSCRIBE}']

        [sink]
        archive = "{{dir}}/out.log"
        "#,
        port.number()
    ));
    let agent = Logweir::run(&dir, &config).start();

    for round in 0..ROUNDS {
        let subscribed = logged(&dir, "subscribe").len();
        let run = round.to_string();
        let peer = Peer::start(program, script, &port, &dir, &[&run, mode]);
        within("a subscription", PATIENCE, || {
            (logged(&dir, "subscribe").len() > subscribed).then_some(())
        });
        pass(rng.millis(50..800));
        peer.kill();
        pass(rng.millis(0..400));
    }
    let sent: BTreeSet<String> = logged(&dir, "sent").into_iter().collect();
    within("everything that was sent", PATIENCE, || {
        let arrived: BTreeSet<String> = names(&dir.read("out.log")).into_iter().collect();
        sent.is_subset(&arrived).then_some(())
    });
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let arrived = names(&dir.read("out.log"));
    let distinct: BTreeSet<&String> = arrived.iter().collect();
    assert_eq!(distinct.len(), arrived.len(), "some arrived twice");
    let subscribed = logged(&dir, "subscribe");
    assert_eq!(subscribed, vec![SUBSCRIBE; ROUNDS]);
    // Compression is not offered, and so never used.
    let offered = logged(&dir, "extensions");
    assert!(offered.iter().all(|it| it == "-"), "{offered:?}");
    eprintln!("{} messages in {ROUNDS} connections", arrived.len());
}
