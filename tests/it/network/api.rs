//! APIs and services of aiohttp: polled through kills, five hundred at once, two hundred a second.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::peer::{Peer, Port, python};
use super::{logged, records};
use crate::support::{Dir, Logweir, PATIENCE, Rng, pass, within};

/// True where the long runs were asked for.
fn long() -> bool {
    std::env::var_os("LOGWEIR_TEST_LONG").is_some()
}

fn ids(dir: &Dir) -> Vec<u64> {
    let records = records(&dir.read("out.log"));
    let id = records.iter().map(|it| it["id"].as_u64().expect("an id"));
    id.collect()
}

/// So many URLs of one kind in the file `urls`, and who answers them.
#[track_caller]
fn many(python: &str, kind: &str, count: usize) -> (Dir, Peer) {
    let (dir, port) = (Dir::new(), Port::new());
    let urls = (0..count).map(|n| format!("http://127.0.0.1:{}/{kind}?n={n}\n", port.number()));
    dir.write("urls", urls.collect::<String>());
    let peer = Peer::start(python, "api.py", &port, &dir, &["1"]);
    (dir, peer)
}

#[test]
fn no_record_is_missing_however_often_api_and_logweir_are_killed() {
    let Some(python) = python("API") else {
        return;
    };
    let mut rng = Rng::printed("API");
    let (dir, port) = (Dir::new(), Port::new());
    let config = dir.config(&format!(
        r#"
        [source.api]
        type = "poll"
        url = "http://127.0.0.1:{}/records"
        interval = "20ms"
        records = "/items"
        cursor = {{ from = "/items/-1/id", param = "since", start = "0" }}
        dedupe = "/id"

        [sink]
        archive = "{{dir}}/out.log"
        "#,
        port.number()
    ));
    let mut peer = Peer::start(python, "api.py", &port, &dir, &["400"]);

    for _ in 0..4 {
        let before = dir.size("out.log");
        let agent = Logweir::run(&dir, &config).start();
        within("more records", PATIENCE, || {
            (dir.size("out.log") > before).then_some(())
        });
        pass(rng.millis(50..400));
        peer.kill();
        pass(rng.millis(0..200));
        peer = Peer::start(python, "api.py", &port, &dir, &["400"]);
        pass(rng.millis(0..600));
        agent.kill();
    }
    let agent = Logweir::run(&dir, &config).start();
    let wanted = ids(&dir).into_iter().max().unwrap_or(0) + 200;
    within("the last records", PATIENCE, || {
        (ids(&dir).into_iter().max() >= Some(wanted)).then_some(())
    });
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let all = ids(&dir);
    let arrived: BTreeSet<u64> = all.iter().copied().collect();
    let last = *arrived.last().expect("records");
    let missing: Vec<u64> = (1..=last).filter(|id| !arrived.contains(id)).collect();
    assert!(missing.is_empty(), "missing {missing:?} of {last}");
    let asked = logged(&dir, "asked");
    let from_start = asked.iter().filter(|since| *since == "0").count();
    eprintln!(
        "{last} records, {} doubled, {} questions, {from_start} from the start",
        all.len() - arrived.len(),
        asked.len()
    );
    // Only what was in flight at a kill comes twice: a page or two each time.
    assert!(all.len() - arrived.len() <= 4 * 100, "too many came twice");
}

#[test]
fn hundreds_of_slow_pages_take_as_long_as_the_slowest() {
    let Some(python) = python("slow pages") else {
        return;
    };
    let n_pages: usize = if long() { 500 } else { 100 };
    let (dir, _peer) = many(python, "slow", n_pages);
    let config = dir.config(
        r#"
        [source.pages]
        type = "poll"
        urls = "file:{dir}/urls"
        interval = "1h"
        concurrency = 500

        [sink]
        archive = "{dir}/out.log"
        "#,
    );

    let begun = Instant::now();
    let agent = Logweir::run(&dir, &config).start();
    within("every page", 2 * PATIENCE, || {
        (records(&dir.read("out.log")).len() >= n_pages).then_some(())
    });
    let took = begun.elapsed();
    let peak_kib = agent.peak_kib();

    let pages: BTreeSet<u64> = records(&dir.read("out.log"))
        .iter()
        .map(|it| it["page"].as_u64().expect("a page"))
        .collect();
    assert_eq!(pages.len(), n_pages);
    eprintln!("{n_pages} pages of 1 to 2 s in {took:?}, {peak_kib} KiB at most");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn every_service_is_asked_at_its_times_and_changes_are_said() {
    let Some(python) = python("services") else {
        return;
    };
    let (n_services, seconds) = if long() { (200, 30) } else { (50, 5) };
    let (dir, _peer) = many(python, "health", n_services);
    let config = dir.config(
        r#"
        [source.services]
        type = "health"
        urls = "file:{dir}/urls"
        interval = "1s"
        body_match = "up"

        [sink]
        archive = "{dir}/out.log"
        "#,
    );
    let agent = Logweir::run(&dir, &config).start();
    let lines = || records(&dir.read("out.log"));
    within("the first check of each", PATIENCE, || {
        (lines().len() >= n_services).then_some(())
    });
    let cpu_before = agent.cpu();
    pass(Duration::from_secs(seconds as u64));
    let cpu = agent.cpu() - cpu_before;
    dir.write("down-7", "");
    within("a change", PATIENCE, || {
        (lines().len() > n_services).then_some(())
    });
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let change = lines().pop().expect("a line");
    assert_eq!(
        (change["healthy"].as_bool(), change["status"].as_u64()),
        (Some(false), Some(503))
    );
    let (worst, n_checks) = worst_drift(&dir);
    eprintln!(
        "{n_services} services a second for {seconds} s: {n_checks} checks, the latest {worst:.3} s \
         off its grid, {cpu:?} of CPU"
    );
    assert!(n_checks >= n_services * seconds, "{n_checks} checks");
    assert!(worst < 0.25, "{worst} s");
}

/// The farthest that a check came from the times that its first ones set, in seconds; and how many
/// checks there were.
fn worst_drift(dir: &Dir) -> (f64, usize) {
    let mut times: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let checked = logged(dir, "checked");
    for line in &checked {
        let (number, time) = line.split_once(' ').expect("a number and a time");
        let time = time.parse().expect("seconds");
        times.entry(number.to_owned()).or_default().push(time);
    }
    let mut worst: f64 = 0.0;
    for times in times.values() {
        // The very first check comes at once; the others are on a grid of whole seconds.
        let grid = &times[1..];
        let mut phases: Vec<f64> = grid.iter().map(|time| time - grid[0]).collect();
        phases.sort_by(f64::total_cmp);
        for phase in phases {
            let off = (phase - phase.round()).abs();
            worst = worst.max(off);
        }
    }
    (worst, checked.len())
}
