//! The state directory: one owner, made when missing, and mended when damaged.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::support::{Collector, Dir, Logweir, Oracle, PATIENCE, Plan, within};

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

    second.failed(78, &[&first.id().to_string(), &dir.text("state")]);
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
fn a_state_directory_that_cannot_be_made_is_a_clear_error() {
    let dir = Dir::new();
    dir.write("app.log", "one\n");
    dir.write("file", "");

    let ended = Logweir::run(&dir, &config(&dir, "file/state")).ended();

    ended.failed(78, &[&dir.text("file/state"), "ot a directory"]);
}

#[test]
fn a_state_directory_that_cannot_be_written_is_a_clear_error() {
    let dir = Dir::new();
    dir.write("app.log", "one\n");
    fs::create_dir(dir.path("state")).unwrap();
    for (name, mode) in [("state", 0o555), ("", 0o755)] {
        fs::set_permissions(dir.path(name), Permissions::from_mode(mode)).unwrap();
    }
    let config = config(&dir, "state");
    // Root may write everywhere, so it becomes nobody.
    let script = if geteuid().is_root() {
        r#"exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@""#
    } else {
        r#"exec "$@""#
    };

    let ended = Logweir::shell(&dir, script, ["run", "-c", config.to_str().unwrap()]).ended();

    ended.failed(78, &[&dir.text("state"), "ermission denied"]);
}

/// Delivers some lines, does `damage` to every state file, and checks that the next start says
/// something, delivers everything that is new, and misses nothing that is old.
#[track_caller]
fn damage_trial(damage: impl Fn(&Path)) {
    let dir = Dir::new();
    let config = config(&dir, "state");
    let plan = Plan::new(dir.path("app.log"), 1_000);
    plan.write();
    let agent = Logweir::run(&dir, &config).start();
    wait_size(&dir, dir.size("app.log"));
    agent.kill();

    let damaged: Vec<_> = dir.files_below("state");
    let damaged: Vec<_> = damaged.iter().filter(|file| is_record(file)).collect();
    assert!(
        !damaged.is_empty(),
        "there is no state in {:?}",
        dir.files_below("state")
    );
    damaged.iter().for_each(|file| damage(file));
    let said_before = dir.read("stderr").len();
    let agent = Logweir::run(&dir, &config).start();
    Plan {
        from: 1_000,
        ..plan
    }
    .write();
    within("the new lines", 2 * PATIENCE, || {
        dir.read("out.log")
            .ends_with(&last_bytes(&dir, "app.log"))
            .then_some(())
    });
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let said = &ended.stderr[said_before..];
    assert!(
        said.contains(&dir.text("state")),
        "nothing about the state in:\n{said}"
    );
    // Reading again from the start is allowed; a line that is lost is not.
    Oracle::file(&dir.path("out.log"))
        .report(&[(1, 2_000)])
        .expect_complete(1_000);
}

fn is_record(file: &Path) -> bool {
    let is_lock = file
        .file_name()
        .is_some_and(|name| name.to_string_lossy().contains("lock"));
    !is_lock && fs::metadata(file).is_ok_and(|meta| meta.len() > 0)
}

fn last_bytes(dir: &Dir, name: &str) -> Vec<u8> {
    let bytes = dir.read(name);
    bytes[bytes.len().saturating_sub(100)..].to_vec()
}

/// Replaces the bytes from `at` on by `by`.
fn overwrite(file: &Path, at: usize, by: &[u8]) {
    let mut bytes = fs::read(file).unwrap();
    for (byte, new) in bytes[at..].iter_mut().zip(by) {
        *byte = *new;
    }
    fs::write(file, bytes).unwrap();
}

#[test]
fn garbage_in_the_middle_is_survived() {
    damage_trial(|file| {
        let middle = fs::metadata(file).unwrap().len() as usize / 2;
        overwrite(file, middle, b"\xff\x00garbage\xff\x00");
    });
}

#[test]
fn a_foreign_header_is_survived() {
    damage_trial(|file| overwrite(file, 0, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"));
}

#[test]
fn a_journal_of_a_newer_version_is_kept_aside_and_survived() {
    let newer = "logweir-journal 9\n";
    damage_trial(|file| {
        let journal = fs::read_to_string(file).unwrap();
        let records = journal
            .strip_prefix("logweir-journal 1\n")
            .expect("has its header");
        fs::write(file, [newer, records].concat()).unwrap();
    });
}

#[test]
fn a_file_of_noise_is_survived() {
    damage_trial(|file| {
        let mut rng = crate::support::Rng::seeded(7);
        let noise: Vec<u8> = (0..10_000).map(|_| rng.next() as u8).collect();
        fs::write(file, noise).unwrap();
    });
}

#[test]
fn a_file_that_became_a_directory_is_survived() {
    damage_trial(|file| {
        fs::remove_file(file).unwrap();
        fs::create_dir(file).unwrap();
    });
}

#[test]
fn a_torn_tail_costs_at_most_its_record() {
    for bytes in [1, 3, 10] {
        let dir = Dir::new();
        let config = config(&dir, "state");
        let plan = Plan::new(dir.path("app.log"), 1_000);
        plan.write();
        let agent = Logweir::run(&dir, &config).start();
        wait_size(&dir, dir.size("app.log"));
        agent.kill();

        for file in dir
            .files_below("state")
            .iter()
            .filter(|file| is_record(file))
        {
            let kept = fs::metadata(file).unwrap().len().saturating_sub(bytes);
            fs::OpenOptions::new()
                .write(true)
                .open(file)
                .unwrap()
                .set_len(kept)
                .unwrap();
        }
        let agent = Logweir::run(&dir, &config).start();
        Plan {
            from: 1_000,
            ..plan
        }
        .write();
        within("the new lines", 2 * PATIENCE, || {
            dir.read("out.log")
                .ends_with(&last_bytes(&dir, "app.log"))
                .then_some(())
        });
        let ended = agent.stop();

        assert_eq!(ended.code, 0, "{}", ended.stderr);
        Oracle::file(&dir.path("out.log"))
            .report(&[(1, 2_000)])
            .expect_complete(1_000);
    }
}

#[test]
fn empty_state_files_are_a_first_start() {
    let dir = Dir::new();
    let config = config(&dir, "state");
    Plan::new(dir.path("app.log"), 1_000).write();
    let agent = Logweir::run(&dir, &config).start();
    wait_size(&dir, dir.size("app.log"));
    agent.kill();

    for file in dir.files_below("state") {
        fs::write(file, "").unwrap();
    }
    let agent = Logweir::run(&dir, &config).start();
    Plan {
        from: 1_000,
        ..Plan::new(dir.path("app.log"), 1_000)
    }
    .write();
    within("the new lines", 2 * PATIENCE, || {
        dir.read("out.log")
            .ends_with(&last_bytes(&dir, "app.log"))
            .then_some(())
    });
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    Oracle::file(&dir.path("out.log"))
        .report(&[(1, 2_000)])
        .expect_complete(1_000);
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
