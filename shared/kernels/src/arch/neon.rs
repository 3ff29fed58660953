//! Tile kernels for aarch64: a vector of positions is four registers, so 6 rows take 24 of the 32.

use super::{LANES, MV, NR, PANEL, Tile, TileFn};
use core::arch::aarch64::{float32x4_t, vdupq_n_f32, vfmaq_n_f32, vld1q_f32, vst1q_f32};

pub(super) const F32: [TileFn; MV] = [f32_tile::<1>, f32_tile::<2>, f32_tile::<3>, f32_tile::<4>];

const WIDTH: usize = 4;
const REGS: usize = LANES / WIDTH;

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
                    let w = *t.w.add(r * t.w_stride + s).cast::<f32>();
                    for g in 0..REGS {
                        sums[r][g] = vfmaq_n_f32(sums[r][g], a[g], w);
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
