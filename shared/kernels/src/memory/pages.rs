//! Memory from the system.

use memmap2::{Advice, MmapMut};

/// Every buffer starts on a multiple of it.
pub(super) const PAGE: usize = 4096;

/// Memory from the system, in large pages where it has them.
pub(super) fn map(bytes: usize) -> MmapMut {
    let map =
        MmapMut::map_anon(bytes).unwrap_or_else(|e| panic!("no memory for {bytes} bytes: {e}"));
    #[cfg(target_os = "linux")]
    let _ = map.advise(Advice::HugePage); // a hint: without it only page faults are dearer
    map
}
