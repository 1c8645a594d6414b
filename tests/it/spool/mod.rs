//! Lines that cannot be read again, on disk until every sink has them: through kills, outages, full disks
//! and damage.

mod apis;
mod damage;
mod disk;
mod feed;
mod full;
mod ids;
mod kinds;
mod memory;
mod outage;
mod resume;
mod unread;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::{Collector, Dir, Ended, read};

/// How long everything may take to come out of a spool.
const DRAIN: Duration = Duration::from_secs(60);

/// The text of a line that begins with its number, and about how long it is.
fn line(number: u64, bytes: usize) -> String {
    let mut line = format!("line {number} ");
    while line.len() < bytes {
        line.push_str(&number.to_string());
        line.push('.');
    }
    line
}

/// The numbers of the lines in an output; fails where one was never sent.
#[track_caller]
fn numbers(text: &[u8]) -> Vec<u64> {
    let text = std::str::from_utf8(text).expect("text");
    let end = text.rfind('\n').map_or(0, |last| last + 1);
    let number = |line: &str| {
        let number = line
            .strip_prefix("line ")?
            .split(' ')
            .next()?
            .parse()
            .ok()?;
        (line == self::line(number, line.len())).then_some(number)
    };
    let lines = text[..end].lines();
    lines
        .map(|line| number(line).unwrap_or_else(|| panic!("never sent: {line}")))
        .collect()
}

/// The numbers of the lines that a collector has stored.
#[track_caller]
fn stored(collector: &Collector) -> Vec<u64> {
    numbers(&collector.stored_bytes())
}

/// The segments of a source's spool, the oldest first.
fn segments(dir: &Dir, source: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir.path(&format!("state/spool/{source}.d"))) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.expect("lists a spool").path());
    let mut all: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|it| it == "segment"))
        .collect();
    all.sort();
    all
}

/// True where a text is in the spool: at the end of what was written last.
fn is_kept(dir: &Dir, source: &str, text: &str) -> bool {
    const LAST_BYTES: usize = 256 << 10;
    let last = segments(dir, source).into_iter().rev().take(2);
    last.into_iter().any(|path| {
        let bytes = read(&path);
        let end = &bytes[bytes.len().saturating_sub(LAST_BYTES)..];
        memchr::memmem::find(end, text.as_bytes()).is_some()
    })
}

/// How many lines the last run says it dropped.
#[track_caller]
fn dropped(ended: &Ended) -> u64 {
    let mut lines = ended.stderr.lines().rev();
    let last = lines
        .find(|line| line.contains("lost_bytes="))
        .expect("it says how it ended");
    let value = last.split(" dropped=").nth(1);
    let digits = value.map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    let number = digits.flatten().and_then(|digits| digits.parse().ok());
    number.unwrap_or_else(|| panic!("nothing dropped in {last}"))
}

/// True where a long run was asked for instead of the default one.
fn long() -> bool {
    std::env::var_os("LOGWEIR_TEST_LONG").is_some()
}
