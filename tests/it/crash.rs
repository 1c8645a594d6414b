//! `kill -9` at random times, rotations and a collector that fails a quarter of its requests:
//! every line arrives, and duplicates only where RELIABILITY allows them.

use std::path::Path;
use std::process::Child;
use std::time::Duration;

use crate::support::{
    Agent, Collector, Dir, Faults, Logweir, Oracle, Plan, Rng, Rotation, Settings, pass, within,
};

/// How long delivering the rest may take after the last kill.
pub(crate) const DRAIN: Duration = Duration::from_secs(40);
/// `batch.lines` of every sink here.
const BATCH_LINES: u64 = 200;

/// Has `plan` written meanwhile, and kills the agent at least `kills` times, or never; it runs when
/// everything is written. Returns how often it was killed as well.
#[track_caller]
pub(crate) fn run_through_kills(
    dir: &Dir,
    config: &Path,
    plan: &Plan,
    kills: u64,
    rng: &mut Rng,
) -> (Agent, u64) {
    let writer = plan.process();
    if kills > 0 {
        return kill_in_a_loop(dir, config, writer, kills, rng);
    }
    let agent = Logweir::run(dir, config).start();
    wait_writer(writer);
    (agent, 0)
}

/// Starts and kills the agent at random times until `writer` has ended and it happened
/// `kills_min` times; then starts it once more and leaves it running.
fn kill_in_a_loop(
    dir: &Dir,
    config: &Path,
    mut writer: Child,
    kills_min: u64,
    rng: &mut Rng,
) -> (Agent, u64) {
    let mut kills = 0;
    loop {
        let agent = Logweir::run(dir, config).start();
        pass(rng.millis(20..500));
        let writes = writer.try_wait().expect("waits for a writer").is_none();
        if kills >= kills_min && !writes {
            return (agent, kills);
        }
        agent.kill();
        kills += 1;
    }
}

/// Lines that a torn writer needs about six seconds for.
pub(crate) fn writer_plan(dir: &Dir, rotation: Rotation) -> Plan {
    Plan {
        per_second: 4_000,
        torn: true,
        rotation,
        ..Plan::new(dir.path("app.log"), 24_000)
    }
}

/// File to HTTP through a quarter of faults; `kills` times killed, or never.
#[track_caller]
fn http_trial(test: &str, rotation: Rotation, kills: u64) {
    faulty_trial(test, Faults::quarter, rotation, kills);
}

/// File to HTTP through faults; `kills` times killed, or never.
#[track_caller]
pub(crate) fn faulty_trial(test: &str, faults: fn(Rng) -> Faults, rotation: Rotation, kills: u64) {
    let mut rng = Rng::printed(test);
    let dir = Dir::new();
    let collector = Collector::start(Settings::bulk(), faults(rng.fork()));
    let config = dir.config(&format!(
        r#"
        [source.app]
        path = "{{dir}}/app.log"

        [sink.out]
        url = "{}"
        batch = {{ lines = {BATCH_LINES}, linger = "20ms" }}
        concurrency = 1
        retry = {{ base = "10ms", max = "1s" }}
        "#,
        collector.url("/ingest")
    ));
    let plan = writer_plan(&dir, rotation);

    let (agent, kills) = run_through_kills(&dir, &config, &plan, kills, &mut rng);
    collector.wait_lines(plan.writer, plan.n_lines, DRAIN);
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let report = collector.oracle(|oracle| oracle.report(&[(plan.writer, plan.n_lines)]));
    eprintln!("{test}: {kills} kills");
    // What may be in flight at a kill is one batch per connection, and one that was acknowledged a
    // moment before its position was written down.
    report.expect_complete(kills * 2 * BATCH_LINES);
    if kills == 0 {
        report.expect_exact();
    }
}

#[track_caller]
fn wait_writer(mut writer: Child) {
    let status = within("the end of the writer", DRAIN, || {
        writer.try_wait().expect("waits for a writer")
    });
    assert!(status.success(), "the writer failed");
}

#[test]
fn http_without_kills_is_exact_when_keys_are_honoured() {
    http_trial("http, no kill", Rotation::None, 0);
}

#[test]
fn http_loses_nothing_to_twenty_kills() {
    http_trial("http, kills", Rotation::None, 20);
}

#[test]
fn http_with_renames_is_exact() {
    http_trial("http, rename", Rotation::Rename { every: 3_000 }, 0);
}

#[test]
fn http_with_renames_loses_nothing_to_twenty_kills() {
    http_trial("http, rename, kills", Rotation::Rename { every: 2_000 }, 20);
}

#[test]
fn http_with_deleted_files_is_exact() {
    http_trial("http, delete", Rotation::Recreate { every: 6_000 }, 0);
}

#[test]
fn http_with_truncated_copies_is_exact() {
    http_trial(
        "http, copytruncate",
        Rotation::CopyTruncate { every: 6_000 },
        0,
    );
}

#[test]
fn http_with_truncated_copies_loses_nothing_to_twenty_kills() {
    http_trial(
        "http, copytruncate, kills",
        Rotation::CopyTruncate { every: 6_000 },
        20,
    );
}

/// A config that copies `app.log` to `out.log`.
fn file_to_file(dir: &Dir, fsync: &str) -> std::path::PathBuf {
    let batch = format!("batch = {{ lines = {BATCH_LINES}, linger = \"5ms\" }}");
    dir.copy_config(&format!("fsync = \"{fsync}\"\n{batch}"))
}

/// Waits until `out.log` is as long as `expected`, ends the agent, and compares.
#[track_caller]
fn expect_copy(dir: &Dir, agent: Agent, plan: &Plan, expected: &[u8]) {
    // A longer output is wrong as well, and is reported below.
    let wanted = expected.len() as u64;
    let arrived = crate::support::poll(DRAIN, || (dir.size("out.log") >= wanted).then_some(()));
    // The copy may have been whole before this start.
    agent.wait_listening();
    let ended = agent.stop();

    Oracle::file(&dir.path("out.log"))
        .report(&[(plan.writer, plan.n_lines)])
        .expect_exact();
    assert!(
        arrived.is_some(),
        "{} of {wanted} bytes in {DRAIN:?}",
        dir.size("out.log")
    );
    assert!(dir.read("out.log") == expected, "the copy differs");
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

/// File to file under kills.
#[track_caller]
fn copy_trial(test: &str, fsync: &str, rotation: Rotation) {
    let mut rng = Rng::printed(test);
    let dir = Dir::new();
    let config = file_to_file(&dir, fsync);
    let plan = writer_plan(&dir, rotation);

    let (agent, kills) = kill_in_a_loop(&dir, &config, plan.process(), 20, &mut rng);

    eprintln!("{test}: {kills} kills");
    expect_copy(&dir, agent, &plan, plan.text().as_bytes());
}

#[test]
fn a_copy_is_exact_through_twenty_kills() {
    copy_trial("copy, interval", "interval", Rotation::None);
}

#[test]
fn a_copy_with_fsync_per_batch_is_exact_through_twenty_kills() {
    copy_trial("copy, batch", "batch", Rotation::None);
}

#[test]
fn a_copy_of_renamed_files_is_exact_through_twenty_kills() {
    copy_trial(
        "copy, rename",
        "interval",
        Rotation::Rename { every: 2_000 },
    );
}

#[test]
fn a_copy_of_a_backlog_is_exact_through_kills() {
    let mut rng = Rng::printed("copy of a backlog");
    let dir = Dir::new();
    let config = file_to_file(&dir, "never");
    let plan = Plan {
        line_bytes: 300,
        ..Plan::new(dir.path("app.log"), 100_000)
    };
    plan.write();

    for _ in 0..10 {
        let agent = Logweir::run(&dir, &config).start();
        pass(rng.millis(5..150));
        agent.kill();
    }
    let agent = Logweir::run(&dir, &config).start();

    expect_copy(&dir, agent, &plan, plan.text().as_bytes());
}

#[test]
fn sigterm_under_load_ends_well_and_the_restart_continues_exactly() {
    let mut rng = Rng::printed("sigterm");
    let dir = Dir::new();
    let config = file_to_file(&dir, "interval");
    let plan = writer_plan(&dir, Rotation::None);
    let mut writer = plan.process();

    let agent = loop {
        let agent = Logweir::run(&dir, &config).start();
        // Before its first output it may not even listen to signals yet.
        let before = dir.size("out.log");
        let writes = within("output of this start", DRAIN, || {
            let writes = writer.try_wait().expect("waits for a writer").is_none();
            (dir.size("out.log") > before || !writes).then_some(writes)
        });
        if !writes {
            break agent;
        }
        pass(rng.millis(0..500));
        let ended = agent.stop();
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    };

    expect_copy(&dir, agent, &plan, plan.text().as_bytes());
}

#[test]
fn sigterm_while_the_collector_is_down_ends_well_and_loses_nothing() {
    let dir = Dir::new();
    let collector = Collector::start(Settings::default(), |_: &_| {
        crate::support::Answer::refuse(503)
    });
    let config = dir.config(&format!(
        r#"
        [source.app]
        path = "{{dir}}/app.log"

        [sink.out]
        url = "{}"
        batch = {{ lines = {BATCH_LINES}, linger = "5ms" }}
        retry = {{ base = "10ms", max = "100ms" }}
        "#,
        collector.url("/")
    ));
    let plan = Plan::new(dir.path("app.log"), 2_000);
    plan.write();
    let agent = Logweir::run(&dir, &config).start();
    collector.wait_requests(3, DRAIN);

    let ended = agent.stop();
    collector.script(|_: &_| crate::support::Answer::ok());
    let agent = Logweir::run(&dir, &config).start();
    collector.wait_lines(plan.writer, plan.n_lines, DRAIN);

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(agent.stop().code, 0);
    collector
        .oracle(|oracle| oracle.report(&[(plan.writer, plan.n_lines)]))
        .expect_exact();
}

#[test]
fn a_stopped_process_goes_on_where_it_was() {
    let dir = Dir::new();
    let config = file_to_file(&dir, "interval");
    let plan = writer_plan(&dir, Rotation::Rename { every: 3_000 });
    let agent = Logweir::run(&dir, &config).start();
    let writer = plan.process();

    within("output", DRAIN, || (dir.size("out.log") > 0).then_some(()));
    agent.signal(rustix::process::Signal::STOP);
    pass(Duration::from_secs(2));
    agent.signal(rustix::process::Signal::CONT);
    wait_writer(writer);

    expect_copy(&dir, agent, &plan, plan.text().as_bytes());
}
