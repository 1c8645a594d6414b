//! State directories that cannot be used: what is said, and that nothing in them is changed.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use rustix::process::geteuid;

use crate::files::namespace::{MOUNTS, allowed, run_under, seen_by, tmpfs, without_override};
use crate::support::{Dir, Logweir};

use super::{config, wait_size};

#[test]
fn a_state_directory_that_cannot_be_made_is_a_clear_error() {
    let dir = Dir::new();
    dir.write("app.log", "one\n");
    dir.write("file", "");

    let ended = Logweir::run(&dir, &config(&dir, "file/state")).ended();

    ended.failed(
        78,
        &[&dir.text("file/state"), "ot a directory", "cannot be made"],
    );
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

    ended.failed(
        78,
        &[&dir.text("state"), "ermission denied", "let user 65534"],
    );
}

// Without it all lines would be sent again: that is not for the program to decide.
#[test]
fn a_journal_that_may_not_be_read_is_a_clear_error_and_stays() {
    if !allowed("unreadable journal", without_override(), "true") {
        return;
    }
    for mode in [0o000, 0o200, 0o400] {
        let dir = Dir::new();
        dir.write("app.log", "one\n");
        let config = config(&dir, "state");
        let agent = Logweir::run(&dir, &config).start();
        wait_size(&dir, 4);
        assert_eq!(agent.stop().code, 0);
        let permit = |mode| {
            let path = dir.path("state/journal");
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        };
        let before = dir.read("state/journal");

        permit(mode);
        let ended = run_under(&dir, &config, without_override(), "true").ended();
        let user = format!("let user {}", geteuid().as_raw());
        let attempt = if mode == 0o400 {
            "appended to"
        } else {
            "be read"
        };
        let journal = dir.text("state/journal");
        ended.failed(78, &[&journal, attempt, "ermission denied", &user]);

        permit(0o640);
        assert_eq!(dir.read("state/journal"), before);
        let agent = Logweir::run(&dir, &config).start();
        dir.append("app.log", "two\n");
        wait_size(&dir, 8);
        assert_eq!(dir.read("out.log"), b"one\ntwo\n");
        agent.kill();
    }
}

#[test]
fn a_read_only_file_system_is_a_clear_error() {
    if !allowed("read-only state", &MOUNTS, "mount -t tmpfs tiny /mnt") {
        return;
    }
    for made_before in [false, true] {
        let dir = Dir::new();
        dir.write("app.log", "one\n");
        fs::create_dir(dir.path("disk")).unwrap();
        let config = config(&dir, "disk/state");
        let mut before = tmpfs("1m", &dir.path("disk"));
        if made_before {
            let state = dir.text("disk/state");
            before += &format!(" && mkdir {state} && echo pid 1 > {state}/lock");
        }
        before += &format!(" && mount -o remount,ro '{}'", dir.text("disk"));

        let ended = run_under(&dir, &config, &MOUNTS, &before).ended();

        let words = [
            &dir.text("disk/state"),
            "ead-only file system",
            "`state` in [agent]",
        ];
        ended.failed(78, &words);
        assert_eq!(dir.read("out.log"), b"");
    }
}

/// Mounts a file system on `disk` that has no room.
fn full_disk(dir: &Dir) -> String {
    let (mount, filler) = (tmpfs("1m", &dir.path("disk")), dir.text("disk/filler"));
    // What it says about the lack of room is meant.
    format!("{mount} && ! head -c 2m /dev/zero > '{filler}' 2> /dev/null")
}

// A service that is not started again after an error of its configuration must not end here.
#[test]
fn a_disk_that_is_full_at_the_start_is_waited_for() {
    if !allowed(
        "full state at the start",
        &MOUNTS,
        "mount -t tmpfs tiny /mnt",
    ) {
        return;
    }
    let dir = Dir::new();
    dir.write("app.log", "one\n");
    fs::create_dir(dir.path("disk")).unwrap();
    let config = config(&dir, "disk/state");
    let agent = run_under(&dir, &config, &MOUNTS, &full_disk(&dir)).start();

    agent.wait_said(&[
        "cannot start yet",
        &dir.text("disk/state"),
        "o space left",
        "make room",
    ]);
    agent.wait_idle();
    assert_eq!(agent.said().matches("cannot start yet").count(), 1);
    fs::remove_file(seen_by(&agent, &dir.path("disk/filler"))).unwrap();

    wait_size(&dir, 4);
    agent.wait_said(&["there is room for checkpoints again"]);
    let said = agent.said();
    assert!(!said.contains("used before"), "{said}");
    let ended = agent.stop();
    assert_eq!((ended.code, &dir.read("out.log")[..]), (0, &b"one\n"[..]));
}

#[test]
fn who_waits_for_room_can_be_stopped() {
    if !allowed("full state, stopped", &MOUNTS, "mount -t tmpfs tiny /mnt") {
        return;
    }
    let dir = Dir::new();
    fs::create_dir(dir.path("disk")).unwrap();
    let config = config(&dir, "disk/state");
    let agent = run_under(&dir, &config, &MOUNTS, &full_disk(&dir)).start();
    agent.wait_said(&["cannot start yet"]);

    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
}
