//! The trial of RELIABILITY §6, in which every peer lost or doubled lines: a fast writer with torn
//! writes and rotations, and a collector that fails a quarter of its requests.
//!
//! The whole of it takes minutes: it runs with `LOGWEIR_TEST_LONG=1`, else a tenth of it.

use crate::support::{
    Answer, Collector, Dir, Faults, Logweir, Plan, Request, Rng, Rotation, Settings,
};

use super::{DRAIN, Kills, kill_in_a_loop, long};

const BATCH_LINES: u64 = 1_000;

/// File to HTTP; `kills` times killed in the long run.
#[track_caller]
fn trial(test: &str, rotation: fn(u64) -> Rotation, kills: u64) {
    let mut rng = Rng::printed(test);
    let dir = Dir::new();
    let collector = Collector::start(Settings::bulk(), |_: &Request| Answer::ok());
    let config = dir.config(&format!(
        r#"
        [source.app]
        path = "{{dir}}/app.log"

        [sink.out]
        url = "{}"
        batch = {{ lines = {BATCH_LINES}, linger = "50ms" }}
        retry = {{ base = "10ms", max = "1s" }}
        "#,
        collector.url("/ingest")
    ));
    let (n_lines, every, per_second) = if long() {
        (300_000, 15_000, 20_000)
    } else {
        (20_000, 4_000, 10_000)
    };
    let plan = Plan {
        per_second,
        torn: true,
        rotation: rotation(every),
        ..Plan::new(dir.path("app.log"), n_lines)
    };

    let start = || Logweir::run(&dir, &config).start();
    // What was rotated before the first sight of a path is nobody's.
    let first = Plan {
        n_lines: 1,
        rotation: Rotation::None,
        ..plan.clone()
    };
    first.write();
    let agent = start();
    collector.wait_lines(plan.writer, 1, DRAIN);
    assert_eq!(agent.stop().code, 0);
    collector.script(Faults::quarter(rng.fork()));
    let plan = Plan {
        from: 1,
        n_lines: n_lines - 1,
        ..plan
    };
    // As many as in the peers' trial, all over the time of the writer.
    let kills = Kills {
        min: kills,
        life_ms: if long() { 300..1_900 } else { 10..300 },
    };
    let (agent, kills) = kill_in_a_loop(start, plan.start(), &kills, &mut rng);
    collector.wait_lines(plan.writer, n_lines, DRAIN);
    agent.wait_listening();
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let report = collector.oracle(|oracle| oracle.report(&[(plan.writer, n_lines)]));
    eprintln!(
        "| {test}, {kills} kills | missing {} / doubled {} | reordered {} |",
        report.missing, report.duplicate, report.reordered
    );
    // At a kill one batch is in flight, and one may be acknowledged but not written down.
    report.expect_complete(kills * 2 * BATCH_LINES);
    if kills == 0 {
        report.expect_exact();
    }
}

#[test]
fn renames_without_kills() {
    trial("rename", |every| Rotation::Rename { every }, 0);
}

#[test]
fn deleted_files_without_kills() {
    trial(
        "delete and make anew",
        |every| Rotation::Recreate { every },
        0,
    );
}

#[test]
fn truncated_copies_without_kills() {
    trial("copytruncate", |every| Rotation::CopyTruncate { every }, 0);
}

#[test]
fn renames_with_kills() {
    trial("rename", |every| Rotation::Rename { every }, 13);
}

#[test]
fn truncated_copies_with_kills() {
    trial("copytruncate", |every| Rotation::CopyTruncate { every }, 13);
}
