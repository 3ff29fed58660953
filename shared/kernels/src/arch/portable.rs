//! Tile kernels in plain Rust.

use super::tile::{LANES, MV, NR, PANEL, Tile, TileFn};

pub(super) const INT8: [TileFn; MV] = [
    int8_tile::<1>,
    int8_tile::<2>,
    int8_tile::<3>,
    int8_tile::<4>,
];
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

unsafe fn int8_tile<const V: usize>(t: &Tile) {
    for v in 0..V {
        for r in 0..NR {
            let mut sums = [0i32; LANES];
            // SAFETY: the caller vouches for every address (see `TileFn`).
            unsafe {
                let c = t.c.add(r * PANEL + v * LANES).cast::<[i32; LANES]>();
                if t.accumulate {
                    sums = c.read();
                }
                let w = t.w.add(r * t.w_stride).cast::<[i8; 4]>();
                for s in 0..t.steps {
                    let a =
                        t.a.add(*t.offsets.add(s) as usize + v * LANES)
                            .cast::<[[i8; 4]; LANES]>()
                            .read_unaligned();
                    let w = w.add(s).read().map(i32::from);
                    for l in 0..LANES {
                        let a = a[l].map(i32::from);
                        sums[l] += a[0] * w[0] + a[1] * w[1] + a[2] * w[2] + a[3] * w[3];
                    }
                }
                c.write(sums);
            }
        }
    }
}
