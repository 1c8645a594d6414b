//! Merging by time: the output of several sources is in the order of their lines' times.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::support::{Dir, Logweir, Rng, pass};

/// Line `n` of a day, ten milliseconds apart.
pub(super) fn line(n: u64) -> String {
    let time = jiff::Timestamp::from_millisecond(1_795_371_900_000 + 10 * n as i64);
    format!("{:.3} INFO line {n}\n", time.expect("a time"))
}

pub(super) fn numbers(printed: &[u8]) -> Vec<u64> {
    let text = std::str::from_utf8(printed).expect("text");
    let number = |line: &str| line.rsplit(' ').next().and_then(|it| it.parse().ok());
    text.lines().filter_map(number).collect()
}

/// Three files that share the lines 0 to `n`; every third line goes on in a second one.
fn shared(dir: &Dir, n: u64, seed: u64) -> Vec<String> {
    let mut rng = Rng::seeded(seed);
    let mut texts = [String::new(), String::new(), String::new()];
    for number in 0..n {
        let text = &mut texts[rng.below(0..3) as usize];
        text.push_str(&line(number));
        if number % 3 == 0 {
            text.push_str("    of the line before\n");
        }
    }
    let names = ["a.log", "b.log", "c.log"];
    names
        .iter()
        .zip(texts)
        .map(|(name, text)| {
            dir.write(name, &text);
            dir.text(name)
        })
        .collect()
}

#[test]
fn files_that_end_are_merged_by_the_times_of_their_lines_the_same_each_time() {
    let n = 20_000;
    let dir = Dir::new();
    let files = shared(&dir, n, 7);
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let mut outputs = Vec::new();

    for _ in 0..2 {
        let args = [&["--no-follow", "-n", "all", "-r", "-q"], &files[..]].concat();
        outputs.push(Logweir::tail(&Dir::new(), args).ended().good());
    }

    assert_eq!(numbers(&outputs[0]), (0..n).collect::<Vec<_>>());
    let text = String::from_utf8_lossy(&outputs[0]);
    let rows: Vec<&str> = text.lines().collect();
    for pair in rows.windows(2).filter(|pair| pair[1].starts_with(' ')) {
        assert!(
            numbers(pair[0].as_bytes())[0].is_multiple_of(3),
            "{pair:?}: it belongs to another line"
        );
    }
    assert!(outputs[0] == outputs[1], "two runs differ");
}

// Scenario: logs whose times are whole seconds, so that very many lines of several files have the same
// one. Bug: how they came depended on which file had been read further by then. Fix: those of a file come
// before those of the files behind it, also where they are read later.
#[test]
fn lines_of_the_same_second_come_in_the_order_of_their_files_each_time() {
    let (n_seconds, n_each) = (4, 4_000);
    let dir = Dir::new();
    let row = |file: u64, second: u64, n: u64| {
        format!(
            "2026-11-22T12:00:0{second}Z INFO {file} {second} {n} {}\n",
            "x".repeat(60)
        )
    };
    for file in 0..3 {
        let seconds = (0..n_seconds).flat_map(|second| (0..n_each).map(move |n| (second, n)));
        let text: String = seconds.map(|(second, n)| row(file, second, n)).collect();
        dir.write(&format!("{file}.log"), text);
    }
    let files = (0..3).flat_map(|file| (0..n_each).map(move |n| (file, n)));
    let files: Vec<(u64, u64)> = files.collect();
    let rows = (0..n_seconds).flat_map(|second| files.iter().map(move |it| (second, *it)));
    let expected: String = rows
        .map(|(second, (file, n))| row(file, second, n))
        .collect();
    let names = [dir.text("0.log"), dir.text("1.log"), dir.text("2.log")];
    let n_lines = (3 * n_seconds * n_each).to_string();

    let glob = dir.text("*.log");
    let finite = ["--no-follow", "-n", "all", "-r", "-q"];
    let followed = [
        "-n", "all", "-r", "-q", "--order", "200ms", "--limit", &n_lines,
    ];
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for args in [
        [&finite[..], &names].concat(),
        [&finite[..], &[&glob]].concat(),
        [&followed[..], &names].concat(),
        [&followed[..], &[&glob]].concat(),
    ] {
        let printed = Logweir::tail(&Dir::new(), args).ended().good();

        let at = printed
            .iter()
            .zip(expected.as_bytes())
            .position(|(a, b)| a != b);
        assert_eq!((at, printed.len()), (None, expected.len()));
    }
}

// Scenario: a quoted glob and a folder instead of the names that a shell makes of them. Bug: their files
// were read one after the other, and only the glob as a whole was merged with other sources. Fix: each
// file that ends is a source of its own, with the label that it has anyway.
#[test]
fn files_of_a_glob_that_end_are_merged_as_if_a_shell_had_named_them() {
    let n = 5_000;
    let dir = Dir::new();
    std::fs::create_dir_all(dir.path("logs/old")).expect("makes folders");
    let files = shared(&dir, n, 5);
    let names = ["logs/a.log", "logs/b.log", "logs/old/a.log"];
    let moved = files.iter().zip(names).map(|(from, to)| {
        std::fs::rename(from, dir.path(to)).expect("moves a file");
        dir.text(to)
    });
    let files: Vec<String> = moved.collect();
    std::os::unix::fs::symlink("b.log", dir.path("logs/current.log")).expect("links");
    let of = |sources: &[&str]| {
        let args = ["--no-follow", "-n", "all", "-q", "-T", "{source} {msg}"];
        let args = [&args[..], sources].concat();
        let printed = Logweir::tail(&Dir::new(), args).ended().good();
        String::from_utf8(printed).expect("text")
    };

    let by_shell = of(&[&files[0], &files[1], &files[2]]);
    let by_glob = of(&[&dir.text("logs/**/*.log")]);
    let named = of(&[&format!("web={}", dir.text("logs/**/*.log"))]);
    let folder = of(&[&dir.text("logs"), &files[2]]);

    assert_eq!(numbers(by_shell.as_bytes()), (0..n).collect::<Vec<_>>());
    let labels: std::collections::BTreeSet<&str> = by_shell
        .lines()
        .filter_map(|it| it.split(' ').next())
        .collect();
    assert_eq!(
        labels.into_iter().collect::<Vec<_>>(),
        ["b", "logs-a", "old-a"]
    );
    assert!(by_shell == by_glob, "{}", &by_glob[..200]);
    assert!(
        named.lines().all(|it| it.starts_with("web ")),
        "{}",
        &named[..200]
    );
    assert_eq!(numbers(named.as_bytes()), (0..n).collect::<Vec<_>>());
    assert_eq!(numbers(folder.as_bytes()), (0..n).collect::<Vec<_>>());
}

// `_time` is when a line was read, where nothing else is asked for: it tells apart lines of one source,
// also where a chunk is let go line by line, and says nothing about the order among sources.
#[test]
fn the_time_of_merged_lines_grows_in_each_source() {
    let n = 5_000;
    let dir = Dir::new();
    let files = shared(&dir, n, 13);
    let files: Vec<&str> = files.iter().map(String::as_str).collect();

    let args = [
        &["--no-follow", "-n", "all", "-q", "--order", "1s"],
        &files[..],
    ]
    .concat();
    let printed = Logweir::tail(&dir, args).ended().good();

    let mut last = std::collections::HashMap::<String, String>::new();
    let mut n_records = 0;
    for line in printed
        .split(|byte| *byte == b'\n')
        .filter(|it| !it.is_empty())
    {
        let record: serde_json::Value = serde_json::from_slice(line).expect("JSON");
        let text = |key: &str| record[key].as_str().expect("a text").to_owned();
        let (source, time) = (text("_source"), text("_time"));
        // Times of equal length, to the nanosecond, in UTC: they are ordered as texts.
        let before = last.insert(source, time.clone());
        assert!(
            before.as_ref().is_none_or(|before| *before < time),
            "{before:?} {time}"
        );
        n_records += 1;
    }
    assert_eq!((last.len(), n_records), (3, n + n.div_ceil(3)));
}

#[test]
fn files_of_a_glob_stay_whole_without_order_and_where_they_are_too_many() {
    let dir = Dir::new();
    let all: String = (0..300).map(line).collect();
    // The later a line, the earlier its file.
    for number in 0..300 {
        dir.write(&format!("{:03}.log", 299 - number), line(number));
    }
    let glob = dir.text("*.log");
    let args = ["--no-follow", "-n", "all", "-r", &glob];

    let many = Logweir::tail(&Dir::new(), args).ended();
    let few = dir.text("00*.log");
    let args = ["--no-follow", "-n", "all", "-r", "--order", "off", &few];
    let unordered = Logweir::tail(&Dir::new(), args).ended().good();

    let said = format!(
        "! {} has 300 files: they are read one after the other, not merged by time\n",
        dir.path("").file_name().expect("a name").to_string_lossy()
    );
    many.failed(0, &[&said]);
    assert_eq!(numbers(&many.stdout), (0..300).rev().collect::<Vec<_>>());
    assert_eq!(numbers(&unordered), (290..300).rev().collect::<Vec<_>>());
    assert_eq!(numbers(all.as_bytes()).len(), 300);
}

#[test]
fn without_order_files_that_end_come_one_after_the_other() {
    let dir = Dir::new();
    let files = shared(&dir, 100, 3);
    let args = ["--no-follow", "-n", "all", "-r", "--order", "off"];

    let printed = Logweir::tail(
        &dir,
        [
            &args[..],
            &files.iter().map(String::as_str).collect::<Vec<_>>(),
        ]
        .concat(),
    )
    .ended()
    .good();

    let expected: String = ["a.log", "b.log", "c.log"]
        .iter()
        .map(|name| std::fs::read_to_string(dir.path(name)).expect("reads a test log"))
        .collect();
    assert_eq!(String::from_utf8_lossy(&printed), expected);
}

#[test]
fn the_backlog_of_files_that_are_followed_is_merged() {
    let n = 3_000;
    let dir = Dir::new();
    let files = shared(&dir, n, 11);
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let limit = (n + n / 3).to_string();

    let args = [&["-n", "all", "-r", "-q", "--limit", &limit], &files[..]].concat();
    let printed = Logweir::tail(&dir, args).ended().good();

    assert_eq!(numbers(&printed), (0..n).collect::<Vec<_>>());
}

/// Two pipes whose writers are late by less than the window, each in its own way.
#[test]
fn live_streams_that_are_late_come_out_sorted() {
    let dir = Dir::new();
    let script = r#"mkfifo one two
        "$@" one two & reader=$!
        exec 3>one 4>two
        printf ready >ready
        cat >&3 <steps.one & cat >&4 <steps.two & wait $reader"#;
    // What is written comes through pipes of this test, so that it says when.
    for name in ["steps.one", "steps.two"] {
        let status = std::process::Command::new("mkfifo")
            .arg(dir.path(name))
            .status();
        assert!(status.expect("mkfifo runs").success());
    }
    let script = format!("cd '{}'; {script}", dir.path("").display());
    let args = ["tail", "-r", "-q", "--order", "2s", "--limit", "40"];
    let agent = Logweir::shell(&dir, &script, args).start();
    let open = |name| {
        std::fs::OpenOptions::new()
            .write(true)
            .open(dir.path(name))
            .expect("opens a pipe")
    };
    let (mut one, mut two) = (open("steps.one"), open("steps.two"));

    // One stream runs ahead of the other by up to ten lines, then the other does.
    for round in 0..4 {
        let (odd, even): (Vec<u64>, Vec<u64>) =
            (10 * round..10 * round + 10).partition(|n| n % 2 == 1);
        let text = |numbers: Vec<u64>| numbers.into_iter().map(line).collect::<String>();
        let mut write = |to_one: bool, text: String| {
            let pipe = if to_one { &mut one } else { &mut two };
            pipe.write_all(text.as_bytes()).expect("writes a pipe");
        };
        write(round % 2 == 0, text(even));
        pass(Duration::from_millis(50));
        write(round % 2 == 1, text(odd));
    }
    let ended = agent.wait();

    assert_eq!(
        numbers(&ended.stdout),
        (0..40).collect::<Vec<_>>(),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_quiet_file_costs_no_more_than_the_window() {
    let dir = Dir::new();
    dir.write("quiet.log", line(0));
    dir.write("app.log", line(1));
    let args = [
        "-r",
        "-q",
        "--order",
        "300ms",
        &dir.text("quiet.log"),
        &dir.text("app.log"),
    ];
    let agent = Logweir::tail(&dir, args).start();
    let mut expected = [line(0), line(1)].concat();
    agent.wait_printed(expected.as_bytes());

    let begun = Instant::now();
    dir.append("app.log", line(2));
    expected.push_str(&line(2));
    agent.wait_printed(expected.as_bytes());

    // Half a second for a machine on which other tests run.
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_millis(250), "{waited:?}");
    assert!(waited < Duration::from_millis(800), "{waited:?}");
}
