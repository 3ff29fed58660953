//! Every kernel on every instruction set of this CPU against naive loops, odd shapes and tails included.

use half::{bf16, f16};
use turbo_kernels::{
    Activation, After, Compute, Context, Float, GroupNorm, Isa, KeysValues, LowRank, Matrix,
    Panels, Planes, Source, Weights, Window, arch, reference,
};

struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 40) as f32 / (1 << 23) as f32) - 1.0
    }

    /// Numbers that bfloat16 and float16 both hold exactly, so that a product in either type is the exact one.
    fn exact(&mut self, n: usize) -> Vec<f32> {
        (0..n)
            .map(|_| (self.next() * 64.0).round() / 32.0)
            .collect()
    }

    fn any(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.next() * 2.0).collect()
    }
}

fn paths() -> Vec<(Context, Compute)> {
    let mut out = Vec::new();
    // Those that differ in int8 only have the floats of another.
    let int8 = [Isa::NeonDot, Isa::NeonI8mm, Isa::Avx2Vnni, Isa::Avx512Vnni];
    for isa in Isa::available().filter(|isa| !int8.contains(isa)) {
        out.push((Context::new(isa), Compute::F32));
        if isa.has_bf16() {
            out.push((Context::new(isa), Compute::Bf16));
        }
    }
    out
}

fn bytes(values: &[f32], float: Float) -> Vec<u8> {
    values
        .iter()
        .flat_map(|v| match float {
            Float::F32 => v.to_le_bytes().to_vec(),
            Float::F16 => f16::from_f32(*v).to_le_bytes().to_vec(),
            Float::Bf16 => bf16::from_f32(*v).to_le_bytes().to_vec(),
        })
        .collect()
}

#[track_caller]
fn close(ours: &[f32], expected: &[f64], limit: f64, what: &str) {
    close_beside(ours, expected, expected, limit, what);
}

/// As [`close`], with the error as a share of `whole`: where the expected values are small differences of large ones.
#[track_caller]
fn close_beside(ours: &[f32], expected: &[f64], whole: &[f64], limit: f64, what: &str) {
    assert_eq!(ours.len(), expected.len(), "{what}");
    let difference: f64 = ours
        .iter()
        .zip(expected)
        .map(|(a, b)| (f64::from(*a) - b).powi(2))
        .sum::<f64>()
        .sqrt();
    let norm: f64 = whole.iter().map(|b| b * b).sum::<f64>().sqrt();
    let e = difference / norm.max(1e-30);
    assert!(
        e <= limit,
        "{what}: relative error {e:.3e} over {limit:.1e}"
    );
}

/// A result that was rounded to the type of products on its way out.
fn rounded(compute: Compute) -> f64 {
    if compute == Compute::Bf16 { 4e-3 } else { 2e-6 }
}

fn unpack(ctx: &Context, x: &Panels) -> Vec<f32> {
    x.unpack(ctx).to_tokens()
}

#[test]
fn linear_layers() {
    let mut r = Random(1);
    for (ctx, compute) in paths() {
        for (tokens, inputs, outputs) in [
            (2, 3, 1),
            (5, 16, 7),
            (16, 64, 96),
            (77, 65, 50),
            (64, 130, 12),
            (200, 300, 130),
            (1030, 40, 200),
        ] {
            for float in [Float::F32, Float::F16, Float::Bf16] {
                let what = format!(
                    "{} {compute:?} {float:?} {tokens}x{inputs}x{outputs}",
                    ctx.isa.name()
                );
                let (x, w, b) = (
                    r.exact(tokens * inputs),
                    r.exact(outputs * inputs),
                    r.any(outputs),
                );
                let file = bytes(&w, float);
                let matrix = Matrix::new(&file, float, outputs, inputs);
                let packed = Panels::pack(
                    &ctx,
                    &Planes::from_tokens(&ctx, &x, tokens, inputs),
                    compute,
                );
                let plain = reference::linear(&x, &w, Some(&b), inputs);
                for act in [
                    Activation::Identity,
                    Activation::Silu,
                    Activation::Gelu,
                    Activation::QuickGelu,
                    Activation::Relu,
                ] {
                    let expected: Vec<f64> = plain
                        .iter()
                        .map(|v| reference::activation(*v, act))
                        .collect();
                    // GELU's tail is a small difference: half an ulp of erf is much of it.
                    let ours = turbo_kernels::linear(
                        &ctx,
                        &packed,
                        matrix,
                        After {
                            activation: act,
                            ..After::bias(Some(&b))
                        },
                    );
                    close_beside(
                        &ours.to_tokens(),
                        &expected,
                        &plain,
                        2e-6,
                        &format!("{what} {act:?}"),
                    );
                    let ours =
                        turbo_kernels::linear_panels(&ctx, &packed, matrix, Some(&b), act, compute);
                    close_beside(
                        &unpack(&ctx, &ours),
                        &expected,
                        &plain,
                        rounded(compute),
                        &format!("{what} {act:?} packed"),
                    );
                }
                if compute == Compute::F32 {
                    let planes = Planes::from_tokens(&ctx, &x, tokens, inputs);
                    let ours = turbo_kernels::linear(&ctx, &planes, matrix, After::bias(Some(&b)));
                    close(&ours.to_tokens(), &plain, 2e-6, &format!("{what} unpacked"));
                }
                let residual = r.any(tokens * outputs);
                let expected: Vec<f64> = plain
                    .iter()
                    .zip(&residual)
                    .map(|(a, b)| a + f64::from(*b))
                    .collect();
                let residual = Planes::from_tokens(&ctx, &residual, tokens, outputs);
                let ours = turbo_kernels::linear(
                    &ctx,
                    &packed,
                    matrix,
                    After {
                        residual: Some(residual),
                        ..After::bias(Some(&b))
                    },
                );
                close(
                    &ours.to_tokens(),
                    &expected,
                    2e-6,
                    &format!("{what} residual"),
                );
                if outputs % 2 == 0 {
                    let half = outputs / 2;
                    let expected: Vec<f64> = plain
                        .chunks_exact(outputs)
                        .flat_map(|t| {
                            (0..half).map(|i| {
                                t[i] * reference::activation(t[half + i], Activation::Gelu)
                            })
                        })
                        .collect();
                    let ours =
                        turbo_kernels::linear_geglu(&ctx, &packed, matrix, Some(&b), compute);
                    close(
                        &unpack(&ctx, &ours),
                        &expected,
                        rounded(compute).max(1e-5),
                        &format!("{what} geglu"),
                    );
                }
                let ours = turbo_kernels::linear_vector(
                    &ctx,
                    &x[..inputs],
                    matrix,
                    Some(&b),
                    Activation::Identity,
                );
                close(
                    &ours.to_tokens(),
                    &plain[..outputs],
                    2e-6,
                    &format!("{what} vector"),
                );
            }
        }
    }
}

#[test]
fn convolutions() {
    let mut r = Random(2);
    for (ctx, compute) in paths() {
        for (c, n, h, w) in [
            (1, 1, 1, 1),
            (4, 6, 8, 8),
            (3, 7, 5, 9),
            (8, 20, 16, 16),
            (7, 14, 5, 32),
            (32, 40, 7, 33),
            (40, 16, 64, 64),
            (5, 100, 13, 2),
            (32, 32, 64, 64),
            (64, 70, 30, 51),
            (33, 50, 27, 200),
        ] {
            let what = format!("{} {compute:?} {c}->{n} {h}x{w}", ctx.isa.name());
            let (x, weights, b) = (r.exact(c * h * w), r.exact(n * c * 9), r.any(n));
            let planes = Planes::from_channels(&ctx, &x, c, h * w);
            let source = Source::plain(&planes, [h, w]);
            let same = Window::same(3);
            for float in [Float::F32, Float::F16] {
                let file = bytes(&weights, float);
                let matrix = Matrix::new(&file, float, n, c * 9);
                let expected = reference::conv2d(&x, [c, h, w], &weights, Some(&b), same);
                let after = After::bias(Some(&b));
                let ours = turbo_kernels::conv2d(&ctx, &source, matrix, same, after, compute);
                close(&ours.to_channels(), &expected, 2e-6, &what);
                let residual = r.any(n * h * w);
                let expected: Vec<f64> = expected
                    .iter()
                    .zip(&residual)
                    .map(|(a, b)| (a + f64::from(*b)).max(0.0))
                    .collect();
                let after = After {
                    bias: Some(&b),
                    residual: Some(Planes::from_channels(&ctx, &residual, n, h * w)),
                    activation: Activation::Relu,
                };
                let ours = turbo_kernels::conv2d(&ctx, &source, matrix, same, after, compute);
                let what = format!("{what} residual, relu");
                close(&ours.to_channels(), &expected, 2e-6, &what);
                for window in [
                    Window {
                        kernel: 3,
                        stride: 2,
                        padding: [1; 4],
                    },
                    Window {
                        kernel: 3,
                        stride: 2,
                        padding: [0, 1, 0, 1],
                    },
                ] {
                    if h < 3 || w < 3 {
                        continue;
                    }
                    let expected = reference::conv2d(&x, [c, h, w], &weights, Some(&b), window);
                    let after = After::bias(Some(&b));
                    let ours = turbo_kernels::conv2d(&ctx, &source, matrix, window, after, compute);
                    close(
                        &ours.to_channels(),
                        &expected,
                        2e-6,
                        &format!("{what} {window:?}"),
                    );
                }
            }
        }
    }
}

#[test]
fn upsampling_packs_the_nearest_pixel() {
    let mut r = Random(3);
    for (ctx, compute) in paths() {
        for (from, to) in [([4, 6], [8, 12]), ([5, 7], [9, 13]), ([3, 3], [5, 6])] {
            let (c, n) = (6, 4);
            let (x, weights) = (r.exact(c * from[0] * from[1]), r.exact(n * c * 9));
            let large: Vec<f32> = (0..c * to[0] * to[1])
                .map(|i| {
                    let (k, y, x_) = (i / (to[0] * to[1]), i / to[1] % to[0], i % to[1]);
                    x[(k * from[0] + y * from[0] / to[0]) * from[1] + x_ * from[1] / to[1]]
                })
                .collect();
            let planes = Planes::from_channels(&ctx, &x, c, from[0] * from[1]);
            assert_eq!(
                Source::upsampled(&planes, from, to)
                    .planes(&ctx)
                    .to_channels(),
                large
            );
            let file = bytes(&weights, Float::F16);
            let matrix = Matrix::new(&file, Float::F16, n, c * 9);
            let (source, same) = (Source::upsampled(&planes, from, to), Window::same(3));
            let ours =
                turbo_kernels::conv2d(&ctx, &source, matrix, same, After::default(), compute);
            let expected = reference::conv2d(&large, [c, to[0], to[1]], &weights, None, same);
            close(
                &ours.to_channels(),
                &expected,
                2e-6,
                "upsampled convolution",
            );
        }
    }
}

/// Norm, activation and upsampling on the way into a convolution, by Winograd's way and by plain products.
#[test]
fn convolutions_of_what_is_still_to_be_done() {
    let mut r = Random(7);
    for (ctx, compute) in paths() {
        for (c, n, from, to) in [
            (4, 3, [9, 7], [9, 7]),
            (32, 3, [40, 33], [40, 33]),
            (64, 30, [30, 131], [30, 131]),
            (150, 20, [29, 31], [29, 31]),
            (32, 7, [15, 21], [30, 42]),
            (40, 8, [17, 19], [33, 50]),
            (32, 5, [64, 64], [128, 128]),
        ] {
            for act in [Activation::Identity, Activation::Silu, Activation::Relu] {
                let what = format!(
                    "{} {compute:?} {c}->{n} {from:?} as {to:?} {act:?}",
                    ctx.isa.name()
                );
                let x = r.any(c * from[0] * from[1]);
                let (weight, shift) = (r.any(c), r.any(c));
                let (w, b) = (r.exact(n * c * 9), r.any(n));
                let planes = Planes::from_channels(&ctx, &x, c, from[0] * from[1]);
                let norm = GroupNorm::measure(&ctx, &planes, &weight, &shift, c / 2, 1e-6);
                let normed =
                    reference::group_norm(&x, from[0] * from[1], &weight, &shift, c / 2, 1e-6);
                let large: Vec<f32> = (0..c * to[0] * to[1])
                    .map(|i| {
                        let (k, y, x) = (i / (to[0] * to[1]), i / to[1] % to[0], i % to[1]);
                        let y = y * from[0] / to[0];
                        let at = (k * from[0] + y) * from[1] + x * from[1] / to[1];
                        reference::activation(normed[at], act) as f32
                    })
                    .collect();
                let source = Source {
                    planes: &planes,
                    from,
                    size: to,
                    norm: Some(&norm),
                    activation: act,
                };
                let expected: Vec<f64> = large.iter().map(|v| f64::from(*v)).collect();
                close(&source.planes(&ctx).to_channels(), &expected, 2e-6, &what);
                let same = Window::same(3);
                let expected = reference::conv2d(&large, [c, to[0], to[1]], &w, Some(&b), same);
                let file = bytes(&w, Float::F16);
                let matrix = Matrix::new(&file, Float::F16, n, c * 9);
                let after = After::bias(Some(&b));
                let ours = turbo_kernels::conv2d(&ctx, &source, matrix, same, after, compute);
                close(
                    &ours.to_channels(),
                    &expected,
                    rounded(compute).max(4e-6),
                    &what,
                );
            }
        }
    }
}

#[test]
fn norms() {
    let mut r = Random(4);
    for (ctx, compute) in paths() {
        for (channels, height, width, groups) in [
            (4, 3, 5, 2),
            (32, 8, 8, 8),
            (96, 7, 11, 32),
            (64, 40, 40, 32),
        ] {
            let what = format!("{} {compute:?} {channels}x{height}x{width}", ctx.isa.name());
            let positions = height * width;
            // A mean far from zero, which careless formulas do not survive.
            let x: Vec<f32> = r
                .any(channels * positions)
                .iter()
                .map(|v| v + 300.0)
                .collect();
            let (weight, bias) = (r.any(channels), r.any(channels));
            let planes = Planes::from_channels(&ctx, &x, channels, positions);
            let group = GroupNorm::measure(&ctx, &planes, &weight, &bias, groups, 1e-5);
            let plain = reference::group_norm(&x, positions, &weight, &bias, groups, 1e-5);
            for act in [Activation::Identity, Activation::Silu] {
                let expected: Vec<f64> = plain
                    .iter()
                    .map(|v| reference::activation(*v, act))
                    .collect();
                let source = Source {
                    norm: Some(&group),
                    activation: act,
                    ..Source::plain(&planes, [height, width])
                };
                let ours = source.planes(&ctx);
                close(&ours.to_channels(), &expected, 1e-4, &what);
            }
            let tokens = |v: &[f64]| -> Vec<f64> {
                (0..positions)
                    .flat_map(|p| (0..channels).map(move |c| v[c * positions + p]))
                    .collect()
            };
            let ours = unpack(&ctx, &group.panels(&ctx, &planes, compute));
            close(
                &ours,
                &tokens(&plain),
                rounded(compute).max(1e-4),
                &format!("{what} panels"),
            );
            let expected: Vec<f64> = planes
                .to_tokens()
                .chunks_exact(channels)
                .flat_map(|t| reference::group_norm(t, 1, &weight, &bias, 1, 1e-5))
                .collect();
            let ours = unpack(
                &ctx,
                &turbo_kernels::layer_norm(&ctx, &planes, &weight, &bias, 1e-5, compute),
            );
            close(
                &ours,
                &expected,
                rounded(compute).max(1e-4),
                &format!("{what} layer norm"),
            );
        }
    }
}

/// A layer whose weights have low-rank matrices added gives what one with the summed weights gives.
#[test]
fn low_rank_matrices_are_added() {
    let mut r = Random(8);
    for (ctx, compute) in paths() {
        for (tokens, inputs, outputs, ranks) in [
            (1, 40, 24, vec![4]),
            (5, 33, 70, vec![1, 7]),
            (200, 96, 128, vec![64]),
            (77, 1300, 34, vec![16, 3]),
        ] {
            let what = format!(
                "{} {compute:?} {tokens} tokens {inputs}->{outputs}, ranks {ranks:?}",
                ctx.isa.name()
            );
            let (x, w, b) = (
                r.exact(tokens * inputs),
                r.exact(outputs * inputs),
                r.any(outputs),
            );
            let parts: Vec<_> = ranks
                .iter()
                .map(|&n| {
                    let (down, up) = (r.exact(n * inputs), r.exact(outputs * n));
                    (
                        n,
                        bytes(&down, Float::F16),
                        bytes(&up, Float::F32),
                        down,
                        up,
                    )
                })
                .collect();
            let mut sum = w.clone();
            for (n, _, _, down, up) in &parts {
                for (i, w) in sum.iter_mut().enumerate() {
                    let (o, c) = (i / inputs, i % inputs);
                    let added: f32 = (0..*n).map(|k| up[o * n + k] * down[k * inputs + c]).sum();
                    *w -= 0.5 * added;
                }
            }
            let low_rank: Vec<_> = parts
                .iter()
                .map(|(n, down, up, ..)| LowRank {
                    down: Matrix::new(down, Float::F16, *n, inputs),
                    up: Matrix::new(up, Float::F32, outputs, *n),
                    scale: -0.5,
                })
                .collect();
            let file = bytes(&w, Float::F16);
            let weights = Weights {
                matrix: Matrix::new(&file, Float::F16, outputs, inputs),
                low_rank: &low_rank,
            };
            // What lies between the two matrices is rounded to the type of products.
            let limit = rounded(compute).max(4e-6);
            let plain = reference::linear(&x, &sum, Some(&b), inputs);
            let planes = Planes::from_tokens(&ctx, &x, tokens, inputs);
            let panels = Panels::pack(&ctx, &planes, compute);
            let ours = turbo_kernels::linear(&ctx, &panels, weights, After::bias(Some(&b)));
            close(&ours.to_tokens(), &plain, limit, &what);
            let ours = turbo_kernels::linear_panels(
                &ctx,
                &panels,
                weights,
                Some(&b),
                Activation::Identity,
                compute,
            );
            close(
                &unpack(&ctx, &ours),
                &plain,
                2.0 * limit,
                &format!("{what}, panels"),
            );
            let gated: Vec<f64> = plain
                .chunks_exact(outputs)
                .flat_map(|row| {
                    let (value, gate) = row.split_at(outputs / 2);
                    let gate = gate
                        .iter()
                        .map(|g| reference::activation(*g, Activation::Gelu));
                    value
                        .iter()
                        .zip(gate)
                        .map(|(v, g)| v * g)
                        .collect::<Vec<_>>()
                })
                .collect();
            let ours = turbo_kernels::linear_geglu(&ctx, &panels, weights, Some(&b), compute);
            close(
                &unpack(&ctx, &ours),
                &gated,
                4.0 * limit,
                &format!("{what}, geglu"),
            );
            let ours = turbo_kernels::linear_vector(
                &ctx,
                &x[..inputs],
                weights,
                Some(&b),
                Activation::Identity,
            );
            close(
                &ours.to_tokens(),
                &plain[..outputs],
                4e-6,
                &format!("{what}, vector"),
            );
        }
        for (window, rank) in [(Window::same(3), 4), (Window::same(1), 6), (HALF, 5)] {
            let what = format!("{} {compute:?} {window:?}", ctx.isa.name());
            let (c, n, [h, w]) = (40, 36, [9, 14]);
            let inputs = c * window.kernel * window.kernel;
            let (x, matrix) = (r.exact(c * h * w), r.exact(n * inputs));
            let (down, up) = (r.exact(rank * inputs), r.exact(n * rank));
            let mut sum = matrix.clone();
            for (i, w) in sum.iter_mut().enumerate() {
                let (o, c) = (i / inputs, i % inputs);
                let added: f32 = (0..rank)
                    .map(|k| up[o * rank + k] * down[k * inputs + c])
                    .sum();
                *w += 0.25 * added;
            }
            let [matrix, down, up] = [matrix, down, up].map(|m| bytes(&m, Float::F32));
            let low_rank = [LowRank {
                down: Matrix::new(&down, Float::F32, rank, inputs),
                up: Matrix::new(&up, Float::F32, n, rank),
                scale: 0.25,
            }];
            let weights = Weights {
                matrix: Matrix::new(&matrix, Float::F32, n, inputs),
                low_rank: &low_rank,
            };
            let planes = Planes::from_channels(&ctx, &x, c, h * w);
            let (source, after) = (Source::plain(&planes, [h, w]), After::default());
            let ours = turbo_kernels::conv2d(&ctx, &source, weights, window, after, compute);
            let expected = reference::conv2d(&x, [c, h, w], &sum, None, window);
            close(
                &ours.to_channels(),
                &expected,
                rounded(compute).max(4e-6),
                &what,
            );
        }
    }
}

/// Stride 2, with zeros on all sides.
const HALF: Window = Window {
    kernel: 3,
    stride: 2,
    padding: [1; 4],
};

#[test]
fn attention() {
    let mut r = Random(5);
    for (ctx, compute) in paths() {
        for (tq, tk, heads, d) in [
            (1, 1, 1, 2),
            (77, 77, 2, 64),
            (100, 77, 3, 40),
            (64, 193, 1, 512),
            (300, 300, 2, 8),
        ] {
            for causal in [false, true] {
                if causal && tq != tk {
                    continue;
                }
                let what = format!(
                    "{} {compute:?} {tq} on {tk}, {heads}x{d}, causal {causal}",
                    ctx.isa.name()
                );
                let n = heads * d;
                let (q, k, v) = (r.exact(tq * n), r.exact(tk * n), r.exact(tk * n));
                let planes = |x: &[f32], t| Planes::from_tokens(&ctx, x, t, n);
                let kv = KeysValues::pack(&ctx, &planes(&k, tk), &planes(&v, tk), heads, compute);
                let ours = turbo_kernels::attention(&ctx, &planes(&q, tq), &kv, causal);
                let expected = reference::attention(&q, &k, &v, heads, d, causal);
                // Probabilities are rounded to the type of products.
                close(
                    &unpack(&ctx, &ours),
                    &expected,
                    rounded(compute) * 1.5,
                    &what,
                );
            }
        }
    }
}

#[test]
fn activations_follow_their_functions_everywhere() {
    let xs: Vec<f32> = (-4000..=4000)
        .map(|i| i as f32 / 100.0)
        .chain([-1e4, 1e4, -1e-20, 0.0])
        .collect();
    for isa in Isa::available() {
        for act in [
            Activation::Silu,
            Activation::Gelu,
            Activation::QuickGelu,
            Activation::Relu,
        ] {
            let mut ours = xs.clone();
            turbo_kernels::activate(isa, &mut ours, act);
            for (x, y) in xs.iter().zip(&ours) {
                let expected = reference::activation(f64::from(*x), act);
                let limit = 1e-6 * expected.abs().max(1.0) + 1e-7 * f64::from(x.abs().min(100.0));
                assert!(
                    (f64::from(*y) - expected).abs() <= limit,
                    "{} {act:?}({x}) = {y}, not {expected}",
                    isa.name()
                );
            }
        }
        let mut ours = xs.clone();
        turbo_kernels::soft_clamp(isa, &mut ours, 3.0);
        for (x, y) in xs.iter().zip(&ours) {
            let expected = 3.0 * (f64::from(*x) / 3.0).tanh();
            assert!(
                (f64::from(*y) - expected).abs() < 2e-6,
                "{} 3 tanh({x} / 3) = {y}, not {expected}",
                isa.name()
            );
        }
        let mut nan = [f32::NAN; 20];
        for act in [
            Activation::Silu,
            Activation::Gelu,
            Activation::QuickGelu,
            Activation::Relu,
        ] {
            turbo_kernels::activate(isa, &mut nan, act);
            assert!(
                nan.iter().all(|v| v.is_nan()),
                "{} {act:?} hides NaN",
                isa.name()
            );
        }
    }
}

#[test]
fn float16_widens_exactly() {
    let all: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    for isa in Isa::available() {
        for length in [0, 1, 7, 31, 33, 65536] {
            let mut ours = vec![0f32; length];
            let row = Matrix::new(&all[..2 * length], Float::F16, 1, length);
            row.widen(isa, 0, 0..length, &mut ours);
            for (i, v) in ours.iter().enumerate() {
                let expected = f16::from_bits(i as u16).to_f32();
                assert!(
                    v.to_bits() == expected.to_bits() || (v.is_nan() && expected.is_nan()),
                    "{} {i:#06x}",
                    isa.name()
                );
            }
        }
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let mut r = Random(6);
    let ctx = Context::new(Isa::detect().unwrap());
    let (x, w) = (r.any(300 * 200), r.any(400 * 200));
    let file = bytes(&w, Float::F16);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let packed = Panels::pack(&ctx, &Planes::from_tokens(&ctx, &x, 300, 200), Compute::F32);
            turbo_kernels::linear(
                &ctx,
                &packed,
                Matrix::new(&file, Float::F16, 400, 200),
                After {
                    activation: Activation::Gelu,
                    ..After::default()
                },
            )
            .to_tokens()
        })
    };
    let one = run(1);
    for threads in [2, 3, 7] {
        assert_eq!(run(threads), one, "{threads} threads");
    }
}

#[test]
#[should_panic(expected = "no bfloat16 products")]
fn bfloat16_is_refused_where_it_is_missing() {
    arch::kernels(Isa::Portable, Compute::Bf16);
}
