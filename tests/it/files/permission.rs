//! Files that may not be read: said once, and read as soon as they may.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use crate::support::within;

use super::namespace::{allowed, without_override};
use super::{DRAIN, Scene};

#[test]
fn a_file_that_may_not_be_read_is_said_once_and_read_when_it_may() {
    let wrapper = without_override();
    if !allowed("EACCES", wrapper, "true") {
        return;
    }
    let scene = Scene::new("*.log", "exclude_path = [\"out.log\"]");
    let mode = |name: &str, mode| {
        fs::set_permissions(scene.dir.path(name), Permissions::from_mode(mode)).unwrap();
    };
    scene.dir.write("first.log", "one\n");
    scene.dir.write("other.log", "two\n");
    mode("first.log", 0);
    let agent = scene.start_under(wrapper, "true");
    scene.expect(&agent, "two\n");
    scene.dir.write("late.log", "three\n");
    mode("late.log", 0);
    // Three looks at least: each adds a line to the one file that may be read.
    let mut so_far = "two\n".to_owned();
    for n in 0..3 {
        let name = format!("{n}.log");
        scene.dir.write(&name, "new\n");
        so_far.push_str("new\n");
        scene.expect(&agent, &so_far);
    }

    let said = agent.said();
    let about = |name: &str| {
        let trouble = |line: &&str| line.contains(name) && line.contains("ermission denied");
        said.lines().filter(trouble).count()
    };
    assert_eq!(about("first.log"), 1, "{said}");
    mode("first.log", 0o644);
    within("the line of the first file", DRAIN, || {
        let out = String::from_utf8_lossy(&scene.dir.read("out.log")).into_owned();
        out.contains("one\n").then_some(())
    });
    mode("late.log", 0o644);
    within("the line of the late file", DRAIN, || {
        let out = String::from_utf8_lossy(&scene.dir.read("out.log")).into_owned();
        out.contains("three\n").then_some(())
    });
    agent.kill();
}
