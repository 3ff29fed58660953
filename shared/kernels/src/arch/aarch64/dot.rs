//! Tile kernels for int8 on aarch64 with the dot product extension: a vector of positions is four registers, so 6 rows
//! take 24 of the 32, as for float32.

use crate::arch::tile::{LANES, MV, NR, PANEL, Tile, TileFn};
use core::arch::aarch64::{int32x4_t, uint32x4_t, vdupq_n_s32, vld1q_s32, vld1q_u32, vst1q_s32};
use core::arch::asm;

pub(in crate::arch) const INT8: [TileFn; MV] = [tile::<1>, tile::<2>, tile::<3>, tile::<4>];

const WIDTH: usize = 4;
const REGS: usize = LANES / WIDTH;

/// Adds the products of four positions with the weights in lane 0 of `w`. In assembly, since the intrinsic is younger
/// than the oldest compiler that has to build this.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot(sum: int32x4_t, x: uint32x4_t, w: uint32x4_t) -> int32x4_t {
    let out;
    // SAFETY: the instruction touches registers only, and the function's features have it.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {x:v}.16b, {w:v}.4b[0]",
            sum = inlateout(vreg) sum => out,
            x = in(vreg) x,
            w = in(vreg_low16) w,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    out
}

/// Weight `s` of a row, in lane 0: a plain load, for the reason that the float32 kernels give.
///
/// # Safety
/// `row + s` must be readable.
#[inline(always)]
unsafe fn weight(row: *const u32, s: usize) -> uint32x4_t {
    let w;
    // SAFETY: reads the four bytes that the caller vouches for, and writes nothing but `w`.
    unsafe {
        asm!(
            "ldr {w:s}, [{row}, {s}, lsl #2]",
            w = lateout(vreg_low16) w,
            row = in(reg) row,
            s = in(reg) s,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    w
}

#[target_feature(enable = "neon,dotprod")]
unsafe fn tile<const V: usize>(t: &Tile) {
    for v in 0..V {
        // SAFETY: the caller vouches for every address (see `TileFn`).
        unsafe {
            let c = t.c.add(v * LANES).cast::<i32>();
            let mut sums: [[int32x4_t; REGS]; NR] = [[vdupq_n_s32(0); REGS]; NR];
            if t.accumulate {
                for r in 0..NR {
                    for g in 0..REGS {
                        sums[r][g] = vld1q_s32(c.add(r * PANEL + g * WIDTH));
                    }
                }
            }
            for s in 0..t.steps {
                let a = t.a.add(*t.offsets.add(s) as usize + v * LANES);
                let mut x = [vld1q_u32(a); REGS];
                for g in 1..REGS {
                    x[g] = vld1q_u32(a.add(g * WIDTH));
                }
                for r in 0..NR {
                    let w = weight(t.w.add(r * t.w_stride), s);
                    for g in 0..REGS {
                        sums[r][g] = dot(sums[r][g], x[g], w);
                    }
                }
            }
            for r in 0..NR {
                for g in 0..REGS {
                    vst1q_s32(c.add(r * PANEL + g * WIDTH), sums[r][g]);
                }
            }
        }
    }
}
