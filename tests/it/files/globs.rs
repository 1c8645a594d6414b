//! Globs that match what rotation leaves behind, and files whose content is the same.

use std::fs;

use crate::support::{Plan, Rotation};

use super::{Order, Scene};

#[track_caller]
fn trial(test: &str, rotation: Rotation, kills: u64) {
    let mut scene = Scene::new("app.log*", "");
    if kills > 0 {
        scene.order = Order::OfEachFile;
    }
    let plan = Plan {
        per_second: 4_000,
        torn: true,
        rotation,
        ..scene.plan(6_000)
    };

    scene.trial(test, &plan, kills);
}

#[test]
fn renamed_files_that_the_glob_matches_are_read_once() {
    trial("glob, rename", Rotation::Rename { every: 500 }, 0);
}

#[test]
fn renamed_files_that_the_glob_matches_are_read_once_through_kills() {
    trial("glob, rename, kills", Rotation::Rename { every: 500 }, 8);
}

#[test]
fn truncated_copies_that_the_glob_matches_are_read_once() {
    trial(
        "glob, copytruncate",
        Rotation::CopyTruncate { every: 900 },
        0,
    );
}

#[test]
fn truncated_copies_that_the_glob_matches_are_read_once_through_kills() {
    let rotation = Rotation::CopyTruncate { every: 900 };
    trial("glob, copytruncate, kills", rotation, 8);
}

#[test]
fn a_header_that_every_generation_has_joins_none_of_them() {
    for pattern in ["app.log", "app.log*"] {
        let scene = Scene::new(pattern, "");
        let header = "# the same first lines\n".repeat(100);
        let mut so_far = String::new();
        let agent = scene.start();
        for n in 0..5 {
            let text = format!("{header}line {n}\n");
            scene.dir.write("app.log", &text);
            so_far.push_str(&text);
            scene.expect(&agent, &so_far);
            fs::rename(
                scene.dir.path("app.log"),
                scene.dir.path(&format!("app.log.{}", 9 - n)),
            )
            .unwrap();
        }
        agent.kill();

        let text = format!("{header}last line\n");
        scene.dir.write("app.log", &text);
        so_far.push_str(&text);
        scene.run(&so_far);
        scene.dir.append("app.log", "more\n");
        scene.run(&format!("{so_far}more\n"));
    }
}

#[test]
fn small_files_with_the_same_content_are_each_read_once() {
    const FILES: usize = 200;
    let scene = Scene::new("*.job", "");
    let name = |n: usize| format!("{n:03}.job");
    for n in 0..FILES / 2 {
        scene.dir.write(&name(n), "done\n");
    }
    let agent = scene.start();
    scene.expect(&agent, "done\n".repeat(FILES / 2));

    for n in FILES / 2..FILES {
        scene.dir.write(&name(n), "done\n");
    }
    let all = "done\n".repeat(FILES);
    scene.expect(&agent, &all);
    agent.kill();
    // One is gone, one is new, one is moved over another, one grew.
    scene.dir.write("new.job", "done\n");
    fs::remove_file(scene.dir.path(&name(0))).unwrap();
    fs::rename(scene.dir.path(&name(1)), scene.dir.path(&name(2))).unwrap();
    scene.dir.append(&name(3), "again\n");
    let agent = scene.start();
    agent.wait_said(&["started"]);
    let out = || String::from_utf8_lossy(&scene.dir.read("out.log")).into_owned();
    let wanted = all.len() + "again\ndone\n".len();
    crate::support::within("two more lines", super::DRAIN, || {
        (out().len() >= wanted).then_some(())
    });
    agent.wait_idle();
    agent.kill();

    let mut new: Vec<_> = out()[all.len()..].lines().map(str::to_owned).collect();
    new.sort();
    assert_eq!(new, ["again", "done"]);
}
