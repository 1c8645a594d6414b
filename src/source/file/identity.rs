//! Which file is which: device and inode, a fingerprint of the first bytes that grows with the
//! file, and a guard before every position.
//!
//! None of them suffices alone: inodes are used again (ext4 does so at once), many files begin with
//! the same header, and device numbers change over a reboot.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use twox_hash::XxHash3_64;

use super::packed::read_packed_head;
use crate::checkpoint::StreamRecord;
use crate::framing::Packing;
use crate::model::{GUARD_BYTES, guard_of};

/// How many of the first bytes a fingerprint covers at most.
pub(super) const HEAD_BYTES: usize = 1024;

/// The first bytes of a file, as far as they were there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head(Vec<u8>);

impl Head {
    /// Reads the first bytes, of a compressed file those of its content.
    pub(super) fn read(file: &File) -> io::Result<Self> {
        let mut head = vec![0; HEAD_BYTES];
        let mut len = read_full_at(file, &mut head, 0)?;
        if let Some(packing) = Packing::of(&head[..len]) {
            len = read_packed_head(file, packing, &mut head)?;
        }
        head.truncate(len);
        Ok(Self(head))
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.0.len()).expect("at most 1024")
    }

    pub(super) fn hash(&self) -> u64 {
        XxHash3_64::oneshot(&self.0)
    }

    /// The first of these bytes, at most as many as there are.
    pub(super) fn first(&self, len: u32) -> Self {
        let len = self.0.len().min(len as usize);
        Self(self.0[..len].to_vec())
    }

    /// True where the other's bytes are the first of these.
    pub(super) fn starts_with(&self, other: &Head) -> bool {
        self.0.starts_with(&other.0)
    }

    /// True where a file that once began as `record` says may have grown to begin like this.
    pub(super) fn continues(&self, record: &StreamRecord) -> bool {
        Beginning::of(record).is_of(&self.0)
    }
}

/// How a known file began, as far as it was there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beginning {
    len: usize,
    hash: u64,
}

impl Beginning {
    pub(super) fn of(record: &StreamRecord) -> Self {
        Self {
            len: record.head_len as usize,
            hash: record.head_hash,
        }
    }

    /// How many bytes are known, 0 of a file that was empty.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// True where these bytes begin like it.
    pub(super) fn is_of(&self, bytes: &[u8]) -> bool {
        let beginning = bytes.get(..self.len);
        beginning.is_some_and(|it| self.len == 0 || XxHash3_64::oneshot(it) == self.hash)
    }
}

/// Reads until `buffer` is full or the file ends; returns how much was read.
pub(super) fn read_full_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match file.read_at(&mut buffer[len..], offset + len as u64) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

/// The bytes that the guard of `offset` covers, as they are in the file now.
pub(super) fn read_guarded(file: &File, offset: u64) -> io::Result<Vec<u8>> {
    let len = usize::try_from(offset).map_or(GUARD_BYTES, |offset| offset.min(GUARD_BYTES));
    let mut bytes = vec![0; len];
    let read = read_full_at(file, &mut bytes, offset - len as u64)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// The guard of `offset` as the file is now.
pub(super) fn guard_at(file: &File, offset: u64) -> io::Result<u64> {
    Ok(guard_of(&read_guarded(file, offset)?))
}
