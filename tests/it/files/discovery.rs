//! New files and new lines where no events come: watches refused, watchers refused, polling.

use std::time::{Duration, Instant};

use crate::support::Agent;

use super::Scene;
use super::namespace::allowed;

/// RELIABILITY promises a second; the rest is for a machine on which other tests run.
const FOUND_WITHIN: Duration = Duration::from_millis(2_500);

/// What a new line and a new file took, each several times.
#[track_caller]
fn measure(test: &str, scene: &Scene, agent: &Agent, so_far: &str) {
    let mut so_far = so_far.to_owned();
    let mut worst = [Duration::ZERO; 2];
    for n in 0..3 {
        for (kind, name) in ["app.log".to_owned(), format!("new{n}.log")]
            .iter()
            .enumerate()
        {
            let start = Instant::now();
            let text = format!("{n} in {name}\n");
            scene.dir.append(name, &text);
            so_far.push_str(&text);
            scene.expect(agent, &so_far);
            worst[kind] = worst[kind].max(start.elapsed());
        }
    }
    eprintln!(
        "{test}: a line after {:?}, a file after {:?}",
        worst[0], worst[1]
    );
    assert!(worst.iter().all(|it| *it < FOUND_WITHIN), "{worst:?}");
}

/// Logweir with `sysctl` of its user namespace set to 0.
#[track_caller]
fn exhausted(test: &str, sysctl: &str, said: &str) {
    const USER: [&str; 2] = ["unshare", "-r"];
    let zero = format!("echo 0 > /proc/sys/user/{sysctl}");
    if !allowed(test, &USER, &zero) {
        return;
    }
    let scene = Scene::new("*.log", "exclude_path = [\"out.log\"]");
    scene.dir.write("app.log", "first\n");
    let agent = scene.start_under(&USER, &zero);
    scene.expect(&agent, "first\n");

    measure(test, &scene, &agent, "first\n");

    let ended = agent.stop();
    assert_eq!(ended.stderr.matches(said).count(), 1, "{}", ended.stderr);
}

#[test]
fn without_watches_it_looks_every_second_and_says_so_once() {
    exhausted(
        "no watches",
        "max_inotify_watches",
        "fs.inotify.max_user_watches may be exhausted",
    );
}

#[test]
fn without_watchers_it_looks_every_second_and_says_so_once() {
    exhausted(
        "no watchers",
        "max_inotify_instances",
        "fs.inotify.max_user_instances may be exhausted",
    );
}

#[test]
fn polling_finds_lines_and_files_within_a_second() {
    let scene = Scene::new("*.log", "exclude_path = [\"out.log\"]\nwatch = \"poll\"");
    scene.dir.write("app.log", "first\n");
    let agent = scene.start();
    scene.expect(&agent, "first\n");

    measure("poll", &scene, &agent, "first\n");
}

#[test]
fn events_bring_lines_and_files_at_once() {
    let scene = Scene::new("*.log", "exclude_path = [\"out.log\"]\nwatch = \"events\"");
    scene.dir.write("app.log", "first\n");
    let agent = scene.start();
    scene.expect(&agent, "first\n");

    measure("events", &scene, &agent, "first\n");
}

#[test]
fn rotation_is_followed_without_events() {
    use crate::support::{Plan, Rotation};
    for rotation in [
        Rotation::Rename { every: 700 },
        Rotation::CopyTruncate { every: 4_000 },
    ] {
        let scene = Scene::new("app.log", "watch = \"poll\"");
        let plan = Plan {
            per_second: 4_000,
            torn: true,
            rotation,
            ..scene.plan(8_000)
        };
        scene.trial("rotation, polled", &plan, 0);
    }
}
