//! Merging by time what lies there already of many files that are followed.

use std::path::Path;

use super::merge::{line, numbers};
use crate::support::{Dir, Logweir, PATIENCE, Rng, read, within};

/// More than are read at the same time of a source that does not merge.
const N_FILES: u64 = 40;

/// Enough lines for several reads of each file.
const N_LINES: u64 = 60_000;

/// Line `n`, about a hundred bytes long.
fn long_line(n: u64) -> String {
    let rest = "x".repeat(60);
    line(n).replace("INFO", &format!("INFO {rest}"))
}

/// Lines 0 to `n` in the files that `choose` says, each of which is there in the end.
fn spread(dir: &Dir, n_files: u64, n: u64, mut choose: impl FnMut(u64) -> u64) {
    let mut texts = vec![String::new(); n_files as usize];
    for number in 0..n {
        texts[choose(number) as usize].push_str(&long_line(number));
    }
    std::fs::create_dir_all(dir.path("logs")).expect("makes a folder");
    for (number, text) in texts.iter().enumerate() {
        dir.write(&format!("logs/{number:03}.log"), text);
    }
}

/// `tail ARGS…` of the whole of `logs/*.log`, which ends with line `n`.
fn tail(dir: &Dir, n: u64, args: &[&str]) -> Vec<String> {
    let (limit, glob) = (n.to_string(), dir.text("logs/*.log"));
    let all = [&["-n", "all", "--limit", &limit], args, &[&glob]].concat();
    all.into_iter().map(str::to_owned).collect()
}

/// Fails unless the lines 0 to `n` are there once and in order; says where they are not.
#[track_caller]
fn assert_sorted(printed: &[u8], n: u64) {
    let found = numbers(printed);
    let wrong = found.iter().zip(0..).position(|(found, n)| *found != n);
    let around = wrong.map(|at| &found[at.saturating_sub(2)..(at + 3).min(found.len())]);
    assert_eq!((wrong, around, found.len()), (None, None, n as usize));
}

// Scenario: a followed glob of more files than are read at a time, all of the same days. Bug: the
// merge knew how many files were being read, and nothing of those that waited for their turn; so the
// files came eight by eight. Fix: each file of the backlog is announced before the first is read, all
// of them are read by turns, and the merge waits for each by name.
#[test]
fn the_backlog_of_more_files_than_are_read_at_once_is_sorted_each_time() {
    let dir = Dir::new();
    let mut rng = Rng::seeded(3);
    spread(&dir, N_FILES, N_LINES, |_| rng.below(0..N_FILES));
    let mut outputs = Vec::new();

    for _ in 0..2 {
        let args = tail(
            &dir,
            N_LINES,
            &["-q", "--order", "200ms", "-T", "{source} {msg}"],
        );
        outputs.push(Logweir::tail(&Dir::new(), args).ended().good());
    }

    assert_sorted(&outputs[0], N_LINES);
    assert!(outputs[0] == outputs[1], "two runs differ");
}

#[test]
fn lines_of_the_same_time_come_in_the_order_of_their_files() {
    let dir = Dir::new();
    let n = 3_000;
    for file in 0..N_FILES {
        let text: String = (0..n / 10).map(line).collect();
        std::fs::create_dir_all(dir.path("logs")).expect("makes a folder");
        dir.write(&format!("logs/{file:03}.log"), text);
    }
    let all = n / 10 * N_FILES;
    let expected = (0..n / 10).flat_map(|n| (0..N_FILES).map(move |file| format!("{file:03} {n}")));

    let args = tail(
        &dir,
        all,
        &["-q", "--order", "200ms", "-T", "{source} {msg}"],
    );
    let printed = Logweir::tail(&Dir::new(), args).ended().good();

    let printed = String::from_utf8(printed).expect("text");
    let found = printed.lines().map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        format!("{} {}", words[0], words[words.len() - 1])
    });
    let (found, expected): (Vec<_>, Vec<_>) = (found.collect(), expected.collect());
    let wrong = found.iter().zip(&expected).find(|(a, b)| a != b);
    assert_eq!((wrong, found.len()), (None, expected.len()));
}

// One holds nearly everything, and of the others one has the very first line, one the very last, one
// nothing; one is no file, and one cannot be opened.
#[test]
fn files_of_very_unequal_length_are_merged_and_what_cannot_be_read_holds_up_nothing() {
    let dir = Dir::new();
    spread(&dir, N_FILES, N_LINES, |n| match n {
        0 => 7,
        _ if n == N_LINES - 1 => 8,
        _ if n % 1_000 == 0 => 10 + n / 1_000 % 30,
        _ => 9,
    });
    std::fs::create_dir(dir.path("logs/folder.log")).expect("makes a folder");
    std::os::unix::fs::symlink("nowhere", dir.path("logs/link.log")).expect("links");

    let args = tail(&dir, N_LINES, &["-r", "-q", "--order", "200ms"]);
    let printed = Logweir::tail(&dir, args).ended().good();

    assert_eq!(dir.size("logs/000.log"), 0);
    assert_sorted(&printed, N_LINES);
}

#[test]
fn files_that_are_deleted_while_they_are_merged_are_still_whole() {
    let dir = Dir::new();
    let mut rng = Rng::seeded(5);
    spread(&dir, N_FILES, N_LINES, |_| rng.below(0..N_FILES));
    let script = format!(
        "\"$@\" | {{ head -c 200000; rm '{}'/*.log; cat; }}",
        dir.text("logs")
    );

    let args = tail(&dir, N_LINES, &["-r", "-q", "--order", "200ms"]);
    let args = std::iter::once("tail".to_owned()).chain(args);
    let printed = Logweir::shell(&dir, &script, args).ended().good();

    assert_eq!(dir.files_below("logs").len(), 0);
    assert_sorted(&printed, N_LINES);
}

#[test]
fn another_source_waits_until_it_is_known_which_files_there_are() {
    let dir = Dir::new();
    let mut rng = Rng::seeded(9);
    spread(&dir, N_FILES, N_LINES, |_| rng.below(0..N_FILES));
    std::fs::rename(dir.path("logs/000.log"), dir.path("other.log")).expect("renames");

    let mut args = tail(&dir, N_LINES, &["-r", "-q", "--order", "1ms"]);
    args.push(dir.text("other.log"));
    let printed = Logweir::tail(&Dir::new(), args).ended().good();

    assert_sorted(&printed, N_LINES);
}

#[test]
fn of_too_many_files_it_is_said_that_they_are_not_merged_and_each_line_comes() {
    let dir = Dir::new();
    let n = 3_000;
    spread(&dir, 300, n, |n| n % 300);

    let args = tail(&dir, n, &["-r", "--order", "200ms"]);
    let ended = Logweir::tail(&dir, args).ended();

    ended.failed(0, &["300 files", "not merged by time"]);
    let mut found = numbers(&ended.stdout);
    found.sort_unstable();
    assert_eq!(found, (0..n).collect::<Vec<_>>());
}

// Scenario: records of several lines, whose last one waits at the end of its file whether it gets
// further lines, longer than the window. Bug: as the file was read, the others went on, and the record
// came behind lines of a later time. Fix: what is known to be there is waited for.
#[test]
fn the_last_record_of_a_file_is_waited_for_though_it_may_get_further_lines() {
    let dir = Dir::new();
    let n = 400;
    spread(&dir, N_FILES, n, |n| n / 10);
    for file in 0..N_FILES {
        dir.append(&format!("logs/{file:03}.log"), "  of the last record\n");
    }

    let args = ["-r", "-q", "--order", "1ms", "--multiline", "auto"];
    let args = tail(&dir, n + N_FILES, &args);
    let printed = Logweir::tail(&dir, args).ended().good();

    assert_sorted(&printed, n);
}

// Scenario: a file is renamed while its last record waits. Bug: the file is read once more then, and
// nobody waited for it any longer, though the record was still to come. Fix: as long as it stands where
// it stood, its record is the one that is waited for.
#[test]
fn the_last_record_of_a_file_that_is_renamed_meanwhile_is_waited_for_too() {
    let dir = Dir::new();
    let n = 400;
    spread(&dir, 2, n, |n| n / 200);
    let first: String = (0..199).map(long_line).collect();

    let args = ["-r", "-q", "--order", "1ms", "--multiline", "auto"];
    let agent = Logweir::tail(&dir, tail(&dir, n, &args)).start();
    within("what comes before the last record", PATIENCE, || {
        (agent.printed().len() >= first.len()).then_some(())
    });
    std::fs::rename(dir.path("logs/000.log"), dir.path("logs/000.log.1")).expect("renames");
    let ended = agent.wait();

    assert_sorted(&ended.good(), n);
}

/// `run` with `order`, to `out.log`; the sink's budget holds a few reads only.
fn small(dir: &Dir) -> std::path::PathBuf {
    dir.bare_config(
        r#"
[source]
logs = "{dir}/logs/*.log"
[sink.out]
path = "{dir}/out.log"
format = "raw"
memory = "512KiB"
batch = { bytes = "64KiB" }
[agent]
state = "{dir}/state"
order = "200ms"
"#,
    )
}

fn has_last(out: &Path, n: u64) -> bool {
    let last = format!(" {}\n", n - 1);
    read(out).ends_with(last.as_bytes())
}

// Exactly once, too: it is killed again and again meanwhile.
#[test]
fn a_service_with_little_memory_sorts_the_backlog_through_kills() {
    let dir = Dir::new();
    let mut rng = Rng::printed("backlog of a service");
    spread(&dir, N_FILES, N_LINES, |_| rng.below(0..N_FILES));
    let out = dir.path("out.log");
    let all: u64 = (0..N_LINES).map(|n| long_line(n).len() as u64).sum();

    for kill in 0..6 {
        let agent = Logweir::run(&dir, &small(&dir)).start();
        let due = all * kill / 8 + rng.below(0..all / 8);
        within("more of the output", 3 * PATIENCE, || {
            (dir.size("out.log") >= due).then_some(())
        });
        agent.kill();
    }
    let agent = Logweir::run(&dir, &small(&dir)).start();
    within("the last line", 3 * PATIENCE, || {
        has_last(&out, N_LINES).then_some(())
    });
    assert_eq!(agent.stop().code, 0);

    assert_sorted(&dir.read("out.log"), N_LINES);
}

// What is compressed is as long as it turns out to be; and what was renamed is read before what has its
// name now, which must not be waited for meanwhile.
#[test]
fn compressed_and_renamed_files_are_a_part_of_the_backlog() {
    let dir = Dir::new();
    let mut rng = Rng::seeded(11);
    spread(&dir, N_FILES, N_LINES, |_| rng.below(0..N_FILES));
    for file in 0..10 {
        let status = std::process::Command::new("gzip")
            .arg(dir.path(&format!("logs/{file:03}.log")))
            .status();
        assert!(status.expect("gzip runs").success());
    }
    let config = dir.read(small(&dir).to_str().expect("UTF-8"));
    let config = String::from_utf8(config).expect("text");
    let paths = ["*.log", "*.gz"].map(|it| format!("\"{}\"", dir.text(&format!("logs/{it}"))));
    let source = format!("logs = \"{}\"", dir.text("logs/*.log"));
    let config = config.replace(
        &source,
        &format!("logs = {{ path = [{}] }}", paths.join(", ")),
    );
    let config = dir.write("agent.toml", config);
    let out = dir.path("out.log");

    let agent = Logweir::run(&dir, &config).start();
    within("a part of the output", 3 * PATIENCE, || {
        (dir.size("out.log") > 1 << 20).then_some(())
    });
    agent.kill();
    let newer: Vec<u64> = (N_LINES + 20..N_LINES + 30).collect();
    for (file, n) in (20..30).zip(&newer) {
        let path = format!("logs/{file:03}.log");
        std::fs::rename(dir.path(&path), dir.path(&format!("{path}.1"))).expect("renames");
        dir.write(&path, long_line(*n));
    }
    let agent = Logweir::run(&dir, &config).start();
    within("the last line", 3 * PATIENCE, || {
        has_last(&out, N_LINES + 30).then_some(())
    });
    assert_eq!(agent.stop().code, 0);

    let newer: String = newer.into_iter().map(long_line).collect();
    let whole = dir.read("out.log");
    assert!(
        whole.ends_with(newer.as_bytes()),
        "the newest lines come last"
    );
    assert_sorted(&whole[..whole.len() - newer.len()], N_LINES);
}
