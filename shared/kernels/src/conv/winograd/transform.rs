//! The matrices of F(4x4, 3x3): B for inputs, G for weights, A for results.
//!
//! Each is applied to columns, then to rows. The numbers are those of Lavin and Gray.

use crate::arch::LANES;
use std::ops::{Add, Mul, Sub};

/// Side of a tile's results, and of its inputs.
pub(super) const OUT: usize = 4;
pub(super) const IN: usize = OUT + 2;
/// Numbers of a tile in the transformed domain.
pub(super) const POINTS: usize = IN * IN;

/// One number of each of [`LANES`] tiles or pixels: loops over it become vector instructions.
#[derive(Clone, Copy)]
pub(super) struct Lanes([f32; LANES]);

impl Lanes {
    pub(super) const ZERO: Self = Self([0.0; LANES]);

    #[inline(always)]
    pub(super) fn load(from: &[f32]) -> Self {
        Self(from[..LANES].try_into().expect("as long as a vector"))
    }

    #[inline(always)]
    pub(super) fn store(self, to: &mut [f32]) {
        to[..LANES].copy_from_slice(&self.0);
    }

    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        let mut out = [0.0; LANES];
        for l in 0..LANES {
            out[l] = f(self.0[l], other.0[l]);
        }
        Self(out)
    }
}

impl Add for Lanes {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
}

impl Add<f32> for Lanes {
    type Output = Self;
    #[inline(always)]
    fn add(self, number: f32) -> Self {
        self.zip(self, |a, _| a + number)
    }
}

impl Sub for Lanes {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
}

impl Mul<f32> for Lanes {
    type Output = Self;
    #[inline(always)]
    fn mul(self, factor: f32) -> Self {
        self.zip(self, |a, _| a * factor)
    }
}

/// The rows of G times three numbers.
#[inline(always)]
pub(super) fn g(a: [Lanes; OUT - 1]) -> [Lanes; IN] {
    let [x, y, z] = a;
    let (even, odd) = ((x + z) * (-1.0 / 6.0), y * (1.0 / 6.0));
    let (near, far) = (x * (1.0 / 24.0) + z * (1.0 / 6.0), y * (1.0 / 12.0));
    [x * 0.25, even - odd, even + odd, near + far, near - far, z]
}

/// The rows of the transposed B times six numbers.
#[inline(always)]
pub(super) fn b(x: [Lanes; IN]) -> [Lanes; IN] {
    let near = x[4] - x[2] * 4.0;
    let odd = x[3] - x[1] * 4.0;
    let far = x[4] - x[2];
    let two = (x[3] - x[1]) * 2.0;
    [
        // 4 x0 - 5 x2 + x4 and 4 x1 - 5 x3 + x5
        (x[0] - x[2]) * 4.0 + far,
        near + odd,
        near - odd,
        far + two,
        far - two,
        (x[1] - x[3]) * 4.0 + (x[5] - x[3]),
    ]
}

/// The rows of the transposed A times six numbers.
#[inline(always)]
pub(super) fn a(x: [Lanes; IN]) -> [Lanes; OUT] {
    let (near, near_odd) = (x[1] + x[2], x[1] - x[2]);
    let (far, far_odd) = (x[3] + x[4], x[3] - x[4]);
    [
        x[0] + near + far,
        near_odd + far_odd * 2.0,
        near + far * 4.0,
        near_odd + far_odd * 8.0 + x[5],
    ]
}
