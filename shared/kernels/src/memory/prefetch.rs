//! Asking for memory ahead of its use.

/// Bytes in a cache line.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// How near prefetched memory is to be brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Near {
    /// For use right away.
    First,
    /// Into the second-level cache.
    Second,
}

/// Asks for memory to be brought near.
#[inline(always)]
pub(crate) fn prefetch<T>(slice: &[T], near: Near) {
    #[cfg(target_arch = "x86_64")]
    for line in slice.chunks(LINE / size_of::<T>()) {
        use core::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        let at = line.as_ptr().cast();
        // SAFETY: part of x86-64; a prefetch touches no memory, whatever the address.
        unsafe {
            match near {
                Near::First => _mm_prefetch::<_MM_HINT_T0>(at),
                Near::Second => _mm_prefetch::<_MM_HINT_T1>(at),
            }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (slice, near);
}
