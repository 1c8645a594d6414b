//! What lines and records are: joined lines, containers' formats, charsets, filters and times, with
//! kills in the middle of each.

mod charset;
mod container;
mod multiline;
mod packed;
mod select;

use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Agent, Dir, Logweir, PATIENCE, Rng, pass, poll, within};

/// `app.log` with `keys` to `out.txt`.
fn config(dir: &Dir, keys: &str, format: &str) -> PathBuf {
    dir.config(&format!(
        "[source.app]\npath = \"{{dir}}/app.log\"\n{keys}\n\n[sink.out]\npath = \
         \"{{dir}}/out.txt\"\nformat = \"{format}\"\nbatch = {{ lines = 50, linger = \"5ms\" }}\n"
    ))
}

fn start(dir: &Dir, keys: &str, format: &str) -> Agent {
    Logweir::run(dir, &config(dir, keys, format)).start()
}

/// Waits until the whole output is `expected`.
#[track_caller]
fn expect(dir: &Dir, agent: &Agent, expected: &[u8]) {
    let out = || dir.read("out.txt");
    let arrived = poll(3 * PATIENCE, || {
        let out = out();
        // What is wrong already stays wrong.
        (out == expected || !expected.starts_with(&out)).then_some(())
    });

    let (out, expected) = (out(), String::from_utf8_lossy(expected));
    let out = String::from_utf8_lossy(&out);
    let same = out
        .bytes()
        .zip(expected.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    let near = |text: &str| {
        let part = text
            .as_bytes()
            .get(same.saturating_sub(80)..)
            .unwrap_or_default();
        String::from_utf8_lossy(&part[..part.len().min(300)]).into_owned()
    };
    assert!(
        out == expected,
        "in time: {}; differs at {same} of {}:\n{}\n--- instead of\n{}\n--- said\n{}",
        arrived.is_some(),
        expected.len(),
        near(&out),
        near(&expected),
        agent.said()
    );
}

/// Every record of a JSON output so far.
fn records(dir: &Dir) -> Vec<Value> {
    let out = dir.read("out.txt");
    let whole = out
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1);
    let lines = out[..whole].split_inclusive(|byte| *byte == b'\n');
    lines
        .map(|line| serde_json::from_slice(line).expect("a line of JSON"))
        .collect()
}

fn messages(dir: &Dir) -> Vec<String> {
    let text = |record: &Value| record["_msg"].as_str().unwrap_or_default().to_owned();
    records(dir).iter().map(text).collect()
}

/// Waits until the messages of the JSON output are `expected`.
#[track_caller]
fn expect_messages<T: AsRef<str>>(dir: &Dir, agent: &Agent, expected: &[T]) {
    let expected: Vec<&str> = expected.iter().map(AsRef::as_ref).collect();
    let _ = poll(3 * PATIENCE, || {
        (messages(dir).len() >= expected.len()).then_some(())
    });

    assert_eq!(messages(dir), expected, "{}", agent.said());
}

/// Appends `text` to `app.log` in torn pieces, some of them a moment apart.
fn write_torn(dir: &Dir, text: Vec<u8>, mut rng: Rng) -> JoinHandle<()> {
    let path = dir.path("app.log");
    thread::spawn(move || {
        use std::io::Write as _;
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        let mut rest = &text[..];
        while !rest.is_empty() {
            let len = usize::try_from(rng.below(1..4_000))
                .unwrap()
                .min(rest.len());
            file.write_all(&rest[..len]).unwrap();
            rest = &rest[len..];
            pass(rng.millis(0..12));
        }
    })
}

/// Starts and kills the agent at random times until the writer has ended and it happened 20 times;
/// then starts it once more.
fn kill_in_a_loop(
    dir: &Dir,
    keys: &str,
    format: &str,
    writer: JoinHandle<()>,
    rng: &mut Rng,
) -> Agent {
    let config = config(dir, keys, format);
    let mut kills = 0;
    while kills < 20 || !writer.is_finished() {
        let agent = Logweir::run(dir, &config).start();
        pass(rng.millis(20..300));
        agent.kill();
        kills += 1;
    }
    writer.join().unwrap();
    Logweir::run(dir, &config).start()
}

/// Waits until something of the output is there.
#[track_caller]
fn wait_output(dir: &Dir, text: &str) {
    within(&format!("{text:?} in the output"), PATIENCE, || {
        let out = dir.read("out.txt");
        String::from_utf8_lossy(&out).contains(text).then_some(())
    });
}

/// A time that no test reaches: what it is about never happens by waiting.
const NEVER: &str = "timeout = \"10m\"";

fn fixture(name: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/logs")
        .join(name);
    std::fs::read(path).unwrap()
}

/// A short time in which nothing must happen.
const A_WHILE: Duration = Duration::from_millis(400);
