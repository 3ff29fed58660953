//! Memory of values, used again instead of given back: nothing is allocated in the steady state of a network.

use memmap2::{Advice, MmapMut};
use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes in a cache line; every buffer starts on one.
pub(crate) const LINE: usize = 64;

/// Buffers that wait for their next use. Clones share it.
#[derive(Clone, Default)]
pub struct Pool {
    free: Arc<Mutex<Vec<MmapMut>>>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl Pool {
    /// A buffer of at least `len` 4-byte elements. Its contents are whatever was there before, or zero.
    ///
    /// # Panics
    /// If the system has no memory left, as every allocation does.
    pub fn take(&self, len: usize) -> Buffer {
        let bytes = (len * 4).max(1).next_multiple_of(4096);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        // The smallest that is large enough, unless half of it would lie idle.
        let best = (0..free.len())
            .filter(|&i| free[i].len() >= bytes && free[i].len() <= 2 * bytes)
            .min_by_key(|&i| free[i].len());
        let map = if let Some(i) = best {
            free.swap_remove(i)
        } else {
            drop(free);
            let map = MmapMut::map_anon(bytes)
                .unwrap_or_else(|e| panic!("no memory for {bytes} bytes: {e}"));
            #[cfg(target_os = "linux")]
            let _ = map.advise(Advice::HugePage); // a hint: without it only page faults are dearer
            map
        };
        Buffer {
            map: Some(map),
            len,
            pool: self.clone(),
        }
    }
}

/// Memory of one value: 4-byte elements, seen as floats or as bits.
pub struct Buffer {
    map: Option<MmapMut>,
    len: usize,
    pool: Pool,
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({})", self.len)
    }
}

impl Buffer {
    fn map(&self) -> &MmapMut {
        self.map.as_ref().expect("present until dropped")
    }

    fn map_mut(&mut self) -> &mut MmapMut {
        self.map.as_mut().expect("present until dropped")
    }

    /// As bits.
    pub fn as_u32(&self) -> &[u32] {
        // SAFETY: a map is page aligned and holds at least `len` 4-byte elements; every bit pattern is a u32.
        unsafe { std::slice::from_raw_parts(self.map().as_ptr().cast(), self.len) }
    }

    /// As bits, to write.
    pub fn as_u32_mut(&mut self) -> &mut [u32] {
        let len = self.len;
        // SAFETY: as in `as_u32`, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.map_mut().as_mut_ptr().cast(), len) }
    }

    /// As floats.
    pub fn as_f32(&self) -> &[f32] {
        // SAFETY: as in `as_u32`; every bit pattern is an f32.
        unsafe { std::slice::from_raw_parts(self.map().as_ptr().cast(), self.len) }
    }

    /// As floats, to write.
    pub fn as_f32_mut(&mut self) -> &mut [f32] {
        let len = self.len;
        // SAFETY: as in `as_f32`, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.map_mut().as_mut_ptr().cast(), len) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(map) = self.map.take() {
            self.pool
                .free
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(map);
        }
    }
}

/// A pointer to elements that several threads write, each its own.
#[derive(Clone, Copy)]
pub(crate) struct Shared<T>(*mut T, usize);

// SAFETY: the methods that hand out memory are unsafe and ask for disjoint ranges.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(crate) fn new(slice: &mut [T]) -> Self {
        Self(slice.as_mut_ptr(), slice.len())
    }

    /// `len` elements from `start`.
    ///
    /// # Safety
    /// The slice must still be borrowed for `'a`, and no other thread may hold any of these elements.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn range<'a>(&self, start: usize, len: usize) -> &'a mut [T] {
        assert!(start + len <= self.1, "range {start}+{len} of {}", self.1);
        // SAFETY: inside the slice by the assertion; disjoint and alive by the caller's word.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), len) }
    }
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u32; LINE / 4]);

/// Scratch of one thread: grows, never shrinks.
#[derive(Default)]
pub(crate) struct Scratch(Vec<Line>);

impl Scratch {
    /// `len` elements with whatever was there before.
    pub(crate) fn u32(&mut self, len: usize) -> &mut [u32] {
        let lines = len.div_ceil(LINE / 4);
        if self.0.len() < lines {
            self.0.resize(lines, Line([0; LINE / 4]));
        }
        // SAFETY: `Line` is plain u32s without padding, and there are at least `len` of them.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), len) }
    }

    /// The same as floats.
    pub(crate) fn f32(&mut self, len: usize) -> &mut [f32] {
        let bits = self.u32(len);
        // SAFETY: u32 and f32 have the same size and alignment, and every bit pattern is an f32.
        unsafe { std::slice::from_raw_parts_mut(bits.as_mut_ptr().cast(), len) }
    }
}

thread_local! {
    static SCRATCH: RefCell<[Scratch; 4]> = RefCell::default();
}

/// Runs `f` with this thread's scratch. Not to be nested.
pub(crate) fn with_scratch<R>(f: impl FnOnce(&mut [Scratch; 4]) -> R) -> R {
    SCRATCH.with(|s| f(&mut s.borrow_mut()))
}
