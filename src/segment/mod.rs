//! The format of a spool's segment files: what a record is made of, and how one that is damaged is told
//! from one that is good.
//!
//! A spool is one long row of bytes, of which each segment file holds a part. An offset counts the bytes
//! of the whole row, the heads of files and records included, so it only grows and is never used twice;
//! a line's offset is where its first byte stands. All numbers are little-endian.
//!
//! ```text
//! segment  "lwspool\n" | version u32 | spool id 16 bytes | offset u64 | line u64 | crc u32
//! record   magic u32 | body length u32 | offset u64 | line u64 | count u32 | time i64
//!          | body crc u32 | head crc u32 | body
//! body     stream | labels | place of the source behind it | table of lines | their bytes
//! ```
//!
//! `line` is how many lines came before, so whatever is missing between two records, or two files, is
//! known by its number. Every checksum (CRC-32) begins with the spool's random id, and a record's head
//! says where it stands: so no line that somebody sends, be it a copy of a segment, is ever taken for a
//! record when one is looked for behind a damaged place.
//!
//! Pure: no I/O, no clock.

mod body;
#[cfg(test)]
mod properties;
mod record;

use std::fmt;

pub use body::{Record, Token};
pub use record::{RECORD_HEAD_BYTES, RecordHead, Walk, append_record};

/// The version that this program writes.
pub const VERSION: u32 = 1;

/// Length of a segment's head, in bytes.
pub const SEGMENT_HEAD_BYTES: usize = 48;

const MAGIC: [u8; 8] = *b"lwspool\n";

/// A spool's random id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpoolId(u128);

impl SpoolId {
    /// The id of these bits.
    pub fn new(bits: u128) -> Self {
        Self(bits)
    }

    /// A checksum of bytes of this spool.
    fn crc(self, bytes: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.0.to_le_bytes());
        hasher.update(bytes);
        hasher.finalize()
    }
}

impl fmt::Display for SpoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A place in a spool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// In bytes, from the beginning of the spool.
    pub offset: u64,
    /// Lines before it.
    pub line: u64,
}

/// The head of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHead {
    /// Whose segment it is.
    pub id: SpoolId,
    /// Where its first byte stands, the head's own.
    pub start: Place,
}

/// Why a file is no segment that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// It is of a version that this program does not know.
    #[error("it is of version {0}, and this logweir reads version {VERSION}")]
    Version(u32),
    /// It begins with something else.
    #[error("it does not begin as a segment does")]
    NotASegment,
    /// It begins as a segment and the rest of its head is not what was written.
    #[error("its first bytes are damaged")]
    Damaged,
}

impl SegmentHead {
    /// As it is written.
    pub fn encode(&self) -> [u8; SEGMENT_HEAD_BYTES] {
        let mut bytes = Vec::with_capacity(SEGMENT_HEAD_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.id.0.to_le_bytes());
        bytes.extend_from_slice(&self.start.offset.to_le_bytes());
        bytes.extend_from_slice(&self.start.line.to_le_bytes());
        bytes.extend_from_slice(&self.id.crc(&bytes).to_le_bytes());
        bytes.try_into().expect("it adds up to its length")
    }

    /// Reads the head of a file of which these are the first bytes.
    ///
    /// # Errors
    /// [`HeadError`] where it has none that this version understands.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeadError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(HeadError::NotASegment);
        }
        let mut fields = Fields(&bytes[MAGIC.len()..]);
        let version = fields.u32().ok_or(HeadError::Damaged)?;
        if version != VERSION {
            return Err(HeadError::Version(version));
        }
        let read = |fields: &mut Fields| {
            let id = u128::from_le_bytes(fields.array()?);
            let (offset, line) = (fields.u64()?, fields.u64()?);
            let head = Self {
                id: SpoolId(id),
                start: Place { offset, line },
            };
            let summed = bytes.get(..SEGMENT_HEAD_BYTES - 4)?;
            (fields.u32()? == head.id.crc(summed)).then_some(head)
        };
        read(&mut fields).ok_or(HeadError::Damaged)
    }
}

/// Bytes that are read field by field.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        let len = usize::try_from(self.u32()?).ok()?;
        std::str::from_utf8(self.bytes(len)?).ok()
    }
}
