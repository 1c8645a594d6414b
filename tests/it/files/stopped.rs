//! What is done to files while logweir does not run, several times in a row: the next start reads
//! what is left of each, oldest first, and says what is gone.

use std::fs;
use std::time::{Duration, SystemTime};

use crate::support::{Dated, Plan, Rotation};

use super::{Scene, lost_bytes};

/// Reads a hundred lines, is killed, and starts again after `rotation` happened several times.
#[track_caller]
fn rotated_while_stopped(pattern: &str, rotation: impl Fn(u64) -> Rotation) {
    let scene = Scene::new(pattern, "");
    let all = Plan::new(scene.dir.path("app.log"), 900);
    let before = Plan {
        n_lines: 100,
        ..all.clone()
    };
    before.write();
    scene.run(&before.text());
    let while_stopped = Plan {
        from: 100,
        n_lines: 600,
        // Generations are told apart by their times.
        per_second: 2_500,
        rotation: rotation(100),
        ..all.clone()
    };
    while_stopped.write();
    let agent = scene.start();
    let so_far = Plan {
        n_lines: 700,
        ..all.clone()
    };
    scene.expect(&agent, so_far.text());
    agent.kill();

    let more = Plan {
        from: 700,
        n_lines: 200,
        ..all.clone()
    };
    more.write();
    let agent = scene.start();

    scene.finish(agent, &all);
}

#[test]
fn several_renames_are_read_oldest_first() {
    rotated_while_stopped("app.log", |every| Rotation::Rename { every });
}

#[test]
fn several_renames_that_a_glob_matches_are_read_oldest_first() {
    rotated_while_stopped("app.log*", |every| Rotation::Rename { every });
}

#[test]
fn several_dated_names_are_read_oldest_first() {
    for names in [Dated::BeforeExtension, Dated::AfterDash, Dated::AfterDot] {
        rotated_while_stopped("app.log", |every| Rotation::Dated { every, names });
    }
}

#[test]
fn several_truncated_copies_are_read_oldest_first() {
    rotated_while_stopped("app.log", |every| Rotation::CopyTruncate { every });
}

#[test]
fn several_truncated_copies_that_a_glob_matches_are_read_oldest_first() {
    rotated_while_stopped("app.log*", |every| Rotation::CopyTruncate { every });
}

// The last file that was there is at its end when logweir is stopped in the gap behind it.
#[test]
fn a_generation_that_came_and_went_after_a_gap_is_read() {
    let scene = Scene::new("app.log", "rotate_grace = \"50ms\"");
    let rotate = |to: &str| fs::rename(scene.dir.path("app.log"), scene.dir.path(to)).unwrap();
    scene.dir.write("app.log", "one\ntw");
    let agent = scene.start();
    scene.expect(&agent, "one\n");
    rotate("app.log.3");
    // Its end is told by its unterminated line.
    scene.expect(&agent, "one\ntw\n");
    agent.wait_idle();
    agent.kill();

    scene.dir.write("app.log", "three\n");
    rotate("app.log.2");
    scene.dir.write("app.log", "four\n");

    scene.run("one\ntw\nthree\nfour\n");
}

#[test]
fn empty_files_that_were_rotated_are_passed_over() {
    let scene = Scene::new("app.log", "");
    scene.dir.write("app.log", "one\n");
    scene.run("one\n");

    let rotate = |from: &str, to: &str| {
        fs::rename(scene.dir.path(from), scene.dir.path(to)).unwrap();
    };
    rotate("app.log", "app.log.3");
    scene.dir.write("app.log.2", "");
    scene.dir.write("app.log.1", "");
    scene.dir.write("app.log", "");
    let agent = scene.start();
    agent.wait_said(&["started"]);
    agent.wait_idle();
    rotate("app.log.1", "app.log.4");
    rotate("app.log", "app.log.1");
    scene.dir.write("app.log", "two\n");
    scene.expect(&agent, "one\ntwo\n");
    agent.kill();

    scene.dir.append("app.log", "three\n");
    scene.run("one\ntwo\nthree\n");
}

#[test]
fn what_was_unread_of_a_deleted_file_is_counted_and_said() {
    let scene = Scene::new("*.log", "");
    scene.dir.write("a.log", "one\n");
    scene.dir.write("b.log", "two\n");
    let full = scene.dir.config(
        "[source.app]\npath = \"{dir}/*.log\"\nexclude_path = [\"out.log\"]\n\n\
         [sink.out]\npath = \"/dev/full\"\nformat = \"raw\"\n",
    );
    let stuck = crate::support::Logweir::run(&scene.dir, &full).start();
    stuck.wait_said(&["not delivered"]);
    let ended = stuck.stop();
    assert_eq!(lost_bytes(&ended), 0, "{}", ended.stderr);

    fs::remove_file(scene.dir.path("a.log")).unwrap();
    let config = super::copy_config("*.log", "exclude_path = [\"out.log\"]");
    scene.dir.config(&config);
    let agent = scene.start();
    scene.expect(&agent, "two\n");
    agent.wait_said(&["a file is gone of which something was unread"]);
    let ended = agent.stop();

    assert_eq!(lost_bytes(&ended), 4, "{}", ended.stderr);
}

// Regression. Scenario: a file that is read is rotated or replaced while logweir is stopped. Bug:
// `start` and `ignore_older`, which are about files that were never seen, decided on what had its
// path then: with `start = "end"` all of it was passed over. Fix: a path that had a known file goes
// on at the first byte of the next one.
#[test]
fn what_comes_after_a_known_file_is_read_whole_whatever_start_says() {
    let keys = [
        "start = \"end\"",
        "start = \"-1h\"",
        "ignore_older = \"1h\"",
    ];
    for key in keys {
        for rotate in [true, false] {
            let scene = Scene::new("app.log", key);
            let path = scene.dir.path("app.log");
            let write_old = |text: &str| {
                scene.dir.write("new", text);
                let old = SystemTime::now() - Duration::from_secs(7_200);
                let file = fs::File::options().append(true).open(scene.dir.path("new"));
                file.unwrap().set_modified(old).unwrap();
                fs::rename(scene.dir.path("new"), &path).unwrap();
            };
            write_old("2020-01-01 00:00:00 passed over\n");
            let agent = scene.start();
            agent.wait_said(&["started"]);
            agent.wait_idle();
            scene.dir.append("app.log", "one\n");
            scene.expect(&agent, "one\n");
            agent.kill();

            if rotate {
                fs::rename(&path, scene.dir.path("app.log.1")).unwrap();
            } else {
                fs::remove_file(&path).unwrap();
            }
            write_old("2020-01-01 00:00:00 two\n");

            scene.run("one\n2020-01-01 00:00:00 two\n");
        }
    }
}
