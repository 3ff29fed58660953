//! Tile kernels in plain Rust.

use super::tile::{LANES, MV, NR, PANEL, Tile, TileFn};

pub(super) const F32: [TileFn; MV] = [f32_tile::<1>, f32_tile::<2>, f32_tile::<3>, f32_tile::<4>];

unsafe fn f32_tile<const V: usize>(t: &Tile) {
    for v in 0..V {
        // One vector of positions at a time: sixteen sums a row fit the registers of any CPU.
        for r in 0..NR {
            let mut sums = [0f32; LANES];
            // SAFETY: the caller vouches for every address (see `TileFn`).
            unsafe {
                let c = t.c.add(r * PANEL + v * LANES).cast::<[f32; LANES]>();
                if t.accumulate {
                    sums = c.read();
                }
                let w = t.w.add(r * t.w_stride).cast::<f32>();
                for s in 0..t.steps {
                    let a =
                        t.a.add(*t.offsets.add(s) as usize + v * LANES)
                            .cast::<[f32; LANES]>()
                            .read_unaligned();
                    let w = *w.add(s);
                    for l in 0..LANES {
                        sums[l] += a[l] * w;
                    }
                }
                c.write(sums);
            }
        }
    }
}
