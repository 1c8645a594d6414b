//! The state directory: one owner, made when missing, and mended when damaged.

mod damage;
mod unusable;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::support::{Collector, Dir, Logweir, PATIENCE, Plan, within};

/// `app.log` to `out.log`, with the state in `{dir}/STATE`.
fn config(dir: &Dir, state: &str) -> PathBuf {
    dir.bare_config(&format!(
        "[agent]\nstate = \"{{dir}}/{state}\"\n\n[source.app]\npath = \"{{dir}}/app.log\"\n\n\
         [sink.out]\npath = \"{{dir}}/out.log\"\nformat = \"raw\"\n"
    ))
}

#[track_caller]
fn wait_size(dir: &Dir, bytes: u64) {
    within("the output", PATIENCE, || {
        (dir.size("out.log") >= bytes).then_some(())
    });
}

#[test]
fn a_second_process_says_who_holds_the_state() {
    let dir = Dir::new();
    dir.write("app.log", "one\n");
    let config = config(&dir, "state");
    let first = Logweir::run(&dir, &config).start();
    wait_size(&dir, 4);

    let second = Logweir::run(&dir, &config).ended();

    let pid = format!("pid {}", first.id());
    second.failed(78, &[&pid, &dir.text("state"), "in use", "stop that one"]);
    assert_eq!(dir.read("out.log"), b"one\n");
    first.kill();
}

#[test]
fn the_state_of_a_killed_process_is_free() {
    let dir = Dir::new();
    dir.write("app.log", "one\n");
    let config = config(&dir, "state");
    let first = Logweir::run(&dir, &config).start();
    wait_size(&dir, 4);

    first.kill();
    let second = Logweir::run(&dir, &config).start();
    dir.append("app.log", "two\n");
    wait_size(&dir, 8);

    assert_eq!(dir.read("out.log"), b"one\ntwo\n");
    second.kill();
}

#[test]
fn a_missing_state_directory_is_created_for_its_owner_only() {
    let dir = Dir::new();
    dir.write("app.log", "one\n");

    let agent = Logweir::run(&dir, &config(&dir, "a/b/state")).start();
    wait_size(&dir, 4);
    assert_eq!(agent.stop().code, 0);

    let mode = fs::metadata(dir.path("a/b/state"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o750, "{mode:o}");
    for file in dir.files_below("a/b/state") {
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o137, 0, "{}: {mode:o}", file.display());
    }
}

#[test]
fn positions_survive_many_starts() {
    let dir = Dir::new();
    let collector = Collector::willing();
    let config = dir.config(&format!(
        "[source.app]\npath = \"{{dir}}/*.log\"\n\n[sink.out]\nurl = \"{}\"\n\
         batch = {{ linger = \"5ms\" }}\n",
        collector.url("/")
    ));

    for start in 0..10 {
        let agent = Logweir::run(&dir, &config).start();
        for writer in 0..5 {
            let path = dir.path(&format!("{writer}.log"));
            Plan {
                writer,
                from: start * 20,
                ..Plan::new(path, 20)
            }
            .write();
        }
        for writer in 0..5 {
            collector.wait_lines(writer, (start + 1) * 20, PATIENCE);
        }
        assert_eq!(agent.stop().code, 0);
    }

    let written: Vec<_> = (0..5).map(|writer| (writer, 200)).collect();
    collector
        .oracle(|oracle| oracle.report(&written))
        .expect_exact();
}
