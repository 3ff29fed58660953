//! Memory that ends: a tool says so and exits, where Rust would abort.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The system's allocator. When it has nothing left, what [`on_exhaustion`] was given ends the process.
///
/// To be a program's `#[global_allocator]`. An allocation that may fail (`Vec::try_reserve`) ends the process too.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allocator;

/// What to do when memory ends.
static EXHAUSTED: OnceLock<fn(usize) -> !> = OnceLock::new();

/// Sets what ends the process when memory ends; it is told how many bytes were wanted. The first call counts.
///
/// `end` runs in the middle of an allocation: it must not allocate, nor wait for a lock that its thread may hold. An
/// allocation that fails inside it is Rust's matter again.
pub fn on_exhaustion(end: fn(usize) -> !) {
    let _ = EXHAUSTED.set(end);
}

/// Whether some thread is ending the process.
static ENDING: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether it is this one.
    static ENDING_HERE: Cell<bool> = const { Cell::new(false) };
}

/// Gives on what the system gave, unless that is nothing.
fn given(memory: *mut u8, wanted: usize) -> *mut u8 {
    if memory.is_null()
        && let Some(end) = EXHAUSTED.get()
        && !ENDING_HERE.get()
    {
        if ENDING.swap(true, Ordering::Relaxed) {
            // Another thread was first, and is about to end this one too.
            loop {
                std::thread::sleep(Duration::from_secs(1));
            }
        }
        ENDING_HERE.set(true);
        end(wanted);
    }
    memory
}

// SAFETY:
// - Every call is the system allocator's, with the arguments as they came; what it gives is given on as it is.
// - `given` does not allocate, and does not unwind: it returns, or the process ends.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps `alloc`'s promises.
        given(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps `alloc_zeroed`'s promises.
        given(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps `realloc`'s promises.
        given(unsafe { System.realloc(memory, layout, size) }, size)
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s promises.
        unsafe { System.dealloc(memory, layout) }
    }
}
