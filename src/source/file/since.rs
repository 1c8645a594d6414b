//! The first line of a file that is not older than a given time: where `start = "-1h"` begins.
//!
//! Times of a log grow from line to line, more or less, so the place is found by halving; what is a
//! little out of order around it is read as well. A line without a time belongs to the one before.
//! Where anything is in doubt, more is read rather than less.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use jiff::tz::TimeZone;

use super::found::Found;
use super::packed::{Step, Unpacker};
use super::{Start, pump};
use crate::framing::{Charset, Container, Packing, TimeContext, TimeFrom};

/// What is read at once, and how far lines may be out of order.
const BLOCK_BYTES: u64 = 64 * 1024;

/// How far a time is looked for from one place while halving.
const PROBE_BYTES: u64 = 4 << 20;

/// A line of which more than this would have to be read has no time.
const LINE_BYTES_MAX: usize = 1 << 20;

/// What tells how old a line is.
#[derive(Clone, Debug)]
pub(super) struct Since {
    /// The oldest time that counts, in nanoseconds since 1970.
    from_ns: i64,
    /// Where a line's time may be, in the order in which it is looked for.
    times: Vec<TimeFrom>,
    charset: Option<Charset>,
    cx: TimeContext,
}

/// Where a time was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Timed {
    /// Where its line begins, in bytes.
    offset: u64,
    time_ns: i64,
}

impl Since {
    /// What is not older than `start` says. `time` is where records have their time, if it was said.
    pub(super) fn new(
        start: Start,
        time: Option<&TimeFrom>,
        container: Option<Container>,
        charset: Option<Charset>,
    ) -> Self {
        let now_ns = pump::now_ns();
        let from_ns = match start {
            Start::NotBefore(time_ns) => time_ns,
            Start::Since(age) => {
                let age_ns = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
                now_ns.saturating_sub(age_ns)
            }
            _ => i64::MIN,
        };
        let times = match (container, time) {
            (Some(Container::Cri), _) => vec![TimeFrom::Leading],
            (Some(Container::Docker), _) => vec![TimeFrom::Known],
            (None, Some(time)) => vec![time.clone()],
            (None, None) => vec![TimeFrom::Leading, TimeFrom::Known],
        };
        Self {
            from_ns,
            times,
            charset,
            cx: TimeContext {
                zone: TimeZone::system(),
                now_ns,
            },
        }
    }

    /// Where a file begins to be read. Blocks.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn start(&self, found: &Found) -> io::Result<Start> {
        let modified = found.modified.duration_since(UNIX_EPOCH);
        let modified_ns = modified.map_or(0, |it| i64::try_from(it.as_nanos()).unwrap_or(i64::MAX));
        if modified_ns < self.from_ns {
            return Ok(Start::End);
        }
        match found.packing {
            Some(packing) => self.find_packed(&found.file, packing),
            None => self.find(&found.file, found.len),
        }
    }

    /// The same in a compressed file: its content can be read forward only.
    fn find_packed(&self, file: &File, packing: Packing) -> io::Result<Start> {
        let content = Content::Packed(file, Box::new(Unpacker::new(packing)));
        let mut lines = Lines::over(content, 0, self.charset, u64::MAX);
        let mut has_times = false;
        while let Some(line) = lines.next()? {
            if let Some(time_ns) = self.time_of(line) {
                if time_ns >= self.from_ns {
                    return Ok(if has_times {
                        Start::At(lines.begun)
                    } else {
                        Start::Beginning
                    });
                }
                has_times = true;
            }
        }
        Ok(if has_times {
            Start::End
        } else {
            Start::Beginning
        })
    }

    /// Where the lines begin that are young enough; at the beginning where no time is found.
    fn find(&self, file: &Arc<File>, len: u64) -> io::Result<Start> {
        let Some(first) = self.next_timed(file, 0, PROBE_BYTES.min(len))? else {
            return Ok(Start::Beginning);
        };
        if first.time_ns >= self.from_ns {
            return Ok(Start::Beginning);
        }
        // Everything before `old` is too old; at `young` and behind it nothing is, or nobody knows.
        let (mut old, mut young) = (first.offset, len);
        while young - old > BLOCK_BYTES {
            let middle = old + (young - old) / 2;
            let until = young.min(middle + PROBE_BYTES);
            match self.next_timed(file, middle, until)? {
                Some(timed) if timed.time_ns < self.from_ns => old = timed.offset,
                _ => young = middle,
            }
        }
        let from = old.saturating_sub(BLOCK_BYTES).max(first.offset);
        let mut lines = Lines::new(file, from, self.charset, len)?;
        while let Some(line) = lines.next()? {
            if let Some(time_ns) = self.time_of(line)
                && time_ns >= self.from_ns
            {
                return Ok(Start::At(lines.begun));
            }
        }
        Ok(Start::End)
    }

    /// The first line that begins at `from` or behind it, and before `until`, and has a time.
    fn next_timed(&self, file: &Arc<File>, from: u64, until: u64) -> io::Result<Option<Timed>> {
        let mut lines = Lines::new(file, from, self.charset, until)?;
        while let Some(line) = lines.next()? {
            if let Some(time_ns) = self.time_of(line) {
                return Ok(Some(Timed {
                    offset: lines.begun,
                    time_ns,
                }));
            }
        }
        Ok(None)
    }

    fn time_of(&self, line: &[u8]) -> Option<i64> {
        let mut decoded = String::new();
        let text = match self.charset {
            Some(charset) => {
                charset.decode(line, &mut decoded);
                decoded.trim_start_matches('\u{feff}').as_bytes()
            }
            None => line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line),
        };
        self.times.iter().find_map(|time| time.find(text, &self.cx))
    }
}

/// Whole lines of a part of a file.
struct Lines<'a> {
    input: BufReader<Content<'a>>,
    charset: Option<Charset>,
    line: Vec<u8>,
    /// Where the line begins that was returned last.
    begun: u64,
    /// Where the next one begins.
    next: u64,
    until: u64,
}

impl<'a> Lines<'a> {
    /// The lines that begin at `from` or behind it, and before `until`.
    fn new(file: &'a File, from: u64, charset: Option<Charset>, until: u64) -> io::Result<Self> {
        // The line that ends right before `from` is passed over, and with it what `from` is inside.
        let unit = if charset.is_some_and(|it| it.align(1) == 0) {
            2
        } else {
            1
        };
        let from = charset.map_or(from, |it| it.align(from));
        let begin = from.saturating_sub(unit);
        let mut lines = Self::over(Content::Plain { file, at: begin }, begin, charset, until);
        if from > 0 {
            lines.read_line()?;
        }
        Ok(lines)
    }

    /// What begins at `begin`, which is the start of a line or right before it.
    fn over(input: Content<'a>, begin: u64, charset: Option<Charset>, until: u64) -> Self {
        let capacity = usize::try_from(BLOCK_BYTES).expect("64 KiB");
        Self {
            input: BufReader::with_capacity(capacity, input),
            charset,
            line: Vec::new(),
            begun: begin,
            next: begin,
            until,
        }
    }

    /// The next line, with its newline where it has one already; empty where it is overlong.
    fn next(&mut self) -> io::Result<Option<&[u8]>> {
        if self.next >= self.until {
            return Ok(None);
        }
        let is_line = self.read_line()?;
        Ok(is_line.then_some(&self.line[..]))
    }

    fn read_line(&mut self) -> io::Result<bool> {
        self.begun = self.next;
        self.line.clear();
        let mut is_long = false;
        loop {
            if self.line.len() > LINE_BYTES_MAX {
                // Where a newline has two bytes, it stays aligned.
                self.line.clear();
                is_long = true;
            }
            let room = (LINE_BYTES_MAX + 2 - self.line.len()) as u64;
            let mut input = self.input.by_ref().take(room);
            let mut read = input.read_until(b'\n', &mut self.line)?;
            if let Some(charset) = self.charset
                && charset.align(self.next + read as u64) != self.next + read as u64
            {
                read += self.input.by_ref().take(1).read_to_end(&mut self.line)?;
            }
            self.next += read as u64;
            if read == 0 || self.is_ended() {
                break;
            }
        }
        if is_long {
            self.line.clear();
        }
        Ok(self.next > self.begun)
    }

    fn is_ended(&self) -> bool {
        match self.charset {
            Some(charset) => charset.ends_with_newline(&self.line),
            None => self.line.ends_with(b"\n"),
        }
    }
}

/// Reads a file that others read from elsewhere.
enum Content<'a> {
    Plain { file: &'a File, at: u64 },
    Packed(&'a File, Box<Unpacker>),
}

impl Read for Content<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain { file, at } => {
                let read = file.read_at(bytes, *at)?;
                *at += read as u64;
                Ok(read)
            }
            Self::Packed(file, unpacker) => {
                let step = unpacker.read(file, bytes)?;
                unpacker.keep_from(unpacker.offset());
                Ok(match step {
                    Step::Content(read) => read,
                    // How it ends is judged and said when it is read.
                    Step::Ended(_) => 0,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    /// 2026-11-25T12:00:00Z.
    const NOW_S: i64 = 1_795_608_000;

    fn since(age_s: i64, charset: Option<&str>) -> Since {
        Since {
            from_ns: (NOW_S - age_s) * 1_000_000_000,
            times: vec![TimeFrom::Leading, TimeFrom::Known],
            charset: charset.map(|name| Charset::named(name).unwrap()),
            cx: TimeContext {
                zone: TimeZone::UTC,
                now_ns: NOW_S * 1_000_000_000,
            },
        }
    }

    fn file_of(bytes: &[u8]) -> Arc<File> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Arc::new(file)
    }

    fn find(since: &Since, bytes: &[u8]) -> Start {
        since.find(&file_of(bytes), bytes.len() as u64).unwrap()
    }

    /// A line that is so many seconds old.
    fn line(age_s: i64, rest: &str) -> String {
        let time = jiff::Timestamp::from_second(NOW_S - age_s).unwrap();
        format!("{time} {rest}\n")
    }

    #[test]
    fn it_begins_with_the_first_line_that_is_young_enough() {
        let old = line(4_000, "old") + "  its second line\n";
        let young = line(3_600, "young") + "  its second line\n" + &line(10, "younger");
        let hour = since(3_600, None);

        assert_eq!(
            find(&hour, (old.clone() + &young).as_bytes()),
            Start::At(old.len() as u64)
        );
        assert_eq!(find(&hour, young.as_bytes()), Start::Beginning);
        assert_eq!(
            find(&hour, format!("# header\n{young}").as_bytes()),
            Start::Beginning
        );
        assert_eq!(find(&hour, old.as_bytes()), Start::End);
        assert_eq!(find(&hour, b"no time\nat all\n"), Start::Beginning);
        assert_eq!(find(&hour, b""), Start::Beginning);
    }

    #[test]
    fn times_are_found_in_json_too() {
        let record = |age_s: i64| format!("{{\"msg\":\"x\",\"time\":{}}}\n", NOW_S - age_s);
        let text = record(90) + &record(60) + &record(30);

        let start = find(&since(60, None), text.as_bytes());

        assert_eq!(start, Start::At(record(90).len() as u64));
    }

    #[test]
    fn charsets_of_two_bytes_are_cut_at_their_newlines() {
        // The letter U+0A0A is made of two bytes of a newline.
        let text = line(90, "\u{0a0a} old") + &line(60, "\u{0a0a}") + &line(30, "new");
        for (name, bytes) in [
            (
                "utf-16le",
                text.encode_utf16()
                    .flat_map(u16::to_le_bytes)
                    .collect::<Vec<_>>(),
            ),
            (
                "utf-16be",
                text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            ),
        ] {
            let first = text.lines().next().unwrap().encode_utf16().count() + 1;

            let start = find(&since(60, Some(name)), &bytes);

            assert_eq!(start, Start::At(2 * first as u64), "{name}");
        }
    }

    #[test]
    fn an_overlong_line_has_no_time_and_its_length_does_not_matter() {
        for len in [LINE_BYTES_MAX - 1, LINE_BYTES_MAX + 1, 3 * LINE_BYTES_MAX] {
            let long = "x".repeat(len);
            let old = line(90, "old") + &long + "\n";
            let text = old.clone() + &line(10, "new");

            let start = find(&since(60, None), text.as_bytes());

            assert_eq!(start, Start::At(old.len() as u64), "{len}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Halving finds what looking at every line finds, where times only grow.
        #[test]
        fn halving_finds_what_a_look_at_each_line_finds(
            lines in prop::collection::vec((0..3_i64, 0..4_usize, 0..2_000_usize), 1..600),
            at in 0..1_000_i64,
        ) {
            let total: i64 = lines.iter().map(|(step, ..)| *step).sum();
            let age_s = at % (total + 2);
            let (mut left, mut text, mut expected) = (total, String::new(), None);
            let mut timed = false;
            for (step, plain, len) in lines {
                left -= step;
                if left <= age_s && expected.is_none() {
                    expected = Some(if timed { Start::At(text.len() as u64) } else { Start::Beginning });
                }
                timed = true;
                text += &line(left, &"y".repeat(len));
                text += &"  more of it\n".repeat(plain);
            }

            let start = find(&since(age_s, None), text.as_bytes());

            prop_assert_eq!(start, expected.unwrap_or(Start::End));
        }
    }
}
