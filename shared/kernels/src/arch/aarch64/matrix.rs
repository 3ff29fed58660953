//! Tile kernels for int8 on aarch64 with the matrix multiply extension, whose instruction multiplies two rows by two
//! positions, eight numbers of each: twice the products of a dot product's.
//!
//! Panels and rows lie as for dot products. Eight numbers are two steps: of a row they follow each other; those of
//! positions are zipped out of two vectors. A register of sums holds two rows by two positions, so 6 rows by a vector
//! of positions take 24 of the 32.

use crate::arch::tile::{LANES, MV, NR, PANEL, Tile, TileFn};
use core::arch::aarch64::{
    int32x4_t, uint32x4_t, vcombine_u32, vdupq_n_s32, vdupq_n_u32, vld1_dup_u32, vld1_u32,
    vld1q_s32, vld1q_u32, vreinterpretq_s32_s64, vreinterpretq_s64_s32, vst1q_s32, vtrn1q_s64,
    vtrn2q_s64, vzip1q_u32, vzip2q_u32,
};
use core::arch::asm;

pub(in crate::arch) const INT8: [TileFn; MV] = [tile::<1>, tile::<2>, tile::<3>, tile::<4>];

const WIDTH: usize = 4;
const REGS: usize = LANES / WIDTH;
/// Pairs of rows.
const PAIRS: usize = NR / 2;

/// Adds the products of two rows, `w`, with two positions, `x`: first row by both positions, then the second. In
/// assembly, since the intrinsic is younger than the oldest compiler that has to build this.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn multiply(sum: int32x4_t, w: uint32x4_t, x: uint32x4_t) -> int32x4_t {
    let out;
    // SAFETY: the instruction touches registers only, and the function's features have it.
    unsafe {
        asm!(
            "smmla {sum:v}.4s, {w:v}.16b, {x:v}.16b",
            sum = inlateout(vreg) sum => out,
            w = in(vreg) w,
            x = in(vreg) x,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    out
}

/// The first halves of two registers, and the second ones: two rows of two positions each, out of two positions of two rows
/// each, and back.
#[inline]
#[target_feature(enable = "neon")]
fn halves(a: int32x4_t, b: int32x4_t) -> [int32x4_t; 2] {
    let (a, b) = (vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b));
    [vtrn1q_s64(a, b), vtrn2q_s64(a, b)].map(|v| vreinterpretq_s32_s64(v))
}

#[target_feature(enable = "neon,i8mm")]
unsafe fn tile<const V: usize>(t: &Tile) {
    for v in 0..V {
        // SAFETY: the caller vouches for every address (see `TileFn`).
        unsafe {
            let c = t.c.add(v * LANES).cast::<i32>();
            let at = |pair: usize, g: usize| {
                let first = c.add(2 * pair * PANEL + g * WIDTH);
                [first, first.add(PANEL)]
            };
            let mut sums: [[[int32x4_t; 2]; REGS]; PAIRS] = [[[vdupq_n_s32(0); 2]; REGS]; PAIRS];
            if t.accumulate {
                for p in 0..PAIRS {
                    for g in 0..REGS {
                        let [first, second] = at(p, g);
                        sums[p][g] = halves(vld1q_s32(first), vld1q_s32(second));
                    }
                }
            }
            let positions = |s: usize| t.a.add(*t.offsets.add(s) as usize + v * LANES);
            let row = |r: usize, s: usize| t.w.add(r * t.w_stride + s);
            for s in (0..t.steps / 2).map(|pair| 2 * pair) {
                let w: [uint32x4_t; PAIRS] = [0, 1, 2]
                    .map(|p| vcombine_u32(vld1_u32(row(2 * p, s)), vld1_u32(row(2 * p + 1, s))));
                let (a, b) = (positions(s), positions(s + 1));
                for g in 0..REGS {
                    let (a, b) = (vld1q_u32(a.add(g * WIDTH)), vld1q_u32(b.add(g * WIDTH)));
                    let x = [vzip1q_u32(a, b), vzip2q_u32(a, b)];
                    for p in 0..PAIRS {
                        sums[p][g][0] = multiply(sums[p][g][0], w[p], x[0]);
                        sums[p][g][1] = multiply(sums[p][g][1], w[p], x[1]);
                    }
                }
            }
            if t.steps % 2 == 1 {
                // A last step is alone: the rows' numbers are there twice, and the second time meet zeros.
                let s = t.steps - 1;
                let a = positions(s);
                for g in 0..REGS {
                    let (a, b) = (vld1q_u32(a.add(g * WIDTH)), vdupq_n_u32(0));
                    let x = [vzip1q_u32(a, b), vzip2q_u32(a, b)];
                    for p in 0..PAIRS {
                        let w = vcombine_u32(
                            vld1_dup_u32(row(2 * p, s)),
                            vld1_dup_u32(row(2 * p + 1, s)),
                        );
                        sums[p][g][0] = multiply(sums[p][g][0], w, x[0]);
                        sums[p][g][1] = multiply(sums[p][g][1], w, x[1]);
                    }
                }
            }
            for p in 0..PAIRS {
                for g in 0..REGS {
                    let rows = halves(sums[p][g][0], sums[p][g][1]);
                    for (to, row) in at(p, g).into_iter().zip(rows) {
                        vst1q_s32(to, row);
                    }
                }
            }
        }
    }
}
