//! Scratch of the threads.

use super::cast::as_floats_mut;
use super::pages::{PAGE, map};
use memmap2::MmapMut;
use std::cell::RefCell;

/// Scratch of one thread: grows, never shrinks.
#[derive(Default)]
pub(crate) struct Scratch(Option<MmapMut>);

impl Scratch {
    /// `len` elements with whatever was there before.
    pub(crate) fn u32(&mut self, len: usize) -> &mut [u32] {
        let bytes = (len * 4).max(1).next_multiple_of(PAGE);
        if self.0.as_ref().is_none_or(|map| map.len() < bytes) {
            self.0 = None;
        }
        let map = self.0.get_or_insert_with(|| map(bytes));
        // SAFETY: a map is page aligned, initialised and holds at least `len` 4-byte elements; every bit pattern is a u32.
        unsafe { std::slice::from_raw_parts_mut(map.as_mut_ptr().cast(), len) }
    }

    /// `len` floats with whatever was there before.
    pub(crate) fn f32(&mut self, len: usize) -> &mut [f32] {
        as_floats_mut(self.u32(len))
    }
}

thread_local! {
    static SCRATCH: RefCell<[Scratch; 4]> = RefCell::default();
}

/// Runs `f` with this thread's scratch. Not to be nested.
pub(crate) fn with_scratch<R>(f: impl FnOnce(&mut [Scratch; 4]) -> R) -> R {
    SCRATCH.with(|s| f(&mut s.borrow_mut()))
}
