//! Tile kernels for aarch64: a vector of positions is four registers, so 6 rows take 24 of the 32.
//!
//! A step loads four registers and 6 weights for 24 multiply-adds.

use crate::arch::tile::{LANES, MV, NR, PANEL, Tile, TileFn};
use core::arch::aarch64::{float32x4_t, vdupq_n_f32, vfmaq_laneq_f32, vld1q_f32, vst1q_f32};
use core::arch::asm;

pub(in crate::arch) const F32: [TileFn; MV] =
    [f32_tile::<1>, f32_tile::<2>, f32_tile::<3>, f32_tile::<4>];

const WIDTH: usize = 4;
const REGS: usize = LANES / WIDTH;

/// Weight `s` of a row, in lane 0.
///
/// Of an ordinary load whose value multiplies every lane, the compiler makes `ld1r`, which takes a turn of the
/// multiply units on most cores; a plain load takes none, and `fmla` picks the lane by itself.
///
/// # Safety
/// `row + s` must be readable.
#[inline(always)]
unsafe fn weight(row: *const u32, s: usize) -> float32x4_t {
    let w;
    // SAFETY: reads the four bytes that the caller vouches for, and writes nothing but `w`.
    unsafe {
        asm!(
            "ldr {w:s}, [{row}, {s}, lsl #2]",
            w = lateout(vreg) w,
            row = in(reg) row,
            s = in(reg) s,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    w
}

unsafe fn f32_tile<const V: usize>(t: &Tile) {
    for v in 0..V {
        // SAFETY: the caller vouches for every address (see `TileFn`); NEON is part of aarch64.
        unsafe {
            let c = t.c.add(v * LANES);
            let mut sums: [[float32x4_t; REGS]; NR] = [[vdupq_n_f32(0.0); REGS]; NR];
            if t.accumulate {
                for r in 0..NR {
                    for g in 0..REGS {
                        sums[r][g] = vld1q_f32(c.add(r * PANEL + g * WIDTH));
                    }
                }
            }
            for s in 0..t.steps {
                let a =
                    t.a.add(*t.offsets.add(s) as usize + v * LANES)
                        .cast::<f32>();
                let a: [float32x4_t; REGS] = core::array::from_fn(|g| vld1q_f32(a.add(g * WIDTH)));
                for r in 0..NR {
                    let w = weight(t.w.add(r * t.w_stride), s);
                    for g in 0..REGS {
                        sums[r][g] = vfmaq_laneq_f32::<0>(sums[r][g], a[g], w);
                    }
                }
            }
            for r in 0..NR {
                for g in 0..REGS {
                    vst1q_f32(c.add(r * PANEL + g * WIDTH), sums[r][g]);
                }
            }
        }
    }
}
