//! Server-sent events from aiohttp and uvicorn, which are killed at random; logweir, too.

use std::collections::BTreeSet;

use super::peer::{Peer, Port, python};
use super::{logged, records};
use crate::support::{Collector, Dir, Logweir, PATIENCE, Rng, pass, within};

/// aiohttp and uvicorn.
const SCRIPTS: [&str; 2] = ["sse.py", "asgi.py"];
const PER_SECOND: &str = "200";
const ROUNDS: usize = 5;

/// The numbers of the events in an output; fails where one was never sent.
#[track_caller]
fn numbers(ndjson: &[u8]) -> Vec<u64> {
    let number = |message: &str| message.strip_prefix("event ")?.parse().ok();
    records(ndjson)
        .iter()
        .map(|record| {
            let message = record["_msg"].as_str().expect("an event is a line");
            number(message).unwrap_or_else(|| panic!("never sent: {message}"))
        })
        .collect()
}

/// Every number that was logged as sent.
fn sent(dir: &Dir) -> BTreeSet<u64> {
    let sent = logged(dir, "sent");
    sent.iter()
        .map(|number| number.parse().expect("a number"))
        .collect()
}

/// Runs and kills the server `ROUNDS` times, then lets the last one live.
#[track_caller]
fn ordeal([python, script]: [&str; 2], port: &Port, dir: &Dir, mode: &str, rng: &mut Rng) -> Peer {
    for _ in 0..ROUNDS {
        let peer = started([python, script], port, dir, mode);
        pass(rng.millis(50..700));
        peer.kill();
        pass(rng.millis(0..400));
    }
    started([python, script], port, dir, mode)
}

/// Starts the server, and waits until it was found.
#[track_caller]
fn started([python, script]: [&str; 2], port: &Port, dir: &Dir, mode: &str) -> Peer {
    let connects = logged(dir, "connect").len();
    let peer = Peer::start(python, script, port, dir, &[mode, PER_SECOND]);
    within("a connection", PATIENCE, || {
        (logged(dir, "connect").len() > connects).then_some(())
    });
    peer
}

#[test]
fn nothing_is_missing_with_ids_however_often_the_server_is_killed() {
    let Some(python) = python("sse with ids") else {
        return;
    };
    for script in SCRIPTS {
        nothing_is_missing_with_ids([python, script]);
    }
}

#[track_caller]
fn nothing_is_missing_with_ids(server: [&str; 2]) {
    let mut rng = Rng::printed("sse with ids");
    let (dir, port) = (Dir::new(), Port::new());
    let url = format!("feed=http://127.0.0.1:{}/events", port.number());
    // Started before the server: it waits for it.
    let other = dir.write("other.log", "");
    let other = other.to_str().expect("temporary paths are UTF-8");
    let agent = Logweir::tail(&dir, ["-o", "json", &url, other]).start();

    let _peer = ordeal(server, &port, &dir, "ids", &mut rng);
    let wanted = String::from_utf8(dir.read("memory"))
        .unwrap()
        .lines()
        .count() as u64
        + 20;
    within("the last events", PATIENCE, || {
        (numbers(&agent.printed()).last() >= Some(&wanted)).then_some(())
    });

    let printed = numbers(&agent.printed());
    let expected: Vec<u64> = (0..printed.len() as u64).collect();
    assert_eq!(printed, expected, "missing, doubled or out of order");
    let said = agent.said();
    assert!(said.matches("+ feed connected").count() >= 2, "{said}");
}

#[test]
fn everything_sent_after_a_connect_arrives_without_ids() {
    let Some(python) = python("sse without ids") else {
        return;
    };
    for script in SCRIPTS {
        everything_arrives_without_ids([python, script]);
    }
}

#[track_caller]
fn everything_arrives_without_ids(server: [&str; 2]) {
    let mut rng = Rng::printed("sse without ids");
    let (dir, port) = (Dir::new(), Port::new());
    let url = format!("feed=http://127.0.0.1:{}/events", port.number());
    let other = dir.write("other.log", "");
    let other = other.to_str().expect("temporary paths are UTF-8");
    let agent = Logweir::tail(&dir, ["-o", "json", &url, other]).start();

    let peer = ordeal(server, &port, &dir, "live", &mut rng);
    let before = sent(&dir).last().copied();
    within("events of the last server", PATIENCE, || {
        (sent(&dir).last().copied() > before).then_some(())
    });
    peer.kill();
    let sent = sent(&dir);

    within("everything that was sent", PATIENCE, || {
        let printed: BTreeSet<u64> = numbers(&agent.printed()).into_iter().collect();
        sent.is_subset(&printed).then_some(())
    });
    let printed = numbers(&agent.printed());
    assert!(
        printed.is_sorted_by(|a, b| a < b),
        "doubled or out of order"
    );
}

#[test]
fn nothing_is_missing_with_ids_however_often_logweir_is_killed() {
    let Some(python) = python("sse, logweir killed") else {
        return;
    };
    let mut rng = Rng::printed("sse, logweir killed");
    let (dir, port) = (Dir::new(), Port::new());
    let config = dir.config(&format!(
        r#"
        [source]
        feed = "http://127.0.0.1:{}/events"

        [sink]
        archive = "{{dir}}/out.log"
        "#,
        port.number()
    ));
    let _peer = Peer::start(python, SCRIPTS[0], &port, &dir, &["ids", PER_SECOND]);

    for _ in 0..ROUNDS {
        let before = dir.size("out.log");
        let agent = Logweir::run(&dir, &config).start();
        within("more events", PATIENCE, || {
            (dir.size("out.log") > before).then_some(())
        });
        pass(rng.millis(0..500));
        agent.kill();
    }
    let agent = Logweir::run(&dir, &config).start();
    let before = numbers(&dir.read("out.log")).into_iter().max();
    within("the last events", PATIENCE, || {
        (numbers(&dir.read("out.log")).into_iter().max() > before).then_some(())
    });
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let all = numbers(&dir.read("out.log"));
    let arrived: BTreeSet<u64> = all.iter().copied().collect();
    let missing: Vec<u64> = (0..=*arrived.last().unwrap())
        .filter(|number| !arrived.contains(number))
        .collect();
    assert!(missing.is_empty(), "missing {missing:?}");
    let connects = logged(&dir, "connect");
    assert_eq!(connects.len(), ROUNDS + 1, "{connects:?}");
    let resumed = connects.iter().filter(|id| *id != "-").count();
    eprintln!(
        "{resumed} of {} connects resumed; {} doubled",
        connects.len(),
        all.len() - arrived.len()
    );
    assert!(resumed >= 1, "nothing was resumed: {connects:?}");
}

#[test]
fn nothing_is_missing_at_either_sink_where_one_is_behind_the_other() {
    let Some(python) = python("sse, two sinks") else {
        return;
    };
    let (dir, port) = (Dir::new(), Port::new());
    let collector = Collector::willing();
    let config = dir.config(&format!(
        r#"
        [source]
        feed = "http://127.0.0.1:{}/events"

        [sink.archive]
        path = "{{dir}}/out.log"

        [sink.collector]
        url = "{}"
        batch = {{ linger = "1ms" }}
        "#,
        port.number(),
        collector.url("/")
    ));
    let _peer = Peer::start(python, SCRIPTS[0], &port, &dir, &["ids", PER_SECOND]);
    let agent = Logweir::run(&dir, &config).start();
    within("events at both", PATIENCE, || {
        (collector.n_requests() > 0 && dir.size("out.log") > 0).then_some(())
    });
    collector.hold();
    let before = dir.size("out.log");
    within("events at one", PATIENCE, || {
        (dir.size("out.log") > before + 10_000).then_some(())
    });
    agent.kill();

    collector.release();
    let agent = Logweir::run(&dir, &config).start();
    let at_collector =
        || -> BTreeSet<u64> { numbers(&collector.stored_bytes()).into_iter().collect() };
    let last = numbers(&dir.read("out.log")).into_iter().max();
    within("the last events", PATIENCE, || {
        (at_collector().last() > last.as_ref()).then_some(())
    });
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let at_archive: BTreeSet<u64> = numbers(&dir.read("out.log")).into_iter().collect();
    for (sink, arrived) in [("archive", at_archive), ("collector", at_collector())] {
        let last = *arrived.last().expect("events");
        let missing: Vec<u64> = (0..=last).filter(|it| !arrived.contains(it)).collect();
        assert!(missing.is_empty(), "{sink}: missing {missing:?} of {last}");
    }
    assert!(
        ended.stderr.contains("resumed at the earlier one"),
        "{}",
        ended.stderr
    );
}
