//! Tile kernels for x86-64.
//!
//! AVX-512: 4 vectors by 6 rows are 24 of the 32 registers; each step loads 4 vectors and broadcasts 6 weights for
//! 24 multiply-adds, so the two multiply units, not the loads, are the limit. AVX2 has 16 registers of half the
//! width: two of them by 6 rows at a time.

use crate::arch::tile::{Fetch, LANES, MV, NR, PANEL, Tile, TileFn};
use core::arch::x86_64::{
    __m256, __m512, __m512bh, __m512i, _MM_HINT_T0, _MM_HINT_T1, _mm_prefetch, _mm256_broadcast_ss,
    _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_setzero_ps, _mm256_storeu_ps, _mm512_dpbf16_ps,
    _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_storeu_ps,
};
use core::mem::transmute;

pub(in crate::arch) const F32_AVX512: [TileFn; MV] = [
    f32_avx512::<1>,
    f32_avx512::<2>,
    f32_avx512::<3>,
    f32_avx512::<4>,
];
pub(in crate::arch) const BF16_AVX512: [TileFn; MV] = [
    bf16_avx512::<1>,
    bf16_avx512::<2>,
    bf16_avx512::<3>,
    bf16_avx512::<4>,
];
pub(in crate::arch) const F32_AVX2: [TileFn; MV] =
    [f32_avx2::<1>, f32_avx2::<2>, f32_avx2::<3>, f32_avx2::<4>];

/// Loads or clears the sums of `V` vectors.
///
/// # Safety
/// As [`TileFn`].
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn sums_512<const V: usize>(t: &Tile) -> [[__m512; V]; NR] {
    let mut sums = [[_mm512_setzero_ps(); V]; NR];
    if t.accumulate {
        for r in 0..NR {
            for v in 0..V {
                // SAFETY: the caller vouches for `c`.
                sums[r][v] = unsafe { _mm512_loadu_ps(t.c.add(r * PANEL + v * LANES)) };
            }
        }
    }
    sums
}

/// Stores the sums of `V` vectors.
///
/// # Safety
/// As [`TileFn`].
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn store_512<const V: usize>(t: &Tile, sums: [[__m512; V]; NR]) {
    for r in 0..NR {
        for v in 0..V {
            // SAFETY: the caller vouches for `c`.
            unsafe { _mm512_storeu_ps(t.c.add(r * PANEL + v * LANES), sums[r][v]) };
        }
    }
}

/// Asks for the pieces of step `s`.
#[inline(always)]
pub(super) fn fetch(t: &Tile, s: usize) {
    let piece = |f: &Fetch| f.from.wrapping_add(s * f.stride).cast();
    // SAFETY: a prefetch touches no memory, whatever the address.
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(piece(&t.fetch[0]));
        _mm_prefetch::<_MM_HINT_T1>(piece(&t.fetch[1]));
    }
}

#[target_feature(enable = "avx512f")]
unsafe fn f32_avx512<const V: usize>(t: &Tile) {
    // SAFETY: the caller vouches for every address (see `TileFn`).
    unsafe {
        let mut sums = sums_512::<V>(t);
        for s in 0..t.steps {
            fetch(t, s);
            let a = t.a.add(*t.offsets.add(s) as usize).cast::<f32>();
            let mut x = [_mm512_setzero_ps(); V];
            for v in 0..V {
                x[v] = _mm512_loadu_ps(a.add(v * LANES));
            }
            for r in 0..NR {
                let w = _mm512_set1_ps(*t.w.add(r * t.w_stride + s).cast::<f32>());
                for v in 0..V {
                    sums[r][v] = _mm512_fmadd_ps(x[v], w, sums[r][v]);
                }
            }
        }
        store_512::<V>(t, sums);
    }
}

#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn bf16_avx512<const V: usize>(t: &Tile) {
    // SAFETY: the caller vouches for every address (see `TileFn`); the transmutes are between 512-bit vectors.
    unsafe {
        let mut sums = sums_512::<V>(t);
        for s in 0..t.steps {
            fetch(t, s);
            let a = t.a.add(*t.offsets.add(s) as usize);
            let mut x = [transmute::<__m512i, __m512bh>(_mm512_set1_epi32(0)); V];
            for v in 0..V {
                x[v] = transmute::<__m512i, __m512bh>(_mm512_loadu_si512(a.add(v * LANES).cast()));
            }
            for r in 0..NR {
                let w = _mm512_set1_epi32(*t.w.add(r * t.w_stride + s).cast::<i32>());
                let w = transmute::<__m512i, __m512bh>(w);
                for v in 0..V {
                    sums[r][v] = _mm512_dpbf16_ps(sums[r][v], x[v], w);
                }
            }
        }
        store_512::<V>(t, sums);
    }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn f32_avx2<const V: usize>(t: &Tile) {
    const WIDTH: usize = 8;
    const REGS: usize = LANES / WIDTH;
    for v in 0..V {
        // SAFETY: the caller vouches for every address (see `TileFn`).
        unsafe {
            let c = t.c.add(v * LANES);
            let mut sums: [[__m256; REGS]; NR] = [[_mm256_setzero_ps(); REGS]; NR];
            if t.accumulate {
                for r in 0..NR {
                    for g in 0..REGS {
                        sums[r][g] = _mm256_loadu_ps(c.add(r * PANEL + g * WIDTH));
                    }
                }
            }
            for s in 0..t.steps {
                if v == 0 {
                    fetch(t, s);
                }
                let a =
                    t.a.add(*t.offsets.add(s) as usize + v * t.a_vector)
                        .cast::<f32>();
                let x0 = _mm256_loadu_ps(a);
                let x1 = _mm256_loadu_ps(a.add(WIDTH));
                for r in 0..NR {
                    let w = _mm256_broadcast_ss(&*t.w.add(r * t.w_stride + s).cast::<f32>());
                    sums[r][0] = _mm256_fmadd_ps(x0, w, sums[r][0]);
                    sums[r][1] = _mm256_fmadd_ps(x1, w, sums[r][1]);
                }
            }
            for r in 0..NR {
                for g in 0..REGS {
                    _mm256_storeu_ps(c.add(r * PANEL + g * WIDTH), sums[r][g]);
                }
            }
        }
    }
}
