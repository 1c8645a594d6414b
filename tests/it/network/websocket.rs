//! Messages of every shape from Python's `websockets` and Node's `ws`, which are killed at random.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_tungstenite::tungstenite;

use super::peer::{Peer, Port, node, python};
use super::server::Server;
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

/// The messages that arrived, as texts.
fn messages(dir: &Dir) -> Vec<String> {
    let records = records(&dir.read("out.log"));
    let all = records.iter();
    all.map(|it| it["_msg"].as_str().expect("a line").to_owned())
        .collect()
}

#[test]
fn pings_are_answered_between_fragments_and_ends_are_told_apart() {
    let Some(python) = python("ends of websockets") else {
        return;
    };
    let (dir, port) = (Dir::new(), Port::new());
    let config = dir.config(&format!(
        r#"
        [source.feed]
        url = "ws://127.0.0.1:{}/feed"

        [sink]
        archive = "{{dir}}/out.log"
        "#,
        port.number()
    ));
    let _peer = Peer::start(python, "closing.py", &port, &dir, &[]);

    let agent = Logweir::run(&dir, &config).start();
    agent.wait_said(&[
        "closed 1001 (tea)",
        "(max_message); the connection was given up",
        "closed 1012 (service restart)",
        "closed 4000 (enough)",
        "closed 1008 (no more)",
    ]);
    within("the server's last word", PATIENCE, || {
        (logged(&dir, "closed").len() == 5).then_some(())
    });
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let messages = messages(&dir);
    let expected: Vec<String> = ["text 0", &"x".repeat(1 << 20)]
        .into_iter()
        .map(str::to_owned)
        .chain((1..=4).map(|n| format!("text {n}")))
        .collect();
    assert!(messages == expected, "{} messages", messages.len());
    assert_eq!(logged(&dir, "pong"), vec!["0"; 16]);
    // What was closed is closed in good order; what was given up is not.
    assert_eq!(
        logged(&dir, "closed"),
        ["0 1001", "1 1006", "2 1012", "3 4000", "4 1008"]
    );
    assert!(ended.stderr.contains("dropped=1 "), "{}", ended.stderr);
}

#[test]
fn what_is_typed_into_wscat_arrives_and_what_is_sent_is_seen_there() {
    let Some(node) = node("wscat") else {
        return;
    };
    let (dir, port) = (Dir::new(), Port::new().released());
    let config = dir.config(&format!(
        r#"
        [source.typed]
        url = "ws://127.0.0.1:{}/"
        send = ['{SUBSCRIBE}']

        [sink]
        archive = "{{dir}}/out.log"
        "#,
        port.number()
    ));
    let (peer, mut keyboard) = Peer::wscat(node, &port, &dir);
    let agent = Logweir::run(&dir, &config).start();
    let screen = || String::from_utf8(dir.read("screen")).expect("text");
    within("what logweir says first", PATIENCE, || {
        screen().contains(SUBSCRIBE).then_some(())
    });

    let typed: Vec<String> = (0..200).map(|n| format!("typed ✓ {n}")).collect();
    writeln!(keyboard, "{}", typed.join("\n")).expect("types");
    within("what was typed", PATIENCE, || {
        (messages(&dir).len() >= typed.len()).then_some(())
    });
    assert_eq!(messages(&dir), typed);

    // Whoever types goes, and another one comes.
    drop(keyboard);
    drop(peer);
    let (_peer, mut keyboard) = Peer::wscat(node, &port, &dir);
    within("another connection", PATIENCE, || {
        screen().contains(SUBSCRIBE).then_some(())
    });
    writeln!(keyboard, "the last one").expect("types");
    within("the last line", PATIENCE, || {
        let messages = messages(&dir);
        (messages.last().map(String::as_str) == Some("the last one")).then_some(())
    });
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(messages(&dir).len(), typed.len() + 1);
}

// Scenario: a server drops every connection at once, and at last says why it does. Bug: after five such
// connections nothing was told any more, not even that somebody must do something. Fix: what only a person
// can end is told whenever it is news; and as it is the same each time, once.
#[test]
fn a_refusal_is_told_however_often_the_connection_ended_before() {
    use tungstenite::protocol::CloseFrame;
    let dir = Dir::new();
    let n = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&n);
    let server = Server::start(move |socket| {
        let Ok(mut socket) = tungstenite::accept(socket) else {
            return;
        };
        let n = counted.fetch_add(1, Ordering::Relaxed);
        let code: u16 = if n < 7 { 1001 } else { 1008 };
        // An `Err` is a client that has gone.
        let _ = socket.send(format!("text {n}").into());
        let _ = socket.close(Some(CloseFrame {
            code: code.into(),
            reason: "".into(),
        }));
        while socket.read().is_ok() {}
    });
    let config = dir.config(&format!(
        "[source]\nfeed = \"{}\"\n[sink]\narchive = \"{{dir}}/out.log\"\n",
        server.url("ws", "/")
    ));

    let agent = Logweir::run(&dir, &config).start();
    agent.wait_said(&["closed 1008 (policy violation)"]);
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let told = |words: &str| ended.stderr.matches(words).count();
    assert_eq!(told("closed 1001"), 5, "{}", ended.stderr);
    assert_eq!(told("keeps ending at once"), 1, "{}", ended.stderr);
    assert_eq!(told("closed 1008"), 1, "{}", ended.stderr);
    assert_eq!(messages(&dir).len(), 8);
}
