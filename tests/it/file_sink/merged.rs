//! Exactly once from merged files to a file: a batch holds parts of chunks, and each part has a
//! position of its own.

use std::path::{Path, PathBuf};

use super::kills::DRAIN;
use crate::support::{Agent, Dir, Logweir, PATIENCE, Rng, poll, read, within};

/// Lines of all files together: enough for some chunks of each.
const N_LINES: u64 = 16_000;

fn kills() -> u64 {
    match std::env::var_os("LOGWEIR_TEST_LONG") {
        Some(_) => 200,
        None => 20,
    }
}

/// Files whose lines interleave by time: plain ones, records of several lines, lines that are cut,
/// some that are filtered, and a container's log whose two streams have records in several pieces.
fn write_logs(dir: &Dir, rng: &mut Rng) {
    let mut texts: [String; 4] = Default::default();
    for number in 0..N_LINES {
        let time = jiff::Timestamp::from_millisecond(1_795_371_900_000 + 7 * number as i64);
        let time = format!("{:.9}", time.expect("a time"));
        let text = "x".repeat(rng.below(0..160) as usize);
        match rng.below(0..10) {
            0..3 => texts[0] += &format!("{time} plain {number} {text}\n"),
            3..5 => {
                texts[1] += &format!("{time} record {number} {text}\n");
                (0..rng.below(0..4)).for_each(|it| texts[1] += &format!("  at {number}.{it}\n"));
            }
            5..7 => {
                let long = "y".repeat(if rng.chance(20) { 700 } else { 0 });
                let word = if rng.chance(30) { "drop" } else { "keep" };
                texts[2] += &format!("{time} {word} {number} {text}{long}\n");
            }
            _ => {
                let stream = if rng.chance(50) { "stdout" } else { "stderr" };
                let tag = if rng.chance(40) { "P" } else { "F" };
                texts[3] += &format!("{time} {stream} {tag} piece {number} {text}\n");
            }
        }
    }
    // What is unfinished at the end would wait; and what is joined to it would be as early as its
    // first piece, and so not the last that comes.
    for stream in ["stdout", "stderr"] {
        texts[3] += &format!("2026-11-22T20:00:00.000000000Z {stream} F end of pieces\n");
        texts[3] += &format!("2026-11-22T23:59:59.000000000Z {stream} F last of {stream}\n");
    }
    let names = ["plain.log", "records.log", "cut.log", "pod.log"];
    for (name, text) in names.iter().zip(&texts) {
        dir.write(name, text);
    }
}

fn config(dir: &Dir, name: &str) -> PathBuf {
    let toml = format!(
        r#"
[source.plain]
path = "{{dir}}/plain.log"
[source.records]
path = "{{dir}}/records.log"
multiline = {{ continue = '^\s', timeout = "100ms" }}
[source.cut]
path = "{{dir}}/cut.log"
max_line = "500B"
exclude = [" drop "]
[source.pod]
path = "{{dir}}/pod.log"
parse = "cri"
[sink.out]
path = "{{dir}}/{name}.log"
format = "raw"
batch = {{ lines = 40 }}
fsync = "batch"
[agent]
state = "{{dir}}/state-{name}"
order = "3s"
"#
    );
    let text = toml.replace("{dir}", &dir.text(""));
    dir.write(&format!("{name}.toml"), text)
}

fn start(dir: &Dir, config: &Path) -> Agent {
    Logweir::run(dir, config).start()
}

// Scenario: files are merged by time into a file, and the agent is killed again and again. Bug: a
// batch held parts of chunks, whose position moved with the last part only; so after a kill the first
// parts of up to a chunk of each file were written once more. Fix: each part has a position, which
// says up to where the records behind the chunk's beginning are the sink's.
#[test]
fn merged_files_are_exact_and_in_order_through_kills() {
    let dir = Dir::new();
    let mut rng = Rng::printed("merged files");
    write_logs(&dir, &mut rng);

    let whole = start(&dir, &config(&dir, "whole"));
    whole.wait_listening();
    let last = |name: &str| read(&dir.path(name)).ends_with(b"last of stderr\n");
    within("the last line", DRAIN, || last("whole.log").then_some(()));
    assert_eq!(whole.stop().code, 0);
    let whole = dir.read("whole.log");

    let killed = config(&dir, "killed");
    let (mut n_cut, mut n_kills) = (0, 0);
    for kill in 1..=kills() {
        // Somewhere in this part of the output.
        let span = whole.len() as u64 / (kills() + 1);
        let due = kill * span - rng.below(0..span);
        let agent = start(&dir, &killed);
        let grown = poll(PATIENCE, || (dir.size("killed.log") >= due).then_some(()));
        assert!(grown.is_some(), "the output stays short:\n{}", agent.said());
        agent.kill();
        n_kills += u64::from(dir.size("killed.log") < whole.len() as u64);
        let journal = dir.read("state-killed/journal");
        let journal = String::from_utf8_lossy(&journal);
        n_cut += u64::from(journal.contains("\"begun\""));
    }
    let agent = start(&dir, &killed);
    agent.wait_listening();
    within("the last line", DRAIN, || last("killed.log").then_some(()));
    assert_eq!(agent.stop().code, 0);

    assert!(n_kills >= kills() / 2, "only {n_kills} kills came in time");
    assert!(n_cut > 0, "no kill came in the middle of a chunk");
    let killed = dir.read("killed.log");
    let at = whole.iter().zip(&killed).position(|(a, b)| a != b);
    assert!(
        whole == killed,
        "{} bytes without kills, {} with; the first difference is at {at:?}",
        whole.len(),
        killed.len()
    );
}
