//! Which lines `tail` shows: expressions, levels, times, records of several lines, own forms.

use super::whole;
use crate::support::{Dir, Logweir};

const LOG: &str = "\
2026-11-22T17:59:00Z INFO  started
2026-11-22T18:00:00Z WARN  disk is slow
2026-11-22T18:10:00Z ERROR request failed
  at handler.rs:12
  at main.rs:3
2026-11-22T18:20:00Z INFO  GET /healthz
2026-11-22T18:30:00Z FATAL the end
";

#[track_caller]
fn shown(args: &[&str]) -> Vec<String> {
    let dir = Dir::new();
    let file = dir.write("app.log", LOG);
    let printed = whole(&dir, &[args, &["-r"]].concat(), &file);
    let text = String::from_utf8(printed).expect("the log is text");
    text.lines()
        .map(|line| line.replace("2026-11-22T", ""))
        .collect()
}

#[test]
fn expressions_keep_and_drop_and_dropping_wins() {
    assert_eq!(
        shown(&["-g", "WARN|FATAL", "-g", "healthz", "-v", "end$"]),
        [
            "18:00:00Z WARN  disk is slow",
            "18:20:00Z INFO  GET /healthz"
        ]
    );
    assert_eq!(shown(&["-v", "."]), [""; 0]);
}

#[test]
fn a_level_keeps_what_is_as_serious_and_what_belongs_to_it() {
    assert_eq!(
        shown(&["-l", "error"]),
        [
            "18:10:00Z ERROR request failed",
            "  at handler.rs:12",
            "  at main.rs:3",
            "18:30:00Z FATAL the end"
        ]
    );
    assert_eq!(shown(&["-l", "warning"]).len(), 5);
}

#[test]
fn times_are_those_of_the_lines() {
    assert_eq!(
        shown(&[
            "--since",
            "2026-11-22T18:05:00Z",
            "--until",
            "2026-11-22T18:20:00Z"
        ]),
        [
            "18:10:00Z ERROR request failed",
            "  at handler.rs:12",
            "  at main.rs:3"
        ]
    );
    assert_eq!(shown(&["--since", "1s", "-l", "trace"]), [""; 0]);
}

#[test]
fn since_reads_more_than_the_last_ten_lines() {
    let dir = Dir::new();
    let lines: String = (0..60)
        .map(|minute| format!("2026-11-22T18:{minute:02}:00Z INFO line {minute}\n"))
        .collect();
    let file = dir.write("app.log", &lines);
    let file = file.to_str().expect("temporary paths are UTF-8");

    let args = ["--no-follow", "-r", "--since", "2026-11-22T18:20:00Z", file];
    let printed = Logweir::tail(&dir, args).ended().good();

    assert_eq!(printed.iter().filter(|byte| **byte == b'\n').count(), 40);
}

#[test]
fn a_time_to_end_at_ends_a_tail_that_follows() {
    let dir = Dir::new();
    let file = dir.write("app.log", "one\n");

    let args = [
        "-r",
        "--until",
        "2026-11-22T18:20:00Z",
        file.to_str().expect("UTF-8"),
    ];
    let ended = Logweir::tail(&dir, args).ended();

    assert_eq!(ended.good(), b"one\n");
}

#[test]
fn several_lines_become_one_record() {
    let dir = Dir::new();
    let file = dir.write("app.log", LOG);

    let json = whole(
        &dir,
        &["-o", "json", "--multiline", r"^\d{4}-", "-g", "handler"],
        &file,
    );

    let record: serde_json::Value = serde_json::from_slice(&json).expect("one record");
    let message = record["_msg"].as_str().expect("text");
    assert_eq!(
        message,
        "2026-11-22T18:10:00Z ERROR request failed\n  at handler.rs:12\n  at main.rs:3"
    );
}

#[test]
fn a_form_of_ones_own_has_the_parts_of_a_line() {
    let dir = Dir::new();
    let file = dir.write("app.log", LOG);

    let printed = whole(
        &dir,
        &["-T", r"{level}\t{source}|{msg}", "-g", "disk"],
        &file,
    );

    assert_eq!(
        String::from_utf8_lossy(&printed),
        "WARN\tapp|2026-11-22T18:00:00Z WARN  disk is slow\n"
    );
}

#[test]
fn what_makes_no_sense_is_a_usage_error_that_says_what_would() {
    let cases: [(&[&str], &[&str]); 9] = [
        (&["-T", "{sorce}"], &["{sorce}", "{source}"]),
        (
            &["-l", "loud"],
            &["loud", "trace, debug, info, warn, error and fatal"],
        ),
        (&["-g", "("], &["unclosed group"]),
        (&["--since", "soon"], &["--since soon", "15m"]),
        (
            &["--since", "1h", "--until", "2h"],
            &["--since is not before --until"],
        ),
        (&["--order", "5"], &["needs a unit", "5s"]),
        (&["--order", "1h"], &["at most 60s"]),
        (&["-n", "ten"], &["a number of lines or `all`"]),
        (
            &["--to", "ftp://x:s3cret@host/"],
            &["--to", "http:// or https:// URL"],
        ),
    ];
    for (args, words) in cases {
        let dir = Dir::new();
        let ended = Logweir::tail(&dir, [args, &[&dir.text("app.log")]].concat()).ended();

        ended.failed(64, words);
        assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    }
}
