//! Disks that are full: the source pauses, says so, and goes on where it was.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::support::{Agent, Oracle, Plan, Rotation, within};

use super::namespace::{MOUNTS, allowed, seen_by, tmpfs};
use super::{DRAIN, Scene};

/// Fills a disk to its last byte with a file, which is returned.
fn fill(dir: &Path) -> std::path::PathBuf {
    let path = dir.join("filler");
    let mut file = File::create(&path).unwrap();
    for block in [vec![b'x'; 4096], vec![b'x'; 1]] {
        while file.write_all(&block).is_ok() {}
    }
    path
}

/// Waits for the whole copy of a plan at `out`.
#[track_caller]
fn expect_all(agent: &Agent, plan: &Plan, out: &Path) {
    let wanted = plan.text().len() as u64;
    let len = || fs::metadata(out).map_or(0, |meta| meta.len());
    let arrived = crate::support::poll(DRAIN, || (len() >= wanted).then_some(()));
    assert!(
        arrived.is_some(),
        "{} of {wanted} bytes\n{}",
        len(),
        agent.said()
    );
    Oracle::file(out)
        .report(&[(plan.writer, plan.n_lines)])
        .expect_exact();
}

#[test]
fn a_full_output_disk_pauses_and_loses_nothing() {
    if !allowed("full output", &MOUNTS, "mount -t tmpfs tiny /mnt") {
        return;
    }
    let scene = Scene::new("app.log", "");
    fs::create_dir(scene.dir.path("small")).unwrap();
    let toml = super::copy_config("app.log", "").replace("/out.log", "/small/out.log");
    scene.dir.config(&toml);
    let small = scene.dir.path("small");
    let agent = scene.start_under(&MOUNTS, &tmpfs("1m", &small));
    agent.wait_said(&["started"]);
    let small = seen_by(&agent, &small);
    let filler = fill(&small);
    let plan = Plan {
        rotation: Rotation::Rename { every: 200 },
        per_second: 2_000,
        copy: None,
        ..scene.plan(1_000)
    };

    plan.start().wait(DRAIN);
    agent.wait_said(&["not delivered"]);
    scene
        .dir
        .write("app.log.late", "not named by the pattern\n");
    fs::remove_file(filler).unwrap();

    expect_all(&agent, &plan, &small.join("out.log"));
    let ended = agent.stop();
    assert_eq!(
        (ended.code, super::lost_bytes(&ended)),
        (0, 0),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_full_state_disk_pauses_and_new_files_are_read_afterwards() {
    if !allowed("full state", &MOUNTS, "mount -t tmpfs tiny /mnt") {
        return;
    }
    let scene = Scene::new("*.log", "exclude_path = [\"out.log\"]");
    fs::create_dir(scene.dir.path("state")).unwrap();
    scene.dir.write("a.log", "one\n");
    let agent = scene.start_under(&MOUNTS, &tmpfs("1m", &scene.dir.path("state")));
    scene.expect(&agent, "one\n");
    let filler = fill(&seen_by(&agent, &scene.dir.path("state")));

    // Until the last page of the journal is full, too.
    let full = || agent.said().contains("new files wait until it can be");
    let mut written = vec!["one".to_owned()];
    while !full() {
        let name = format!("{}.log", written.len());
        assert!(written.len() < 500, "{}", agent.said());
        scene.dir.write(&name, format!("in {name}\n"));
        written.push(format!("in {name}"));
        agent.wait_idle_or(full);
    }
    scene.dir.append("a.log", "two\n");
    scene.dir.write("late.log", "three\n");
    written.extend(["two".to_owned(), "three".to_owned()]);
    fs::remove_file(filler).unwrap();

    written.sort();
    within("every line", DRAIN, || {
        let out = String::from_utf8(scene.dir.read("out.log")).expect("text");
        let mut lines: Vec<_> = out.lines().map(str::to_owned).collect();
        lines.sort();
        (lines.len() >= written.len()).then(|| assert_eq!(lines, written))
    });
    agent.wait_said(&["new files are taken in again"]);
    let ended = agent.stop();
    assert_eq!(
        (ended.code, super::lost_bytes(&ended)),
        (0, 0),
        "{}",
        ended.stderr
    );
}

// The journal cannot grow for the whole trial but for moments.
#[test]
fn a_state_disk_that_is_full_again_and_again_loses_and_doubles_nothing() {
    if !allowed("full state, rotation", &MOUNTS, "mount -t tmpfs tiny /mnt") {
        return;
    }
    let scene = Scene::new("app.log", "");
    fs::create_dir(scene.dir.path("state")).unwrap();
    let agent = scene.start_under(&MOUNTS, &tmpfs("1m", &scene.dir.path("state")));
    agent.wait_said(&["started"]);
    let state = seen_by(&agent, &scene.dir.path("state"));
    let plan = Plan {
        rotation: Rotation::Rename { every: 500 },
        per_second: 4_000,
        torn: true,
        ..scene.plan(8_000)
    };
    let mut writer = plan.start();
    let mut rng = crate::support::Rng::printed("full again and again");

    while writer.ended().is_none() {
        let filler = fill(&state);
        crate::support::pass(rng.millis(100..400));
        fs::remove_file(filler).unwrap();
        crate::support::pass(rng.millis(10..200));
    }

    scene.finish(agent, &plan);
}
