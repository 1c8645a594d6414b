//! Signals to logweir and to its writer while files are rotated.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Plan, Rng, Rotation, line, pass, within};

use super::{DRAIN, Scene};

#[test]
fn sigterm_under_load_and_rotation_ends_well_and_loses_nothing() {
    let mut rng = Rng::printed("sigterm and renames");
    let scene = Scene::new("app.log", "");
    let plan = Plan {
        per_second: 5_000,
        torn: true,
        rotation: Rotation::Rename { every: 700 },
        ..scene.plan(15_000)
    };
    let mut writer = plan.start();

    let agent = loop {
        let agent = scene.start();
        // Before its first output it may not even listen to signals yet.
        let before = scene.dir.size("out.log");
        let ended = within("output of this start", DRAIN, || {
            let ended = writer.ended();
            (scene.dir.size("out.log") > before || ended.is_some()).then_some(ended)
        });
        if let Some(good) = ended {
            assert!(good, "the writer failed");
            break agent;
        }
        pass(rng.millis(0..300));
        let ended = agent.stop();
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    };

    scene.finish(agent, &plan);
}

// With the glob, a file that had moved to another of its names counted as read to its end from before,
// and those that came after it were begun while the rest of it was unread. It is so long here that
// they would arrive in the middle of it.
#[test]
fn the_rest_of_a_renamed_file_comes_before_what_came_after_it() {
    for pattern in ["app.log", "app.log*"] {
        let scene = Scene::new(pattern, "");
        let numbered = |numbers: std::ops::Range<u64>| -> String {
            numbers.map(|n| line(1, n, 200) + "\n").collect()
        };
        let rename = |from: &str, to: &str| {
            fs::rename(scene.dir.path(from), scene.dir.path(to)).unwrap();
        };
        scene.dir.write("app.log", numbered(0..10));
        let agent = scene.start();
        scene.expect(&agent, numbered(0..10));
        agent.wait_idle();

        agent.signal(Signal::STOP);
        scene.dir.append("app.log", numbered(10..20_000));
        rename("app.log", "app.log.1");
        for n in 0..3 {
            scene
                .dir
                .write("app.log", numbered(20_000 + n * 10..20_010 + n * 10));
            for old in (1..=n + 1).rev() {
                rename(&format!("app.log.{old}"), &format!("app.log.{}", old + 1));
            }
            rename("app.log", "app.log.1");
        }
        scene.dir.write("app.log", numbered(20_030..20_040));
        agent.signal(Signal::CONT);

        scene.expect(&agent, numbered(0..20_040));
    }
}

#[test]
fn a_process_that_is_stopped_while_files_are_rotated_reads_all_of_them() {
    for (pattern, rotation) in [
        ("app.log", Rotation::Rename { every: 300 }),
        ("app.log*", Rotation::Rename { every: 300 }),
        ("app.log", Rotation::CopyTruncate { every: 2_000 }),
    ] {
        let mut rng = Rng::printed("stop and continue");
        let scene = Scene::new(pattern, "");
        let plan = Plan {
            per_second: 4_000,
            rotation,
            ..scene.plan(6_000)
        };
        let agent = scene.start();
        let mut writer = plan.start();

        while writer.ended().is_none() {
            agent.signal(Signal::STOP);
            pass(rng.millis(50..600));
            agent.signal(Signal::CONT);
            pass(rng.millis(10..200));
        }

        scene.finish(agent, &plan);
    }
}

#[test]
fn a_writer_that_is_killed_in_the_middle_of_its_lines_is_copied_as_it_wrote() {
    let mut rng = Rng::printed("killed writers");
    let scene = Scene::new("app.log", "");
    let agent = scene.start();
    let plan = Plan {
        per_second: 20_000,
        torn: true,
        ..scene.plan(1_000_000)
    };

    for writer in 1..=4 {
        let before = scene.dir.size("app.log");
        let plan = Plan {
            writer,
            ..plan.clone()
        };
        let writer = plan.start();
        within("lines of this writer", DRAIN, || {
            (scene.dir.size("app.log") > before).then_some(())
        });
        pass(rng.millis(0..200));
        writer.kill();
    }
    scene.dir.append("app.log", "\n");

    let written = scene.dir.read("app.log");
    within("the copy", DRAIN, || {
        (scene.dir.size("out.log") >= written.len() as u64).then_some(())
    });
    assert!(scene.dir.read("out.log") == written, "cmp");
    let ended = agent.stop();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

#[test]
fn modification_times_that_jump_both_ways_change_nothing() {
    let scene = Scene::new("*.log", "exclude_path = [\"out.log\"]");
    let at = |seconds: u64| std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let touch = |name: &str, seconds| {
        let file = std::fs::File::open(scene.dir.path(name)).unwrap();
        file.set_modified(at(seconds)).unwrap();
    };
    scene.dir.write("app.log", "0\n");
    let agent = scene.start();
    let mut so_far = String::from("0\n");
    scene.expect(&agent, &so_far);

    // 1970, 2100, 2001, now and then; the directory's, too.
    for (n, seconds) in [1, 4_102_444_800, 1_000_000_000, 4_000_000_000, 0]
        .into_iter()
        .enumerate()
    {
        touch("app.log", seconds);
        touch(".", seconds);
        let line = format!("line {n}\n");
        scene.dir.append("app.log", &line);
        touch("app.log", seconds);
        so_far.push_str(&line);
        scene.expect(&agent, &so_far);
        let new = format!("new {n}\n");
        scene.dir.write(&format!("{n}.log"), &new);
        // As `rsync -a` and `tar -x` leave it.
        touch(".", seconds);
        so_far.push_str(&new);
        scene.expect(&agent, &so_far);
    }
    agent.kill();
    touch("app.log", 1);
    scene.dir.append("app.log", "last\n");
    touch("app.log", 1);

    scene.run(&format!("{so_far}last\n"));
}
