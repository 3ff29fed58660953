//! Elementary functions as branch-free arithmetic, so that loops over them become vectors.

use crate::isa::{FMA, per_isa};

/// What is applied to each number of a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    #[default]
    Identity,
    /// `x * sigmoid(x)`.
    Silu,
    /// `x * Phi(x)`, with the exact erf.
    Gelu,
    /// `x * sigmoid(1.702 x)`.
    QuickGelu,
    /// `max(x, 0)`.
    Relu,
}

/// `a * b + c`.
#[inline(always)]
pub(crate) fn mul_add<const LEVEL: u8>(a: f32, b: f32, c: f32) -> f32 {
    // Where it is no instruction, it is a slow function.
    if LEVEL >= FMA {
        a.mul_add(b, c)
    } else {
        a * b + c
    }
}

/// e^x to about 1e-7 relative. Below -87.3 the result is about 1e-38, above 88.3 about 2e38; NaN stays NaN.
#[inline(always)]
pub(crate) fn exp<const LEVEL: u8>(x: f32) -> f32 {
    // x = n ln 2 + r, |r| <= ln 2 / 2; a polynomial for e^r (Cephes expf); n goes into the exponent bits.
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
    let x = if x < -87.3 { -87.3 } else { x };
    let x = if x > 88.3 { 88.3 } else { x };
    let t = mul_add::<LEVEL>(x, std::f32::consts::LOG2_E, ROUND);
    let n = t - ROUND;
    let r = mul_add::<LEVEL>(n, 2.121_944_4e-4, mul_add::<LEVEL>(n, -0.693_359_4, x));
    let mut p = 1.987_569_1e-4;
    p = mul_add::<LEVEL>(p, r, 1.398_199_9e-3);
    p = mul_add::<LEVEL>(p, r, 8.333_452e-3);
    p = mul_add::<LEVEL>(p, r, 4.166_579_5e-2);
    p = mul_add::<LEVEL>(p, r, 1.666_666_5e-1);
    p = mul_add::<LEVEL>(p, r, 5e-1);
    let e = mul_add::<LEVEL>(p * r, r, r) + 1.0;
    let two_n = f32::from_bits(t.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23);
    e * two_n
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub(crate) fn sigmoid<const LEVEL: u8>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<LEVEL>(-x))
}

/// The error function to about 4e-7 absolute: a rational minimax approximation on [-4, 4], as Eigen's.
#[inline(always)]
pub(crate) fn erf<const LEVEL: u8>(x: f32) -> f32 {
    let (above, below) = (x > 3.92, x < -3.92); // from there on it is 1 in float32
    let x = if x < -4.0 { -4.0 } else { x };
    let x = if x > 4.0 { 4.0 } else { x };
    let z = x * x;
    let mut p = -2.726_142_3e-10;
    p = mul_add::<LEVEL>(p, z, 2.770_681_4e-8);
    p = mul_add::<LEVEL>(p, z, -2.101_024e-6);
    p = mul_add::<LEVEL>(p, z, -5.692_506_5e-5);
    p = mul_add::<LEVEL>(p, z, -7.349_906_3e-4);
    p = mul_add::<LEVEL>(p, z, -2.954_6e-3);
    p = mul_add::<LEVEL>(p, z, -1.609_603_4e-2);
    let mut q = -1.456_607_2e-5;
    q = mul_add::<LEVEL>(q, z, -2.133_740_6e-4);
    q = mul_add::<LEVEL>(q, z, -1.682_827e-3);
    q = mul_add::<LEVEL>(q, z, -7.373_329e-3);
    q = mul_add::<LEVEL>(q, z, -1.426_474e-2);
    let y = x * p / q;
    let y = if above { 1.0 } else { y };
    if below { -1.0 } else { y }
}

/// `x * Phi(x)`.
#[inline(always)]
pub(crate) fn gelu<const LEVEL: u8>(x: f32) -> f32 {
    0.5 * x * (1.0 + erf::<LEVEL>(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// Applies `activation` to `values`.
#[inline(always)]
pub(crate) fn activate_inline<const LEVEL: u8>(values: &mut [f32], activation: Activation) {
    match activation {
        Activation::Identity => {}
        Activation::Silu => values
            .iter_mut()
            .for_each(|v| *v /= 1.0 + exp::<LEVEL>(-*v)),
        Activation::Gelu => values.iter_mut().for_each(|v| *v = gelu::<LEVEL>(*v)),
        Activation::QuickGelu => values
            .iter_mut()
            .for_each(|v| *v *= sigmoid::<LEVEL>(1.702 * *v)),
        Activation::Relu => values
            .iter_mut()
            .for_each(|v| *v = if *v < 0.0 { 0.0 } else { *v }),
    }
}

per_isa! {
/// Applies `activation` to `values`.
pub fn activate(isa, values: &mut [f32], activation: Activation) {
    activate_inline::<LEVEL>(values, activation);
}
}

per_isa! {
/// `limit * tanh(x / limit)`.
pub fn soft_clamp(isa, values: &mut [f32], limit: f32) {
    for v in values {
        *v = limit * (2.0 * sigmoid::<LEVEL>(2.0 * *v / limit) - 1.0);
    }
}
}

per_isa! {
/// `x += y`.
pub fn add(isa, x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += *y;
    }
}
}
