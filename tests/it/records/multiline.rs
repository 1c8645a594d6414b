//! Several lines, one record.

use std::fs;
use std::io::Write as _;

use super::*;

/// Records of the fixture as `auto` groups them, judged by eye once: how many there are, and how
/// many lines the joined ones have.
#[track_caller]
fn check_fixture(name: &str, joined: &[usize]) {
    let dir = Dir::new();
    let text = fixture(name);
    dir.write("app.log", &text);

    let agent = start(&dir, "multiline = \"auto\"", "raw");
    expect(&dir, &agent, &text);
    assert_eq!(agent.stop().code, 0);

    let dir = Dir::new();
    dir.write("app.log", &text);
    let agent = start(&dir, "multiline = \"auto\"", "json");
    let n_lines = text.iter().filter(|byte| **byte == b'\n').count();
    let n_records = n_lines - joined.iter().map(|lines| lines - 1).sum::<usize>();
    within("all records", PATIENCE, || {
        (messages(&dir).len() >= n_records).then_some(())
    });
    let found = messages(&dir);
    let lines = found.iter().map(|text| text.matches('\n').count() + 1);
    assert_eq!(lines.filter(|lines| *lines > 1).collect::<Vec<_>>(), joined);
    assert_eq!(found.len(), n_records);
    assert_eq!(agent.stop().code, 0);
}

#[test]
fn traces_of_java() {
    check_fixture("java-stacktrace.log", &[26, 26, 10, 27, 6]);
}

#[test]
fn traces_of_python() {
    check_fixture(
        "python-traceback.log",
        &[22, 14, 13, 22, 14, 13, 22, 14, 9, 16],
    );
}

#[test]
fn panics_of_go() {
    check_fixture("go-panic.log", &[8, 14, 6, 15]);
}

#[test]
fn traces_with_carriage_returns() {
    check_fixture("crlf.log", &[26, 26, 10, 27, 6]);
}

/// Numbered records of one to nine lines.
fn groups(count: usize) -> Vec<String> {
    let group = |number: usize| {
        let mut text = format!("2026-11-22 record {number}");
        for line in 0..number * 7 % 9 {
            text += &format!(
                "\n\tline {line} of {number} {}",
                "x".repeat(number * 13 % 80)
            );
        }
        text
    };
    (0..count).map(group).collect()
}

#[test]
fn records_of_many_lines_are_whole_through_twenty_kills() {
    let mut rng = Rng::printed("multiline");
    let dir = Dir::new();
    let groups = groups(3_000);
    let text = groups.join("\n") + "\n";
    let keys = format!("multiline = {{ start = '^\\d{{4}}-', {NEVER} }}");
    let writer = write_torn(&dir, (text + "2026-11-22 last\n").into_bytes(), rng.fork());

    let agent = kill_in_a_loop(&dir, &keys, "json", writer, &mut rng);

    // The last record is never known to be complete.
    expect_messages(&dir, &agent, &groups);
}

#[test]
fn raw_output_of_records_is_the_file_itself_through_twenty_kills() {
    let mut rng = Rng::printed("multiline, raw");
    let dir = Dir::new();
    let text = groups(3_000).join("\n") + "\n";
    // So short that records are sent unfinished: their rest comes as a record of its own.
    let keys = "multiline = { continue = '^\\s', timeout = \"5ms\" }";
    let writer = write_torn(&dir, text.clone().into_bytes(), rng.fork());

    let agent = kill_in_a_loop(&dir, keys, "raw", writer, &mut rng);

    expect(&dir, &agent, text.as_bytes());
}

#[test]
fn an_unfinished_record_is_read_again_from_its_first_line() {
    let dir = Dir::new();
    let keys = format!("multiline = {{ start = '^one|^two|^three', {NEVER} }}");
    dir.write("app.log", "one\n a\ntwo\n b\n");
    let agent = start(&dir, &keys, "json");
    wait_output(&dir, "one");
    agent.kill();

    dir.append("app.log", " c\nthree\n");
    let agent = start(&dir, &keys, "json");

    expect_messages(&dir, &agent, &["one\n a", "two\n b\n c"]);
}

#[test]
fn the_last_record_of_a_quiet_file_waits_for_its_timeout_only() {
    let dir = Dir::new();
    dir.write("app.log", "one\n a\n");
    let keys = "multiline = { continue = '^\\s', timeout = \"300ms\" }";

    let agent = start(&dir, keys, "json");
    expect_messages(&dir, &agent, &["one\n a"]);
    // It was given up waiting for: what comes now is another record.
    dir.append("app.log", " b\n");
    expect_messages(&dir, &agent, &["one\n a", " b"]);
}

#[test]
fn too_many_lines_or_bytes_begin_a_new_record() {
    let dir = Dir::new();
    dir.write("app.log", "one\n 1\n 2\n 3\n 4\n 567890123\n x\ntwo\n");
    let keys = "multiline = { continue = '^\\s', timeout = \"100ms\", max_lines = 4, max_bytes = \"14B\" }";

    let agent = start(&dir, keys, "json");

    expect_messages(
        &dir,
        &agent,
        &["one\n 1\n 2\n 3", " 4\n 567890123", " x", "two"],
    );
}

#[test]
fn a_long_line_in_a_record_is_cut_and_marked() {
    let dir = Dir::new();
    let long = "x".repeat(3_000);
    dir.write("app.log", format!("one\n {long}\n b\ntwo\n"));
    let keys = "max_line = \"1KiB\"\nmultiline = { continue = '^\\s', timeout = \"100ms\", max_bytes = \"4KiB\" }";

    let agent = start(&dir, keys, "json");

    expect_messages(
        &dir,
        &agent,
        &[format!("one\n {}\n b", &long[..1023]), "two".to_owned()],
    );
    let cut: Vec<_> = records(&dir)
        .iter()
        .map(|it| it["_truncated"].clone())
        .collect();
    assert_eq!(cut, [Value::Bool(true), Value::Null]);
}

// A file that is rotated away gets no further line soon: what comes after it must not overtake it.
#[test]
fn the_last_record_of_a_rotated_file_comes_before_the_next_file() {
    let dir = Dir::new();
    dir.write("app.log", "one\n");
    let agent = start(
        &dir,
        "multiline = { continue = '^\\s', timeout = \"1s\" }",
        "json",
    );
    expect_messages(&dir, &agent, &["one"]);

    dir.append("app.log", "two\n a\n");
    fs::rename(dir.path("app.log"), dir.path("app.log.1")).unwrap();
    dir.write("app.log", "three\nfour\n");

    expect_messages(&dir, &agent, &["one", "two\n a", "three", "four"]);
}

#[test]
fn a_finite_input_ends_with_its_last_record() {
    let dir = Dir::new();
    let input = dir.write("input", "one\n\tat a.b(C.java:1)\ntwo\nhalf");
    let config = dir.bare_config(
        "[agent]\nstate = \"{dir}/state\"\n[source.in]\ntype = \"stdin\"\nmultiline = \"auto\"\n\
         [sink.out]\ntype = \"stdout\"\nformat = \"json\"\n",
    );
    let stdin = fs::File::open(input).unwrap();

    let out = Logweir::run(&dir, &config).stdin(stdin).ended().good();

    let out = String::from_utf8(out).unwrap();
    let texts: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["_msg"].clone())
        .collect();
    assert_eq!(texts, ["one\n\tat a.b(C.java:1)", "two", "half"]);
}

/// A pipe to `out.txt`, and the agent that reads it.
fn piped(dir: &Dir, multiline: &str) -> (std::io::PipeWriter, Agent) {
    let config = dir.bare_config(&format!(
        "[agent]\nstate = \"{{dir}}/state\"\n[source.in]\ntype = \"stdin\"\nmultiline = {multiline}\n\
         [sink.out]\npath = \"{{dir}}/out.txt\"\nformat = \"json\"\n"
    ));
    let (reader, writer) = std::io::pipe().unwrap();
    (writer, Logweir::run(dir, &config).stdin(reader).start())
}

#[test]
fn a_pipe_that_is_quiet_waits_for_the_timeout_only() {
    let dir = Dir::new();
    let (mut pipe, agent) = piped(&dir, "{ start = \"^a\", timeout = \"200ms\" }");

    pipe.write_all(b"a\nb\n").unwrap();

    expect_messages(&dir, &agent, &["a\nb"]);
}

#[test]
fn what_is_open_of_a_pipe_is_sent_when_it_is_stopped() {
    let dir = Dir::new();
    let (mut pipe, agent) = piped(&dir, &format!("{{ start = \"^a\", {NEVER} }}"));
    pipe.write_all(b"a\nb\na\nc\n").unwrap();
    expect_messages(&dir, &agent, &["a\nb"]);

    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(messages(&dir), ["a\nb", "a\nc"]);
}
