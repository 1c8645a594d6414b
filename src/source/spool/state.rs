//! What is known of a spool while it runs: which segments there are, and where each sink stands in them.
//!
//! No I/O, no clock.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::sync::Arc;

use super::read::Span;
use crate::model::{Ack, Ledger, Moved, Position, Watcher};
use crate::segment::{Place, Record, SEGMENT_HEAD_BYTES, Token};

/// Where each stream of the source goes on.
pub(super) type Tokens = BTreeMap<Arc<str>, Token>;

/// A place as ledgers and checkpoints know it. What stands for the guard is the number of lines before
/// it: so it is known how many lines are missing where their segment is gone.
pub(super) fn position_of(place: Place) -> Position {
    Position::File {
        offset: place.offset,
        guard: place.line,
        mid_line: false,
        ahead: None,
        begun: None,
    }
}

/// The place of a position; `None`: it is in no spool.
pub(super) fn place_of(position: &Position) -> Option<Place> {
    match position {
        Position::File {
            offset,
            guard,
            begun,
            ..
        } => {
            // Lines of a chunk that a sink owns in part: in a spool each has a place of its own.
            let begun = begun.unwrap_or_default();
            Some(Place {
                offset: begun.stdout.max(begun.stderr).max(*offset),
                line: guard + begun.lines,
            })
        }
        Position::Token { .. } | Position::Live => None,
    }
}

/// One segment file.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) start: Place,
    /// Where its last good record ends, and the next segment begins for the most part.
    pub(super) end: Place,
    /// Open until all of it was forced to disk.
    pub(super) file: Option<Arc<File>>,
}

impl Segment {
    fn bytes(&self) -> u64 {
        self.end.offset - self.start.offset
    }
}

/// Where one sink stands.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) sink: Arc<str>,
    pub(super) ledger: Ledger,
    /// Up to where its lines were handed on.
    pub(super) at: Place,
    /// True where a record begins there.
    pub(super) is_aligned: bool,
    /// True when its delivery has ended for good.
    pub(super) is_closed: bool,
}

impl Cursor {
    /// Everything before it is settled.
    fn settled(&self) -> Place {
        place_of(&self.ledger.committed()).unwrap_or_default()
    }

    /// Moves on to `place` without what is before it.
    fn pass(&mut self, place: Place) -> Option<Moved> {
        (self.at, self.is_aligned) = (place, false);
        self.ledger.open(position_of(place)).settle()
    }
}

/// What one sink is to do.
#[derive(Debug)]
pub(super) enum Work {
    Read(Span),
    /// Nothing is there now.
    Wait,
    /// Nothing more will come.
    Ended,
}

/// Lines that a sink has not read and will not get.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) sink: Arc<str>,
    pub(super) n_lines: u64,
}

/// Segments and sinks of one spool.
#[derive(Debug)]
pub(super) struct State {
    /// Never empty; the last one is written to.
    pub(super) segments: VecDeque<Segment>,
    pub(super) cursors: Vec<Cursor>,
    pub(super) tokens: Tokens,
    /// True when nothing more is written.
    pub(super) has_ended: bool,
}

impl State {
    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(Segment::bytes).sum()
    }

    /// Where the next record will stand.
    pub(super) fn end(&self) -> Place {
        self.last().end
    }

    fn last(&self) -> &Segment {
        self.segments.back().expect("it is never empty")
    }

    /// Notes that a record was written.
    pub(super) fn grow(&mut self, end: Place, record: &Record) {
        self.segments.back_mut().expect("it is never empty").end = end;
        if let Some(token) = &record.token {
            self.tokens
                .insert(Arc::clone(&record.stream), token.clone());
        }
    }

    /// Notes that a new segment is written to.
    pub(super) fn roll(&mut self, segment: Segment) {
        self.segments.push_back(segment);
    }

    /// Segments of which not everything is known to be on disk, each by where it begins.
    pub(super) fn open_files(&self) -> Vec<(Place, Arc<File>)> {
        let open = |it: &Segment| Some((it.start, it.file.clone()?));
        self.segments.iter().filter_map(open).collect()
    }

    /// Notes that a segment is on disk. It is closed, unless it is written to.
    pub(super) fn note_synced(&mut self, start: Place) {
        let n_done = self.segments.len() - 1;
        let done = self.segments.iter_mut().take(n_done);
        for segment in done.filter(|it| it.start == start) {
            segment.file = None;
        }
    }

    /// True where every sink has settled all lines.
    pub(super) fn is_settled(&self) -> bool {
        let line = self.end().line;
        self.cursors.iter().all(|it| it.settled().line >= line)
    }

    /// True where no sink takes lines any more.
    pub(super) fn is_closed(&self) -> bool {
        self.cursors.iter().all(|it| it.is_closed)
    }

    /// What one sink is to do next. A cursor whose ledger broke begins again from what was settled;
    /// what is gone of that by now is lost.
    pub(super) fn work(&mut self, index: usize, watcher: &Watcher) -> (Work, u64) {
        let n_lost = self.mend(index, watcher);
        let cursor = &self.cursors[index];
        let at = cursor.at;
        let last = self.last();
        let is_over = |segment: &&Segment| segment.end.offset <= at.offset;
        let segment = self.segments.iter().find(|it| !is_over(it)).unwrap_or(last);
        let first = segment.start.offset + SEGMENT_HEAD_BYTES as u64;
        if segment.end.offset <= at.offset.max(first) {
            let work = if self.has_ended {
                Work::Ended
            } else {
                Work::Wait
            };
            return (work, n_lost);
        }
        let span = Span {
            base: segment.start.offset,
            file: segment.file.clone(),
            from: at,
            // Between two segments may be what could not be kept.
            is_aligned: cursor.is_aligned || at.offset <= segment.start.offset,
            to: segment.end,
        };
        (Work::Read(span), n_lost)
    }

    fn mend(&mut self, index: usize, watcher: &Watcher) -> u64 {
        let first = self.segments[0].start;
        let cursor = &mut self.cursors[index];
        if !cursor.ledger.is_broken() {
            return 0;
        }
        let settled = cursor.settled();
        let key = Arc::clone(cursor.ledger.key());
        cursor.ledger = Ledger::watched(key, position_of(settled), watcher.clone());
        (cursor.at, cursor.is_aligned) = (settled, false);
        if settled.offset >= first.offset {
            return 0;
        }
        (cursor.at, cursor.is_aligned) = (first, true);
        first.line.saturating_sub(settled.line)
    }

    /// The ack of lines that were read for a sink from `from` on. `None`: the sink was moved on meanwhile,
    /// and what was read is not for it.
    pub(super) fn hand_on(&mut self, index: usize, from: Place, end: Place) -> Option<Ack> {
        let cursor = &mut self.cursors[index];
        if cursor.at != from || cursor.ledger.is_broken() {
            return None;
        }
        (cursor.at, cursor.is_aligned) = (end, false);
        Some(cursor.ledger.open(position_of(end)))
    }

    /// Notes that a sink read on up to where a record begins, behind what it was handed on; what is settled
    /// by that. `None`: as above.
    pub(super) fn pass(&mut self, index: usize, from: Place, end: Place) -> Option<Vec<Moved>> {
        let cursor = &mut self.cursors[index];
        if cursor.at != from || cursor.ledger.is_broken() {
            return None;
        }
        let moved = if from == end { None } else { cursor.pass(end) };
        cursor.is_aligned = true;
        Some(moved.into_iter().collect())
    }

    /// Notes that a sink takes no more lines.
    pub(super) fn close(&mut self, index: usize) {
        self.cursors[index].is_closed = true;
    }

    /// The first segment, where every sink has settled it and it is written to no more.
    pub(super) fn first_settled(&self) -> Option<Place> {
        let first = self.segments.front().filter(|_| self.segments.len() > 1)?;
        let end = first.end;
        let has = |it: &Cursor| it.settled().offset >= end.offset;
        self.cursors.iter().all(has).then_some(first.start)
    }

    /// Forgets the first segment, where it is that one.
    pub(super) fn forget_first(&mut self, start: Place) {
        if self.segments.len() > 1 && self.segments[0].start == start {
            self.segments.pop_front();
        }
    }

    /// Gives the first segment up for those who have not read it: which one, what each sink loses, and
    /// how far that moved it. `None`: there is only the one that is written to.
    pub(super) fn give_up_first(&mut self) -> Option<(Place, Vec<Lost>, Vec<Moved>)> {
        if self.segments.len() < 2 {
            return None;
        }
        let first = self.segments.pop_front()?;
        let next = self.segments[0].start;
        let (mut lost, mut moved) = (Vec::new(), Vec::new());
        for cursor in &mut self.cursors {
            if cursor.at.offset >= first.end.offset || cursor.ledger.is_broken() {
                // What breaks with its ledger is counted when that is mended.
                continue;
            }
            let n_lines = next.line.saturating_sub(cursor.at.line);
            moved.extend(cursor.pass(next));
            if n_lines > 0 {
                let sink = Arc::clone(&cursor.sink);
                lost.push(Lost { sink, n_lines });
            }
        }
        Some((first.start, lost, moved))
    }
}
