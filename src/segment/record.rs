//! One record behind the other: written with a head that says where it stands, and found again, also
//! behind what is damaged.

use bytes::Bytes;

use super::body::{self, Record};
use super::{Fields, Place, SpoolId};

/// Length of a record's head, in bytes.
pub const RECORD_HEAD_BYTES: usize = 44;

const MAGIC: [u8; 4] = [0xf5, b'l', b'w', 0xf7];

/// The head of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHead {
    /// Where the record begins.
    pub start: Place,
    /// Where it ends.
    pub end: Place,
    time_ns: i64,
    body_crc: u32,
}

impl RecordHead {
    fn decode(id: SpoolId, bytes: &[u8], offset: u64) -> Option<Self> {
        let summed = bytes.get(..RECORD_HEAD_BYTES - 4)?;
        let mut fields = Fields(bytes);
        if fields.array()? != MAGIC {
            return None;
        }
        let body_len = fields.u32()?;
        let start = Place {
            offset: fields.u64()?,
            line: fields.u64()?,
        };
        let (count, time_ns, body_crc) = (fields.u32()?, fields.i64()?, fields.u32()?);
        if start.offset != offset || fields.u32()? != id.crc(summed) {
            return None;
        }
        let len = RECORD_HEAD_BYTES as u64 + u64::from(body_len);
        Some(Self {
            start,
            end: Place {
                offset: offset.checked_add(len)?,
                line: start.line.checked_add(u64::from(count))?,
            },
            time_ns,
            body_crc,
        })
    }

    /// Number of lines.
    fn count(&self) -> u32 {
        u32::try_from(self.end.line - self.start.line).unwrap_or(u32::MAX)
    }

    /// Length of the record, in bytes.
    fn len(&self) -> usize {
        usize::try_from(self.end.offset - self.start.offset).unwrap_or(usize::MAX)
    }
}

/// Appends a record that stands at `start`, and returns where it ends.
pub fn append_record(out: &mut Vec<u8>, id: SpoolId, start: Place, record: &Record) -> Place {
    let at = out.len();
    out.resize(at + RECORD_HEAD_BYTES, 0);
    body::append(out, record);
    let (head, body) = out[at..].split_at_mut(RECORD_HEAD_BYTES);
    let body_len = u32::try_from(body.len()).expect("a chunk is smaller than 4 GiB");
    let count = record.count();
    let mut fields = Vec::with_capacity(RECORD_HEAD_BYTES);
    fields.extend_from_slice(&MAGIC);
    fields.extend_from_slice(&body_len.to_le_bytes());
    fields.extend_from_slice(&start.offset.to_le_bytes());
    fields.extend_from_slice(&start.line.to_le_bytes());
    fields.extend_from_slice(&count.to_le_bytes());
    fields.extend_from_slice(&record.time_ns.to_le_bytes());
    fields.extend_from_slice(&id.crc(body).to_le_bytes());
    fields.extend_from_slice(&id.crc(&fields).to_le_bytes());
    head.copy_from_slice(&fields);
    Place {
        offset: start.offset + (out.len() - at) as u64,
        line: start.line + u64::from(count),
    }
}

/// Reads the records in some bytes of a segment, passing over what is damaged: what is missing shows in
/// where the next one begins.
#[derive(Debug)]
pub struct Walk {
    id: SpoolId,
    bytes: Bytes,
    at: usize,
    offset: u64,
}

impl Walk {
    /// Reads from `offset` on, where `bytes` begin.
    pub fn new(id: SpoolId, bytes: Bytes, offset: u64) -> Self {
        Self {
            id,
            bytes,
            at: 0,
            offset,
        }
    }

    /// Up to where everything was read or passed over.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How many bytes from [`Walk::offset`] on the next record takes, as far as that is known: where
    /// there are no more in the file, it is torn.
    pub fn wanted(&self) -> usize {
        let head = RecordHead::decode(self.id, &self.bytes[self.at..], self.offset);
        head.map_or(RECORD_HEAD_BYTES, |head| head.len())
    }

    fn pass(&mut self, len: usize) {
        self.at += len;
        self.offset += len as u64;
    }

    /// How far it is to the next place at which a head may begin.
    fn to_next_head(&self) -> usize {
        let rest = &self.bytes[self.at + 1..];
        let mut candidates = memchr::memchr_iter(MAGIC[0], rest).map(|at| at + 1);
        let found = candidates.find(|at| {
            let (bytes, offset) = (&rest[at - 1..], self.offset + *at as u64);
            let begins = bytes.starts_with(&MAGIC[..MAGIC.len().min(bytes.len())]);
            // Of the last ones not enough is there to tell.
            let is_open = bytes.len() < RECORD_HEAD_BYTES;
            begins && (is_open || RecordHead::decode(self.id, bytes, offset).is_some())
        });
        found.unwrap_or(rest.len() + 1)
    }
}

impl Iterator for Walk {
    type Item = (RecordHead, Record);

    /// The next good record; `None` where no whole one is left.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = &self.bytes[self.at..];
            if rest.len() < RECORD_HEAD_BYTES {
                return None;
            }
            let Some(head) = RecordHead::decode(self.id, rest, self.offset) else {
                self.pass(self.to_next_head());
                continue;
            };
            if rest.len() < head.len() {
                return None;
            }
            let body = self.at + RECORD_HEAD_BYTES..self.at + head.len();
            let body = self.bytes.slice(body);
            let body_at = self.offset + RECORD_HEAD_BYTES as u64;
            self.pass(head.len());
            if self.id.crc(&body) != head.body_crc {
                continue;
            }
            if let Some(record) = body::decode(&body, body_at, head.count(), head.time_ns) {
                return Some((head, record));
            }
        }
    }
}
