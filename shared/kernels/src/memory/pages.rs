//! Memory from the system.

use std::alloc::Layout;

use memmap2::{Advice, MmapMut};

/// Every buffer starts on a multiple of it.
pub(super) const PAGE: usize = 4096;

/// Memory from the system, in large pages where it has them.
///
/// # Panics
/// If the system has none left. The panic's payload is the [`Layout`] of what was wanted, so that a program can tell
/// this from a bug.
pub(super) fn map(bytes: usize) -> MmapMut {
    let map = MmapMut::map_anon(bytes).unwrap_or_else(|_| {
        let layout = Layout::from_size_align(bytes, PAGE).unwrap_or(Layout::new::<u8>());
        std::panic::panic_any(layout)
    });
    #[cfg(target_os = "linux")]
    let _ = map.advise(Advice::HugePage); // a hint: without it only page faults are dearer
    map
}
