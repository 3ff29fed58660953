//! float16 from a file, widened with the CPU's own instructions.

use crate::isa::Isa;
use core::arch::x86_64::{
    __m512bh, __m512i, _mm_loadu_si128, _mm256_cvtph_ps, _mm256_loadu_si256, _mm256_storeu_ps,
    _mm512_cvtne2ps_pbh, _mm512_cvtph_ps, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_mask_permutexvar_epi16, _mm512_mask_storeu_epi32, _mm512_maskz_loadu_epi32,
    _mm512_permutexvar_epi16, _mm512_setzero_si512, _mm512_storeu_ps, _mm512_storeu_si512,
};
use core::mem::transmute;

/// float16 bytes as floats, on AVX2 or better.
///
/// # Panics
/// If `isa` is none of these, or the lengths do not agree.
pub(crate) fn f16_to_f32(isa: Isa, src: &[u8], dst: &mut [f32]) {
    assert!(isa >= Isa::Avx2 && isa.is_available());
    assert_eq!(src.len(), dst.len() * 2);
    // SAFETY: the CPU has the instructions, by the first assertion.
    unsafe {
        if isa >= Isa::Avx512 {
            f32_avx512(src, dst);
        } else {
            f32_avx2(src, dst);
        }
    }
}

/// float16 bytes as pairs of bfloat16; an odd one at the end is paired with zero.
///
/// # Panics
/// If the CPU lacks AVX-512 BF16, or the lengths do not agree.
pub(crate) fn f16_to_pairs(src: &[u8], dst: &mut [u32]) {
    assert!(Isa::Avx512Bf16.is_available());
    assert_eq!((src.len() / 2).div_ceil(2), dst.len());
    // SAFETY: the CPU has the instructions, by the first assertion.
    unsafe { pairs_avx512(src, dst) }
}

#[target_feature(enable = "avx512f")]
fn f32_avx512(src: &[u8], dst: &mut [f32]) {
    let (s, d) = (src.chunks_exact(32), dst.chunks_exact_mut(16));
    let rest = s.remainder();
    for (s, d) in s.zip(d) {
        // SAFETY: the chunks are 32 bytes and 16 floats.
        unsafe {
            _mm512_storeu_ps(
                d.as_mut_ptr(),
                _mm512_cvtph_ps(_mm256_loadu_si256(s.as_ptr().cast())),
            );
        };
    }
    if !rest.is_empty() {
        let (mut s, mut d) = ([0u8; 32], [0f32; 16]);
        s[..rest.len()].copy_from_slice(rest);
        // SAFETY: the arrays are 32 bytes and 16 floats.
        unsafe {
            _mm512_storeu_ps(
                d.as_mut_ptr(),
                _mm512_cvtph_ps(_mm256_loadu_si256(s.as_ptr().cast())),
            );
        };
        let start = dst.len() - rest.len() / 2;
        dst[start..].copy_from_slice(&d[..rest.len() / 2]);
    }
}

#[target_feature(enable = "avx2,f16c")]
fn f32_avx2(src: &[u8], dst: &mut [f32]) {
    let (s, d) = (src.chunks_exact(16), dst.chunks_exact_mut(8));
    let rest = s.remainder();
    for (s, d) in s.zip(d) {
        // SAFETY: the chunks are 16 bytes and 8 floats.
        unsafe {
            _mm256_storeu_ps(
                d.as_mut_ptr(),
                _mm256_cvtph_ps(_mm_loadu_si128(s.as_ptr().cast())),
            );
        };
    }
    if !rest.is_empty() {
        let (mut s, mut d) = ([0u8; 16], [0f32; 8]);
        s[..rest.len()].copy_from_slice(rest);
        // SAFETY: the arrays are 16 bytes and 8 floats.
        unsafe {
            _mm256_storeu_ps(
                d.as_mut_ptr(),
                _mm256_cvtph_ps(_mm_loadu_si128(s.as_ptr().cast())),
            );
        };
        let start = dst.len() - rest.len() / 2;
        dst[start..].copy_from_slice(&d[..rest.len() / 2]);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn pairs_avx512(src: &[u8], dst: &mut [u32]) {
    let (s, d) = (src.chunks_exact(64), dst.chunks_exact_mut(16));
    let rest = s.remainder();
    for (s, d) in s.zip(d) {
        // SAFETY: the chunks are 64 bytes and 16 elements.
        unsafe { pairs_32(s.as_ptr(), d.as_mut_ptr()) };
    }
    if !rest.is_empty() {
        let (mut s, mut d) = ([0u8; 64], [0u32; 16]);
        s[..rest.len()].copy_from_slice(rest);
        // SAFETY: the arrays are 64 bytes and 16 elements.
        unsafe { pairs_32(s.as_ptr(), d.as_mut_ptr()) };
        let count = (rest.len() / 2).div_ceil(2);
        let start = dst.len() - count;
        dst[start..].copy_from_slice(&d[..count]);
    }
}

/// # Safety
/// 64 bytes must be readable at `s` and writable at `d`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn pairs_32(s: *const u8, d: *mut u32) {
    // SAFETY: by the caller's word; the transmute is between 512-bit vectors.
    unsafe {
        let low = _mm512_cvtph_ps(_mm256_loadu_si256(s.cast()));
        let high = _mm512_cvtph_ps(_mm256_loadu_si256(s.add(32).cast()));
        _mm512_storeu_si512(
            d.cast(),
            transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)),
        );
    }
}

/// Floats as pairs of bfloat16; an odd one at the end is paired with zero.
///
/// # Panics
/// If the CPU lacks AVX-512 BF16, or the lengths do not agree.
pub(crate) fn f32_to_pairs(src: &[f32], dst: &mut [u32]) {
    assert!(Isa::Avx512Bf16.is_available());
    assert_eq!(src.len().div_ceil(2), dst.len());
    // SAFETY: the CPU has the instructions, by the first assertion.
    unsafe { f32_pairs_avx512(src, dst) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn f32_pairs_avx512(src: &[f32], dst: &mut [u32]) {
    let (s, d) = (src.chunks_exact(32), dst.chunks_exact_mut(16));
    let rest = s.remainder();
    for (s, d) in s.zip(d) {
        // SAFETY: the chunks are 32 floats and 16 elements.
        unsafe { f32_pairs_32(s.as_ptr(), d.as_mut_ptr()) };
    }
    if !rest.is_empty() {
        let (mut s, mut d) = ([0f32; 32], [0u32; 16]);
        s[..rest.len()].copy_from_slice(rest);
        // SAFETY: the arrays are 32 floats and 16 elements.
        unsafe { f32_pairs_32(s.as_ptr(), d.as_mut_ptr()) };
        let count = rest.len().div_ceil(2);
        let start = dst.len() - count;
        dst[start..].copy_from_slice(&d[..count]);
    }
}

/// # Safety
/// 32 floats must be readable at `s`, and 64 bytes writable at `d`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn f32_pairs_32(s: *const f32, d: *mut u32) {
    // SAFETY: by the caller's word; the transmute is between 512-bit vectors.
    unsafe {
        let (low, high) = (_mm512_loadu_ps(s), _mm512_loadu_ps(s.add(16)));
        _mm512_storeu_si512(
            d.cast(),
            transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)),
        );
    }
}

/// Sixteen floats `a` and as many `b` as pairs of bfloat16, each `a` in the low half.
///
/// # Safety
/// `a` and `b` must be readable and `out` writable for 16 elements.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(crate) unsafe fn pairs_16(a: *const f32, b: *const f32, out: *mut u32) {
    const ORDER: [u16; 32] = {
        let mut order = [0; 32];
        let mut i = 0;
        while i < 32 {
            order[i] = (i / 2 + 16 * (i % 2)) as u16;
            i += 1;
        }
        order
    };
    // SAFETY: by the caller's word; the order has 64 bytes, and the transmute is between 512-bit vectors.
    unsafe {
        let both = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(b), _mm512_loadu_ps(a));
        let order = _mm512_loadu_si512(ORDER.as_ptr().cast());
        let pairs = _mm512_permutexvar_epi16(order, transmute::<__m512bh, __m512i>(both));
        _mm512_storeu_si512(out.cast(), pairs);
    }
}

/// As [`crate::arch::interleave`], as far as there is a fast way; says how many groups are done.
pub(in crate::arch) fn interleave(
    row: &[u32],
    count: usize,
    taps: usize,
    group: usize,
    out: &mut [u32],
) -> usize {
    let whole = count / (2 * taps * group);
    if taps != TAPS || !matches!(group, 1 | GROUP) || !Isa::Avx512Bf16.is_available() {
        return 0;
    }
    let (row, out) = (
        &row[..whole * taps * group],
        &mut out[..whole * taps * group],
    );
    // SAFETY: the CPU has the instructions, by the condition above.
    unsafe {
        if group == 1 {
            interleave_pairs(row, out);
        } else {
            interleave_groups(row, out);
        }
    }
    whole
}

/// Neighbours of a 3x3 window.
const TAPS: usize = 9;
/// Pairs of channels in a vector.
const GROUP: usize = 16;

/// `[pair][channel][tap]` to `[pair][tap][channel]`: for each pair one load, one permutation and one store of nine
/// elements.
#[target_feature(enable = "avx512f,avx512bw")]
fn interleave_pairs(row: &[u32], out: &mut [u32]) {
    let order: [u16; 32] = core::array::from_fn(|i| {
        if i < 2 * TAPS {
            (i / 2 + TAPS * (i % 2)) as u16
        } else {
            0
        }
    });
    // SAFETY: the array has 64 bytes; masked lanes are neither read nor written, so nine elements of each chunk are.
    unsafe {
        let order = _mm512_loadu_si512(order.as_ptr().cast());
        for (s, d) in row.chunks_exact(TAPS).zip(out.chunks_exact_mut(TAPS)) {
            let x = _mm512_maskz_loadu_epi32(0x1ff, s.as_ptr().cast());
            _mm512_mask_storeu_epi32(
                d.as_mut_ptr().cast(),
                0x1ff,
                _mm512_permutexvar_epi16(order, x),
            );
        }
    }
}

/// Where the channels of a tap lie among the nine vectors of a group: lanes, and which of them each vector has.
struct Transposition {
    lanes: [[u16; 2 * GROUP]; TAPS],
    masks: [[u32; TAPS]; TAPS],
}

static TRANSPOSITION: Transposition = {
    let mut t = Transposition {
        lanes: [[0; 2 * GROUP]; TAPS],
        masks: [[0; TAPS]; TAPS],
    };
    let mut i = 0;
    while i < 2 * GROUP * TAPS {
        let (channel, tap) = (i / TAPS, i % TAPS);
        t.lanes[tap][channel] = (i % (2 * GROUP)) as u16;
        t.masks[tap][i / (2 * GROUP)] |= 1 << channel;
        i += 1;
    }
    t
};

/// `[channel][tap]` to `[tap][channel]` for 32 channels at a time: a masked permutation for each tap and vector.
#[target_feature(enable = "avx512f,avx512bw")]
fn interleave_groups(row: &[u32], out: &mut [u32]) {
    let size = TAPS * GROUP;
    for (s, d) in row.chunks_exact(size).zip(out.chunks_exact_mut(size)) {
        // SAFETY: a chunk has nine vectors of sixteen elements, and so have the lanes of a tap.
        unsafe {
            let mut x = [_mm512_setzero_si512(); TAPS];
            for (v, x) in x.iter_mut().enumerate() {
                *x = _mm512_loadu_si512(s.as_ptr().add(v * GROUP).cast());
            }
            for tap in 0..TAPS {
                let lanes = _mm512_loadu_si512(TRANSPOSITION.lanes[tap].as_ptr().cast());
                let mut y = _mm512_setzero_si512();
                for (v, x) in x.iter().enumerate() {
                    y = _mm512_mask_permutexvar_epi16(y, TRANSPOSITION.masks[tap][v], lanes, *x);
                }
                _mm512_storeu_si512(d.as_mut_ptr().add(tap * GROUP).cast(), y);
            }
        }
    }
}
