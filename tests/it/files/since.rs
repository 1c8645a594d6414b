//! `start = "-1h"` and `tail --since`: lines from before are passed over where a file was never seen.

use std::fs::File;
use std::ops::Range;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use crate::support::{Dir, Logweir};

use super::Scene;

/// Now, from which the ages of a test's lines are counted.
struct Clock(i64);

impl Clock {
    fn new() -> Self {
        Self(Timestamp::now().as_second())
    }

    /// A time so many minutes ago.
    fn ago(&self, minutes: i64) -> Timestamp {
        Timestamp::from_second(self.0 - 60 * minutes).unwrap()
    }

    /// Lines of so many minutes ago, the oldest first; each has a second line.
    fn lines(&self, minutes: Range<i64>) -> String {
        let line = |age| format!("{} INFO {age} minutes\n  and more of it\n", self.ago(age));
        minutes.rev().map(line).collect()
    }
}

#[test]
fn it_begins_where_the_lines_are_young_enough_and_later_where_it_was() {
    let clock = Clock::new();
    let scene = Scene::new("*.log", "start = \"-1h\"\nexclude_path = \"out.log\"");
    let young = clock.lines(0..60);
    // 60 minutes ago is not older, and the next whole minute is.
    scene.dir.write("app.log", clock.lines(61..2_000) + &young);
    scene.run(&young);

    // A file that was seen goes on; one that appears later is read whole.
    scene.dir.append("app.log", clock.lines(300..310));
    let agent = scene.start();
    let mut expected = young + &clock.lines(300..310);
    scene.expect(&agent, &expected);
    scene.dir.write("late.log", clock.lines(100..200));
    expected += &clock.lines(100..200);
    scene.expect(&agent, &expected);
    agent.kill();
}

#[test]
fn a_file_that_nobody_wrote_to_for_so_long_starts_at_its_end() {
    let clock = Clock::new();
    let scene = Scene::new("*.log", "start = \"-1h\"\nexclude_path = \"out.log\"");
    let path = scene.dir.write("old.log", clock.lines(0..10));
    let old = SystemTime::now() - Duration::from_secs(2 * 3_600);
    File::options()
        .append(true)
        .open(path)
        .unwrap()
        .set_modified(old)
        .unwrap();
    scene.dir.write("plain.log", "no time\nat all\n");

    let agent = scene.start();
    scene.expect(&agent, "no time\nat all\n");
    scene.dir.append("old.log", "new\n");
    scene.expect(&agent, "no time\nat all\nnew\n");

    agent.kill();
}

#[test]
fn the_time_is_where_the_source_says() {
    let clock = Clock::new();
    for (more, record) in [
        (
            "time = \"/at/-1\"",
            "{\"time\":\"2001-01-01T00:00:00Z\",\"at\":[1,\"TIME\"],\"m\":\"AGE\"}",
        ),
        ("parse = \"json\"", "{\"m\":\"AGE\",\"ts\":\"TIME\"}"),
        ("parse = \"cri\"", "TIME stdout F 2001-01-01T00:00:00Z AGE"),
        ("encoding = \"utf-8\"", "[TIME] AGE"),
        (
            "time = \"leading\"",
            "TIME {\"time\":\"2001-01-01T00:00:00Z\"} AGE",
        ),
    ] {
        let scene = Scene::new("app.log", &format!("start = \"-30m\"\n{more}"));
        let line = |age: i64| {
            let record = record.replace("TIME", &clock.ago(age).to_string());
            record.replace("AGE", &format!("{age} minutes")) + "\n"
        };
        scene
            .dir
            .write("app.log", (0..100).rev().map(line).collect::<String>());

        let agent = scene.start();
        let mut expected: String = (0..30).rev().map(line).collect();
        if more.contains("cri") {
            let text = |age| format!("2001-01-01T00:00:00Z {age} minutes\n");
            expected = (0..30).rev().map(text).collect();
        }
        scene.expect(&agent, expected);
        agent.kill();
    }
}

#[test]
fn tail_shows_what_is_not_older() {
    let clock = Clock::new();
    let dir = Dir::new();
    dir.write("app.log", clock.lines(0..100));
    let app = dir.text("app.log");
    let time = clock.ago(9).to_string();
    for (since, minutes) in [
        ("10m", 0..10),
        ("-10m", 0..10),
        (&time, 0..10),
        ("0s", 0..0),
    ] {
        let tail = Logweir::tail(&dir, ["--no-follow", "-r", "--since", since, &app]);

        let shown = tail.ended().good();

        let all = String::from_utf8_lossy(&shown).into_owned();
        assert!(all.ends_with(&clock.lines(minutes)), "{since}: {all}");
        std::fs::remove_file(dir.path("stdout")).unwrap();
    }
    let wrong = Logweir::tail(&dir, ["--since", "yesterday", &app]).ended();
    wrong.failed(64, &["--since", "yesterday", "15m"]);
}
