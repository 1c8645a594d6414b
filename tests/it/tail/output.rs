//! What is printed: the bytes of `raw`, the records of `json`, the colours of `text`.

use std::path::Path;

use serde_json::Value;

use super::whole;
use crate::support::{Dir, Logweir};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/logs");

/// Parses every line as one JSON object; fails on the first that is not.
#[track_caller]
fn records(ndjson: &[u8]) -> Vec<Value> {
    assert!(
        ndjson.is_empty() || ndjson.ends_with(b"\n"),
        "the last line is torn"
    );
    let text = std::str::from_utf8(ndjson).expect("JSON is UTF-8");
    let parse = |line: &str| match serde_json::from_str(line) {
        Ok(record @ Value::Object(_)) => record,
        other => panic!("not one JSON object but {other:?}: {line}"),
    };
    text.lines().map(parse).collect()
}

#[test]
fn raw_is_what_cat_prints() {
    let mut fixtures: Vec<_> = std::fs::read_dir(FIXTURES)
        .expect("the fixtures are there")
        .map(|entry| entry.expect("lists the fixtures").path())
        .collect();
    fixtures.sort();

    for fixture in fixtures {
        let dir = Dir::new();
        let printed = whole(&dir, &["-r"], &fixture);

        let mut expected = std::fs::read(&fixture).expect("reads a fixture");
        if !expected.ends_with(b"\n") {
            expected.push(b'\n');
        }
        assert!(printed == expected, "{} differs", fixture.display());
    }
}

#[test]
fn the_unterminated_end_of_a_finite_file_gets_its_newline() {
    let dir = Dir::new();
    let file = dir.write("app.log", "one\r\ntwo");

    let printed = whole(&dir, &["-r"], &file);

    assert_eq!(printed, b"one\r\ntwo\n");
}

#[test]
fn an_empty_file_prints_nothing() {
    let dir = Dir::new();
    let file = dir.write("app.log", "");

    let printed = whole(&dir, &["-r"], &file);

    assert_eq!(printed, b"");
}

#[test]
fn empty_lines_are_lines() {
    let dir = Dir::new();
    let file = dir.write("app.log", "\n\none\n\n");

    let raw = whole(&dir, &["-r"], &file);
    let json = whole(&Dir::new(), &["-o", "json"], &file);

    assert_eq!(raw, b"\n\none\n\n");
    let messages: Vec<_> = records(&json)
        .iter()
        .map(|record| record["_msg"].clone())
        .collect();
    assert_eq!(messages, ["", "", "one", ""]);
}

#[test]
fn json_is_the_default_in_a_pipe_and_complete() {
    let dir = Dir::new();
    let fixture = Path::new(FIXTURES).join("nginx-access.log");

    let printed = whole(&dir, &[], &fixture);

    let text = std::fs::read_to_string(fixture).expect("reads a fixture");
    let mut last_time = String::new();
    let records = records(&printed);
    assert_eq!(records.len(), text.lines().count());
    for (record, line) in records.iter().zip(text.lines()) {
        let time = record["_time"].as_str().expect("_time is text").to_owned();
        assert_eq!(record["_source"], "nginx-access");
        assert_eq!(record["_msg"], line);
        assert_eq!(
            record.as_object().map(serde_json::Map::len),
            Some(3),
            "{record}"
        );
        // 2026-11-22T18:25:48.123456789Z, so that text order is time order.
        assert!(time.len() == 30 && time.ends_with('Z'), "{time}");
        assert!(time > last_time, "{time} after {last_time}");
        last_time = time;
    }
}

#[test]
fn a_json_line_keeps_its_keys_order_and_numbers() {
    let dir = Dir::new();
    let fixture = Path::new(FIXTURES).join("node-json.log");

    let printed = whole(&dir, &["-o", "json"], &fixture);

    let text = std::fs::read_to_string(&fixture).expect("reads a fixture");
    let printed = String::from_utf8(printed).expect("JSON is UTF-8");
    for (record, line) in printed.lines().zip(text.lines()) {
        let Some(keys) = line.strip_prefix('{') else {
            continue;
        };
        let rest = record
            .strip_prefix(r#"{"_time":""#)
            .expect("_time is first");
        assert_eq!(&rest[30..], format!(r#"","_source":"node-json",{keys}"#));
    }
    assert_eq!(records(printed.as_bytes()).len(), text.lines().count());
}

#[test]
fn a_sender_cannot_spoof_the_collectors_keys() {
    let dir = Dir::new();
    let file = dir.write(
        "app.log",
        "{\"_source\":\"x\",\"\\u005fmsg\":\"y\",\"_time\":1}\n",
    );

    let printed = whole(&dir, &["-o", "json"], &file);

    let record = &records(&printed)[0];
    assert_eq!(record["_source"], "app");
    assert_eq!(record["_source_orig"], "x");
    assert_eq!(record["_msg_orig"], "y");
    assert_eq!(record["_time_orig"], 1);
}

#[test]
fn the_last_lines_of_a_file_are_as_many_as_asked_for() {
    let numbers: String = (0..100).map(|n| format!("{n}\n")).collect();
    let cases: [(&[&str], std::ops::Range<usize>); 4] = [
        (&["-n", "2"], 98..100),
        (&[], 90..100),
        (&["-n", "all"], 0..100),
        (&["-n", "0"], 0..0),
    ];

    for (args, expected) in cases {
        let dir = Dir::new();
        let file = dir.write("app.log", &numbers);
        let file = file.to_str().expect("temporary paths are UTF-8");
        let printed = Logweir::tail(&dir, [&["--no-follow", "-r"], args, &[file]].concat());

        let expected: String = expected.map(|n| format!("{n}\n")).collect();
        assert_eq!(
            String::from_utf8_lossy(&printed.ended().good()),
            expected,
            "{args:?}"
        );
    }
}

#[test]
fn several_files_are_complete_and_each_in_order() {
    let dir = Dir::new();
    let [one, two] = ["one", "two"].map(|name| {
        let lines: String = (0..500).map(|n| format!("{name} {n}\n")).collect();
        dir.write(&format!("{name}.log"), &lines);
        lines
    });

    let printed = Logweir::tail(
        &dir,
        ["--no-follow", "-n", "all", "-o", "json", &dir.text("*.log")],
    );

    let records = records(&printed.ended().good());
    for (source, lines) in [("one", one), ("two", two)] {
        let of_source = records.iter().filter(|record| record["_source"] == source);
        let messages: Vec<_> = of_source
            .filter_map(|record| record["_msg"].as_str())
            .collect();
        assert_eq!(messages, lines.lines().collect::<Vec<_>>());
    }
    assert_eq!(records.len(), 1000);
}

#[test]
fn binary_garbage_is_exact_in_raw_and_valid_in_json() {
    let garbage = std::fs::read("/bin/ls").expect("there is a program to read");
    let dir = Dir::new();
    let file = dir.write("ls.log", &garbage);

    let raw = whole(&dir, &["-r"], &file);
    let json = whole(&Dir::new(), &["-o", "json"], &file);

    let mut expected = garbage;
    if !expected.ends_with(b"\n") {
        expected.push(b'\n');
    }
    let n_lines = expected.iter().filter(|&&byte| byte == b'\n').count();
    assert!(
        raw == expected,
        "{} bytes instead of {}",
        raw.len(),
        expected.len()
    );
    assert_eq!(records(&json).len(), n_lines);
}

#[test]
fn a_line_over_the_limit_is_cut_and_marked_and_the_next_is_intact() {
    let dir = Dir::new();
    let file = dir.write(
        "app.log",
        ["before\n", &"x".repeat(10 << 20), "\nafter\n"].concat(),
    );

    let json = whole(&dir, &["-o", "json"], &file);
    let raw = whole(&Dir::new(), &["-r"], &file);

    let cut = "x".repeat(1 << 20);
    let records = records(&json);
    let messages: Vec<_> = records
        .iter()
        .filter_map(|record| record["_msg"].as_str())
        .collect();
    assert!(
        messages == ["before", &cut, "after"],
        "{} messages",
        messages.len()
    );
    let marks: Vec<_> = records
        .iter()
        .map(|record| record["_truncated"] == true)
        .collect();
    assert_eq!(marks, [false, true, false]);
    assert!(
        raw == ["before\n", &cut, "\nafter\n"].concat().as_bytes(),
        "{} bytes",
        raw.len()
    );
}

#[test]
fn colours_follow_the_flag_then_the_environment_then_the_terminal() {
    // Flags, environment, coloured; standard output is a file.
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], bool);
    let cases: [Case<'_>; 7] = [
        (&[], &[], false),
        (&["--color", "auto"], &[], false),
        (&["--color", "always"], &[], true),
        (&["--color", "never"], &[("CLICOLOR_FORCE", "1")], false),
        (&["--color", "always"], &[("NO_COLOR", "1")], true),
        (&[], &[("CLICOLOR_FORCE", "1")], true),
        (&[], &[("NO_COLOR", "1")], false),
    ];

    for (args, environment, coloured) in cases {
        let dir = Dir::new();
        dir.write("app.log", "one\n");
        let file = dir.text("app.log");
        let mut tail = Logweir::tail(
            &dir,
            [&["--no-follow", "-o", "text"], args, &[&file]].concat(),
        );
        for (name, value) in environment {
            tail = tail.env(name, value);
        }
        let printed = String::from_utf8(tail.ended().good()).expect("text is UTF-8");

        assert!(
            printed.contains("app") && printed.contains("one"),
            "{printed}"
        );
        assert_eq!(
            printed.contains('\x1b'),
            coloured,
            "{args:?} {environment:?}: {printed:?}"
        );
    }
}

// Scenario: `--color always` into a pager. Bug: standard output was a pipe, so JSON came, which has no
// colours. Fix: it means text; what was asked for by -o stays, and the environment changes no format.
#[test]
fn colours_that_are_asked_for_are_those_of_text() {
    let dir = Dir::new();
    let file = dir.write("app.log", "one\n");
    let of = |args: &[&str]| String::from_utf8(whole(&Dir::new(), args, &file)).expect("UTF-8");

    let forced = of(&["--color", "always"]);
    let json = of(&["--color", "always", "-o", "json"]);
    let never = of(&["--color", "never"]);
    let own = Dir::new();
    let tail = Logweir::tail(&own, ["--no-follow".as_ref(), file.as_os_str()]);
    let environment = tail.env("CLICOLOR_FORCE", "1").ended().good();

    assert!(
        forced.starts_with("\x1b[") && forced.ends_with(" one\n"),
        "{forced:?}"
    );
    for line in [
        &json,
        &never,
        &String::from_utf8_lossy(&environment).into_owned(),
    ] {
        assert!(line.starts_with('{') && !line.contains('\x1b'), "{line:?}");
    }
}

#[test]
fn text_neutralises_escape_sequences_of_the_sender() {
    let dir = Dir::new();
    let file = dir.write("app.log", "\x1b[31mred\x1b[0m \x07 \r bell\n");

    let printed = whole(&dir, &["-o", "text", "--color", "never"], &file);

    let printed = String::from_utf8(printed).expect("text is UTF-8");
    assert!(printed.contains("red"), "{printed:?}");
    assert!(
        !printed
            .trim_end_matches('\n')
            .contains(|c: char| c.is_control()),
        "{printed:?}"
    );
}
