//! A flood into a spool whose collector is down costs disk and no memory.

use std::sync::Arc;
use std::thread;

use super::feed::{Feed, Speaks};
use super::{line, long, segments};
use crate::support::{Dir, Logweir, PATIENCE, ReservedPort, within};

/// TARGETS: at most 32 MB resident whatever the peers do, of which 8 are the release program's.
const PEAK_KIB_MAX: u64 = 24 << 10;

/// What the memory may grow by from the first quarter of the flood to its end.
const GROWTH_KIB_MAX: u64 = 2 << 10;

#[test]
fn memory_stays_flat_while_the_collector_is_down() {
    let megabytes = if long() { 512 } else { 64 };
    let dir = Dir::new();
    let port = ReservedPort::new();
    let feed = Arc::new(Feed::start(Speaks::Http));
    let config = dir.config(&format!(
        r#"
        [source.feed]
        url = "{}"
        spool = {{ max = "4GiB" }}

        [sink.dead]
        url = "{}"
        memory = "2MiB"
        batch = {{ bytes = "256KiB" }}
        retry = {{ base = "100ms", max = "1s" }}
        "#,
        feed.url(),
        port.url("/")
    ));
    let agent = Logweir::run(&dir, &config).start();
    let saying = {
        let feed = Arc::clone(&feed);
        // Of 1,000 bytes each.
        thread::spawn(move || {
            for first in (0..megabytes * 1_000).step_by(100) {
                let lines: Vec<String> = (first..first + 100).map(|n| line(n, 999)).collect();
                feed.say(&lines);
            }
        })
    };
    let on_disk = || -> u64 {
        let all = segments(&dir, "feed").into_iter();
        all.map(|it| it.metadata().map_or(0, |it| it.len())).sum()
    };
    let grown = |part: u64| {
        let wanted = megabytes * 1_000_000 * part / 4;
        within("the flood on disk", 6 * PATIENCE, || {
            (on_disk() >= wanted).then_some(())
        });
    };

    grown(1);
    let first_kib = agent.resident_kib();
    saying.join().expect("it says everything");
    grown(4);
    let (last_kib, peak_kib) = (agent.resident_kib(), agent.peak_kib());
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    eprintln!(
        "{megabytes} MB in the spool: {first_kib} KiB resident after a quarter, {last_kib} KiB at the \
         end, {peak_kib} KiB at most"
    );
    assert!(peak_kib <= PEAK_KIB_MAX, "{peak_kib} KiB");
    assert!(
        last_kib <= first_kib + GROWTH_KIB_MAX,
        "{first_kib} KiB, then {last_kib} KiB"
    );
}
