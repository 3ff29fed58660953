//! Naive loops in float64: what every kernel is tested against.

use crate::{Activation, Window};

/// `activation(x)`.
pub fn activation(x: f64, activation: Activation) -> f64 {
    match activation {
        Activation::Identity => x,
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
        Activation::Relu => x.max(0.0),
        Activation::Gelu => x * 0.5 * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)),
    }
}

/// The error function: its Taylor series, or past 3 the continued fraction of its complement.
pub fn erf(x: f64) -> f64 {
    let a = x.abs();
    let value = if a < 3.0 {
        let (mut term, mut sum, mut n) = (a, a, 0.0);
        while term.abs() > 1e-18 {
            n += 1.0;
            term *= -a * a / n;
            sum += term / (2.0 * n + 1.0);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    } else {
        let mut f = 0.0;
        for k in (1..60).rev() {
            f = f64::from(k) / 2.0 / (a + f);
        }
        1.0 - (-a * a).exp() / (a + f) / std::f64::consts::PI.sqrt()
    };
    value.copysign(x)
}

/// `[tokens, out]` = `x [tokens, in]` times `w [out, in]` transposed, plus `bias`.
pub fn linear(x: &[f32], w: &[f32], bias: Option<&[f32]>, inputs: usize) -> Vec<f64> {
    let mut out = Vec::new();
    for x in x.chunks_exact(inputs) {
        for (o, w) in w.chunks_exact(inputs).enumerate() {
            let sum: f64 = x
                .iter()
                .zip(w)
                .map(|(a, b)| f64::from(*a) * f64::from(*b))
                .sum();
            out.push(sum + bias.map_or(0.0, |b| f64::from(b[o])));
        }
    }
    out
}

/// The numbers of a position as int8, and what they have to be multiplied by: the largest becomes 127.
pub fn quantize(x: &[f32]) -> (Vec<i8>, f32) {
    let largest = x.iter().fold(0f32, |m, v| m.max(v.abs()));
    if largest < 1e-30 {
        return (vec![0; x.len()], 0.0);
    }
    let factor = 127.0 / largest;
    let numbers = x.iter().map(|v| (v * factor).round_ties_even() as i8);
    (numbers.collect(), largest / 127.0)
}

/// As [`linear`] in whole numbers: `x` becomes int8 position by position, row `o` of `w` has to be multiplied by
/// `scales[o]`.
pub fn linear_int8(
    x: &[f32],
    w: &[i8],
    scales: &[f32],
    bias: Option<&[f32]>,
    inputs: usize,
) -> Vec<f32> {
    let mut out = Vec::new();
    for x in x.chunks_exact(inputs) {
        let (x, scale) = quantize(x);
        for (o, w) in w.chunks_exact(inputs).enumerate() {
            let products = x.iter().zip(w).map(|(a, b)| i32::from(*a) * i32::from(*b));
            let sum: i32 = products.sum();
            out.push(sum as f32 * scale * scales[o] + bias.map_or(0.0, |b| b[o]));
        }
    }
    out
}

/// `[out, oh, ow]` from `x [channels, height, width]` and `w [out, channels, k, k]`.
pub fn conv2d(
    x: &[f32],
    [channels, height, width]: [usize; 3],
    w: &[f32],
    bias: Option<&[f32]>,
    window: Window,
) -> Vec<f64> {
    let k = window.kernel;
    let [out_height, out_width] = window.output(height, width);
    let mut out = Vec::new();
    for (o, w) in w.chunks_exact(channels * k * k).enumerate() {
        for y in 0..out_height {
            for x_ in 0..out_width {
                let mut sum = bias.map_or(0.0, |b| f64::from(b[o]));
                for c in 0..channels {
                    for i in 0..k {
                        for j in 0..k {
                            let sy = (y * window.stride + i).wrapping_sub(window.padding[0]);
                            let sx = (x_ * window.stride + j).wrapping_sub(window.padding[2]);
                            if sy < height && sx < width {
                                sum += f64::from(x[(c * height + sy) * width + sx])
                                    * f64::from(w[(c * k + i) * k + j]);
                            }
                        }
                    }
                }
                out.push(sum);
            }
        }
    }
    out
}

/// Group norm of `x [channels, positions]`; a layer norm of one token is `groups` 1 over `[channels, 1]`.
pub fn group_norm(
    x: &[f32],
    positions: usize,
    weight: &[f32],
    bias: &[f32],
    groups: usize,
    eps: f64,
) -> Vec<f64> {
    let size = x.len() / groups;
    let mut out = Vec::new();
    for group in x.chunks_exact(size) {
        let mean = group.iter().map(|v| f64::from(*v)).sum::<f64>() / size as f64;
        let variance = group
            .iter()
            .map(|v| (f64::from(*v) - mean).powi(2))
            .sum::<f64>()
            / size as f64;
        for v in group {
            let c = out.len() / positions;
            out.push(
                (f64::from(*v) - mean) / (variance + eps).sqrt() * f64::from(weight[c])
                    + f64::from(bias[c]),
            );
        }
    }
    out
}

/// Attention over tokens: `q [tq, heads * d]`, `k` and `v [tk, heads * d]`.
pub fn attention(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    heads: usize,
    d: usize,
    causal: bool,
) -> Vec<f64> {
    let channels = heads * d;
    let (tq, tk) = (q.len() / channels, k.len() / channels);
    let mut out = vec![0f64; q.len()];
    for h in 0..heads {
        for i in 0..tq {
            let at = |x: &[f32], t: usize, c: usize| f64::from(x[t * channels + h * d + c]);
            let seen = if causal { i + 1 } else { tk };
            let scores: Vec<f64> = (0..seen)
                .map(|j| (0..d).map(|c| at(q, i, c) * at(k, j, c)).sum::<f64>() / (d as f64).sqrt())
                .collect();
            let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = scores.iter().map(|s| (s - max).exp()).sum();
            for (j, s) in scores.iter().enumerate() {
                for c in 0..d {
                    out[i * channels + h * d + c] += (s - max).exp() / total * at(v, j, c);
                }
            }
        }
    }
    out
}
