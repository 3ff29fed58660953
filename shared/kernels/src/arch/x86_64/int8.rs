//! Tile kernels for int8: AVX-512 VNNI, AVX-VNNI with registers of half the width, and plain AVX2.
//!
//! VNNI's instruction multiplies unsigned by signed bytes. Positions are signed; weights, which are broadcast, become
//! unsigned when they are widened ([`Kernels::unsigned_weights`](crate::arch::Kernels::unsigned_weights)). Blocking is
//! that of the float kernels.
//!
//! AVX2 takes four instructions for one of VNNI's, and weights as they are.

use super::avx::fetch;
use crate::arch::tile::{LANES, MV, NR, PANEL, Tile, TileFn};
use core::arch::x86_64::{
    __m256i, __m512i, _mm256_abs_epi8, _mm256_add_epi32, _mm256_dpbusd_avx_epi32,
    _mm256_dpbusd_epi32, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16,
    _mm256_set1_epi16, _mm256_set1_epi32, _mm256_setzero_si256, _mm256_sign_epi8,
    _mm256_storeu_si256, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_set1_epi32,
    _mm512_setzero_si512, _mm512_storeu_si512,
};

pub(in crate::arch) const INT8_AVX512: [TileFn; MV] =
    [avx512::<1>, avx512::<2>, avx512::<3>, avx512::<4>];
pub(in crate::arch) const INT8_AVX: [TileFn; MV] = [avx::<1>, avx::<2>, avx::<3>, avx::<4>];
/// With the encodings of AVX-512 VL, for CPUs that have these only.
pub(in crate::arch) const INT8_AVX_VL: [TileFn; MV] =
    [avx_vl::<1>, avx_vl::<2>, avx_vl::<3>, avx_vl::<4>];
/// Without VNNI.
pub(in crate::arch) const INT8_AVX2: [TileFn; MV] = [avx2::<1>, avx2::<2>, avx2::<3>, avx2::<4>];

#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn avx512<const V: usize>(t: &Tile) {
    // SAFETY: the caller vouches for every address (see `TileFn`).
    unsafe {
        let mut sums = [[_mm512_setzero_si512(); V]; NR];
        if t.accumulate {
            for r in 0..NR {
                for v in 0..V {
                    sums[r][v] = _mm512_loadu_si512(t.c.add(r * PANEL + v * LANES).cast());
                }
            }
        }
        for s in 0..t.steps {
            fetch(t, s);
            let a = t.a.add(*t.offsets.add(s) as usize);
            let mut x: [__m512i; V] = [_mm512_setzero_si512(); V];
            for v in 0..V {
                x[v] = _mm512_loadu_si512(a.add(v * LANES).cast());
            }
            for r in 0..NR {
                let w = _mm512_set1_epi32(*t.w.add(r * t.w_stride + s).cast::<i32>());
                for v in 0..V {
                    sums[r][v] = _mm512_dpbusd_epi32(sums[r][v], w, x[v]);
                }
            }
        }
        for r in 0..NR {
            for v in 0..V {
                _mm512_storeu_si512(t.c.add(r * PANEL + v * LANES).cast(), sums[r][v]);
            }
        }
    }
}

/// Adds the products of the signed bytes of `w` and `x`, four to a sum.
///
/// The instruction that multiplies bytes takes unsigned by signed ones, and adds two products in int16, where it cuts off
/// what is too large. So it is given `|w|`, and `x` with the sign of `w`: since `x` is from -127 to 127 and `|w|` is 128
/// at most, two products are 32512 at most.
#[inline]
#[target_feature(enable = "avx2")]
fn multiply_add(sums: __m256i, w: __m256i, x: __m256i) -> __m256i {
    let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
}

/// A kernel of two registers by [`NR`] rows at a time, with what multiplies.
macro_rules! avx {
    ($name:ident, $features:literal, $multiply:ident) => {
        #[target_feature(enable = $features)]
        unsafe fn $name<const V: usize>(t: &Tile) {
            const WIDTH: usize = 8;
            const REGS: usize = LANES / WIDTH;
            for v in 0..V {
                // SAFETY: the caller vouches for every address (see `TileFn`).
                unsafe {
                    let c = t.c.add(v * LANES);
                    let mut sums: [[__m256i; REGS]; NR] = [[_mm256_setzero_si256(); REGS]; NR];
                    if t.accumulate {
                        for r in 0..NR {
                            for g in 0..REGS {
                                sums[r][g] =
                                    _mm256_loadu_si256(c.add(r * PANEL + g * WIDTH).cast());
                            }
                        }
                    }
                    for s in 0..t.steps {
                        if v == 0 {
                            fetch(t, s);
                        }
                        let a = t.a.add(*t.offsets.add(s) as usize + v * t.a_vector);
                        let x0 = _mm256_loadu_si256(a.cast());
                        let x1 = _mm256_loadu_si256(a.add(WIDTH).cast());
                        for r in 0..NR {
                            let w = _mm256_set1_epi32(*t.w.add(r * t.w_stride + s).cast::<i32>());
                            sums[r][0] = $multiply(sums[r][0], w, x0);
                            sums[r][1] = $multiply(sums[r][1], w, x1);
                        }
                    }
                    for r in 0..NR {
                        for g in 0..REGS {
                            _mm256_storeu_si256(c.add(r * PANEL + g * WIDTH).cast(), sums[r][g]);
                        }
                    }
                }
            }
        }
    };
}

avx!(avx, "avx2,avxvnni", _mm256_dpbusd_avx_epi32);
avx!(avx2, "avx2", multiply_add);
avx!(avx_vl, "avx2,avx512vl,avx512vnni", _mm256_dpbusd_epi32);
