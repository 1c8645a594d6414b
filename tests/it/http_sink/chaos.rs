//! A collector that fails nearly a third of its requests: 10 % 503, 10 % 429, 5 % reset, 5 % stored
//! and their answers lost; with and without `kill -9`.

use crate::crash::{DRAIN, faulty_trial};
use crate::support::{Collector, Dir, Faults, Logweir, Plan, Rng, Rotation, Settings};

#[test]
fn nothing_is_missing_or_double_while_the_process_lives() {
    faulty_trial("chaos", Faults::collector, Rotation::None, 0);
}

#[test]
fn nothing_is_missing_through_twenty_kills() {
    faulty_trial("chaos, kills", Faults::collector, Rotation::None, 20);
}

#[test]
fn bodies_that_are_compressed_at_once_stay_in_order() {
    for compression in ["gzip", "zstd"] {
        let dir = Dir::new();
        let faults = Faults::collector(Rng::printed(compression));
        let collector = Collector::start(Settings::bulk(), faults);
        let config = dir.config(&format!(
            r#"
            [source.app]
            path = "{{dir}}/app.log"

            [sink.out]
            url = "{}"
            compression = "{compression}"
            batch = {{ lines = 200, linger = "20ms" }}
            retry = {{ base = "10ms", max = "1s" }}
            "#,
            collector.url("/ingest")
        ));
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
