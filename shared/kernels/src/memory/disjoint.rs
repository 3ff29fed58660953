//! One slice, written by several threads.

/// A pointer to elements that several threads write, each its own.
#[derive(Clone, Copy)]
pub(crate) struct Disjoint<T>(*mut T, usize);

// SAFETY: the methods that hand out memory are unsafe and ask for disjoint ranges.
unsafe impl<T: Send> Send for Disjoint<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Disjoint<T> {}

impl<T> Disjoint<T> {
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
