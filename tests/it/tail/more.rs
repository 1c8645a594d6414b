//! What else `tail` does: it remembers, copies, and says what it was asked for.

use std::fs;

use crate::support::{Dir, Logweir};

#[test]
fn a_cursor_file_lets_the_next_run_go_on() {
    let dir = Dir::new();
    let log = dir.write("app.log", "one\ntwo\n");
    let (log, cursor) = (log.to_str().expect("UTF-8"), dir.text("cursor"));
    let args = ["--no-follow", "-r", "-q", "--cursor-file", &cursor, log];

    Logweir::tail(&dir, args).ended().good();
    dir.append("app.log", "three\n");
    let printed = Logweir::tail(&dir, args).ended().good();
    let again = Logweir::tail(&dir, args).ended().good();

    assert_eq!(printed, b"one\ntwo\nthree\n");
    assert_eq!(again, printed);
}

// Scenario: the cursor file is named without a folder. Bug: the folder of such a name is empty, which
// cannot be opened, so the run ended and hinted at a configuration. Fix: it is looked up first.
#[test]
fn a_cursor_file_can_be_named_without_a_folder_and_through_a_link() {
    let dir = Dir::new();
    dir.write("app.log", "one\n");
    dir.write("cursor.new", "somebody's\n");
    std::os::unix::fs::symlink("real", dir.path("link")).expect("links");
    let script = format!("cd '{}'; \"$@\"", dir.text(""));
    let run = |cursor: &str| {
        let args = [
            "tail",
            "--no-follow",
            "-r",
            "-q",
            "--cursor-file",
            cursor,
            "app.log",
        ];
        Logweir::shell(&Dir::new(), &script, args).ended().good()
    };

    let first = run("cursor");
    let second = run("cursor");
    dir.write("real", "");
    let (through, again) = (run("link"), run("link"));

    assert_eq!(
        (first.as_slice(), second.as_slice()),
        (&b"one\n"[..], &b""[..])
    );
    assert_eq!(
        (through.as_slice(), again.as_slice()),
        (&b"one\n"[..], &b""[..])
    );
    assert!(dir.path("link").is_symlink());
    assert_eq!(dir.read("cursor.new"), b"somebody's\n");
}

// Scenario: a path that cannot be a cursor file. Bugs: it ended as if output could not be written, without
// a word on what to do; a FIFO was waited for; and root had a device such as /dev/null replaced by a file.
// Fix: what is no regular file is left alone, and each is a usage error that says what would help.
#[test]
fn what_cannot_be_a_cursor_file_is_a_usage_error_and_left_alone() {
    let dir = Dir::new();
    let log = dir.write("app.log", "one\n");
    let log = log.to_str().expect("UTF-8");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        dir.path("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .expect("makes a FIFO");
    let folder = format!("there is no directory {}: make it first", dir.text("none"));

    for (path, why) in [
        (
            log.to_owned(),
            "it holds something else than positions: name another one, or remove it",
        ),
        (dir.text(""), "it is a directory: name a file in it"),
        (dir.text("fifo"), "it is no regular file: name another one"),
        (
            "/dev/full".to_owned(),
            "it is no regular file: name another one",
        ),
        (dir.text("none/cursor"), &folder),
        (
            dir.text("app.log/cursor"),
            "Not a directory: name another one",
        ),
    ] {
        let ended = Logweir::tail(&Dir::new(), ["--cursor-file", &path, log]).ended();

        ended.failed(64, &[]);
        assert_eq!(ended.stderr, format!("error: cursor file {path}: {why}\n"));
    }
    assert_eq!(dir.read("app.log"), b"one\n");
}

#[test]
fn lines_go_to_a_second_place_too() {
    let dir = Dir::new();
    let log = dir.write("app.log", "one\ntwo\n");
    let to = dir.text("copy.ndjson");

    let args = [
        "--no-follow",
        "-r",
        "--to",
        &to,
        log.to_str().expect("UTF-8"),
    ];
    let printed = Logweir::tail(&dir, args).ended().good();

    assert_eq!(printed, b"one\ntwo\n");
    let copy = fs::read_to_string(to).expect("the copy is there");
    let messages: Vec<String> = copy
        .lines()
        .map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
            record["_msg"].as_str().expect("text").to_owned()
        })
        .collect();
    assert_eq!(messages, ["one", "two"]);
}

#[test]
fn strict_makes_a_source_that_fails_an_error() {
    let dir = Dir::new();
    let log = dir.write("app.log", "one\n");
    let (log, missing) = (log.to_str().expect("UTF-8"), dir.text("missing.log"));
    let args = ["--no-follow", "-r", log, &missing];

    let plain = Logweir::tail(&dir, args).ended();
    let strict = Logweir::tail(&dir, [&["--strict"], &args[..]].concat()).ended();

    plain.failed(0, &["! cannot read", "missing.log"]);
    strict.failed(1, &["! cannot read", "missing.log"]);
    assert_eq!(strict.stdout, b"one\none\n");
}

#[test]
fn what_was_asked_for_is_printed_as_a_configuration_that_is_good() {
    let dir = Dir::new();
    let token = dir.write("token", "s3cret-token\n");
    let token = format!("@{}", token.display());
    let args = [
        "--print-config",
        "-n",
        "0",
        "-g",
        "a\"b",
        "-v",
        r"\d",
        "--multiline",
        r"^\S",
        "-H",
        "X-Key: s3cret-header",
        "--bearer",
        &token,
        "-k",
        "--to",
        "out.ndjson",
        "-o",
        "json",
        "odd.name=/var/log/${x}.log",
        "https://h.example/stream",
        "sse+http://127.0.0.1:1/e",
        "wss://w.example/feed",
        "-",
    ];

    let printed = Logweir::tail(&dir, args).ended().good();
    let config = dir.write(
        "agent.toml",
        std::str::from_utf8(&printed).expect("TOML is UTF-8"),
    );
    let check = ["check", "--no-env", "-c", config.to_str().expect("UTF-8")];
    let checked = Logweir::new(&Dir::new(), check).ended();

    checked.failed(0, &["ok: 5 sources, 2 sinks"]);
    let text = String::from_utf8_lossy(&printed);
    assert!(!text.contains("s3cret"), "{text}");
    for expected in [
        "[source.\"odd.name\"]\npath = \"/var/log/$${x}.log\"\nstart = \"end\"\n",
        "include = [\"a\\\"b\"]\nexclude = [\"\\\\d\"]\nmultiline = { start = \"^\\\\S\" }\n",
        "tls = { verify = false }\n",
        "bearer = \"${file:",
        "headers = { X-Key = \"${env:H_EXAMPLE_X_KEY}\" }",
        "url = \"sse+http://127.0.0.1:1/e\"\n",
        "type = \"stdin\"\n",
        "[agent]\norder = \"200ms\"\n",
    ] {
        assert!(text.contains(expected), "no {expected:?} in\n{text}");
    }
}

#[test]
fn sources_of_a_configuration_can_be_watched_by_name() {
    let dir = Dir::new();
    dir.write("a.log", "a1\n");
    dir.write("b.log", "b1\n");
    let config = dir.config(
        "[source]\na = \"{dir}/a.log\"\nb = \"{dir}/b.log\"\n[sink]\nout = \"{dir}/out\"\n",
    );
    let config = config.to_str().expect("UTF-8");

    let one = Logweir::tail(&dir, ["-r", "--no-follow", "-c", config, "b"]).ended();
    let unknown = Logweir::tail(&Dir::new(), ["-c", config, "c"]).ended();

    assert_eq!(one.good(), b"b1\n");
    unknown.failed(64, &["`c`: no source of", "there are: a, b"]);
    assert!(!dir.path("out").exists() && !dir.path("state").exists());
}

#[test]
fn a_dry_run_prints_what_sinks_would_get_and_remembers_nothing() {
    let dir = Dir::new();
    dir.write("app.log", "one\n");
    let config = dir.config(
        "[source]\napp = \"{dir}/app.log\"\n[sink.elastic]\nurl = \"http://127.0.0.1:1\"\n\
         format = \"elasticsearch\"\nindex = \"logs\"\n",
    );
    let args = ["run", "--dry-run", "-c", config.to_str().expect("UTF-8")];
    let agent = Logweir::new(&dir, args).start();

    crate::support::within("the line", crate::support::PATIENCE, || {
        let printed = String::from_utf8(agent.printed()).expect("text");
        (printed.contains("\"create\"") && printed.contains("\"one\"")).then_some(())
    });
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(!dir.path("state").exists());
}

// Scenario: a loop walks through a file some lines at a time, and remembers how far it came. Bug: the batch
// with the last line that was wanted was never settled, so every run gave out the same lines. Fix: what
// was given out is settled up to that line, also inside a chunk.
#[test]
fn a_limit_with_a_cursor_file_walks_through_a_file() {
    const N_LINES: u64 = 25_003;
    let dir = Dir::new();
    // Some are traces: with `auto` each of these is one record, and is given out whole.
    let text = |n: u64| match n % 1000 {
        7 => format!("{n} Exception in thread\n\tat a.b({n})\n\tat c.d({n})\n"),
        _ => format!("{n} line\n"),
    };
    let all: String = (0..N_LINES).map(text).collect();
    dir.write("app.log", &all);
    for (multiline, limit) in [("auto", 10), ("auto", 4999), ("off", 4999), ("off", 1)] {
        let cursor = dir.text(&format!("cursor-{multiline}-{limit}"));
        let limit_text = limit.to_string();
        let mut args = vec!["--no-follow", "-r", "-q", "-n", "all", "--limit"];
        let log = dir.text("app.log");
        args.extend([&*limit_text, "--multiline", multiline, "--cursor-file"]);
        args.extend([&*cursor, &log]);
        let out = Dir::new();
        let (mut printed, mut n_before) = (String::new(), 0);
        // Not to the end where it is a few lines at a time.
        for _ in 0..7 {
            // What was printed before comes again: the runs share an output.
            printed = String::from_utf8(Logweir::tail(&out, &args).ended().good()).expect("UTF-8");
            let is_whole = |it: &&str| multiline == "off" || !it.starts_with('\t');
            let n_printed = printed.lines().filter(is_whole).count();
            let is_over = printed.len() == all.len();
            assert!(
                n_printed == n_before + limit || is_over,
                "{n_before}, {n_printed}"
            );
            n_before = n_printed;
        }
        assert!(
            all.starts_with(&printed),
            "with {multiline}, {limit} lines at a time"
        );
        assert!(limit != 4999 || printed == all, "not all of it");
    }
}
