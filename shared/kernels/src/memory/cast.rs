//! 4-byte elements, seen as bits or as floats.

/// Bits as floats.
#[inline(always)]
pub(crate) fn as_floats(bits: &[u32]) -> &[f32] {
    // SAFETY: u32 and f32 have the same size and alignment, and every bit pattern is valid in both.
    unsafe { std::slice::from_raw_parts(bits.as_ptr().cast(), bits.len()) }
}

/// Bits as floats, to write.
#[inline(always)]
pub(crate) fn as_floats_mut(bits: &mut [u32]) -> &mut [f32] {
    // SAFETY: as in `as_floats`, and the borrow is exclusive.
    unsafe { std::slice::from_raw_parts_mut(bits.as_mut_ptr().cast(), bits.len()) }
}
