//! Compressed files: read once, also over kills, and not again what was read before compression.

mod ends;
mod many;
mod starts;

use std::fs::{self, File};
use std::io::Write as _;
use std::process::Command;
use std::time::SystemTime;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::support::{Oracle, Plan};

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 1).unwrap()
}

fn lines(from: u64, count: u64) -> String {
    let plan = Plan {
        from,
        ..Plan::new("unused".into(), count)
    };
    plan.text()
}

/// Compresses a file as logrotate does, by the real program, and waits for it.
fn compress(dir: &Dir, name: &str) {
    let done = Command::new("gzip").arg(dir.path(name)).status().unwrap();
    assert!(done.success());
}

/// Everything that begins with `app` to `out.txt`.
fn start_all(dir: &Dir, keys: &str) -> Agent {
    let config = dir.config(&format!(
        "[source.app]\npath = \"{{dir}}/app*\"\n{keys}\n[sink.out]\npath = \"{{dir}}/out.txt\"\n\
         format = \"raw\"\nbatch = {{ lines = 50, linger = \"5ms\" }}\n"
    ));
    Logweir::run(dir, &config).start()
}

fn age(dir: &Dir, name: &str) {
    let hour_ago = SystemTime::now() - Duration::from_secs(3_600);
    let file = File::options().append(true).open(dir.path(name)).unwrap();
    file.set_modified(hour_ago).unwrap();
}

/// Starts once more with one more line elsewhere: that it comes right after `so_far` shows that
/// nothing was read again.
#[track_caller]
fn expect_not_again(dir: &Dir, so_far: &str) {
    dir.append("app.new", "and more\n");
    let agent = start_all(dir, "");
    expect(dir, &agent, format!("{so_far}and more\n").as_bytes());
    agent.kill();
    let agent = start_all(dir, "");
    dir.append("app.new", "and even more\n");
    expect(
        dir,
        &agent,
        format!("{so_far}and more\nand even more\n").as_bytes(),
    );
}

#[test]
fn compressed_files_are_read_once() {
    for pack in [gzip, zstd] {
        let dir = Dir::new();
        // Two members, an unterminated last line, and a name that says nothing.
        let (one, two) = (lines(0, 5_000), lines(5_000, 5_000) + "half");
        dir.write(
            "app.old",
            [pack(one.as_bytes()), pack(two.as_bytes())].concat(),
        );
        let text = one + &two + "\n";
        // What was written to just now may get more.
        age(&dir, "app.old");

        let agent = start_all(&dir, "");
        expect(&dir, &agent, text.as_bytes());
        agent.kill();

        expect_not_again(&dir, &text);
    }
}

#[test]
fn twenty_kills_in_the_middle_of_compressed_files_are_exact() {
    for (name, pack) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("zstd", zstd)] {
        let mut rng = Rng::printed(name);
        let dir = Dir::new();
        let text = lines(0, 150_000);
        dir.write("app.log.gz", pack(text.as_bytes()));

        for _ in 0..20 {
            let agent = start_all(&dir, "");
            pass(rng.millis(10..150));
            agent.kill();
        }
        let agent = start_all(&dir, "");

        expect(&dir, &agent, text.as_bytes());
    }
}

#[test]
fn records_of_a_compressed_file_are_exact_over_a_kill() {
    let mut rng = Rng::printed("packed records");
    let dir = Dir::new();
    let group = |number: usize| {
        format!(
            "2026 {number}\n\tat {number}\n\tat {}\n",
            "x".repeat(number % 90)
        )
    };
    let text: String = (0..40_000).map(group).collect();
    dir.write("app.log.gz", gzip(text.as_bytes()));
    let keys = "multiline = \"auto\"\nencoding = \"utf-8\"";

    for _ in 0..10 {
        let agent = start_all(&dir, keys);
        pass(rng.millis(10..150));
        agent.kill();
    }
    let agent = start_all(&dir, keys);

    expect(&dir, &agent, text.as_bytes());
}

#[test]
fn a_torn_file_is_said_and_what_it_holds_is_sent() {
    let dir = Dir::new();
    let text = lines(0, 5_000);
    let packed = gzip(text.as_bytes());
    dir.write("app.log.gz", &packed[..packed.len() / 2]);
    age(&dir, "app.log.gz");

    let agent = start_all(&dir, "");
    agent.wait_said(&["ends in the middle", "app.log.gz"]);
    within("what it holds", PATIENCE, || {
        (dir.size("out.txt") > 20_000).then_some(())
    });

    let out = String::from_utf8(dir.read("out.txt")).unwrap();
    let whole = out
        .rfind('\n')
        .map_or(0, |end| out[..end].rfind('\n').map_or(0, |end| end + 1));
    assert!(text.starts_with(&out[..whole]) && whole > 10_000);
    assert!(text.starts_with(out.trim_end()));
}

#[test]
fn a_damaged_file_is_said_with_its_place() {
    let dir = Dir::new();
    let text = lines(0, 5_000);
    let good = gzip(text.as_bytes());
    dir.write(
        "app.log.gz",
        [&good[..], b"this is not compressed"].concat(),
    );

    let agent = start_all(&dir, "");
    agent.wait_said(&["is damaged", &format!("at={}", good.len()), "lost=22"]);
    expect(&dir, &agent, text.as_bytes());
    agent.kill();

    expect_not_again(&dir, &text);
}

#[test]
fn a_file_that_is_being_compressed_is_waited_for() {
    let dir = Dir::new();
    let text = lines(0, 20_000);
    let packed = gzip(text.as_bytes());
    let (first, rest) = packed.split_at(packed.len() / 2);
    dir.append("app.log.gz", b"");
    let agent = start_all(&dir, "");
    dir.append("app.log.gz", &first[..2]);
    dir.append("app.log.gz", &first[2..]);
    wait_output(&dir, "w1 0 ");
    pass(A_WHILE);

    dir.append("app.log.gz", rest);

    expect(&dir, &agent, text.as_bytes());
    assert!(!agent.said().contains("damaged") && !agent.said().contains("in the middle"));
}

#[test]
fn rotation_by_rename_and_gzip_doubles_nothing() {
    let dir = Dir::new();
    let mut text = String::new();
    dir.write("app.log", "");
    let agent = start_all(&dir, "rotate_grace = \"1s\"");
    for round in 0..4 {
        let part = lines(round * 3_000, 3_000);
        dir.append("app.log", &part);
        text += &part;
        expect(&dir, &agent, text.as_bytes());
        fs::rename(dir.path("app.log"), dir.path(&format!("app.log.{round}"))).unwrap();
        dir.write("app.log", "");
        compress(&dir, &format!("app.log.{round}"));
    }
    // The grace is over, and everything was looked at again.
    pass(Duration::from_secs(2));
    expect(&dir, &agent, text.as_bytes());
    agent.kill();

    expect_not_again(&dir, &text);
}

/// Writes lines and rotates as logrotate does without `delaycompress`, all numbers shifted each time.
fn rotate_for_long(dir: &Dir, rounds: u64, mut rng: Rng) -> JoinHandle<()> {
    let path = |name: &str| dir.path(name);
    let (log, first) = (path("app.log"), path("app.log.1"));
    let packed: Vec<_> = (1..=rounds + 1)
        .map(|n| path(&format!("app.log.{n}.gz")))
        .collect();
    thread::spawn(move || {
        for round in 0..rounds {
            let mut file = File::create(&log).unwrap();
            for part in 0..10 {
                let text = lines(round * 1_000 + part * 100, 100);
                file.write_all(text.as_bytes()).unwrap();
                pass(rng.millis(0..30));
            }
            for n in (0..round as usize).rev() {
                fs::rename(&packed[n], &packed[n + 1]).unwrap();
            }
            fs::rename(&log, &first).unwrap();
            let done = Command::new("gzip").arg(&first).status().unwrap();
            assert!(done.success());
        }
    })
}

#[track_caller]
fn rotation_trial(test: &str, pattern: &str, kills: u32) {
    let mut rng = Rng::printed(test);
    let dir = Dir::new();
    let config = dir.config(&format!(
        "[source.app]\npath = \"{{dir}}/{pattern}\"\nrotate_grace = \"1s\"\n[sink.out]\npath = \
         \"{{dir}}/out.txt\"\nformat = \"raw\"\nbatch = {{ lines = 50, linger = \"5ms\" }}\n"
    ));
    let rounds = 20;
    let writer = rotate_for_long(&dir, rounds, rng.fork());
    for _ in 0..kills {
        let agent = Logweir::run(&dir, &config).start();
        pass(rng.millis(50..500));
        agent.kill();
    }
    let agent = Logweir::run(&dir, &config).start();
    writer.join().unwrap();

    let written = [(1, rounds * 1_000)];
    let report = || Oracle::file(&dir.path("out.txt")).report(&written);
    let _ = poll(3 * PATIENCE, || (report().missing == 0).then_some(()));
    // Nothing comes twice later, either.
    pass(Duration::from_secs(3));
    eprintln!("{}", agent.said());
    report().expect_complete(0);
}

#[test]
fn logrotate_with_compression_is_exact() {
    rotation_trial("logrotate", "app.log*", 0);
}

#[test]
fn logrotate_with_compression_is_exact_through_kills() {
    rotation_trial("logrotate, kills", "app.log*", 12);
}

#[test]
fn the_unread_rest_of_a_file_that_was_compressed_while_stopped_comes_first() {
    let (one, two, three) = (lines(0, 3_000), lines(3_000, 3_000), lines(6_000, 10));
    let text = [&one[..], &two, &three].concat();
    // With a pattern that matches the compressed file, and with one that does not.
    for pattern in ["app*", "app.log"] {
        let dir = Dir::new();
        let start = || {
            let config = dir.config(&format!(
                "[source.app]\npath = \"{{dir}}/{pattern}\"\n[sink.out]\npath = \
                 \"{{dir}}/out.txt\"\nformat = \"raw\"\n"
            ));
            Logweir::run(&dir, &config).start()
        };
        dir.write("app.log", &one);
        let agent = start();
        expect(&dir, &agent, one.as_bytes());
        agent.kill();

        dir.append("app.log", &two);
        fs::rename(dir.path("app.log"), dir.path("app.log.1")).unwrap();
        compress(&dir, "app.log.1");
        dir.write("app.log", &three);
        let agent = start();

        expect(&dir, &agent, text.as_bytes());
        agent.kill();
        let agent = start();
        dir.append("app.log", "last\n");
        expect(&dir, &agent, (text.clone() + "last\n").as_bytes());
    }
}

#[test]
fn tail_reads_compressed_files() {
    let dir = Dir::new();
    let text = lines(0, 3_000);
    let path = dir.write("app.log.gz", gzip(text.as_bytes()));
    let path = path.to_str().unwrap();

    let all = Logweir::tail(&dir, ["--no-follow", "-q", "-r", "-n", "all", path])
        .ended()
        .good();
    assert!(all == text.as_bytes());

    let dir = Dir::new();
    let last = Logweir::tail(&dir, ["--no-follow", "-q", "-r", "-n", "2", path])
        .ended()
        .good();
    assert_eq!(String::from_utf8(last).unwrap(), lines(2_998, 2));
}

#[test]
fn the_lines_of_the_last_hour_are_read_of_compressed_files() {
    for pack in [gzip, zstd] {
        let dir = Dir::new();
        let now = jiff::Timestamp::now();
        let at = |minutes: i64| now - jiff::SignedDuration::from_mins(minutes);
        let old: String = (0..5_000)
            .map(|n| format!("{} old {n}\n", at(120)))
            .collect();
        let young: String = (0..100)
            .map(|n| format!("{} young {n}\n", at(30)))
            .collect();
        dir.write("app.log.gz", pack((old + &young).as_bytes()));
        dir.write(
            "app.older.gz",
            pack(format!("{} old\n", at(120)).as_bytes()),
        );

        let agent = start_all(&dir, "start = \"-1h\"");
        expect(&dir, &agent, young.as_bytes());
        agent.kill();
        let agent = start_all(&dir, "start = \"-1h\"");
        dir.append("app.new", "after\n");
        expect(&dir, &agent, (young + "after\n").as_bytes());
    }
}

// A named file that is text is text, and what is compressed is so whatever its name.
#[test]
fn a_name_does_not_tell_that_a_file_is_compressed() {
    let dir = Dir::new();
    dir.write("app.log.gz", "plain\n");
    let agent = start_all(&dir, "");
    expect(&dir, &agent, b"plain\n");
    dir.append("app.log.gz", "and more\n");
    expect(&dir, &agent, b"plain\nand more\n");
}

// A bomb is a small file: its content must not be held.
#[test]
fn a_file_that_holds_a_thousand_times_its_size_takes_little_memory() {
    let dir = Dir::new();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let block = vec![b'x'; 1 << 20];
    for _ in 0..256 {
        encoder.write_all(&block).unwrap();
    }
    encoder.write_all(b"\nlast\n").unwrap();
    let packed = encoder.finish().unwrap();
    assert!(packed.len() < 400_000);
    dir.write("app.log.gz", packed);

    let agent = start_all(&dir, "max_line = \"1KiB\"");
    expect(
        &dir,
        &agent,
        format!("{}\nlast\n", "x".repeat(1024)).as_bytes(),
    );

    let status = fs::read_to_string(format!("/proc/{}/status", agent.id())).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 64 << 10, "{peak} KiB");
}
