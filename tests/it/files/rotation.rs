//! Files that are renamed under logweir, from now and then to every few milliseconds.

use crate::support::{Dated, Plan, Rotation};

use super::{Order, Scene};

/// A copy of a file that is rotated 4,000 lines a second, through kills.
#[track_caller]
fn trial(test: &str, rotation: Rotation, kills: u64) {
    let scene = Scene::new("app.log", "");
    let plan = Plan {
        per_second: 4_000,
        torn: true,
        rotation,
        ..scene.plan(6_000)
    };

    scene.trial(test, &plan, kills);
}

#[test]
fn ten_renames_a_second_lose_nothing_to_kills() {
    trial("ten renames a second", Rotation::Rename { every: 400 }, 8);
}

#[test]
fn names_with_a_date_before_the_extension_lose_nothing_to_kills() {
    let names = Dated::BeforeExtension;
    trial("app-DATE.log", Rotation::Dated { every: 800, names }, 5);
}

#[test]
fn names_with_a_date_behind_a_dash_lose_nothing_to_kills() {
    let names = Dated::AfterDash;
    trial("app.log-DATE", Rotation::Dated { every: 800, names }, 5);
}

#[test]
fn names_with_a_date_behind_a_dot_lose_nothing_to_kills() {
    let names = Dated::AfterDot;
    trial("app.log.DATE", Rotation::Dated { every: 800, names }, 5);
}

#[test]
fn a_storm_of_renames_of_which_twenty_are_kept_loses_nothing() {
    let scene = Scene::new("app.log", "");
    let plan = Plan {
        per_second: 15_000,
        rotation: Rotation::Keep {
            every: 60,
            keep: 20,
        },
        ..scene.plan(15_000)
    };

    scene.trial("a rename every 4 ms", &plan, 0);
}

// Of the generations that a kill left unread some are seen out of order in one of some hundred runs
// beside many others: whether every line arrives, and once, is what this proves.
#[test]
fn eighty_renames_a_second_lose_nothing_to_kills() {
    let scene = Scene {
        order: Order::OfEachFile,
        ..Scene::new("app.log", "")
    };
    let plan = Plan {
        per_second: 8_000,
        torn: true,
        rotation: Rotation::Rename { every: 100 },
        ..scene.plan(10_000)
    };

    scene.trial("eighty renames a second", &plan, 6);
}

#[test]
fn a_gap_without_any_file_after_each_rename_loses_nothing() {
    let scene = Scene::new("app.log", "");
    let plan = Plan {
        per_second: 4_000,
        gap_ms: 300,
        rotation: Rotation::Rename { every: 1_000 },
        ..scene.plan(4_000)
    };

    scene.trial("renames with a gap", &plan, 4);
}

// A slow writer holds the old file while the new one is written already.
#[test]
fn old_files_that_are_still_written_to_lose_nothing_to_kills() {
    let scene = Scene::new("app.log", "");
    let plan = Plan {
        per_second: 3_000,
        late_lines: 300,
        rotation: Rotation::Rename { every: 600 },
        ..scene.plan(4_000)
    };

    scene.trial("slow writers", &plan, 5);
}

#[test]
fn a_line_that_is_renamed_in_the_middle_is_finished_in_the_old_file() {
    use std::io::Write;
    let scene = Scene::new("app.log", "rotate_grace = \"30s\"");
    let mut old = std::fs::File::create(scene.dir.path("app.log")).unwrap();
    old.write_all(b"one\ntw").unwrap();
    let agent = scene.start();
    scene.expect(&agent, "one\n");

    std::fs::rename(scene.dir.path("app.log"), scene.dir.path("app.log.1")).unwrap();
    agent.wait_said(&["file was renamed or deleted"]);
    old.write_all(b"o\n").unwrap();
    scene.expect(&agent, "one\ntwo\n");
    scene.dir.write("app.log", "three\n");
    scene.expect(&agent, "one\ntwo\nthree\n");
    agent.kill();

    scene.dir.append("app.log", "four\n");
    scene.run("one\ntwo\nthree\nfour\n");
}

#[test]
fn an_unterminated_last_line_is_sent_after_the_grace_of_its_renamed_file() {
    let scene = Scene::new("app.log", "rotate_grace = \"200ms\"");
    scene.dir.write("app.log", "one\ntwo");
    let agent = scene.start();
    scene.expect(&agent, "one\n");

    std::fs::rename(scene.dir.path("app.log"), scene.dir.path("app.log.1")).unwrap();
    scene.expect(&agent, "one\ntwo\n");
    agent.kill();
    scene.dir.write("app.log", "three\n");

    scene.run("one\ntwo\nthree\n");
}
