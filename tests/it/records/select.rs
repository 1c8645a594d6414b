//! Which records are sent, when, and with which time.

use super::*;
use crate::support::{Plan, Rotation};

#[test]
fn filters_are_exact_through_twenty_kills() {
    let mut rng = Rng::printed("filters");
    let dir = Dir::new();
    let plan = Plan::new(dir.path("unused"), 20_000);
    let text = plan.text();
    let writer = write_torn(&dir, text.clone().into_bytes(), rng.fork());

    // Long stretches of nothing, and lines one by one.
    let keys = "include = ['^w1 \\d*[05] ', '^w1 [3-9]\\d{3} ']\nexclude = 'quoted'";
    let agent = kill_in_a_loop(&dir, keys, "raw", writer, &mut rng);

    let keep = |line: &&str| {
        let number = line.split(' ').nth(1).unwrap();
        let include = number.ends_with(['0', '5'])
            || number.len() == 4 && number.starts_with(|digit| ('3'..='9').contains(&digit));
        include && !line.contains("quoted")
    };
    let kept: Vec<&str> = text.lines().filter(keep).collect();
    assert!(kept.len() > 1_000);
    expect(&dir, &agent, (kept.join("\n") + "\n").as_bytes());
}

#[test]
fn what_is_dropped_is_not_read_again() {
    let dir = Dir::new();
    dir.write(
        "app.log",
        "drop\n".repeat(1_000) + "keep 1\n" + &"drop\n".repeat(1_000),
    );
    let agent = start(&dir, "exclude = '^drop'", "raw");
    expect(&dir, &agent, b"keep 1\n");
    // The position moves over what is dropped, too.
    let position = format!("\"offset\":{}", dir.size("app.log"));
    within(&position, PATIENCE, || {
        let journal = dir
            .files_below("state")
            .into_iter()
            .flat_map(|it| crate::support::read(&it));
        String::from_utf8_lossy(&journal.collect::<Vec<u8>>())
            .contains(&position)
            .then_some(())
    });
    agent.kill();

    dir.append("app.log", "keep 2\n");
    let agent = start(&dir, "", "raw");

    expect(&dir, &agent, b"keep 1\nkeep 2\n");
}

#[test]
fn whole_records_are_filtered() {
    let dir = Dir::new();
    dir.write(
        "app.log",
        "ERROR one\n\tat a.b(C.java:1)\nINFO two\nERROR three\n\tat x.y(Z.java:1)\nINFO four\n",
    );
    let keys = "multiline = { continue = '^\\s', timeout = \"100ms\" }\ninclude = 'C\\.java|INFO'";

    let agent = start(&dir, keys, "json");

    expect_messages(
        &dir,
        &agent,
        &["ERROR one\n\tat a.b(C.java:1)", "INFO two", "INFO four"],
    );
}

#[test]
fn a_record_can_have_its_own_time() {
    let times = |keys: &str, text: &str, count: usize| {
        let dir = Dir::new();
        dir.write("app.log", text);
        let agent = start(&dir, keys, "json");
        within("all records", PATIENCE, || {
            (records(&dir).len() >= count).then_some(())
        });
        assert_eq!(agent.stop().code, 0);
        let time = |record: &Value| record["_time"].as_str().unwrap().to_owned();
        records(&dir).iter().map(time).collect::<Vec<_>>()
    };

    let leading = times(
        "time = \"leading\"",
        "2026-11-22T23:41:23,5Z a\n2026-11-22T23:41:23,5Z b\nnone\n",
        3,
    );
    let expected = [
        "2026-11-22T23:41:23.500000000Z",
        "2026-11-22T23:41:23.500000001Z",
    ];
    assert_eq!(leading[..2], expected);
    assert_ne!(&leading[2][..11], "2026-11-22T");
    let json = "{\"a\":{\"t\":1795390883.5}}\n{\"a\":{}}\n";
    assert_eq!(times("time = \"/a/t\"", json, 2)[0], expected[0]);
    let json = "{\"level\":\"info\",\"ts\":\"2026-11-22T23:41:23.5Z\"}\n";
    assert_eq!(times("parse = \"json\"", json, 1)[0], expected[0]);
}

// Scenario: two equal lines of one second, written one after the other had been sent. Bug: each time
// the file was read, its times were told apart anew, so both had the same one, and Loki, which takes
// two such lines for one, dropped the second. Fix: a cursor remembers the last time it gave out.
#[test]
fn equal_lines_of_one_second_differ_in_time_however_late_the_second_comes() {
    let dir = Dir::new();
    let line = "2026-11-22T23:41:23Z again\n";
    dir.write("app.log", line);
    let agent = start(&dir, "time = \"leading\"", "json");
    let wait_records = |count: usize| {
        within("the records", PATIENCE, || {
            let found = records(&dir);
            (found.len() >= count).then_some(found)
        })
    };

    wait_records(1);
    dir.append("app.log", line);
    let found = wait_records(2);

    assert_eq!(found[0]["_time"], "2026-11-22T23:41:23.000000000Z");
    assert_eq!(found[1]["_time"], "2026-11-22T23:41:23.000000001Z");
    agent.kill();
}

#[test]
fn an_unterminated_line_can_be_sent_sooner() {
    let dir = Dir::new();
    dir.write("app.log", "one\nhal");
    let agent = start(&dir, "partial = \"300ms\"", "raw");
    expect(&dir, &agent, b"one\nhal\n");
    agent.kill();

    // What comes later is another line, also after a kill.
    dir.append("app.log", "f\nthree\n");
    let agent = start(&dir, "partial = \"300ms\"", "raw");
    expect(&dir, &agent, b"one\nhal\nf\nthree\n");
}

#[test]
fn an_unterminated_line_waits_as_long_as_it_is_told() {
    let dir = Dir::new();
    dir.write("app.log", "one\nhal");
    let agent = start(&dir, "partial = \"10m\"", "raw");
    expect(&dir, &agent, b"one\n");

    pass(A_WHILE);
    dir.append("app.log", "f\n");

    expect(&dir, &agent, b"one\nhalf\n");
}

#[test]
fn everything_at_once_is_exact_through_rotation() {
    let dir = Dir::new();
    let plan = Plan {
        per_second: 4_000,
        torn: true,
        rotation: Rotation::Rename { every: 1_500 },
        ..Plan::new(dir.path("app.log"), 12_000)
    };
    let keys = "encoding = \"utf-8\"\nmultiline = { start = '^w', timeout = \"50ms\" }\nexclude = ' 11 '\npartial = \"off\"";
    let agent = start(&dir, keys, "raw");

    plan.spawn().join().unwrap();

    let text = Plan::new(dir.path("app.log"), 12_000).text();
    let kept: String = text
        .lines()
        .filter(|line| !line.contains(" 11 "))
        .map(|line| format!("{line}\n"))
        .collect();
    expect(&dir, &agent, kept.as_bytes());
}
