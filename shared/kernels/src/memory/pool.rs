//! Memory of values.

use super::cast::{as_floats, as_floats_mut};
use super::pages::{PAGE, map};
use memmap2::MmapRaw;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Memory that waits for its next use. Clones share it.
///
/// It consists of chunks from the system, which are handed out in pieces. A network's values have many sizes, and those
/// of one level are seldom those of the next: pieces let large chunks serve small values, and chunks that are too small
/// for what is wanted go back to the system before a larger one is asked for. So what is held is little more than what
/// was in use at once.
#[derive(Clone, Default)]
pub struct Pool {
    chunks: Arc<Mutex<Vec<Chunk>>>,
}

struct Chunk {
    map: MmapRaw,
    /// What is free, in order, apart from each other.
    free: Vec<Range<usize>>,
}

impl Chunk {
    fn is_free(&self) -> bool {
        self.free.first().is_some_and(|r| r.len() == self.map.len())
    }

    /// Takes back a piece.
    fn give(&mut self, piece: Range<usize>) {
        let at = self.free.partition_point(|r| r.start < piece.start);
        self.free.insert(at, piece);
        if at + 1 < self.free.len() && self.free[at].end == self.free[at + 1].start {
            self.free[at].end = self.free.remove(at + 1).end;
        }
        if at > 0 && self.free[at - 1].end == self.free[at].start {
            self.free[at - 1].end = self.free.remove(at).end;
        }
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl Pool {
    fn chunks(&self) -> MutexGuard<'_, Vec<Chunk>> {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A buffer of at least `len` 4-byte elements. Its contents are whatever was there before, or zero.
    ///
    /// # Panics
    /// If the system has no memory left, as every allocation does.
    pub fn take(&self, len: usize) -> Buffer {
        let bytes = (len * 4).max(1).next_multiple_of(PAGE);
        let mut chunks = self.chunks();
        // The smallest that is large enough.
        let pieces = chunks.iter().enumerate().flat_map(|(c, chunk)| {
            chunk
                .free
                .iter()
                .enumerate()
                .map(move |(i, r)| (r.len(), c, i))
        });
        let (c, i) = if let Some((_, c, i)) = pieces.filter(|p| p.0 >= bytes).min() {
            (c, i)
        } else {
            chunks.retain(|chunk| !chunk.is_free());
            chunks.push(Chunk {
                map: map(bytes).into(),
                free: std::iter::once(0..bytes).collect(),
            });
            (chunks.len() - 1, 0)
        };
        let chunk = &mut chunks[c];
        let piece = &mut chunk.free[i];
        let start = piece.start;
        piece.start += bytes;
        if piece.start == piece.end {
            chunk.free.remove(i);
        }
        // SAFETY: the piece lies within the chunk.
        let start = unsafe { chunk.map.as_mut_ptr().add(start) };
        Buffer {
            start: NonNull::new(start.cast()).expect("a map has an address"),
            bytes,
            len,
            pool: self.clone(),
        }
    }
}

/// Memory of one value: 4-byte elements, seen as floats or as bits.
pub struct Buffer {
    /// A piece of a chunk, on a page's start. Until the buffer is dropped nobody else has it, and the pool, which is
    /// held here, keeps the chunk mapped.
    start: NonNull<u32>,
    bytes: usize,
    len: usize,
    pool: Pool,
}

// SAFETY: the piece is this buffer's alone, like a box's memory.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({})", self.len)
    }
}

impl Buffer {
    /// As bits.
    pub fn as_u32(&self) -> &[u32] {
        // SAFETY: a piece is page aligned, initialised and holds at least `len` 4-byte elements; every bit pattern is a
        // u32.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// As bits, to write.
    pub fn as_u32_mut(&mut self) -> &mut [u32] {
        // SAFETY: as in `as_u32`, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// As floats.
    pub fn as_f32(&self) -> &[f32] {
        as_floats(self.as_u32())
    }

    /// As floats, to write.
    pub fn as_f32_mut(&mut self) -> &mut [f32] {
        as_floats_mut(self.as_u32_mut())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let start = self.start.addr().get();
        for chunk in &mut *self.pool.chunks() {
            let first = chunk.map.as_ptr().addr();
            if (first..first + chunk.map.len()).contains(&start) {
                let start = start - first;
                chunk.give(start..start + self.bytes);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(pool: &Pool) -> Vec<usize> {
        pool.chunks().iter().map(|chunk| chunk.map.len()).collect()
    }

    #[test]
    fn pieces_are_apart_and_come_back() {
        let pool = Pool::default();
        drop(pool.take(64 * 1024));
        let mut pieces: Vec<Buffer> = (0..16).map(|i| pool.take(1024 * (1 + i % 3))).collect();
        assert_eq!(held(&pool), [256 * 1024]);
        for (i, piece) in pieces.iter_mut().enumerate() {
            piece.as_u32_mut().fill(i as u32);
        }
        for (i, piece) in pieces.iter().enumerate() {
            assert!(piece.as_u32().iter().all(|&v| v == i as u32));
        }
        // In another order than they were taken.
        for i in [3, 0, 9, 2, 5, 1, 4, 4, 3, 2, 1, 0, 0, 0, 0, 0] {
            pieces.swap_remove(i % pieces.len());
        }
        assert!(pool.chunks()[0].is_free());
    }

    #[test]
    fn chunks_that_are_too_small_are_given_back() {
        let pool = Pool::default();
        let small = pool.take(1024);
        drop(pool.take(2048));
        drop(pool.take(4096));
        assert_eq!(held(&pool), [4096, 16384]);
        drop(small);
        let large = pool.take(8192);
        assert_eq!(held(&pool), [32768]);
        assert_eq!(large.as_f32().len(), 8192);
    }
}
