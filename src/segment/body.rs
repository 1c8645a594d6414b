//! What a record holds: the lines of one push with everything that is known of them, and where the
//! source stands behind them.

use std::sync::Arc;

use bytes::Bytes;

use super::Fields;
use crate::model::{Line, Lines, Record as LineRecord, StdStream};

/// Where a source stands: a token of the server's, and how many lines at it were taken.
pub type Token = (Arc<str>, u32);

/// What one record holds.
#[derive(Clone, Debug)]
pub struct Record {
    /// Which of the source's streams the lines are of.
    pub stream: Arc<str>,
    /// What the lines were labelled with when they came.
    pub labels: Arc<[(Arc<str>, Arc<str>)]>,
    /// Where that stream goes on behind them; `None`: as before, or it cannot be resumed.
    pub token: Option<Token>,
    /// When the first line was read, in nanoseconds since 1970; line `i` has this plus `i`.
    pub time_ns: i64,
    /// The lines; `None` where only the stream's place moved.
    pub lines: Option<Lines>,
}

impl Record {
    /// Number of lines.
    pub fn count(&self) -> u32 {
        self.lines.as_ref().map_or(0, Lines::count)
    }
}

/// What follows the token.
const NO_LINES: u8 = 0;
const UNTOUCHED: u8 = 1;
const TABLE: u8 = 2;

/// What a line of a table is marked with.
const TRUNCATED: u8 = 1;
const BINARY: u8 = 1 << 1;
const TIME: u8 = 1 << 2;
const STDOUT: u8 = 1 << 3;
const STDERR: u8 = 1 << 4;
const EVENT: u8 = 1 << 5;

pub(super) fn append(out: &mut Vec<u8>, record: &Record) {
    append_text(out, &record.stream);
    append_len(out, record.labels.len());
    for (name, value) in record.labels.iter() {
        append_text(out, name);
        append_text(out, value);
    }
    match &record.token {
        None => out.push(0),
        Some((token, skip)) => {
            out.push(1);
            append_text(out, token);
            out.extend_from_slice(&skip.to_le_bytes());
        }
    }
    let Some(lines) = &record.lines else {
        return out.push(NO_LINES);
    };
    if lines.is_untouched() {
        out.push(UNTOUCHED);
    } else {
        out.push(TABLE);
        lines.iter().for_each(|line| append_line(out, &line));
    }
    out.extend_from_slice(lines.bytes());
}

fn append_line(out: &mut Vec<u8>, line: &Line) {
    append_len(out, line.text.len());
    let mark = |is_set: bool, mark: u8| if is_set { mark } else { 0 };
    out.push(
        mark(line.truncated, TRUNCATED)
            | mark(line.binary, BINARY)
            | mark(line.time_ns.is_some(), TIME)
            | mark(line.stream == Some(StdStream::Stdout), STDOUT)
            | mark(line.stream == Some(StdStream::Stderr), STDERR)
            | mark(line.event.is_some(), EVENT),
    );
    if let Some(time_ns) = line.time_ns {
        out.extend_from_slice(&time_ns.to_le_bytes());
    }
    if let Some(event) = line.event {
        append_text(out, event);
    }
}

fn append_text(out: &mut Vec<u8>, text: &str) {
    append_len(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn append_len(out: &mut Vec<u8>, len: usize) {
    let len = u32::try_from(len).expect("a chunk is smaller than 4 GiB");
    out.extend_from_slice(&len.to_le_bytes());
}

/// Reads a body that begins at `offset`; its lines get the offsets at which they stand. `None`: it is
/// not what was written.
pub(super) fn decode(body: &Bytes, offset: u64, count: u32, time_ns: i64) -> Option<Record> {
    let mut fields = Fields(body);
    let stream = Arc::from(fields.text()?);
    let n_labels = fields.u32()?;
    let mut labels = Vec::new();
    for _ in 0..n_labels {
        labels.push((Arc::from(fields.text()?), Arc::from(fields.text()?)));
    }
    let token = match fields.u8()? {
        0 => None,
        _ => Some((Arc::from(fields.text()?), fields.u32()?)),
    };
    let lines = match fields.u8()? {
        NO_LINES => (count == 0).then_some(None)?,
        UNTOUCHED => {
            let at = body.len() - fields.0.len();
            let bytes = body.slice(at..);
            let is_whole = bytes.last() == Some(&b'\n');
            let n_lines = memchr::memchr_iter(b'\n', &bytes).count();
            (is_whole && n_lines == count as usize).then_some(())?;
            Some(Lines::untouched(bytes, count, offset + at as u64))
        }
        TABLE => Some(table(body, &mut fields, offset, count)?),
        _ => return None,
    };
    Some(Record {
        stream,
        labels: labels.into(),
        token,
        time_ns,
        lines,
    })
}

fn table(body: &Bytes, fields: &mut Fields, offset: u64, count: u32) -> Option<Lines> {
    let mut records: Vec<LineRecord> = Vec::new();
    let mut events: Vec<Option<Arc<str>>> = Vec::new();
    let mut end = 0_u32;
    for _ in 0..count {
        let from = end;
        end = end.checked_add(fields.u32()?)?.checked_add(1)?;
        let marks = fields.u8()?;
        let has = |mark: u8| marks & mark != 0;
        let time_ns = if has(TIME) { Some(fields.i64()?) } else { None };
        events.push(match has(EVENT) {
            true => Some(Arc::from(fields.text()?)),
            false => None,
        });
        records.push(LineRecord {
            end,
            offset: u64::from(from),
            truncated: has(TRUNCATED),
            binary: has(BINARY),
            time_ns,
            stream: match (has(STDOUT), has(STDERR)) {
                (true, _) => Some(StdStream::Stdout),
                (false, true) => Some(StdStream::Stderr),
                (false, false) => None,
            },
        });
    }
    let at = body.len() - fields.0.len();
    let bytes = body.slice(at..);
    let is_whole = bytes.len() == end as usize && count > 0;
    let ends = |record: &LineRecord| bytes[record.end as usize - 1] == b'\n';
    (is_whole && records.iter().all(ends)).then_some(())?;
    for record in &mut records {
        record.offset += offset + at as u64;
    }
    let lines = Lines::from_records(bytes, records.into());
    Some(if events.iter().any(Option::is_some) {
        lines.with_events(events.into())
    } else {
        lines
    })
}
