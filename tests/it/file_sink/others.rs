//! What others do to an output while logweir runs, between its runs, and to its state: nothing of
//! theirs is cut, and no line of the input is lost that is not in what they took away.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use crate::files::namespace::{allowed, run_under, without_override};
use crate::support::{Dir, Logweir, Oracle, PATIENCE, Plan, Rng, pass, within};

use super::{config, last_line, start, wait_end};

/// Appends numbered lines until the last of them is in `out.log`: what was done to the output is
/// noticed within a second, at a write.
#[track_caller]
fn write_until(dir: &Dir, from: &mut u64, event: impl Fn() -> bool) {
    within("the output to be made anew", PATIENCE, || {
        let line = format!("line {from}\n");
        dir.append("app.log", &line);
        *from += 1;
        event().then_some(())
    });
    let last = format!("line {from}\n");
    dir.append("app.log", &last);
    *from += 1;
    wait_end(&dir.path("out.log"), last.as_bytes());
}

#[track_caller]
fn expect_text(bytes: &[u8], expected: &[u8]) {
    assert_eq!(
        String::from_utf8_lossy(bytes),
        String::from_utf8_lossy(expected)
    );
}

#[test]
fn a_deleted_output_is_made_anew_and_later_lines_are_in_it() {
    for with_folder in [false, true] {
        let dir = Dir::new();
        let mut from = 0;
        dir.append("app.log", "line first\n");
        let path = if with_folder {
            "{dir}/out/out.log"
        } else {
            "{dir}/out.log"
        };
        let agent = Logweir::run(&dir, &config(&dir, path)).start();
        let out = dir.path(&path.replace("{dir}/", ""));
        wait_end(&out, b"line first\n");
        let mut deleted = File::open(&out).unwrap();

        fs::remove_file(&out).unwrap();
        if with_folder {
            fs::remove_dir(dir.path("out")).unwrap();
            // Where the helper looks for it.
            symlink(&out, dir.path("out.log")).unwrap();
        }
        write_until(&dir, &mut from, || out.exists());
        assert_eq!(agent.stop().code, 0);

        let mut both = Vec::new();
        deleted.read_to_end(&mut both).unwrap();
        both.extend(fs::read(&out).unwrap());
        expect_text(&both, &dir.read("app.log"));
    }
}

#[test]
fn a_truncated_output_goes_on_at_its_new_end() {
    let dir = Dir::new();
    dir.append("app.log", "one\ntwo\nthree\n");
    let agent = start(&dir);
    wait_end(&dir.path("out.log"), b"three\n");

    File::create(dir.path("out.log")).unwrap();
    dir.append("app.log", "four\n");
    wait_end(&dir.path("out.log"), b"four\n");
    expect_text(&dir.read("out.log"), b"four\n");
    // The output is shorter than the journal knows: nothing is made of that.
    agent.wait_idle();
    agent.kill();
    File::create(dir.path("out.log"))
        .unwrap()
        .write_all(b"t")
        .unwrap();
    let agent = start(&dir);
    dir.append("app.log", "five\n");
    wait_end(&dir.path("out.log"), b"five\n");
    agent.kill();

    // What is not ours stays, and does not spoil our line.
    expect_text(&dir.read("out.log"), b"t\nfive\n");
}

#[test]
fn a_replaced_output_is_appended_to_and_keeps_what_it_brought() {
    let dir = Dir::new();
    let mut from = 0;
    dir.append("app.log", "line first\n");
    let agent = start(&dir);
    wait_end(&dir.path("out.log"), b"line first\n");
    let mut replaced = File::open(dir.path("out.log")).unwrap();

    dir.write("other", "theirs\n");
    fs::rename(dir.path("other"), dir.path("out.log")).unwrap();
    write_until(&dir, &mut from, || dir.size("out.log") > 7);
    assert_eq!(agent.stop().code, 0);

    let out = dir.read("out.log");
    let ours = out
        .strip_prefix(b"theirs\n")
        .expect("it keeps what it brought");
    let mut both = Vec::new();
    replaced.read_to_end(&mut both).unwrap();
    both.extend(ours);
    expect_text(&both, &dir.read("app.log"));
}

#[test]
fn a_read_only_output_is_said_and_waited_for() {
    if !allowed("read-only output", without_override(), "true") {
        return;
    }
    let dir = Dir::new();
    dir.write("app.log", "one\n");
    dir.write("out.log", "theirs\n");
    let mode =
        |mode| fs::set_permissions(dir.path("out.log"), Permissions::from_mode(mode)).unwrap();
    mode(0o444);
    let config = config(&dir, "{dir}/out.log");
    let agent = run_under(&dir, &config, without_override(), "true").start();

    agent.wait_said(&["not delivered", &dir.text("out.log"), "ermission denied"]);
    dir.append("app.log", "two\n");
    mode(0o644);
    wait_end(&dir.path("out.log"), b"two\n");
    // Who has it open goes on; the next start has to wait again.
    mode(0o444);
    dir.append("app.log", "three\n");
    wait_end(&dir.path("out.log"), b"three\n");
    agent.kill();

    expect_text(&dir.read("out.log"), b"theirs\none\ntwo\nthree\n");
}

/// Whole lines of somebody else, until dropped.
fn foreign_writer(dir: &Dir, n_lines: u64) -> std::thread::JoinHandle<()> {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(dir.path("out.log"))
        .unwrap();
    std::thread::spawn(move || {
        for n in 0..n_lines {
            file.write_all(format!("theirs {n:06}\n").as_bytes())
                .unwrap();
            pass(Duration::from_millis(2));
        }
    })
}

#[test]
fn an_output_that_others_append_to_loses_nothing_of_either_through_kills() {
    let mut rng = Rng::printed("others append");
    let dir = Dir::new();
    let config = dir.copy_config("batch = { lines = 100, linger = \"2ms\" }");
    let plan = Plan {
        per_second: 3_000,
        torn: true,
        ..Plan::new(dir.path("app.log"), 9_000)
    };
    let mut writer = plan.start();
    let others = foreign_writer(&dir, 1_200);

    let mut kills = 0;
    let agent = loop {
        let agent = Logweir::run(&dir, &config).start();
        pass(rng.millis(10..300));
        if kills >= 15 && writer.ended().is_some() && others.is_finished() {
            break agent;
        }
        agent.kill();
        kills += 1;
    };
    others.join().unwrap();
    let text = plan.text();
    let last = &text.as_bytes()[text.len() - 121..];
    within("the last line", 4 * PATIENCE, || {
        memchr::memmem::find(&dir.read("out.log"), last).map(drop)
    });
    assert_eq!(agent.stop().code, 0);

    let out = String::from_utf8(dir.read("out.log")).unwrap();
    let (theirs, ours): (Vec<&str>, Vec<&str>) =
        out.lines().partition(|it| it.starts_with("theirs"));
    let expected: Vec<String> = (0..1_200).map(|n| format!("theirs {n:06}")).collect();
    assert_eq!(theirs, expected, "what others wrote has changed");
    let mut oracle = Oracle::default();
    ours.iter().for_each(|line| oracle.line(line.as_bytes()));
    eprintln!("{kills} kills");
    oracle
        .report(&plan.written())
        .expect_complete(kills * 2 * 100);
}

#[test]
fn a_state_of_yesterday_cuts_nothing_and_loses_nothing() {
    let dir = Dir::new();
    let plan = Plan::new(dir.path("app.log"), 2_000);
    plan.write();
    let agent = start(&dir);
    let text = plan.text();
    wait_end(&dir.path("out.log"), last_line(&text));
    assert_eq!(agent.stop().code, 0);
    fs::copy(dir.path("state/journal"), dir.path("backup")).unwrap();

    let more = Plan {
        from: 2_000,
        ..plan.clone()
    };
    more.write();
    let agent = start(&dir);
    let text = more.text();
    wait_end(&dir.path("out.log"), last_line(&text));
    agent.kill();
    let before = dir.read("out.log");
    fs::copy(dir.path("backup"), dir.path("state/journal")).unwrap();
    let said_before = dir.read("stderr").len();
    let agent = start(&dir);
    dir.append("app.log", "the end\n");
    wait_end(&dir.path("out.log"), b"the end\n");
    let ended = agent.stop();

    let said = &ended.stderr[said_before..];
    assert!(said.contains("longer than the checkpoints know"), "{said}");
    let after = dir.read("out.log");
    assert!(after.starts_with(&before), "something was cut");
    // What the old state does not know comes again, and nothing else.
    expect_text(
        &after[before.len()..],
        format!("{text}the end\n").as_bytes(),
    );
    assert!(dir.files_below("state/cut").is_empty());
}

#[test]
fn two_sinks_in_one_file_are_refused_and_the_second_waits() {
    let dir = Dir::new();
    dir.write("app.log", "one\n");
    symlink(dir.path("a.log"), dir.path("b.log")).unwrap();
    let config = dir.config(
        "[source]\napp = \"{dir}/app.log\"\nlate = \"{dir}/late.log\"\n\n\
         [sink.a]\npath = \"{dir}/a.log\"\nformat = \"raw\"\nfrom = [\"app\"]\n\n\
         [sink.b]\npath = \"{dir}/b.log\"\nformat = \"raw\"\nfrom = [\"late\"]\n",
    );
    let agent = Logweir::run(&dir, &config).start();
    wait_end(&dir.path("a.log"), b"one\n");

    dir.write("late.log", "two\n");
    agent.wait_said(&["not delivered", "sink `a` writes to this file, too"]);
    dir.append("app.log", "three\n");
    wait_end(&dir.path("a.log"), b"three\n");
    fs::remove_file(dir.path("b.log")).unwrap();
    wait_end(&dir.path("b.log"), b"two\n");
    agent.kill();

    expect_text(&dir.read("a.log"), b"one\nthree\n");
    expect_text(&dir.read("b.log"), b"two\n");
}
