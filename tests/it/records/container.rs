//! What container runtimes write.

use std::collections::BTreeMap;

use super::*;

/// What each stream says in the output, in its order.
fn by_stream(records: &[Value]) -> BTreeMap<String, Vec<String>> {
    let mut streams = BTreeMap::<String, Vec<String>>::new();
    for record in records {
        let stream = record["_stream"].as_str().unwrap_or("none");
        let text = match &record["_msg"] {
            Value::String(text) => text.clone(),
            // A spliced object.
            _ => record["msg"].as_str().unwrap_or_default().to_owned(),
        };
        streams.entry(stream.to_owned()).or_default().push(text);
    }
    streams
}

/// Joins the parts of each stream; text, and whether it is the last part.
fn joined(parts: &[(String, String, bool)]) -> BTreeMap<String, Vec<String>> {
    let mut streams = BTreeMap::<String, Vec<String>>::new();
    let mut open = BTreeMap::<String, String>::new();
    for (stream, text, is_last) in parts {
        let line = open.entry(stream.clone()).or_default();
        line.push_str(text);
        if *is_last {
            let line = std::mem::take(line);
            let line = line.strip_suffix('\r').unwrap_or(&line).to_owned();
            streams.entry(stream.clone()).or_default().push(line);
        }
    }
    for (stream, rest) in open.into_iter().filter(|(_, rest)| !rest.is_empty()) {
        streams.entry(stream).or_default().push(rest);
    }
    streams
}

#[track_caller]
fn check_fixture(name: &str, parse: &str, parts: &[(String, String, bool)]) {
    let dir = Dir::new();
    dir.write("app.log", fixture(name));
    let expected = joined(parts);
    let count: usize = expected.values().map(Vec::len).sum();

    let agent = start(&dir, &format!("parse = \"{parse}\""), "json");
    // The last record is a part that is followed by nothing.
    within("all records", PATIENCE, || {
        (records(&dir).len() >= count).then_some(())
    });

    let found = records(&dir);
    let mut texts = by_stream(&found);
    // Records of JSON are spliced; their texts are compared as they are shown.
    for (stream, lines) in &expected {
        let plain = |text: &String| match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(object)) => object["msg"].as_str().unwrap_or_default().to_owned(),
            _ => text.clone(),
        };
        let expected: Vec<String> = lines.iter().map(plain).collect();
        assert_eq!(
            texts.remove(stream).unwrap_or_default(),
            expected,
            "{stream}"
        );
    }
    assert!(texts.is_empty(), "{texts:?}");
    assert_eq!(agent.stop().code, 0);
}

#[test]
fn the_log_of_a_kubernetes_container() {
    let text = String::from_utf8(fixture("cri-container.log")).unwrap();
    let parts: Vec<_> = text
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.splitn(4, ' ').collect();
            (fields[1].to_owned(), fields[3].to_owned(), fields[2] == "F")
        })
        .collect();

    check_fixture("cri-container.log", "cri", &parts);
}

#[test]
fn the_log_of_a_docker_container() {
    let text = String::from_utf8(fixture("docker-json.log")).unwrap();
    let parts: Vec<_> = text
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let log = line["log"].as_str().unwrap();
            let text = log.strip_suffix('\n').unwrap_or(log);
            (
                line["stream"].as_str().unwrap().to_owned(),
                text.to_owned(),
                log.ends_with('\n'),
            )
        })
        .collect();

    check_fixture("docker-json.log", "docker", &parts);
}

#[test]
fn a_record_has_the_time_of_its_first_part_and_equal_times_differ() {
    let dir = Dir::new();
    let time = "2026-11-22T23:41:23.5";
    dir.write(
        "app.log",
        format!(
            "{time}+01:00 stdout P a\n2026-11-22T23:41:24Z stdout F b\n{time}Z stderr F one\n\
             {time}Z stderr F {{\"two\":2}}\nno format\n"
        ),
    );

    let agent = start(&dir, "parse = \"cri\"", "json");
    within("all records", PATIENCE, || {
        (records(&dir).len() >= 4).then_some(())
    });

    let found = records(&dir);
    let times: Vec<_> = found
        .iter()
        .take(3)
        .map(|it| it["_time"].as_str().unwrap())
        .collect();
    let expected = [
        "22:41:23.500000000Z",
        "23:41:23.500000000Z",
        "23:41:23.500000001Z",
    ];
    assert_eq!(times, expected.map(|time| format!("2026-11-22T{time}")));
    assert_eq!(found[0]["_msg"], "ab");
    assert_eq!(found[0]["_stream"], "stdout");
    assert_eq!(found[2]["two"], 2);
    assert_eq!(found[2]["_stream"], "stderr");
    // What is in no format is passed on as it is.
    assert_eq!(found[3]["_msg"], "no format");
    assert_eq!(found[3]["_stream"], Value::Null);
    assert_eq!(agent.stop().code, 0);
}

const NAMES: [&str; 2] = ["stdout", "stderr"];

/// Numbered lines of both streams and a log of them, in parts that interleave. A third of the lines
/// begins a record.
fn cri_log(count: usize, rng: &mut Rng) -> (String, [Vec<String>; 2]) {
    let line = |stream: usize, number: usize| {
        let indent = if number.is_multiple_of(3) { "" } else { "\t" };
        format!(
            "{indent}{} {number} {}",
            NAMES[stream],
            "x".repeat(number * 31 % 300)
        )
    };
    let lines = [0, 1].map(|stream| (0..count).map(|it| line(stream, it)).collect::<Vec<_>>());
    let mut parts = [0, 1].map(|stream| {
        let mut parts = std::collections::VecDeque::new();
        for line in &lines[stream] {
            let (mut tag, mut rest) = ("P", &line[..]);
            while tag == "P" {
                let (part, left) = rest.split_at(rest.len().min(100));
                tag = if left.is_empty() { "F" } else { "P" };
                parts.push_back(format!("{} {tag} {part}", NAMES[stream]));
                rest = left;
            }
        }
        parts
    });
    let mut text = String::new();
    while !parts[0].is_empty() || !parts[1].is_empty() {
        let stream = usize::from(rng.below(0..10) < 4);
        if let Some(part) = parts[stream].pop_front() {
            text += &format!("2026-11-22T23:41:23.515351945Z {part}\n");
        }
    }
    (text, lines)
}

#[track_caller]
fn kills(test: &str, multiline: &str, expected: impl Fn(Vec<String>) -> Vec<String>) {
    let mut rng = Rng::printed(test);
    let dir = Dir::new();
    let (text, lines) = cri_log(3_000, &mut rng);
    let writer = write_torn(&dir, text.into_bytes(), rng.fork());
    let keys = format!("parse = \"cri\"\n{multiline}");

    let agent = kill_in_a_loop(&dir, &keys, "json", writer, &mut rng);

    let expected = lines.map(expected);
    let count = expected[0].len() + expected[1].len();
    let _ = poll(3 * PATIENCE, || {
        (records(&dir).len() >= count).then_some(())
    });
    let found = by_stream(&records(&dir));
    for (stream, expected) in NAMES.iter().zip(&expected) {
        let found = &found[*stream];
        let same = found
            .iter()
            .zip(expected)
            .take_while(|(a, b)| a == b)
            .count();
        assert_eq!(
            found.get(same..same + 2),
            expected.get(same..same + 2),
            "{stream}, after {same}"
        );
        assert_eq!(found.len(), expected.len(), "{stream}");
    }
    assert_eq!(agent.stop().code, 0);
}

#[test]
fn parts_of_two_streams_are_joined_exactly_through_twenty_kills() {
    // A part never waits so long here that it is given up.
    kills(
        "cri",
        &format!("multiline = {{ start = '', {NEVER} }}"),
        |mut lines| {
            // The last record is never known to be complete.
            lines.pop();
            lines
        },
    );
}

#[test]
fn records_of_two_streams_are_joined_exactly_through_twenty_kills() {
    let multiline = format!("multiline = {{ continue = '^\\t', {NEVER} }}");
    kills("cri, multiline", &multiline, |lines| {
        let mut records: Vec<String> = lines.chunks(3).map(|lines| lines.join("\n")).collect();
        records.pop();
        records
    });
}

#[test]
fn a_part_that_nothing_follows_waits_for_a_second_only() {
    let dir = Dir::new();
    let time = "2026-11-22T23:41:23Z";
    dir.write(
        "app.log",
        format!("{time} stdout P prompt> \n{time} stderr F one\n"),
    );

    let agent = start(&dir, "parse = \"cri\"", "json");

    // The other stream does not wait for it.
    expect_messages(&dir, &agent, &["one", "prompt> "]);
}

#[test]
fn a_line_longer_than_max_line_is_cut_over_its_parts() {
    let dir = Dir::new();
    let time = "2026-11-22T23:41:23Z";
    let part = "x".repeat(700);
    dir.write(
        "app.log",
        format!("{time} stdout P {part}\n{time} stdout P {part}\n{time} stdout F end\n{time} stdout F next\n"),
    );

    let agent = start(&dir, "parse = \"cri\"\nmax_line = \"1KiB\"", "json");

    expect_messages(&dir, &agent, &["x".repeat(1024), "next".to_owned()]);
    assert_eq!(records(&dir)[0]["_truncated"], true);
}
