//! Files that are truncated under logweir: with a copy, without one, and under writers that do not
//! append.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};

use crate::support::{Opened, Plan, Rotation};

use super::{Scene, lost_bytes};

fn truncate(scene: &Scene, name: &str) {
    let file = OpenOptions::new().write(true).open(scene.dir.path(name));
    file.unwrap().set_len(0).unwrap();
}

#[test]
fn truncated_copies_lose_nothing_to_kills() {
    let scene = Scene::new("app.log", "");
    let plan = Plan {
        per_second: 4_000,
        torn: true,
        rotation: Rotation::CopyTruncate { every: 900 },
        ..scene.plan(6_000)
    };

    scene.trial("copytruncate", &plan, 8);
}

#[test]
fn truncated_copies_of_a_writer_that_leaves_holes_lose_nothing() {
    let scene = Scene::new("app.log", "");
    let plan = Plan {
        per_second: 4_000,
        opened: Opened::AtItsOffset,
        rotation: Rotation::CopyTruncate { every: 1_500 },
        ..scene.plan(6_000)
    };

    scene.trial("copytruncate with holes", &plan, 0);
}

#[test]
fn truncations_without_a_copy_lose_nothing_that_was_read() {
    let scene = Scene::new("app.log", "");
    let plan = Plan {
        per_second: 4_000,
        rotation: Rotation::Truncate { every: 500 },
        ..scene.plan(4_000)
    };

    scene.trial("truncate", &plan, 5);
}

// The truncation is seen before the hole is there.
#[test]
fn a_hole_that_comes_after_the_truncation_was_seen_is_passed_over() {
    let scene = Scene::new("app.log", "");
    let first = "x".repeat(9_999) + "\n";
    let mut writer = fs::File::create(scene.dir.path("app.log")).unwrap();
    writer.write_all(first.as_bytes()).unwrap();
    let agent = scene.start();
    scene.expect(&agent, &first);

    truncate(&scene, "app.log");
    agent.wait_said(&["file was truncated"]);
    agent.wait_idle();
    writer.write_all(b"two\n").unwrap();
    scene.expect(&agent, format!("{first}two\n"));
    writer.write_all(b"three\n").unwrap();
    scene.expect(&agent, format!("{first}two\nthree\n"));
    agent.kill();

    writer.write_all(b"four\n").unwrap();
    scene.run(&format!("{first}two\nthree\nfour\n"));
}

#[test]
fn a_hole_that_was_left_while_it_was_stopped_is_passed_over() {
    let scene = Scene::new("app.log", "");
    let first = "x".repeat(9_999) + "\n";
    let mut writer = fs::File::create(scene.dir.path("app.log")).unwrap();
    writer.write_all(first.as_bytes()).unwrap();
    scene.run(&first);

    truncate(&scene, "app.log");
    writer.write_all(b"two\n").unwrap();
    scene.run(&format!("{first}two\n"));
    writer.write_all(b"three\n").unwrap();

    scene.run(&format!("{first}two\nthree\n"));
}

#[test]
fn what_was_unread_at_a_truncation_without_a_copy_is_counted_and_said() {
    let scene = Scene::new("app.log", "");
    let agent = scene.start();
    scene.dir.write("app.log", "one\nunfinished");
    scene.expect(&agent, "one\n");
    agent.wait_idle();

    truncate(&scene, "app.log");
    agent.wait_said(&["bytes were unread when their file went"]);
    scene.dir.append("app.log", "two\n");
    scene.expect(&agent, "one\ntwo\n");
    let ended = agent.stop();

    assert_eq!(lost_bytes(&ended), 10, "{}", ended.stderr);
}

#[test]
fn a_file_that_grew_past_its_old_length_is_read_from_its_start() {
    let scene = Scene::new("app.log", "");
    let first = "first line\n".repeat(100);
    scene.dir.write("app.log", &first);
    let agent = scene.start();
    scene.expect(&agent, &first);

    // One call truncates, one writes more than there was.
    let second = "other line\n".repeat(150);
    scene.dir.write("app.log", &second);
    scene.expect(&agent, format!("{first}{second}"));
    agent.kill();
    let third = "third line\n".repeat(200);
    scene.dir.write("app.log", &third);

    scene.run(&format!("{first}{second}{third}"));
    scene.dir.append("app.log", "more\n");
    scene.run(&format!("{first}{second}{third}more\n"));
}

#[test]
fn a_file_that_is_written_anew_to_the_same_length_is_read_from_its_start() {
    let scene = Scene::new("app.log", "");
    let mut writer = fs::File::create(scene.dir.path("app.log")).unwrap();
    writer.write_all(b"first line\n").unwrap();
    let agent = scene.start();
    scene.expect(&agent, "first line\n");

    // In place, without a truncation.
    writer.seek(SeekFrom::Start(0)).unwrap();
    writer.write_all(b"other line\n").unwrap();

    scene.expect(&agent, "first line\nother line\n");
}
