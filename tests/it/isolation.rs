//! One slow or dead sink never harms another, and never costs memory.

use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{
    Answer, Collector, Dir, Logweir, Oracle, PATIENCE, Plan, Request, ReservedPort, Settings, pass,
    within,
};

/// What the other sink may be late while one is dead.
const LAG_MAX: Duration = Duration::from_secs(1);
/// TARGETS: at most 32 MB resident whatever the peers do, of which 8 are the release program's.
const PEAK_KIB_MAX: u64 = 24 << 10;
/// How long all lines may take in the end.
const DRAIN: Duration = Duration::from_secs(60);

/// True where an hour-long run was asked for instead of the default one.
fn long() -> bool {
    std::env::var_os("LOGWEIR_TEST_LONG").is_some()
}

fn outage() -> Duration {
    Duration::from_secs(if long() { 60 } else { 5 })
}

/// A big file of numbered lines.
fn big(dir: &Dir) -> Plan {
    let bytes: u64 = if long() { 1 << 30 } else { 64 << 20 };
    let line_bytes = 1000;
    let plan = Plan::new(dir.path("app.log"), bytes / (line_bytes + 1));
    Plan {
        line_bytes: line_bytes as usize,
        ..plan
    }
}

/// `app.log` to `out.log` and to `url`.
fn two_sinks(dir: &Dir, url: &str) -> std::path::PathBuf {
    dir.config(&format!(
        r#"
        [source.app]
        path = "{{dir}}/app.log"

        [sink.archive]
        path = "{{dir}}/out.log"
        format = "raw"

        [sink.collector]
        url = "{url}"
        format = "raw"
        batch = {{ linger = "20ms" }}
        retry = {{ base = "50ms", max = "500ms" }}
        "#
    ))
}

/// Writes 1,000 lines a second during an outage that `recover` ends, while the file sink must keep
/// up; in the end both have every line once.
#[track_caller]
fn outage_trial(url: &str, dir: &Dir, recover: impl FnOnce() -> Collector) {
    let plan = Plan::new(dir.path("app.log"), outage().as_secs() * 1_000);
    let agent = Logweir::run(dir, &two_sinks(dir, url)).start();
    dir.append("app.log", "w2 0 5 \"quoted\"\n");
    within("the first line", PATIENCE, || {
        (dir.size("out.log") > 0).then_some(())
    });

    let writer = Plan {
        per_second: 1_000,
        ..plan.clone()
    }
    .spawn();
    let end = Instant::now() + outage();
    let mut lag_max = Duration::ZERO;
    while Instant::now() < end {
        let written = dir.size("app.log");
        let start = Instant::now();
        within("the archive to catch up", DRAIN, || {
            (dir.size("out.log") >= written).then_some(())
        });
        lag_max = lag_max.max(start.elapsed());
        pass(Duration::from_millis(5));
    }
    writer.join().expect("the writer writes everything");
    let collector = recover();
    collector.wait_lines(plan.writer, plan.n_lines, DRAIN);
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(lag_max <= LAG_MAX, "the archive was {lag_max:?} late");
    let lines = [(plan.writer, plan.n_lines), (2, 1)];
    Oracle::file(&dir.path("out.log"))
        .report(&lines)
        .expect_exact();
    collector
        .oracle(|oracle| oracle.report(&lines))
        .expect_exact();
}

#[test]
fn an_archive_keeps_up_while_the_collector_refuses_connections() {
    let dir = Dir::new();
    let port = ReservedPort::new();

    outage_trial(&port.url("/"), &dir, || {
        port.listen(Settings::raw(), |_: &Request| Answer::ok())
    });
}

#[test]
fn an_archive_keeps_up_while_the_collector_is_unavailable() {
    let dir = Dir::new();
    let collector = Collector::start(Settings::raw(), |_: &Request| Answer::refuse(503));

    outage_trial(&collector.url("/"), &dir, || {
        collector.script(|_: &Request| Answer::ok());
        collector
    });
}

#[test]
fn a_stalled_collector_costs_no_memory_and_loses_nothing() {
    let dir = Dir::new();
    let plan = big(&dir);
    plan.write();
    let bytes = dir.size("app.log");
    let collector = Collector::start(
        Settings {
            keep_bodies: false,
            ..Settings::raw()
        },
        |_: &Request| Answer::ok(),
    );
    collector.hold();

    let agent = Logweir::run(&dir, &two_sinks(&dir, &collector.url("/"))).start();
    within("the archive to be complete", DRAIN, || {
        (dir.size("out.log") >= bytes).then_some(())
    });
    agent.wait_idle();
    let peak_kib = agent.peak_kib();
    collector.release();
    collector.wait_lines(plan.writer, plan.n_lines, DRAIN);
    let peak_kib_after = agent.peak_kib();
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(
        dir.read("out.log") == dir.read("app.log"),
        "the archive differs"
    );
    collector
        .oracle(|oracle| oracle.report(&[(plan.writer, plan.n_lines)]))
        .expect_exact();
    let peaks = format!("{peak_kib} KiB while stalled, {peak_kib_after} KiB in all");
    assert!(peak_kib_after <= PEAK_KIB_MAX, "{peaks}");
}

#[test]
fn an_unread_standard_output_costs_no_memory_and_loses_nothing() {
    let dir = Dir::new();
    big(&dir).write();
    let tail = Logweir::tail(
        &dir,
        ["-r", "-n", "all", "--no-follow", &dir.text("app.log")],
    );
    let mut agent = tail.stdout(Stdio::piped()).start();

    agent.wait_idle();
    let peak_kib = agent.peak_kib();
    let mut printed = Vec::new();
    agent
        .pipe()
        .read_to_end(&mut printed)
        .expect("reads a pipe");
    let ended = agent.wait();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(
        printed == dir.read("app.log"),
        "{} bytes were printed",
        printed.len()
    );
    assert!(peak_kib <= PEAK_KIB_MAX, "{peak_kib} KiB");
}

#[test]
fn two_files_with_one_source_each_do_not_wait_for_each_other() {
    let dir = Dir::new();
    let collector = Collector::willing();
    collector.hold();
    let config = dir.config(&format!(
        r#"
        [source]
        slow = "{{dir}}/slow.log"
        quick = "{{dir}}/quick.log"

        [sink.dead]
        url = "{}"
        from = ["slow"]

        [sink.archive]
        path = "{{dir}}/out.log"
        format = "raw"
        from = ["quick"]
        "#,
        collector.url("/")
    ));
    Plan {
        writer: 2,
        ..Plan::new(dir.path("slow.log"), 200_000)
    }
    .write();
    let quick = Plan::new(dir.path("quick.log"), 10_000);
    quick.write();
    let wanted = dir.size("quick.log");

    let agent = Logweir::run(&dir, &config).start();
    within("the quick sink", PATIENCE, || {
        (dir.size("out.log") >= wanted).then_some(())
    });

    assert!(
        dir.read("out.log") == quick.text().as_bytes(),
        "the archive differs"
    );
    agent.kill();
}
