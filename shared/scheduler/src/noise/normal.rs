//! Box-Muller on 16 uniforms at a time, with the polynomials that torch uses on x86-64.
//!
//! torch evaluates logarithm, sine and cosine with the single-precision Cephes polynomials of `avx_mathfun.h`,
//! compiled to fused multiply-adds. The system's own functions differ in the last bit in two values of five, so
//! the same arithmetic is written out here. [`f32::mul_add`] rounds once on every CPU, with or without a fused
//! instruction, so the bits are the same everywhere.

#![expect(
    clippy::excessive_precision,
    reason = "the coefficients keep the digits Cephes prints"
)]

use std::f32::consts::{SQRT_2, TAU};

/// Turns 16 uniforms of [0, 1) into 16 normals, as `normal_fill_16` does: the first eight give the radius, the
/// last eight the angle.
pub(crate) fn fill_16(data: &mut [f32; 16]) {
    for j in 0..8 {
        let radius = (-2.0 * ln(1.0 - data[j])).sqrt();
        let (sin, cos) = sin_cos(TAU * data[j + 8]);
        data[j] = radius * cos;
        data[j + 8] = radius * sin;
    }
}

/// Natural logarithm of a normal positive number.
fn ln(x: f32) -> f32 {
    // x = mantissa * 2^exponent, mantissa in [0.5, 1).
    let bits = x.to_bits();
    let mut exponent = ((bits >> 23) as i32 - 126) as f32;
    let mantissa = f32::from_bits((bits & 0x007f_ffff) | 0x3f00_0000);
    let x = if mantissa < SQRT_2 / 2.0 {
        exponent -= 1.0;
        (mantissa - 1.0) + mantissa
    } else {
        mantissa - 1.0
    };
    let z = x * x;
    let y = polynomial(
        x,
        &[
            7.037_683_629_2e-2,
            -1.151_461_031_0e-1,
            1.167_699_874_0e-1,
            -1.242_014_084_6e-1,
            1.424_932_278_7e-1,
            -1.666_805_766_5e-1,
            2.000_071_476_5e-1,
            -2.499_999_399_3e-1,
            3.333_333_117_4e-1,
        ],
    );
    let y = (y * x).mul_add(z, exponent * -2.121_944_40e-4);
    let y = (-z).mul_add(0.5, y);
    exponent.mul_add(0.693_359_375, x + y)
}

/// Sine and cosine of an angle in [0, 2 pi].
fn sin_cos(theta: f32) -> (f32, f32) {
    const FOUR_OVER_PI: f32 = 1.273_239_544_735_16;
    let octant = ((theta * FOUR_OVER_PI) as i32 + 1) & !1;
    // theta - octant * pi / 4, with pi / 4 in three parts.
    let j = octant as f32;
    let x = j.mul_add(-0.785_156_25, theta);
    let x = j.mul_add(-2.418_756_484_985_351_562_5e-4, x);
    let x = j.mul_add(-3.774_894_977_445_941_08e-8, x);
    let z = x * x;

    let c = polynomial(
        z,
        &[
            2.443_315_711_809_948e-5,
            -1.388_731_625_493_765e-3,
            4.166_664_568_298_827e-2,
        ],
    );
    let c = (c * z).mul_add(z, -(z * 0.5)) + 1.0;
    let s = polynomial(
        z,
        &[-1.951_529_589_1e-4, 8.332_160_873_6e-3, -1.666_665_461_1e-1],
    );
    let s = (s * z).mul_add(x, x);

    let (sin, cos) = if octant & 2 == 0 { (s, c) } else { (c, s) };
    (
        if octant & 4 == 0 { sin } else { -sin },
        if (octant - 2) & 4 == 0 { -cos } else { cos },
    )
}

/// Horner's rule, highest coefficient first.
fn polynomial(x: f32, coefficients: &[f32]) -> f32 {
    coefficients
        .iter()
        .copied()
        .reduce(|sum, c| sum.mul_add(x, c))
        .unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_the_true_functions() {
        for i in 1..=1 << 12 {
            let u = i as f32 / 4096.0;
            assert!(
                (f64::from(ln(u)) - f64::from(u).ln()).abs() < 1e-6,
                "ln {u}"
            );
            let theta = TAU * u;
            let (sin, cos) = sin_cos(theta);
            assert!(
                (f64::from(sin) - f64::from(theta).sin()).abs() < 2e-7,
                "sin {theta}"
            );
            assert!(
                (f64::from(cos) - f64::from(theta).cos()).abs() < 2e-7,
                "cos {theta}"
            );
        }
    }
}
