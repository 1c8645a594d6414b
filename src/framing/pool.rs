//! A small pool of read buffers, so that a chunk costs no page faults.
//!
//! Pure: no I/O, no clock.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use memmap2::MmapMut;

/// Size of a read buffer and so of the largest ordinary chunk, in bytes.
///
/// 256 KiB stays in the second-level cache from the read to the encoder: reading costs half of what
/// it does with 1 MiB buffers once several are in flight.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// Buffers kept while nobody uses them. A full sink budget holds 32; most come back in batches of
/// four.
const IDLE_BUFFERS_MAX: usize = 16;

/// Bytes to read into.
///
/// Those of a pool are mappings of their own: what is freed goes back to the system at once, and
/// pages that a short read never touched cost nothing. From `malloc` they would lie in its arenas,
/// which keep what they once had: 5 MiB after the first read of 10,000 files.
#[derive(Debug, Default)]
pub enum Buffer {
    /// Without any space.
    #[default]
    Empty,
    /// Of [`CHUNK_BYTES`].
    Mapped(MmapMut),
    /// Larger, for a line that is longer; or what there is where nothing can be mapped.
    Heap(Vec<u8>),
}

impl Buffer {
    /// One of [`CHUNK_BYTES`] zeros.
    fn new() -> Self {
        match MmapMut::map_anon(CHUNK_BYTES) {
            Ok(mapped) => Self::Mapped(mapped),
            Err(_) => Self::Heap(vec![0; CHUNK_BYTES]),
        }
    }

    /// Makes it at least `len` bytes long and keeps what it holds.
    pub fn grow(&mut self, len: usize) {
        if len <= self.len() {
            return;
        }
        if !matches!(self, Self::Heap(_)) {
            let mut bytes = Vec::with_capacity(len);
            bytes.extend_from_slice(self);
            *self = Self::Heap(bytes);
        }
        if let Self::Heap(bytes) = self {
            bytes.resize(len, 0);
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Empty => &[],
            Self::Mapped(mapped) => mapped,
            Self::Heap(bytes) => bytes,
        }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Empty => &mut [],
            Self::Mapped(mapped) => mapped,
            Self::Heap(bytes) => bytes,
        }
    }
}

/// A pool of buffers of [`CHUNK_BYTES`], shared by the readers of one source.
#[derive(Clone, Debug, Default)]
pub struct Pool(Arc<Mutex<Idle>>);

#[derive(Debug, Default)]
struct Idle {
    idle: Vec<Buffer>,
    /// The least number of them since the last [`Pool::trim`].
    unused: usize,
}

impl Pool {
    /// Takes a buffer of [`CHUNK_BYTES`] initialised bytes of any content.
    pub fn take(&self) -> Buffer {
        let pooled = {
            let mut pooled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let buffer = pooled.idle.pop();
            pooled.unused = pooled.unused.min(pooled.idle.len());
            buffer
        };
        pooled.unwrap_or_else(Buffer::new)
    }

    /// Gives a buffer back; one of another size is freed.
    pub fn put(&self, buffer: Buffer) {
        if buffer.len() != CHUNK_BYTES {
            return;
        }
        let mut pooled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pooled.idle.len() < IDLE_BUFFERS_MAX {
            pooled.idle.push(buffer);
        }
    }

    /// Frees the buffers that nobody took since the last call.
    pub fn trim(&self) {
        let mut pooled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let unused = std::mem::take(&mut pooled.unused);
        pooled.idle.drain(..unused);
        pooled.unused = pooled.idle.len();
    }

    /// Shares the first `len` bytes of a buffer; it returns to the pool with the last reference.
    pub fn share(&self, buffer: Buffer, len: usize) -> Bytes {
        Bytes::from_owner(Pooled {
            buffer,
            len,
            pool: self.clone(),
        })
    }
}

struct Pooled {
    buffer: Buffer,
    len: usize,
    pool: Pool,
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.pool.put(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Pool {
        fn n_idle(&self) -> usize {
            self.0.lock().unwrap().idle.len()
        }
    }

    #[test]
    fn a_shared_buffer_comes_back_with_its_last_reference() {
        let pool = Pool::default();
        let mut buffer = pool.take();
        buffer[..3].copy_from_slice(b"abc");

        let whole = pool.share(buffer, 3);
        let part = whole.slice(1..);
        drop(whole);
        assert_eq!(pool.n_idle(), 0);
        assert_eq!(part, "bc");

        drop(part);
        assert_eq!(pool.n_idle(), 1);
    }

    #[test]
    fn what_is_not_taken_between_two_trims_is_freed() {
        let pool = Pool::default();
        let buffers: Vec<_> = (0..3).map(|_| pool.take()).collect();
        buffers.into_iter().for_each(|it| pool.put(it));
        pool.trim();
        assert_eq!(pool.n_idle(), 3);

        let taken = pool.take();
        pool.put(taken);
        pool.trim();
        assert_eq!(pool.n_idle(), 1);
        pool.trim();
        assert_eq!(pool.n_idle(), 0);
    }
}
