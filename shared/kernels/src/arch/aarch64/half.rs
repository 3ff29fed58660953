//! float16 from a file, widened with the CPU's own instructions.

use core::arch::aarch64::{float32x4_t, vld1q_u8, vst1q_f32};
use core::arch::asm;

/// float16 bytes as floats.
///
/// # Panics
/// If the lengths do not agree.
pub(crate) fn f16_to_f32(src: &[u8], dst: &mut [f32]) {
    assert_eq!(src.len(), dst.len() * 2);
    let (mut s, mut d) = (src.chunks_exact(16), dst.chunks_exact_mut(8));
    for (s, d) in s.by_ref().zip(d.by_ref()) {
        widen(s.try_into().unwrap(), d.try_into().unwrap());
    }
    let (rest, d) = (s.remainder(), d.into_remainder());
    if !rest.is_empty() {
        let (mut last, mut wide) = ([0u8; 16], [0f32; 8]);
        last[..rest.len()].copy_from_slice(rest);
        widen(&last, &mut wide);
        d.copy_from_slice(&wide[..d.len()]);
    }
}

/// Eight at a time. In assembly, since the intrinsics are younger than the oldest compiler that has to build this.
#[inline(always)]
fn widen(src: &[u8; 16], dst: &mut [f32; 8]) {
    let (low, high): (float32x4_t, float32x4_t);
    // SAFETY: NEON is part of aarch64; the arrays are as long as what is read and written, and the two instructions
    // touch registers only.
    unsafe {
        asm!(
            "fcvtl {low:v}.4s, {half:v}.4h",
            "fcvtl2 {high:v}.4s, {half:v}.8h",
            half = in(vreg) vld1q_u8(src.as_ptr()),
            low = out(vreg) low,
            high = lateout(vreg) high,
            options(pure, nomem, nostack, preserves_flags),
        );
        vst1q_f32(dst.as_mut_ptr(), low);
        vst1q_f32(dst.as_mut_ptr().add(4), high);
    }
}
