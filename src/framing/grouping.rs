//! Lines to records: which lines are one record.
//!
//! Pure: no I/O, no clock.

use std::time::Duration;

use super::trace::Trace;
use crate::model::{Pattern, Record, StdStream};

/// Which lines of a source are joined into one record.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Multiline {
    /// Each line is a record.
    #[default]
    Off,
    /// Stack traces are one record.
    Auto(GroupLimits),
    /// As patterns say.
    Patterns(Patterns, GroupLimits),
}

/// Tells lines that begin a record from lines that continue it.
#[derive(Clone, Debug, PartialEq)]
pub struct Patterns {
    /// A line that matches begins a record.
    pub start: Option<Pattern>,
    /// A line that matches continues the record before it; without `start`, every other line begins
    /// one.
    pub continues: Option<Pattern>,
    /// True where a line counts as matching that does not match.
    pub negate: bool,
}

/// How long and how large a record of several lines gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupLimits {
    /// A record that got no further line for so long is complete.
    pub timeout: Duration,
    /// More lines begin a new record.
    pub lines_max: u32,
    /// More bytes begin a new record; `None`: what a line may have.
    pub bytes_max: Option<usize>,
}

impl Default for GroupLimits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(1),
            lines_max: 500,
            bytes_max: None,
        }
    }
}

/// What a line is to the record before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It begins a new one.
    Starts,
    /// It belongs to it.
    Continues,
    /// The next line decides.
    Perhaps,
}

/// Empty lines that wait for what the next line decides, at most.
const PERHAPS_MAX: usize = 4;

impl Multiline {
    pub(super) fn limits(&self) -> Option<&GroupLimits> {
        match self {
            Self::Off => None,
            Self::Auto(limits) | Self::Patterns(_, limits) => Some(limits),
        }
    }

    fn first(&self, line: &[u8]) -> Trace {
        match self {
            Self::Auto(_) => Trace::first(line),
            Self::Off | Self::Patterns(..) => Trace::default(),
        }
    }

    fn step(&self, trace: Trace, line: &[u8]) -> (Step, Trace) {
        match self {
            Self::Off => (Step::Starts, trace),
            Self::Auto(_) => trace.step(line),
            Self::Patterns(patterns, _) => {
                let continues = patterns.continues(line.strip_suffix(b"\r").unwrap_or(line));
                let step = if continues {
                    Step::Continues
                } else {
                    Step::Starts
                };
                (step, trace)
            }
        }
    }
}

impl Patterns {
    fn continues(&self, line: &[u8]) -> bool {
        let holds = |pattern: &Pattern| pattern.is_match(line) != self.negate;
        let starts = self.start.as_ref().map(holds);
        match (starts, &self.continues) {
            (Some(true), _) | (None, None) => false,
            (_, Some(continues)) => holds(continues),
            (Some(false), None) => true,
        }
    }
}

/// One line as the program wrote it, whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Logical<'a> {
    pub(super) text: &'a [u8],
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) truncated: bool,
    pub(super) time_ns: Option<i64>,
    pub(super) stream: Option<StdStream>,
}

/// Records that are complete.
#[derive(Debug, Default)]
pub(super) struct Finished {
    pub(super) bytes: Vec<u8>,
    pub(super) records: Vec<Record>,
    stamps: Stamps,
}

impl Finished {
    pub(super) fn push(&mut self, line: &Logical) {
        self.bytes.extend_from_slice(line.text);
        self.bytes.push(b'\n');
        self.records.push(Record {
            end: super::newline::index(self.bytes.len()),
            offset: line.start,
            truncated: line.truncated,
            binary: false,
            time_ns: line.time_ns.map(|time_ns| self.stamps.next(time_ns)),
            stream: line.stream,
        });
    }
}

/// Makes equal times of following records differ, each by a nanosecond: collectors sort by them.
#[derive(Clone, Copy, Debug)]
pub struct Stamps {
    /// The last time as it came, and as it was given out.
    last: (i64, i64),
}

impl Default for Stamps {
    fn default() -> Self {
        Self {
            last: (i64::MIN, i64::MIN),
        }
    }
}

impl Stamps {
    /// The time to show for a record whose own time is `time_ns`.
    pub fn next(&mut self, time_ns: i64) -> i64 {
        let (came, given) = self.last;
        let is_equal = time_ns >= came && time_ns <= given;
        let shown = if is_equal {
            given.saturating_add(1)
        } else {
            time_ns
        };
        self.last = (time_ns, shown);
        shown
    }
}

/// Joins the lines of one stream.
#[derive(Debug, Default)]
pub(super) struct Grouper {
    open: Option<Open>,
}

/// A record that may go on.
#[derive(Debug)]
struct Open {
    text: Vec<u8>,
    /// What it is beside its text; `end` is that of its last line.
    line: Logical<'static>,
    n_lines: u32,
    trace: Trace,
    /// Empty lines behind it of which the next line decides whether they belong to it, as their
    /// text, start and end.
    perhaps: Vec<(Vec<u8>, u64, u64)>,
}

impl Grouper {
    /// Offset of the first line that is not in a finished record.
    pub(super) fn start(&self) -> Option<u64> {
        self.open.as_ref().map(|open| open.line.start)
    }

    /// Offset after the last line that is not in a finished record.
    pub(super) fn end(&self) -> Option<u64> {
        let open = self.open.as_ref()?;
        Some(open.perhaps.last().map_or(open.line.end, |last| last.2))
    }

    /// Takes the next line in. `bytes_max` is how large a record gets.
    pub(super) fn line(
        &mut self,
        line: &Logical,
        rules: &Multiline,
        bytes_max: usize,
        out: &mut Finished,
    ) {
        let Some(limits) = rules.limits() else {
            return out.push(line);
        };
        let Some(open) = &mut self.open else {
            self.begin(line, rules.first(line.text));
            return;
        };
        let (step, trace) = rules.step(open.trace, line.text);
        if step != Step::Starts {
            open.trace = trace;
        }
        if step == Step::Perhaps && open.perhaps.len() < PERHAPS_MAX {
            open.perhaps
                .push((line.text.to_vec(), line.start, line.end));
            return;
        }
        if step == Step::Continues && open.has_room(line, limits.lines_max, bytes_max) {
            return open.join(line);
        }
        self.close(out);
        // Never what was known of the record before: a reader that is started here knows nothing.
        self.begin(line, rules.first(line.text));
    }

    /// Finishes the open record; what is not told yet to belong to it does not.
    pub(super) fn close(&mut self, out: &mut Finished) {
        let Some(open) = self.open.take() else { return };
        out.push(&Logical {
            text: &open.text,
            ..open.line
        });
        for (text, start, end) in &open.perhaps {
            out.push(&Logical {
                text,
                start: *start,
                end: *end,
                truncated: false,
                ..open.line
            });
        }
    }

    fn begin(&mut self, line: &Logical, trace: Trace) {
        self.open = Some(Open {
            text: line.text.to_vec(),
            line: Logical { text: &[], ..*line },
            n_lines: 1,
            trace,
            perhaps: Vec::new(),
        });
    }
}

impl Open {
    fn has_room(&self, line: &Logical, lines_max: u32, bytes_max: usize) -> bool {
        let gaps: usize = self.perhaps.iter().map(|gap| gap.0.len() + 1).sum();
        let bytes = self.text.len() + gaps + 1 + line.text.len();
        let n_lines = self.n_lines as usize + self.perhaps.len() + 1;
        n_lines <= lines_max as usize && bytes <= bytes_max
    }

    fn join(&mut self, line: &Logical) {
        for (gap, ..) in self.perhaps.drain(..) {
            self.text.push(b'\n');
            self.text.extend_from_slice(&gap);
            self.n_lines += 1;
        }
        self.text.push(b'\n');
        self.text.extend_from_slice(line.text);
        self.n_lines += 1;
        self.line.end = line.end;
        self.line.truncated |= line.truncated;
    }
}
