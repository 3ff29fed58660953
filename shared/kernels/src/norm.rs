//! Layer norm and group norm, straight into the operand of the layer that follows.

use crate::arch::{Compute, PANEL};
use crate::context::Context;
use crate::isa::per_isa;
use crate::step::MOST;
use crate::value::{GroupNorm, Largest, Numbers, PanelMut, Panels, Planes, View};
use rayon::prelude::*;

/// Normalises the channels of each position: `(x - mean) / sqrt(variance + eps) * weight + bias`.
///
/// # Panics
/// If weight or bias do not have one number a channel.
pub fn layer_norm(
    ctx: &Context,
    x: &Planes,
    weight: &[f32],
    bias: &[f32],
    eps: f32,
    compute: Compute,
) -> Panels {
    assert!(weight.len() == x.channels && bias.len() == x.channels);
    let (channels, positions) = (x.channels, x.positions);
    Panels::build(ctx, channels, positions, compute, |range, panel| {
        let x = x.view(0..channels, range);
        layer_norm_panel(ctx.isa, x, weight, bias, eps, panel);
    })
}

per_isa! {
fn layer_norm_panel(isa, x: View<'_>, weight: &[f32], bias: &[f32], eps: f32, panel: PanelMut<'_>) {
    let mut panel = panel;
    let (channels, len) = (x.channels, x.positions);
    let n = channels as f32;
    // Two passes, mean first: the difference of squares would lose digits where the mean is large.
    let mut mean = [0f32; PANEL];
    let mut scale = [0f32; PANEL];
    for c in 0..channels {
        for (m, v) in mean[..len].iter_mut().zip(x.row(c)) {
            *m += *v;
        }
    }
    for m in &mut mean {
        *m /= n;
    }
    for c in 0..channels {
        for ((s, v), m) in scale[..len].iter_mut().zip(x.row(c)).zip(&mean) {
            *s += (*v - *m) * (*v - *m);
        }
    }
    for s in &mut scale {
        *s = 1.0 / (*s / n + eps).sqrt();
    }
    let per = panel.compute.per_step();
    let mut numbers: Numbers = [[0.0; PANEL]; MOST];
    if panel.is_quantized() {
        let mut largest = Largest::NONE;
        for c in 0..channels {
            normalize(x.row(c), &mean, &scale, weight[c], bias[c], &mut numbers[0]);
            largest.see(&numbers[0][..len]);
        }
        panel.scale(&largest);
    }
    for s in 0..panel.compute.steps(channels) {
        for i in 0..per {
            let c = s * per + i;
            if c < channels {
                normalize(x.row(c), &mean, &scale, weight[c], bias[c], &mut numbers[i]);
            } else {
                numbers[i][..len].fill(0.0);
            }
        }
        panel.write::<LEVEL>(s, &numbers);
    }
}
}

#[inline(always)]
fn normalize(
    row: &[f32],
    mean: &[f32; PANEL],
    scale: &[f32; PANEL],
    weight: f32,
    bias: f32,
    out: &mut [f32; PANEL],
) {
    for (l, v) in row.iter().enumerate() {
        out[l] = (*v - mean[l]) * scale[l] * weight + bias;
    }
}

impl GroupNorm {
    /// Measures `x`.
    ///
    /// # Panics
    /// If the channels do not divide into `groups`, or weight or bias do not have one number a channel.
    pub fn measure(
        ctx: &Context,
        x: &Planes,
        weight: &[f32],
        bias: &[f32],
        groups: usize,
        eps: f32,
    ) -> Self {
        assert!(
            x.channels.is_multiple_of(groups)
                && weight.len() == x.channels
                && bias.len() == x.channels
        );
        let size = x.channels / groups;
        let (mut scale, mut shift) = (ctx.pool.take(x.channels), ctx.pool.take(x.channels));
        scale
            .as_f32_mut()
            .par_chunks_exact_mut(size)
            .zip(shift.as_f32_mut().par_chunks_exact_mut(size))
            .enumerate()
            .with_max_len(1)
            .for_each(|(g, (scale, shift))| {
                let channels = g * size..(g + 1) * size;
                let mut group = Moments::default();
                for c in channels.clone() {
                    measure(ctx.isa, x.row(c), &mut group);
                }
                let inverse = 1.0 / (group.squares / group.count + f64::from(eps)).sqrt();
                for (i, c) in channels.enumerate() {
                    let s = inverse * f64::from(weight[c]);
                    scale[i] = s as f32;
                    shift[i] = (f64::from(bias[c]) - group.mean * s) as f32;
                }
            });
        Self { scale, shift }
    }
}

/// The numbers met so far: their count, their mean, and the sum of squared differences from it.
#[derive(Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

per_isa! {
/// Counts a row in, block by block (Chan's update), so that neither mean nor squares lose digits.
fn measure(isa, row: &[f32], moments: &mut Moments) {
    for block in row.chunks(1024) {
        let n = block.len() as f64;
        let mut sums = [0f32; 32];
        let chunks = block.chunks_exact(32);
        let rest: f32 = chunks.remainder().iter().sum();
        for chunk in chunks {
            for l in 0..32 {
                sums[l] += chunk[l];
            }
        }
        let m = (f64::from(sums.iter().sum::<f32>() + rest) / n) as f32;
        let mut sums = [0f32; 32];
        let chunks = block.chunks_exact(32);
        let rest: f32 = chunks.remainder().iter().map(|v| (v - m) * (v - m)).sum();
        for chunk in chunks {
            for l in 0..32 {
                sums[l] += (chunk[l] - m) * (chunk[l] - m);
            }
        }
        let delta = f64::from(m) - moments.mean;
        let total = moments.count + n;
        moments.squares +=
            f64::from(sums.iter().sum::<f32>() + rest) + delta * delta * moments.count * n / total;
        moments.mean += delta * n / total;
        moments.count = total;
    }
}
}
