//! The file sink: appends, never cuts what is not its own, and mends what it tore.

mod aside;
mod fsync;
mod kills;
mod merged;
mod others;
mod outputs;
mod power;
mod rotating;
mod streams;
mod undone;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::support::{Agent, Dir, Logweir, Oracle, PATIENCE, Plan, read, within};

/// `app.log` to `path`, raw.
fn config(dir: &Dir, path: &str) -> PathBuf {
    dir.config(&format!(
        "[source.app]\npath = \"{{dir}}/app.log\"\n\n[sink.out]\npath = \"{path}\"\nformat = \"raw\"\n"
    ))
}

/// Waits until `path` ends with `bytes`.
#[track_caller]
fn wait_end(path: &Path, bytes: &[u8]) {
    within("the last line in the output", PATIENCE, || {
        read(path).ends_with(bytes).then_some(())
    });
}

/// The last of some lines: ends of lines are alike, whole ones are not.
fn last_line(text: &str) -> &[u8] {
    let before = text.strip_suffix('\n').and_then(|it| it.rfind('\n'));
    &text.as_bytes()[before.map_or(0, |newline| newline + 1)..]
}

fn start(dir: &Dir) -> Agent {
    Logweir::run(dir, &config(dir, "{dir}/out.log")).start()
}

#[test]
fn lines_are_appended_to_what_is_there() {
    let dir = Dir::new();
    dir.write("out.log", "before\n");
    dir.write("app.log", "one\ntwo\n");

    let agent = start(&dir);
    wait_end(&dir.path("out.log"), b"two\n");
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(dir.read("out.log"), b"before\none\ntwo\n");
}

#[test]
fn a_new_output_is_not_for_everybody() {
    let dir = Dir::new();
    dir.write("app.log", "one\n");

    let agent = start(&dir);
    wait_end(&dir.path("out.log"), b"one\n");

    let mode = fs::metadata(dir.path("out.log"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o137, 0, "{mode:o}");
    agent.kill();
}

#[test]
fn json_is_the_default_format() {
    let dir = Dir::new();
    dir.write("app.log", "one\n");
    let config =
        dir.config("[source]\napp = \"{dir}/app.log\"\n\n[sink]\narchive = \"{dir}/all.ndjson\"\n");

    let agent = Logweir::run(&dir, &config).start();
    wait_end(&dir.path("all.ndjson"), b"}\n");

    let record: serde_json::Value = serde_json::from_slice(&dir.read("all.ndjson")).unwrap();
    assert_eq!(
        (&record["_source"], &record["_msg"]),
        (&"app".into(), &"one".into())
    );
    agent.kill();
}

#[test]
fn bytes_that_others_appended_are_never_cut() {
    let dir = Dir::new();
    dir.write("app.log", "one\ntwo\n");
    let agent = start(&dir);
    wait_end(&dir.path("out.log"), b"two\n");

    agent.kill();
    dir.append("out.log", "foreign\nand unterminated");
    dir.append("app.log", "three\n");
    let agent = start(&dir);
    wait_end(&dir.path("out.log"), b"three\n");
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let out = String::from_utf8(dir.read("out.log")).unwrap();
    assert!(
        out.starts_with("one\ntwo\nforeign\nand unterminated"),
        "{out}"
    );
    assert_eq!(out.matches("three\n").count(), 1, "{out}");
}

#[test]
fn an_output_that_others_replaced_is_never_cut() {
    for replacement in [
        "shorter",
        "one\nTWO\n",
        "something that is longer than before\n",
    ] {
        let dir = Dir::new();
        dir.write("app.log", "one\ntwo\n");
        let agent = start(&dir);
        wait_end(&dir.path("out.log"), b"two\n");

        agent.kill();
        dir.write("other", replacement);
        fs::rename(dir.path("other"), dir.path("out.log")).unwrap();
        dir.append("app.log", "three\n");
        let agent = start(&dir);
        wait_end(&dir.path("out.log"), b"three\n");

        let out = String::from_utf8(dir.read("out.log")).unwrap();
        assert!(out.starts_with(replacement), "{out}");
        agent.kill();
    }
}

#[test]
fn a_renamed_output_is_made_anew_and_nothing_is_lost() {
    let dir = Dir::new();
    dir.write("app.log", "one\n");
    let agent = start(&dir);
    wait_end(&dir.path("out.log"), b"one\n");

    fs::rename(dir.path("out.log"), dir.path("out.log.1")).unwrap();
    let mut n_lines = 0;
    within("a new output", PATIENCE, || {
        dir.append("app.log", format!("more {n_lines}\n"));
        n_lines += 1;
        dir.path("out.log").exists().then_some(())
    });
    dir.append("app.log", "last\n");
    wait_end(&dir.path("out.log"), b"last\n");

    let both = [dir.read("out.log.1"), dir.read("out.log")].concat();
    assert_eq!(
        String::from_utf8_lossy(&both),
        String::from_utf8_lossy(&dir.read("app.log"))
    );
    agent.kill();
}

#[test]
fn a_full_disk_is_a_pause_that_loses_nothing() {
    let dir = Dir::new();
    let plan = Plan::new(dir.path("app.log"), 5_000);
    plan.write();
    let mut agent = Logweir::run(&dir, &config(&dir, "/dev/full")).start();

    agent.wait_said(&["out", "o space left"]);
    agent.wait_idle();
    assert!(agent.status().is_none(), "it ended: {}", agent.said());
    assert_eq!(
        agent.said().matches("o space left").count(),
        1,
        "{}",
        agent.said()
    );
    let ended = agent.stop();
    assert_eq!(ended.code, 0, "{}", ended.stderr);

    let agent = start(&dir);
    let last = plan.text();
    wait_end(&dir.path("out.log"), last_line(&last));
    agent.kill();
    Oracle::file(&dir.path("out.log"))
        .report(&[(1, 5_000)])
        .expect_exact();
}

#[test]
fn a_torn_batch_is_saved_and_cut() {
    let dir = Dir::new();
    let plan = Plan::new(dir.path("app.log"), 5_000);
    plan.write();
    let config = config(&dir, "{dir}/out.log");
    // A file may grow to 128 blocks of 512 bytes: the first batch is larger, its write is torn
    // there, and the next one ends the process by SIGXFSZ (or fails, where that is ignored).
    let script = r#"ulimit -c 0; ulimit -f 128; exec "$@""#;
    let config_text = config.to_str().unwrap();
    let mut torn = Logweir::shell(&dir, script, ["run", "-c", config_text]).start();

    within("a torn write", PATIENCE, || {
        (dir.size("out.log") > 0).then_some(())
    });
    torn.wait_idle_or_end();
    torn.kill();
    let before = dir.read("out.log");
    assert!(before.len() < plan.text().len(), "nothing was torn");
    let agent = Logweir::run(&dir, &config).start();
    let last = plan.text();
    wait_end(&dir.path("out.log"), last_line(&last));
    agent.kill();

    assert!(dir.read("out.log") == last.as_bytes(), "the copy differs");
    let cut: Vec<u8> = dir
        .files_below("state/cut")
        .iter()
        .flat_map(|file| read(file))
        .collect();
    assert!(
        !cut.is_empty() && before.ends_with(&cut),
        "{} bytes were saved",
        cut.len()
    );
}

#[test]
fn own_outputs_are_never_read() {
    let dir = Dir::new();
    dir.write("app.log", "one\n");
    let config = dir.config(
        "[source.all]\npath = \"{dir}/*.log\"\n\n[sink.out]\npath = \"{dir}/out.log\"\n\
         format = \"raw\"\n",
    );

    let agent = Logweir::run(&dir, &config).start();
    wait_end(&dir.path("out.log"), b"one\n");
    agent.wait_idle();
    dir.append("app.log", "two\n");
    wait_end(&dir.path("out.log"), b"two\n");
    agent.wait_idle();
    agent.kill();
    let agent = Logweir::run(&dir, &config).start();
    dir.append("app.log", "three\n");
    wait_end(&dir.path("out.log"), b"three\n");
    agent.wait_idle();

    assert_eq!(
        String::from_utf8_lossy(&dir.read("out.log")),
        "one\ntwo\nthree\n"
    );
    agent.kill();
}

#[test]
fn several_starts_with_nothing_new_add_nothing() {
    let dir = Dir::new();
    dir.write("app.log", "one\n");

    for _ in 0..3 {
        let agent = start(&dir);
        wait_end(&dir.path("out.log"), b"one\n");
        agent.wait_idle();
        assert_eq!(agent.stop().code, 0);
    }

    assert_eq!(dir.read("out.log"), b"one\n");
}

#[test]
fn a_new_sink_starts_where_the_others_are_unless_it_asks_for_more() {
    let dir = Dir::new();
    dir.write("app.log", "one\n");
    let agent = start(&dir);
    wait_end(&dir.path("out.log"), b"one\n");
    assert_eq!(agent.stop().code, 0);

    let both = dir.config(
        "[source.app]\npath = \"{dir}/app.log\"\n\n\
         [sink.out]\npath = \"{dir}/out.log\"\nformat = \"raw\"\n\n\
         [sink.new]\npath = \"{dir}/new.log\"\nformat = \"raw\"\n",
    );
    let agent = Logweir::run(&dir, &both).start();
    agent.wait_said(&["new"]);
    dir.append("app.log", "two\n");
    wait_end(&dir.path("new.log"), b"two\n");
    wait_end(&dir.path("out.log"), b"two\n");

    assert_eq!(dir.read("new.log"), b"two\n");
    assert_eq!(dir.read("out.log"), b"one\ntwo\n");
    agent.kill();
}

#[test]
fn a_missing_folder_of_an_output_is_made() {
    let dir = Dir::new();
    dir.write("app.log", "one\n");

    let agent = Logweir::run(&dir, &config(&dir, "{dir}/some/where/out.log")).start();
    wait_end(&dir.path("some/where/out.log"), b"one\n");

    agent.kill();
}

#[test]
fn a_symbolic_link_as_output_is_written_through() {
    let dir = Dir::new();
    dir.write("app.log", "one\n");
    dir.write("real.log", "");
    std::os::unix::fs::symlink(dir.path("real.log"), dir.path("out.log")).unwrap();

    let agent = start(&dir);
    wait_end(&dir.path("real.log"), b"one\n");

    let link = fs::symlink_metadata(dir.path("out.log")).unwrap();
    assert!(link.file_type().is_symlink());
    agent.kill();
}
