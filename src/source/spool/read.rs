//! Reading a segment: a window of it at a time, and out of that the parts that one sink gets. Every call
//! here blocks.

use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::files::{OnDisk, read_at};
use super::state::Tokens;
use crate::framing::{CHUNK_BYTES, Pool, SHARED_ABOVE_BYTES};
use crate::model::Lines;
use crate::segment::{Place, Record, RecordHead, SEGMENT_HEAD_BYTES, SegmentHead, SpoolId, Walk};

/// What a part costs beside its bytes, and so how many small ones are read at once.
pub(super) const PART_OVERHEAD_BYTES: usize = 512;

/// Records that were read at once.
pub(super) struct Window {
    pub(super) records: Vec<(RecordHead, Record)>,
    /// Where reading goes on. Where it began: nothing more can be read, for what is there is torn.
    pub(super) offset: u64,
}

/// Reads from `at` on, not beyond `to`, of a file whose first byte stands at `base`.
pub(super) fn window(
    (file, base): (&File, u64),
    id: SpoolId,
    (at, to): (u64, u64),
    pool: &Pool,
) -> io::Result<Window> {
    let most = usize::try_from(to.saturating_sub(at)).unwrap_or(usize::MAX);
    let mut len = most.min(CHUNK_BYTES);
    loop {
        let bytes = bytes_at(file, at - base, len, pool)?;
        let is_all = bytes.len() == len;
        let mut walk = Walk::new(id, bytes, at);
        let mut records = Vec::new();
        let mut cost = 0;
        let mut offset = None;
        for (head, record) in walk.by_ref() {
            cost += PART_OVERHEAD_BYTES;
            cost += record.lines.as_ref().map_or(0, |it| it.bytes().len());
            let end = head.end.offset;
            records.push((head, record));
            if cost >= CHUNK_BYTES {
                offset = Some(end);
                break;
            }
        }
        let offset = offset.unwrap_or(walk.offset());
        let wanted = walk.wanted();
        if offset > at || wanted <= len || wanted > most || !is_all {
            return Ok(Window { records, offset });
        }
        // A record that is longer than a window.
        len = wanted;
    }
}

fn bytes_at(file: &File, offset: u64, len: usize, pool: &Pool) -> io::Result<Bytes> {
    if (SHARED_ABOVE_BYTES..=CHUNK_BYTES).contains(&len) {
        let mut buffer = pool.take();
        let read = read_at(file, &mut buffer[..len], offset)?;
        return Ok(pool.share(buffer, read));
    }
    let mut buffer = vec![0; len];
    let read = read_at(file, &mut buffer, offset)?;
    buffer.truncate(read);
    Ok(buffer.into())
}

/// Where a segment's last good record ends, and where each stream goes on behind it.
pub(super) fn scan(segment: &OnDisk) -> io::Result<(Place, Tokens)> {
    let file = File::open(&segment.path)?;
    let SegmentHead { id, start } = segment.head;
    let to = start.offset + segment.len;
    let mut end = Place {
        offset: start.offset + SEGMENT_HEAD_BYTES as u64,
        ..start
    };
    let (mut at, mut tokens, pool) = (end.offset, Tokens::new(), Pool::default());
    while at < to {
        let window = window((&file, start.offset), id, (at, to), &pool)?;
        for (head, record) in window.records {
            end = head.end;
            if let Some(token) = record.token {
                tokens.insert(record.stream, token);
            }
        }
        if window.offset == at {
            break;
        }
        at = window.offset;
    }
    Ok((end, tokens))
}

/// What of a segment is to be read.
#[derive(Clone, Debug)]
pub(super) struct Span {
    /// Where the segment begins.
    pub(super) base: u64,
    /// The file, where it is open.
    pub(super) file: Option<Arc<File>>,
    pub(super) from: Place,
    /// True where a record begins at `from`.
    pub(super) is_aligned: bool,
    /// The end of what is known of it.
    pub(super) to: Place,
}

/// How much one part may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct PartLimits {
    pub(super) lines: u32,
    pub(super) bytes: usize,
}

/// Lines that are sent in one chunk.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) stream: Arc<str>,
    pub(super) labels: Arc<[(Arc<str>, Arc<str>)]>,
    pub(super) lines: Lines,
    pub(super) time_ns: i64,
    /// Where the sink stands behind them.
    pub(super) end: Place,
}

/// What was read.
#[derive(Debug)]
pub(super) struct Hop {
    pub(super) parts: Vec<Part>,
    /// Where the sink stands behind all of it.
    pub(super) end: Place,
    /// Lines that are missing in between.
    pub(super) n_lost: u64,
}

/// Reads parts of a segment from where a sink stands.
pub(super) fn hop(
    file: &File,
    span: &Span,
    id: SpoolId,
    (pool, limits): (&Pool, PartLimits),
) -> io::Result<Hop> {
    let (from, to) = (span.from, span.to);
    let first = span.base + SEGMENT_HEAD_BYTES as u64;
    let mut at = if span.is_aligned {
        from.offset.max(first)
    } else {
        first
    };
    let mut hop = Hop {
        parts: Vec::new(),
        end: from,
        n_lost: 0,
    };
    while at < to.offset && hop.parts.is_empty() {
        let window = window((file, span.base), id, (at, to.offset), pool)?;
        for (head, record) in window.records {
            if head.end.offset > from.offset {
                hop.take(&head, record, from.offset, limits);
            }
        }
        at = if window.offset > at {
            window.offset
        } else {
            to.offset
        };
    }
    hop.end.offset = at.max(from.offset);
    if at >= to.offset {
        hop.n_lost += to.line.saturating_sub(hop.end.line);
        hop.end.line = hop.end.line.max(to.line);
    }
    Ok(hop)
}

impl Hop {
    /// Takes what is new of a record.
    fn take(&mut self, head: &RecordHead, record: Record, from: u64, limits: PartLimits) {
        let mut line = head.start.line;
        if let Some(all) = &record.lines {
            let n_old = all.iter().take_while(|it| it.offset < from).count();
            let n_old = u32::try_from(n_old).unwrap_or(u32::MAX);
            line += u64::from(n_old);
            self.n_lost += line.saturating_sub(self.end.line);
            self.cut(
                &record,
                all.slice(n_old..all.count()),
                (n_old, line),
                limits,
            );
        } else {
            self.n_lost += line.saturating_sub(self.end.line);
        }
        self.end = head.end;
        if let Some(last) = self.parts.last_mut() {
            // The place behind a record's last line is where the next record begins.
            last.end = head.end;
        }
    }

    /// Cuts lines so that no part holds more than a batch may.
    fn cut(
        &mut self,
        record: &Record,
        lines: Lines,
        (n_old, line): (u32, u64),
        limits: PartLimits,
    ) {
        let Some(mut offset) = lines.iter().next().map(|it| it.offset) else {
            return;
        };
        let mut rest = lines;
        let mut done = n_old;
        let mut line = line;
        while !rest.is_empty() {
            let n_lines = fitting(&rest, limits);
            let part = rest.split_front(n_lines);
            offset += part.bytes().len() as u64;
            line += u64::from(n_lines);
            self.parts.push(Part {
                stream: Arc::clone(&record.stream),
                labels: Arc::clone(&record.labels),
                lines: part,
                time_ns: record.time_ns + i64::from(done),
                end: Place { offset, line },
            });
            done += n_lines;
        }
    }
}

/// How many of the lines one part may hold; one at least.
fn fitting(lines: &Lines, limits: PartLimits) -> u32 {
    if lines.bytes().len() <= limits.bytes {
        return lines.count().min(limits.lines);
    }
    let mut bytes = 0;
    let fits = lines.iter().take_while(|line| {
        bytes += line.text.len() + 1;
        bytes <= limits.bytes
    });
    let fits = fits.take(limits.lines as usize).count();
    u32::try_from(fits).unwrap_or(u32::MAX).max(1)
}
