//! Products of int8 on every instruction set of this CPU: bit for bit what naive loops over whole numbers give.

use turbo_kernels::{
    Activation, After, Compute, Context, Float, Isa, KeysValues, Matrix, Panels, Planes, reference,
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

    fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.next() * 2.0).collect()
    }

    fn bytes(&mut self, n: usize) -> Vec<i8> {
        (0..n).map(|_| (self.next() * 128.0) as i8).collect()
    }
}

/// Activations as networks have them: one position far above the others, one that is zero.
fn uneven(r: &mut Random, tokens: usize, inputs: usize) -> Vec<f32> {
    let mut x = r.floats(tokens * inputs);
    for v in &mut x[..inputs] {
        *v *= 60.0;
    }
    if tokens > 2 {
        x[inputs..2 * inputs].fill(0.0);
    }
    x[0] = 823.5;
    x
}

fn unsigned(bytes: &[i8]) -> Vec<u8> {
    bytes.iter().map(|b| b.cast_unsigned()).collect()
}

#[track_caller]
fn equal(ours: &[f32], expected: &[f32], what: &str) {
    assert_eq!(ours.len(), expected.len(), "{what}");
    for (i, (a, b)) in ours.iter().zip(expected).enumerate() {
        assert_eq!(a.to_bits(), b.to_bits(), "{what}: number {i}: {a}, not {b}");
    }
}

#[track_caller]
fn close(ours: &[f32], expected: &[f32], limit: f64, what: &str) {
    assert_eq!(ours.len(), expected.len(), "{what}");
    let square = |v: f64| v * v;
    let difference: f64 = ours
        .iter()
        .zip(expected)
        .map(|(a, b)| square(f64::from(*a) - f64::from(*b)))
        .sum();
    let whole: f64 = expected.iter().map(|b| square(f64::from(*b))).sum();
    let e = (difference / whole.max(1e-30)).sqrt();
    assert!(
        e <= limit,
        "{what}: relative error {e:.3e} over {limit:.1e}"
    );
}

const SHAPES: [(usize, usize, usize); 8] = [
    (2, 3, 1),
    (5, 16, 7),
    (16, 64, 96),
    (77, 65, 50),
    (64, 131, 12),
    (200, 300, 130),
    (130, 2700, 34),
    (1030, 40, 200),
];

#[test]
fn linear_layers() {
    let mut r = Random(1);
    for isa in Isa::available() {
        let ctx = Context::new(isa);
        for (tokens, inputs, outputs) in SHAPES {
            let what = format!("{} {tokens}x{inputs}x{outputs}", isa.name());
            let x = uneven(&mut r, tokens, inputs);
            let (w, b) = (r.bytes(outputs * inputs), r.floats(outputs));
            let scales: Vec<f32> = r.floats(outputs).iter().map(|s| s.abs() / 100.0).collect();
            let file = unsigned(&w);
            let matrix = Matrix::int8(&file, &scales, outputs, inputs);
            let planes = Planes::from_tokens(&ctx, &x, tokens, inputs);
            let packed = Panels::pack(&ctx, &planes, Compute::Int8);
            let expected = reference::linear_int8(&x, &w, &scales, Some(&b), inputs);
            let ours = turbo_kernels::linear(&ctx, &packed, matrix, After::bias(Some(&b)));
            equal(&ours.to_tokens(), &expected, &what);

            let residual = r.floats(tokens * outputs);
            let sums = reference::linear_int8(&x, &w, &scales, None, inputs);
            let added: Vec<f32> = sums.iter().zip(&residual).map(|(a, b)| b + a).collect();
            let residual = Planes::from_tokens(&ctx, &residual, tokens, outputs);
            let ours = turbo_kernels::linear(
                &ctx,
                &packed,
                matrix,
                After {
                    residual: Some(residual),
                    ..After::default()
                },
            );
            equal(&ours.to_tokens(), &added, &format!("{what} residual"));

            for compute in computes(isa) {
                let ours = turbo_kernels::linear_panels(
                    &ctx,
                    &packed,
                    matrix,
                    Some(&b),
                    Activation::Identity,
                    compute,
                );
                let limit = match compute {
                    Compute::F32 => 0.0,
                    Compute::Bf16 => 4e-3,
                    Compute::Int8 => 1.5e-2,
                };
                let ours = ours.unpack(&ctx).to_tokens();
                close(&ours, &expected, limit, &format!("{what} as {compute:?}"));
            }

            if outputs % 2 == 0 {
                let gated =
                    turbo_kernels::linear_geglu(&ctx, &packed, matrix, Some(&b), Compute::F32);
                let half = outputs / 2;
                let expected: Vec<f32> = expected
                    .chunks_exact(outputs)
                    .flat_map(|t| {
                        (0..half).map(|i| {
                            let gate = f64::from(t[half + i]);
                            (f64::from(t[i]) * reference::activation(gate, Activation::Gelu)) as f32
                        })
                    })
                    .collect();
                let ours = gated.unpack(&ctx).to_tokens();
                close(&ours, &expected, 1e-5, &format!("{what} geglu"));
            }
        }
    }
}

/// Sums as large as there are, of either sign: 16 bits do not hold all products, or sums of two.
#[test]
fn the_largest_numbers() {
    for isa in Isa::available() {
        let ctx = Context::new(isa);
        let (tokens, inputs) = (18, 37);
        let signs = |bits: usize, i: usize| if bits >> (i % 4) & 1 == 0 { 1.0 } else { -1.0 };
        let x: Vec<f32> = (0..tokens * inputs)
            .map(|i| signs(i / inputs, i % inputs))
            .collect();
        let w: Vec<i8> = (0..32 * inputs)
            .map(|i| {
                let (o, i) = (i / inputs, i % inputs);
                let least = if o < 16 { -128 } else { -127 };
                if signs(o, i) < 0.0 { least } else { 127 }
            })
            .collect();
        let scales = [0.5; 32];
        let file = unsigned(&w);
        let matrix = Matrix::int8(&file, &scales, 32, inputs);
        let planes = Planes::from_tokens(&ctx, &x, tokens, inputs);
        let packed = Panels::pack(&ctx, &planes, Compute::Int8);
        let ours = turbo_kernels::linear(&ctx, &packed, matrix, After::default());
        let expected = reference::linear_int8(&x, &w, &scales, None, inputs);
        equal(&ours.to_tokens(), &expected, isa.name());
    }
}

fn computes(isa: Isa) -> Vec<Compute> {
    let mut out = vec![Compute::F32, Compute::Int8];
    if isa.has_bf16() {
        out.push(Compute::Bf16);
    }
    out
}

/// What writes an operand of int8 writes what packing its floats would.
#[test]
fn operands() {
    let mut r = Random(2);
    for isa in Isa::available() {
        let ctx = Context::new(isa);
        for (tokens, inputs, _) in SHAPES {
            let what = format!("{} {tokens}x{inputs}", isa.name());
            let x = uneven(&mut r, tokens, inputs);
            let planes = Planes::from_tokens(&ctx, &x, tokens, inputs);
            let packed = |planes: &Planes| {
                let panels = Panels::pack(&ctx, planes, Compute::Int8);
                panels.unpack(&ctx).to_tokens()
            };
            let expected: Vec<f32> = x
                .chunks_exact(inputs)
                .flat_map(|x| {
                    let (numbers, scale) = reference::quantize(x);
                    numbers.into_iter().map(move |n| f32::from(n) * scale)
                })
                .collect();
            equal(&packed(&planes), &expected, &what);
            let floats = Panels::pack(&ctx, &planes, Compute::F32);
            let converted = floats.convert(&ctx, Compute::Int8).unpack(&ctx);
            equal(
                &converted.to_tokens(),
                &expected,
                &format!("{what} converted"),
            );

            let (weight, bias) = (r.floats(inputs), r.floats(inputs));
            let norm = |compute| {
                turbo_kernels::layer_norm(&ctx, &planes, &weight, &bias, 1e-5, compute).unpack(&ctx)
            };
            equal(
                &norm(Compute::Int8).to_tokens(),
                &packed(&norm(Compute::F32)),
                &format!("{what} layer norm"),
            );
            let norm = turbo_kernels::GroupNorm::measure(&ctx, &planes, &weight, &bias, 1, 1e-5);
            equal(
                &norm
                    .panels(&ctx, &planes, Compute::Int8)
                    .unpack(&ctx)
                    .to_tokens(),
                &packed(&norm.panels(&ctx, &planes, Compute::F32).unpack(&ctx)),
                &format!("{what} group norm"),
            );
        }
    }
}

/// Weights of int8 before float activations: what their floats would give.
#[test]
fn weights_beside_floats() {
    let mut r = Random(3);
    for isa in Isa::available() {
        let ctx = Context::new(isa);
        for (tokens, inputs, outputs) in SHAPES {
            let x = r.floats(tokens * inputs);
            let w = r.bytes(outputs * inputs);
            // Powers of two, so that bfloat16 has every weight exactly.
            let scales: Vec<f32> = (0..outputs).map(|o| 2f32.powi(-(o as i32 % 9))).collect();
            let floats: Vec<u8> = w
                .iter()
                .enumerate()
                .flat_map(|(i, w)| (f32::from(*w) * scales[i / inputs]).to_le_bytes())
                .collect();
            let file = unsigned(&w);
            let int8 = Matrix::int8(&file, &scales, outputs, inputs);
            let floats = Matrix::new(&floats, Float::F32, outputs, inputs);
            let planes = Planes::from_tokens(&ctx, &x, tokens, inputs);
            for compute in computes(isa) {
                if compute == Compute::Int8 {
                    continue;
                }
                let what = format!("{} {compute:?} {tokens}x{inputs}x{outputs}", isa.name());
                let packed = Panels::pack(&ctx, &planes, compute);
                let layer =
                    |w| turbo_kernels::linear(&ctx, &packed, w, After::default()).to_tokens();
                equal(&layer(int8), &layer(floats), &what);
            }
            let vector = |w| {
                let x = &x[..inputs];
                turbo_kernels::linear_vector(&ctx, x, w, None, Activation::Identity).to_tokens()
            };
            equal(&vector(int8), &vector(floats), "vector");
        }
    }
}

#[test]
fn a_number_that_is_none_is_not_hidden() {
    for isa in Isa::available() {
        let ctx = Context::new(isa);
        for bad in [f32::NAN, f32::INFINITY] {
            let mut x = vec![1.0; 4 * 20];
            x[2 * 20 + 3] = bad;
            let file = vec![1u8; 20];
            let planes = Planes::from_tokens(&ctx, &x, 4, 20);
            let packed = Panels::pack(&ctx, &planes, Compute::Int8);
            let w = Matrix::int8(&file, &[1.0], 1, 20);
            let ours = turbo_kernels::linear(&ctx, &packed, w, After::default());
            let finite: Vec<bool> = ours.to_tokens().iter().map(|v| v.is_finite()).collect();
            assert_eq!(finite, [true, true, false, true], "{} {bad}", isa.name());
        }
    }
}

#[test]
#[should_panic(expected = "products of int8 need weights of int8")]
fn float_weights_are_refused() {
    let ctx = Context::new(Isa::Portable);
    let planes = Planes::from_tokens(&ctx, &[1.0; 8], 2, 4);
    let packed = Panels::pack(&ctx, &planes, Compute::Int8);
    let w = Matrix::new(&[0; 16], Float::F32, 1, 4);
    turbo_kernels::linear(&ctx, &packed, w, After::default());
}

#[test]
#[should_panic(expected = "attention has no products of int8")]
fn attention_is_refused() {
    let ctx = Context::new(Isa::Portable);
    let planes = Planes::from_tokens(&ctx, &[1.0; 8], 2, 4);
    KeysValues::pack(&ctx, &planes, &planes, 1, Compute::Int8);
}
