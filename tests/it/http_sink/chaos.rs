//! A collector that fails nearly a third of its requests: 10 % 503, 10 % 429, 5 % reset, 5 % stored
//! and their answers lost; with and without `kill -9`.

use crate::crash::{DRAIN, kill_in_a_loop, wait_writer, writer_plan};
use crate::support::{Collector, Dir, Faults, Logweir, Plan, Report, Rng, Rotation, Settings};

const BATCH_LINES: u64 = 200;

fn config(dir: &Dir, collector: &Collector, keys: &str) -> std::path::PathBuf {
    dir.config(&format!(
        r#"
        [source.app]
        path = "{{dir}}/app.log"

        [sink.out]
        url = "{}"
        batch = {{ lines = {BATCH_LINES}, linger = "20ms" }}
        retry = {{ base = "10ms", max = "1s" }}
        {keys}
        "#,
        collector.url("/ingest")
    ))
}

/// A log that is written meanwhile, through faults and so many kills.
#[track_caller]
fn live(test: &str, rotation: Rotation, kills: u64) -> (Report, u64) {
    let mut rng = Rng::printed(test);
    let dir = Dir::new();
    let collector = Collector::start(Settings::bulk(), Faults::collector(rng.fork()));
    let config = config(&dir, &collector, "");
    let plan = writer_plan(&dir, rotation);
    let writer = plan.process();

    let (agent, kills) = if kills > 0 {
        kill_in_a_loop(&dir, &config, writer, kills, &mut rng)
    } else {
        let agent = Logweir::run(&dir, &config).start();
        wait_writer(writer);
        (agent, 0)
    };
    collector.wait_lines(plan.writer, plan.n_lines, DRAIN);
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let written = [(plan.writer, plan.n_lines)];
    (collector.oracle(|oracle| oracle.report(&written)), kills)
}

#[test]
fn nothing_is_missing_or_double_while_the_process_lives() {
    let (report, _) = live("chaos", Rotation::None, 0);

    report.expect_exact();
}

#[test]
fn nothing_is_missing_through_twenty_kills() {
    let (report, kills) = live("chaos, kills", Rotation::None, 20);

    // What was in flight, and what was acknowledged a moment before its position was written down.
    report.expect_complete(kills * 2 * BATCH_LINES);
}

#[test]
fn bodies_that_are_compressed_at_once_stay_in_order() {
    for compression in ["gzip", "zstd"] {
        let dir = Dir::new();
        let faults = Faults::collector(Rng::printed(compression));
        let collector = Collector::start(Settings::bulk(), faults);
        let keys = format!("compression = \"{compression}\"");
        let config = config(&dir, &collector, &keys);
        let plan = Plan {
            line_bytes: 1_000,
            ..Plan::new(dir.path("app.log"), 40_000)
        };
        // A backlog: every core has a body to compress. Each is large enough for a thread.
        plan.write();

        let agent = Logweir::run(&dir, &config).start();
        collector.wait_lines(plan.writer, plan.n_lines, 2 * DRAIN);
        assert_eq!(agent.stop().code, 0);

        collector
            .oracle(|oracle| oracle.report(&[(plan.writer, plan.n_lines)]))
            .expect_exact();
    }
}
