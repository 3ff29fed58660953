//! Rates of the kernels at the shapes of SDXL, as shares of what the multiply units can do.
//!
//!     cargo bench -p turbo-kernels [-- NAME]
//!
//! First comes what nothing can be faster than: the rate at which all threads together read memory, and for each type
//! of products the peak, tile kernels that find everything in the first-level cache, on every thread at once. Each line
//! is the best of several runs; `share` is its rate over that peak.

use half::f16;
use rayon::prelude::*;
use std::time::Instant;
use turbo_kernels::arch::{LANES, PANEL, Positions, Tile, kernels};
use turbo_kernels::{
    Activation, After, Compute, Context, Float, GroupNorm, Isa, KeysValues, Matrix, Panels, Planes,
    Source, Window,
};

/// Of a kernel: half a second is enough.
fn seconds(f: impl FnMut()) -> f64 {
    best(0.5, 50, f)
}

/// Of what all others are held to: longer, so that a run falls into a quiet moment of a busy machine.
fn least_seconds(f: impl FnMut()) -> f64 {
    best(3.0, usize::MAX, f)
}

/// The best time of several runs, after one that warms up: at least three, and no more than that many, or those that begin
/// within that many seconds.
fn best(span: f64, most: usize, mut f: impl FnMut()) -> f64 {
    f();
    let begin = Instant::now();
    let mut best = f64::INFINITY;
    let mut runs = 0;
    while runs < 3 || (begin.elapsed().as_secs_f64() < span && runs < most) {
        let start = Instant::now();
        f();
        best = best.min(start.elapsed().as_secs_f64());
        runs += 1;
    }
    best
}

/// GFLOP/s of a tile kernel on every thread, over the same few positions and weights again and again, with its sums in
/// registers all the while. Each thread's best millisecond counts: on a busy machine all of them seldom have one at once.
fn peak(isa: Isa, compute: Compute) -> f64 {
    const STEPS: usize = 2048;
    let kernels = kernels(isa, compute);
    let (kernel, rows) = (kernels.tiles[3], kernels.rows);
    let threads = rayon::current_num_threads();
    // About a millisecond.
    let repeats = 40;
    let operations = (repeats * STEPS * compute.per_step() * rows * PANEL * 2) as f64;
    let rate = |_| {
        kernels.prepare_thread();
        let a = vec![0u32; kernels.steps * PANEL];
        let offsets = vec![0; STEPS / kernels.steps + 1];
        // Rows that overlap, all but a vector.
        let w = vec![0u32; STEPS + rows * LANES];
        let mut c = vec![0f32; rows * PANEL];
        let time = least_seconds(|| {
            for _ in 0..repeats {
                let positions = Positions::rows(&a, &offsets);
                let tile = Tile::new(STEPS, positions, &w, LANES, &mut c, true);
                // SAFETY: the vectors above have the sizes that the tile names.
                unsafe { kernel(&tile) };
            }
        });
        operations / time / 1e9
    };
    (0..threads).into_par_iter().with_max_len(1).map(rate).sum()
}

/// GB/s at which all threads together read memory that is in no cache; as of [`peak`], each thread's best milliseconds count.
fn read_rate() -> f64 {
    // Beyond the last-level caches of all CPUs but a few servers', whose threads here are few of many.
    const LEAST: usize = 1 << 30;
    const PIECE: usize = 8 << 20;
    let threads = rayon::current_num_threads();
    let bytes = LEAST.max(4 * PIECE * threads);
    // Written, since pages that nobody wrote to are all the same page of zeros.
    let memory = vec![1u64; bytes / size_of::<u64>()];
    let share = memory.len().div_ceil(threads);
    let rate = |part: &[u64]| {
        let mut pieces = part.chunks_exact(PIECE / size_of::<u64>()).cycle();
        let time = least_seconds(|| {
            let piece = pieces.next().into_iter().flatten();
            std::hint::black_box(piece.sum::<u64>());
        });
        PIECE as f64 / time / 1e9
    };
    memory.par_chunks(share).with_max_len(1).map(rate).sum()
}

fn weights(n: usize) -> Vec<u8> {
    (0..n)
        .flat_map(|i| f16::from_f32(((i * 7919) % 1000) as f32 / 1e4 - 0.05).to_le_bytes())
        .collect()
}

/// From -127 to 127.
fn int8_weights(n: usize) -> Vec<u8> {
    (0..n)
        .map(|i| (((i * 7919) % 255) as u8).wrapping_sub(127))
        .collect()
}

fn values(n: usize) -> Vec<f32> {
    (0..n)
        .map(|i| ((i * 104_729) % 2000) as f32 / 1e3 - 1.0)
        .collect()
}

/// What is measured with products of one type, and told as shares of their peak.
struct Rates {
    ctx: Context,
    compute: Compute,
    peak: f64,
    /// Part of the names of what is to be measured.
    filter: Option<String>,
}

impl Rates {
    /// Measures `f`, which takes that many operations; none, where there is no peak that it could be held to.
    fn report(&self, name: &str, operations: f64, f: &mut dyn FnMut()) {
        if self
            .filter
            .as_ref()
            .is_some_and(|x| !name.contains(x.as_str()))
        {
            return;
        }
        let time = seconds(f);
        let rate = operations / time / 1e9;
        println!(
            "{name:<44} {:>9.3} {rate:>9.0} {:>5.0}%",
            time * 1e3,
            100.0 * rate / self.peak
        );
    }
}

fn main() {
    let filter = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    let isa = Isa::detect().expect("TURBO_ISA");
    println!(
        "instruction set {}, {} threads",
        isa.name(),
        rayon::current_num_threads()
    );
    let faster = |bf16| if bf16 { Compute::Bf16 } else { Compute::F32 };
    println!(
        "faster floats: {:?}, in convolutions of large maps {:?}",
        faster(isa.prefers_bf16()),
        faster(isa.prefers_bf16_convolutions())
    );
    println!("read: {:.1} GB/s", read_rate());
    let has = [
        (Compute::F32, true),
        (Compute::Bf16, isa.has_bf16()),
        (Compute::Int8, isa.has_int8()),
    ];
    for (compute, _) in has.into_iter().filter(|(_, has)| *has) {
        let rates = Rates {
            ctx: Context::new(isa),
            compute,
            peak: peak(isa, compute),
            filter: filter.clone(),
        };
        let unit = if compute == Compute::Int8 {
            "GOP/s"
        } else {
            "GFLOP/s"
        };
        println!(
            "\n{compute:?}: peak {:.0} {unit}\n{:<44} {:>9} {unit:>9} {:>6}",
            rates.peak, "", "ms", "share"
        );
        linear_layers(&rates);
        if compute == Compute::Int8 {
            convolutions_as_products(&rates);
        } else {
            convolutions(&rates);
            attentions(&rates);
            norms(&rates);
        }
    }
}

fn linear_layers(rates: &Rates) {
    for (m, k, n) in [
        (1024, 640, 640),
        (1024, 640, 5120),
        (1024, 2560, 640),
        (256, 1280, 1280),
        (256, 1280, 10240),
        (256, 5120, 1280),
        (77, 2048, 1280),
        (77, 1280, 5120),
        (4096, 960, 320),
    ] {
        linear_layer(rates, &format!("linear {m} tokens {k} -> {n}"), [m, k, n]);
    }
}

/// A layer of `n` rows of `k` weights for `m` positions; with GEGLU too, where it is shaped like one.
fn linear_layer(rates: &Rates, name: &str, [m, k, n]: [usize; 3]) {
    let (ctx, compute) = (&rates.ctx, rates.compute);
    let (file, scales);
    let w = if compute == Compute::Int8 {
        (file, scales) = (int8_weights(n * k), vec![1e-3; n]);
        Matrix::int8(&file, &scales, n, k)
    } else {
        file = weights(n * k);
        Matrix::new(&file, Float::F16, n, k)
    };
    let x = Planes::from_tokens(ctx, &values(m * k), m, k);
    let panels = Panels::pack(ctx, &x, compute);
    let operations = 2.0 * (m * k * n) as f64;
    rates.report(name, operations, &mut || {
        turbo_kernels::linear(ctx, &panels, w, After::default());
    });
    if n == 8 * k {
        let name = format!("geglu {m} tokens {k} -> {n}");
        rates.report(&name, operations, &mut || {
            turbo_kernels::linear_geglu(ctx, &panels, w, None, compute);
        });
    }
}

/// 3x3 convolutions: channels in and out, and the side of the map. Those of the UNet come first.
const CONVOLUTIONS: [(usize, usize, usize); 9] = [
    (320, 320, 64),
    (960, 640, 32),
    (640, 640, 32),
    (2560, 1280, 16),
    (1280, 1280, 16),
    (512, 512, 64),
    (512, 512, 128),
    (256, 256, 256),
    (128, 128, 512),
];
const OF_THE_UNET: usize = 5;

/// What direct convolutions of int8 would take at least, which are not there: their products as those of a linear layer,
/// with nothing for gathering neighbours or for finding a scale.
fn convolutions_as_products(rates: &Rates) {
    for (c, n, side) in &CONVOLUTIONS[..OF_THE_UNET] {
        let name = format!("products of a conv 3x3 {c} -> {n} at {side}x{side}");
        linear_layer(rates, &name, [side * side, 9 * c, *n]);
    }
}

fn convolutions(rates: &Rates) {
    let (ctx, compute) = (&rates.ctx, rates.compute);
    for (c, n, side) in CONVOLUTIONS {
        let file = weights(n * c * 9);
        let w = Matrix::new(&file, Float::F16, n, c * 9);
        let x = Planes::from_channels(ctx, &values(c * side * side), c, side * side);
        let ones = vec![1f32; c];
        let norm = GroupNorm::measure(ctx, &x, &ones, &ones, 32, 1e-6);
        let source = Source {
            norm: Some(&norm),
            activation: Activation::Silu,
            ..Source::plain(&x, [side, side])
        };
        let flop = 18.0 * (c * n * side * side) as f64;
        rates.report(
            &format!("norm, silu, conv 3x3 {c} -> {n} at {side}x{side}"),
            flop,
            &mut || {
                let same = Window::same(3);
                turbo_kernels::conv2d(ctx, &source, w, same, After::default(), compute);
            },
        );
    }
}

fn attentions(rates: &Rates) {
    let (ctx, compute) = (&rates.ctx, rates.compute);
    for (tq, tk, heads, d) in [
        (1024, 1024, 10, 64),
        (256, 256, 20, 64),
        (256, 77, 20, 64),
        (4096, 4096, 10, 64),
        (4096, 4096, 1, 512),
    ] {
        let n = heads * d;
        let q = Planes::from_tokens(ctx, &values(tq * n), tq, n);
        let k = Planes::from_tokens(ctx, &values(tk * n), tk, n);
        let kv = KeysValues::pack(ctx, &k, &k, heads, compute);
        rates.report(
            &format!("attention {tq} on {tk}, {heads} x {d}"),
            4.0 * (tq * tk * n) as f64,
            &mut || {
                turbo_kernels::attention(ctx, &q, &kv, false);
            },
        );
        rates.report(
            &format!("pack keys and values {tk}, {heads} x {d}"),
            0.0,
            &mut || {
                KeysValues::pack(ctx, &k, &k, heads, compute);
            },
        );
    }
}

fn norms(rates: &Rates) {
    let (ctx, compute) = (&rates.ctx, rates.compute);
    for (c, p) in [(640, 1024), (1280, 256)] {
        let x = Planes::from_channels(ctx, &values(c * p), c, p);
        let ones = vec![1f32; c];
        rates.report(&format!("layer norm {p} tokens of {c}"), 0.0, &mut || {
            turbo_kernels::layer_norm(ctx, &x, &ones, &ones, 1e-5, compute);
        });
    }
    for (c, side) in [(320, 64), (1280, 16), (128, 512)] {
        let x = Planes::from_channels(ctx, &values(c * side * side), c, side * side);
        let ones = vec![1f32; c];
        rates.report(
            &format!("group norm {c} at {side}x{side}"),
            0.0,
            &mut || {
                GroupNorm::measure(ctx, &x, &ones, &ones, 32, 1e-5);
            },
        );
    }
}
