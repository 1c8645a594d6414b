//! Writing a spool: one record after the other, into one segment after the other. Every call here blocks.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::files::{Folder, SPARE_BYTES};
use super::state::{Segment, Tokens};
use super::{Inner, lock};
use crate::segment::{Place, Record, SegmentHead, SpoolId, append_record};

/// A segment is begun anew above this, or a part of what the spool may hold.
const SEGMENT_BYTES_MAX: u64 = 16 << 20;
const SEGMENT_BYTES_MIN: u64 = 64 << 10;
const SEGMENTS: u64 = 16;

/// A buffer that a long record left is not kept.
const BUFFER_BYTES_MAX: usize = 256 << 10;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Appended {
    Written,
    /// There is no room for it.
    Full,
}

/// How much room a record may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// As much as is configured.
    Limited,
    /// As much as it needs: what is in hand at the end is kept.
    Any,
}

/// Writes to the last segment.
#[derive(Debug)]
pub(super) struct Writer {
    folder: Folder,
    id: SpoolId,
    file: Arc<File>,
    /// Where the segment begins.
    start: Place,
    /// Where the segment's first record of its own stands, behind the places of all streams.
    first: u64,
    /// Where the next record will stand.
    end: Place,
    segment_bytes: u64,
    buffer: Vec<u8>,
}

/// A new segment: its head, and where each stream goes on, so that nothing older is needed for that.
fn first_bytes(id: SpoolId, start: Place, tokens: &Tokens) -> Vec<u8> {
    let mut bytes = SegmentHead { id, start }.encode().to_vec();
    for (stream, token) in tokens {
        let place = Place {
            offset: start.offset + bytes.len() as u64,
            line: start.line,
        };
        let record = Record {
            stream: Arc::clone(stream),
            labels: Arc::from([]),
            token: Some(token.clone()),
            time_ns: 0,
            lines: None,
        };
        append_record(&mut bytes, id, place, &record);
    }
    bytes
}

impl Writer {
    /// Goes on in a segment.
    pub(super) fn go_on(
        (folder, id, max_bytes): (&Folder, SpoolId, u64),
        (file, start): (File, Place),
        end: Place,
    ) -> Self {
        Self {
            folder: folder.clone(),
            id,
            file: Arc::new(file),
            start,
            first: start.offset,
            end,
            segment_bytes: (max_bytes / SEGMENTS).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX),
            buffer: Vec::new(),
        }
    }

    /// Begins a segment at `start`.
    pub(super) fn begin(
        (folder, id, max_bytes): (&Folder, SpoolId, u64),
        start: Place,
        tokens: &Tokens,
    ) -> io::Result<Self> {
        let bytes = first_bytes(id, start, tokens);
        let file = folder.create(start.offset, &bytes)?;
        let end = Place {
            offset: start.offset + bytes.len() as u64,
            line: start.line,
        };
        let spool = (folder, id, max_bytes);
        let mut writer = Self::go_on(spool, (file, start), end);
        writer.first = end.offset;
        Ok(writer)
    }

    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Where its segment begins.
    pub(super) fn start(&self) -> Place {
        self.start
    }

    pub(super) fn end(&self) -> Place {
        self.end
    }

    /// Writes a record, where there is room for it.
    ///
    /// # Errors
    /// Those of the file system. Nothing was written, and it can be tried again.
    pub(super) fn append(
        &mut self,
        inner: &Inner,
        record: &Record,
        room: Room,
    ) -> io::Result<Appended> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let appended = self.append_with(&mut buffer, inner, (record, room));
        buffer.clear();
        if buffer.capacity() <= BUFFER_BYTES_MAX {
            self.buffer = buffer;
        }
        appended
    }

    fn append_with(
        &mut self,
        buffer: &mut Vec<u8>,
        inner: &Inner,
        (record, room): (&Record, Room),
    ) -> io::Result<Appended> {
        let mut end = append_record(buffer, self.id, self.end, record);
        let is_long = end.offset - self.start.offset > self.segment_bytes;
        let (bytes, is_settled) = {
            let state = lock(&inner.state);
            (state.bytes(), state.is_settled())
        };
        // Of a spool in which nothing waits, the first record may be longer than all of it.
        let bytes = bytes + SPARE_BYTES as u64;
        let is_full = bytes + buffer.len() as u64 > inner.config.max_bytes && !is_settled;
        let is_full = is_full && room == Room::Limited;
        if (is_long || is_full) && self.end.offset > self.first {
            self.roll(inner)?;
            buffer.clear();
            end = append_record(buffer, self.id, self.end, record);
        }
        if is_full {
            return Ok(Appended::Full);
        }
        let at = self.end.offset - self.start.offset;
        if let Err(error) = self.file.write_all_at(buffer, at) {
            // What was written of it takes room that somebody may need; the next try is at the same place.
            let _ = self.file.set_len(at);
            if self.end.offset > self.first {
                // Where the disk is full of lines that every sink has by now, or will have, only a segment
                // that is not written to can go. It takes less room than the record would have.
                let _ = self.roll(inner);
            }
            return Err(error);
        }
        self.end = end;
        lock(&inner.state).grow(end, record);
        Ok(Appended::Written)
    }

    /// Begins the next segment.
    fn roll(&mut self, inner: &Inner) -> io::Result<()> {
        let spool = (&self.folder, self.id, inner.config.max_bytes);
        let tokens = lock(&inner.state).tokens.clone();
        let begin = || Self::begin(spool, self.end, &tokens);
        let next = match begin() {
            Err(_) if self.folder.give_spare() => begin()?,
            begun => begun?,
        };
        let file = next.file();
        inner.checkpoints.cover(&file);
        lock(&inner.state).roll(Segment {
            start: self.end,
            end: next.end,
            file: Some(file),
        });
        // Where every sink has all of the one before, no ledger will move that the keeper could wait for.
        inner.signals.settled.notify_one();
        *self = next;
        Ok(())
    }
}
