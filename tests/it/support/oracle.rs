//! The judge: numbered lines in, what is missing, doubled, out of order or damaged out.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Deserialize;

use super::dir::read;

/// The `number`th line of `writer`, without its newline; `bytes` is about how long it is.
///
/// Every byte follows from the numbers, so a damaged line is seen. Some need escapes in JSON.
pub(crate) fn line(writer: u32, number: u64, bytes: usize) -> String {
    const SPICE: [&str; 6] = [
        "\"quoted\"",
        "back\\slash",
        "tab\there",
        "grün",
        "{\"k\":1}",
        "日本",
    ];
    const PADDING: &str =
        "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789";
    let mut line = format!("w{writer} {number} {bytes} ");
    line.push_str(SPICE[(number % SPICE.len() as u64) as usize]);
    while line.len() < bytes {
        let from = (number % 26) as usize;
        let part = &PADDING[from..PADDING.len().min(from + bytes - line.len())];
        line.push_str(part);
    }
    line
}

/// Counts what arrived.
#[derive(Default)]
pub(crate) struct Oracle {
    writers: BTreeMap<u32, Seen>,
    lines: u64,
    malformed: u64,
    malformed_first: Option<String>,
}

#[derive(Default)]
struct Seen {
    counts: Vec<u8>,
    distinct: u64,
    max: u64,
    reordered: u64,
    reordered_first: Option<(u64, u64)>,
    doubled_first: Option<(u64, u64)>,
}

impl Oracle {
    /// Takes one line as it was written.
    pub(crate) fn line(&mut self, bytes: &[u8]) {
        self.lines += 1;
        let Some((writer, number)) = parse(bytes) else {
            self.malformed += 1;
            let shown = || String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
            self.malformed_first.get_or_insert_with(shown);
            return;
        };
        let seen = self.writers.entry(writer).or_default();
        let index = number as usize;
        if seen.counts.len() <= index {
            seen.counts.resize(index + 1, 0);
        }
        if seen.counts[index] == 0 {
            seen.distinct += 1;
            if number < seen.max {
                seen.reordered += 1;
                seen.reordered_first.get_or_insert((number, seen.max));
            }
        }
        if seen.counts[index] > 0 {
            seen.doubled_first.get_or_insert((number, seen.max));
        }
        seen.counts[index] = seen.counts[index].saturating_add(1);
        seen.max = seen.max.max(number);
    }

    /// Takes the lines of a raw body.
    pub(crate) fn raw(&mut self, body: &[u8]) {
        let Some(body) = body.strip_suffix(b"\n") else {
            if !body.is_empty() {
                self.damaged("a body without a last newline");
            }
            return;
        };
        body.split(|&byte| byte == b'\n')
            .for_each(|line| self.line(line));
    }

    /// Takes the `_msg` of each line of an NDJSON body.
    pub(crate) fn json(&mut self, body: &[u8]) {
        #[derive(Deserialize)]
        struct Record {
            _msg: String,
        }
        let Some(body) = body.strip_suffix(b"\n") else {
            return self.damaged("a body without a last newline");
        };
        for line in body.split(|&byte| byte == b'\n') {
            match serde_json::from_slice::<Record>(line) {
                Ok(record) => self.line(record._msg.as_bytes()),
                Err(error) => {
                    self.damaged(&format!("{error}: {}", String::from_utf8_lossy(line)));
                }
            }
        }
    }

    /// Takes the lines of a raw output file.
    pub(crate) fn file(path: &Path) -> Self {
        let mut oracle = Self::default();
        oracle.raw(&read(path));
        oracle
    }

    /// Number of different lines of a writer that arrived.
    pub(crate) fn distinct(&self, writer: u32) -> u64 {
        self.writers.get(&writer).map_or(0, |seen| seen.distinct)
    }

    /// Compares with what was written: `(writer, number of lines)`.
    pub(crate) fn report(&self, written: &[(u32, u64)]) -> Report {
        let mut report = Report {
            lines: self.lines,
            malformed: self.malformed,
            malformed_first: self.malformed_first.clone(),
            ..Report::default()
        };
        for &(writer, n_lines) in written {
            report.written += n_lines;
            let nothing = Seen::default();
            let seen = self.writers.get(&writer).unwrap_or(&nothing);
            report.reordered += seen.reordered;
            let first = seen
                .reordered_first
                .map(|(it, behind)| (writer, it, behind));
            report.reordered_first = report.reordered_first.or(first);
            let first = seen.doubled_first.map(|(it, behind)| (writer, it, behind));
            report.doubled_first = report.doubled_first.or(first);
            for number in 0..n_lines {
                match seen.counts.get(number as usize).copied().unwrap_or(0) {
                    0 => report.miss(writer, number),
                    count => report.duplicate += u64::from(count) - 1,
                }
            }
            let beyond = seen.counts.iter().skip(n_lines as usize);
            report.foreign += beyond.map(|&count| u64::from(count)).sum::<u64>();
        }
        report
    }

    fn damaged(&mut self, what: &str) {
        self.lines += 1;
        self.malformed += 1;
        self.malformed_first.get_or_insert_with(|| what.to_owned());
    }
}

fn parse(bytes: &[u8]) -> Option<(u32, u64)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut words = text.strip_prefix('w')?.splitn(4, ' ');
    let writer = words.next()?.parse().ok()?;
    let number = words.next()?.parse().ok()?;
    let length = words.next()?.parse().ok()?;
    (length <= 1 << 20 && text == line(writer, number, length)).then_some((writer, number))
}

/// The verdict.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Lines that were written.
    pub(crate) written: u64,
    /// Lines that arrived, duplicates included.
    pub(crate) lines: u64,
    /// Written lines that never arrived.
    pub(crate) missing: u64,
    /// The first of them, as runs of one writer.
    pub(crate) missing_runs: Vec<(u32, u64, u64)>,
    /// Arrivals beyond a line's first.
    pub(crate) duplicate: u64,
    /// The first of them: the writer, the line, and the last one that was there.
    pub(crate) doubled_first: Option<(u32, u64, u64)>,
    /// First arrivals after a later line of the same writer.
    pub(crate) reordered: u64,
    /// The first of them: the writer, the line, and the one that it came behind.
    pub(crate) reordered_first: Option<(u32, u64, u64)>,
    /// Lines that are not as any writer wrote them.
    pub(crate) malformed: u64,
    /// The first of them.
    pub(crate) malformed_first: Option<String>,
    /// Well-formed lines that were not written in this test.
    pub(crate) foreign: u64,
}

impl Report {
    const RUNS_SHOWN: usize = 8;

    fn miss(&mut self, writer: u32, number: u64) {
        self.missing += 1;
        if let Some((of, _, end)) = self.missing_runs.last_mut()
            && *of == writer
            && *end == number
        {
            *end += 1;
        } else if self.missing_runs.len() < Self::RUNS_SHOWN {
            self.missing_runs.push((writer, number, number + 1));
        }
    }

    /// Fails unless every line arrived whole, and at most `duplicates_max` of them again.
    #[track_caller]
    pub(crate) fn expect_complete(&self, duplicates_max: u64) {
        eprintln!("{self}");
        assert_eq!(self.missing, 0, "lines are missing\n{self}");
        assert_eq!(
            self.malformed + self.foreign,
            0,
            "lines are damaged\n{self}"
        );
        assert!(
            self.duplicate <= duplicates_max,
            "more than {duplicates_max} doubled\n{self}"
        );
    }

    /// Fails unless every line arrived exactly once and in order.
    #[track_caller]
    pub(crate) fn expect_exact(&self) {
        self.expect_complete(0);
        assert_eq!(self.reordered, 0, "lines are out of order\n{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "written {}, arrived {}: missing {}, duplicate {}, reordered {}, malformed {}, foreign {}",
            self.written,
            self.lines,
            self.missing,
            self.duplicate,
            self.reordered,
            self.malformed,
            self.foreign
        )?;
        for (writer, start, end) in &self.missing_runs {
            write!(f, "\n  missing: writer {writer}, lines {start}..{end}")?;
        }
        if let Some((writer, number, behind)) = self.doubled_first {
            write!(
                f,
                "\n  doubled: writer {writer}, line {number} came again behind {behind}"
            )?;
        }
        if let Some((writer, number, behind)) = self.reordered_first {
            write!(
                f,
                "\n  reordered: writer {writer}, line {number} came behind {behind}"
            )?;
        }
        if let Some(first) = &self.malformed_first {
            write!(f, "\n  malformed: {first}")?;
        }
        Ok(())
    }
}

mod tests {
    use super::*;

    #[test]
    fn every_fault_is_counted() {
        let mut oracle = Oracle::default();

        for number in [0, 1, 1, 4, 3, 7] {
            oracle.line(line(1, number, 40).as_bytes());
        }
        oracle.line(b"w1 5 40 torn");
        let record = serde_json::json!({ "_msg": line(1, 2, 40) });
        oracle.json(format!("{record}\n{{\"torn\n").as_bytes());

        let expected = Report {
            written: 7,
            lines: 9,
            missing: 2,
            missing_runs: vec![(1, 5, 6), (2, 0, 1)],
            duplicate: 1,
            reordered: 2,
            doubled_first: Some((1, 1, 1)),
            reordered_first: Some((1, 3, 4)),
            malformed: 2,
            malformed_first: Some("w1 5 40 torn".to_owned()),
            foreign: 1,
        };
        assert_eq!(oracle.report(&[(1, 6), (2, 1)]), expected);
    }
}
