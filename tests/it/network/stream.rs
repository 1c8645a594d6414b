//! Chunked NDJSON from aiohttp that is cut in the middle of a line.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use super::peer::{Peer, Port, python};
use super::server::Server;
use super::{logged, records};
use crate::support::{Dir, Logweir, PATIENCE, Rng, within};

const CUTS: usize = 6;

fn numbers(words: &[String]) -> BTreeSet<u64> {
    let number = |word: &String| word.parse().expect("a number");
    words.iter().map(number).collect()
}

#[test]
fn a_line_torn_by_a_cut_never_becomes_part_of_another() {
    let Some(python) = python("torn NDJSON") else {
        return;
    };
    let mut rng = Rng::printed("torn NDJSON");
    let (dir, port) = (Dir::new(), Port::new());
    let seed = rng.next().to_string();
    let _peer = Peer::start(python, "ndjson.py", &port, &dir, &[&seed]);

    let url = format!("feed=http://127.0.0.1:{}/lines", port.number());
    let agent = Logweir::tail(&dir, ["-o", "json", &url]).start();
    within("some cuts", 2 * PATIENCE, || {
        (logged(&dir, "torn").len() >= CUTS).then_some(())
    });
    let (sent, torn) = (logged(&dir, "sent"), logged(&dir, "torn"));
    let (sent, torn) = (numbers(&sent), numbers(&torn));
    let whole = |ndjson: &[u8]| -> BTreeSet<u64> {
        let records = records(ndjson);
        let whole = records.iter().filter(|record| record["text"] == "whole");
        whole
            .map(|record| record["number"].as_u64().expect("a number"))
            .collect()
    };

    within("every whole line", PATIENCE, || {
        sent.is_subset(&whole(&agent.printed())).then_some(())
    });
    let printed = agent.printed();
    let whole = whole(&printed);
    assert!(
        whole.is_disjoint(&torn),
        "a torn line arrived as a whole one"
    );
    let pieces: Vec<_> = records(&printed)
        .into_iter()
        .filter(|record| record.get("text").is_none())
        .collect();
    eprintln!(
        "{} cuts, {} pieces of lines arrived",
        torn.len(),
        pieces.len()
    );
    for piece in pieces {
        // What arrives of a torn line is its beginning and nothing else.
        let text = piece["_msg"].as_str().expect("a piece of a line");
        assert!(
            "{\"number\": ".starts_with(text) || text.starts_with("{\"number\": "),
            "{text}"
        );
        assert_eq!(text.matches('{').count(), 1, "{text}");
    }
}

// Scenario: a server takes the connection and the request, and does not answer. Bug: nothing was said, for
// ever. Fix: it is said once; some servers answer with their first event only, so it is waited for all the
// same.
#[test]
fn a_server_that_does_not_answer_is_told_and_waited_for() {
    let dir = Dir::new();
    let (speak, spoken) = std::sync::mpsc::sync_channel::<()>(1);
    let spoken = Arc::new(Mutex::new(spoken));
    let server = Server::start(move |mut socket| {
        // An `Err` is a test that has ended.
        let _ = spoken.lock().expect("nobody panicked").recv();
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\n\r\nat last\n");
        let _ = socket.read(&mut [0; 4096]);
    });
    let config = dir.config(&format!(
        r#"
        [source.slow]
        url = "{}"
        connect_timeout = "1s"

        [sink]
        archive = "{{dir}}/out.log"
        "#,
        server.url("http", "/")
    ));

    let agent = Logweir::run(&dir, &config).start();
    agent.wait_said(&["has not answered for 1s"]);
    speak.send(()).expect("the server waits");
    within("its line", PATIENCE, || {
        (records(&dir.read("out.log")).len() == 1).then_some(())
    });
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let told = ended.stderr.matches("has not answered").count();
    assert_eq!(told, 1, "{}", ended.stderr);
}
