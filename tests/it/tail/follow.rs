//! Following: what is appended, created, renamed and truncated while `tail` runs.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::time::{Duration, Instant};

use crate::support::{Agent, Dir, Logweir, PATIENCE, within};

/// `tail -r -n all PATTERN`, after it printed `first`.
#[track_caller]
fn tail_after(dir: &Dir, pattern: &str, first: &str) -> Agent {
    let agent = Logweir::tail(dir, ["-r", "-n", "all", &dir.text(pattern)]).start();
    agent.wait_printed(first.as_bytes());
    agent
}

#[test]
fn appended_lines_arrive() {
    let dir = Dir::new();
    dir.write("app.log", "one\n");
    let agent = tail_after(&dir, "app.log", "one\n");

    dir.append("app.log", "two\nthr");
    agent.wait_printed(b"one\ntwo\n");
    dir.append("app.log", "ee\n");

    agent.wait_printed(b"one\ntwo\nthree\n");
}

#[test]
fn a_late_file_that_matches_the_glob_arrives_within_a_second() {
    let dir = Dir::new();
    dir.write("a.log", "one\n");
    let agent = tail_after(&dir, "*.log", "one\n");

    let start = Instant::now();
    dir.write("late.log", "two\n");
    agent.wait_printed(b"one\ntwo\n");

    // Half a second for a machine on which other tests run.
    let taken = start.elapsed();
    assert!(
        taken < Duration::from_millis(1500),
        "arrived after {taken:?}"
    );
}

#[test]
fn a_late_file_is_read_from_its_start_whatever_n_says() {
    let dir = Dir::new();
    dir.write("a.log", "one\ntwo\n");
    let agent = Logweir::tail(&dir, ["-r", "-n", "1", &dir.text("*.log")]).start();
    agent.wait_printed(b"two\n");

    dir.write("late.log", "three\nfour\n");

    agent.wait_printed(b"two\nthree\nfour\n");
}

#[test]
fn a_renamed_file_is_drained_and_its_successor_followed() {
    let dir = Dir::new();
    let mut old = File::create(dir.path("app.log")).expect("creates a test log");
    old.write_all(b"one\n").expect("writes a test log");
    let agent = tail_after(&dir, "app.log", "one\n");

    fs::rename(dir.path("app.log"), dir.path("app.log.1")).expect("renames a test log");
    old.write_all(b"two\n").expect("writes a test log");
    agent.wait_printed(b"one\ntwo\n");
    dir.write("app.log", "three\n");

    agent.wait_printed(b"one\ntwo\nthree\n");
}

#[test]
fn a_deleted_file_is_drained_and_its_successor_followed() {
    let dir = Dir::new();
    let mut old = File::create(dir.path("app.log")).expect("creates a test log");
    old.write_all(b"one\n").expect("writes a test log");
    let agent = tail_after(&dir, "app.log", "one\n");

    fs::remove_file(dir.path("app.log")).expect("deletes a test log");
    old.write_all(b"two\n").expect("writes a test log");
    agent.wait_printed(b"one\ntwo\n");
    dir.write("app.log", "three\n");

    agent.wait_printed(b"one\ntwo\nthree\n");
}

#[test]
fn a_truncated_file_is_read_from_its_new_start() {
    // Shorter, as long, and longer than what was read before.
    for after in ["two\n", "other first\n", "another line\nand one more\n"] {
        let dir = Dir::new();
        dir.write("app.log", "first line.\n");
        let agent = tail_after(&dir, "app.log", "first line.\n");

        // Opened with O_TRUNC and written at once, as editors and careless scripts do.
        dir.write("app.log", after);

        agent.wait_printed(format!("first line.\n{after}").as_bytes());
    }
}

#[test]
fn a_hole_left_by_a_writer_without_append_is_skipped() {
    let dir = Dir::new();
    let first = "x".repeat(9_999) + "\n";
    let mut writer = File::create(dir.path("app.log")).expect("creates a test log");
    writer
        .write_all(first.as_bytes())
        .expect("writes a test log");
    let agent = tail_after(&dir, "app.log", &first);

    OpenOptions::new()
        .write(true)
        .open(dir.path("app.log"))
        .and_then(|file| file.set_len(0))
        .expect("truncates a test log");
    writer.write_all(b"two\n").expect("writes a test log");

    // The writer goes on at its old offset; before it there is a hole, which holds nothing but the
    // zeros of its last block.
    within("the line after the hole", PATIENCE, || {
        let printed = agent.printed();
        let rest = printed.strip_prefix(first.as_bytes())?;
        let line = rest.strip_suffix(b"two\n")?;
        assert!(
            line.len() < 4096 && line.iter().all(|&byte| byte == 0),
            "{} bytes",
            line.len()
        );
        Some(())
    });
}

#[test]
fn a_file_moved_over_the_path_is_read_whole() {
    let dir = Dir::new();
    dir.write("app.log", "one\n");
    let agent = tail_after(&dir, "app.log", "one\n");

    dir.write("new", "two\nthree\n");
    fs::rename(dir.path("new"), dir.path("app.log")).expect("renames a test log");

    agent.wait_printed(b"one\ntwo\nthree\n");
}

#[test]
fn an_idle_tail_uses_no_processor_time() {
    let dir = Dir::new();
    for n in 0..50 {
        dir.write(&format!("{n}.log"), "");
    }
    dir.write("app.log", "one\n");
    let agent = tail_after(&dir, "*.log", "one\n");
    let before = agent.wait_idle();

    crate::support::pass(Duration::from_secs(2));

    let used = agent.cpu() - before;
    assert!(used <= Duration::from_millis(60), "{used:?} in 2 s");
}
