//! Pillow's `Image.resize`, bit for bit.
//!
//! Pillow 13: `src/libImaging/Resample.c`, 8 bits a channel. Two passes, along rows and along columns, each of which
//! weighs the pixels around a place by a filter that is stretched where the picture shrinks. Weights are fixed-point
//! numbers of 22 bits of fraction; what the first pass gives is rounded to bytes before the second, so that their
//! order shows. Pixels have three channels here.

use std::f64::consts::PI;

/// Bits behind the point: 32, less 8 of a byte and 2 that weights below zero and above one ask for.
const PRECISION: u32 = 32 - 8 - 2;

/// How far around a place pixels count, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    /// Three pixels to each side. diffusers' choice.
    Lanczos,
    /// Two, with a = -0.5. Pillow's default.
    Bicubic,
}

impl Filter {
    fn support(self) -> f64 {
        match self {
            Self::Lanczos => 3.0,
            Self::Bicubic => 2.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        match self {
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Lanczos => 0.0,
            Self::Bicubic => {
                const A: f64 = -0.5;
                let x = x.abs();
                if x < 1.0 {
                    ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
                } else if x < 2.0 {
                    (((x - 5.0) * x + 8.0) * x - 4.0) * A
                } else {
                    0.0
                }
            }
        }
    }
}

#[allow(clippy::float_cmp, reason = "the value of the limit, for exactly zero")]
fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = x * PI;
    x.sin() / x
}

/// Where a side is read, and how many pixels it becomes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Side {
    /// Pixels that are there.
    pub(crate) from: usize,
    /// The part of them that is read, which may be empty: then its place is.
    pub(crate) part: (f64, f64),
    /// Pixels that are wanted, at least 1.
    pub(crate) to: usize,
}

impl Side {
    /// A whole side.
    pub(crate) fn whole(from: usize, to: usize) -> Self {
        Self {
            from,
            part: (0.0, from as f64),
            to,
        }
    }

    fn changes(&self) -> bool {
        *self != Self::whole(self.from, self.from)
    }
}

/// For each pixel that is wanted, the pixels it is made of, and their weights.
struct Weights {
    /// First pixel, and first and last weight.
    places: Vec<(usize, std::ops::Range<usize>)>,
    weights: Vec<i32>,
}

impl Weights {
    fn new(side: Side, filter: Filter) -> Self {
        let (start, end) = side.part;
        let scale = (end - start) / side.to as f64;
        let stretch = scale.max(1.0);
        let support = filter.support() * stretch;
        let mut weights = Vec::new();
        let mut row = Vec::new();
        let place = |i: usize| {
            let center = start + (i as f64 + 0.5) * scale;
            // Conversions cut off towards zero, as C's do.
            let first = (center - support + 0.5).max(0.0) as usize;
            let last = ((center + support + 0.5) as usize).min(side.from);
            let weight = |j: usize| filter.weight((j as f64 - center + 0.5) * (1.0 / stretch));
            row.clear();
            row.extend((first..last).map(weight));
            let sum: f64 = row.iter().sum();
            let at = weights.len();
            weights.extend(row.iter().map(|weight| {
                let weight = if sum == 0.0 { *weight } else { weight / sum };
                let fixed = weight * f64::from(1 << PRECISION);
                (fixed + if weight < 0.0 { -0.5 } else { 0.5 }) as i32
            }));
            (first, at..weights.len())
        };
        Self {
            places: (0..side.to).map(place).collect(),
            weights,
        }
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        self.places
            .iter()
            .map(|(first, range)| (*first, &self.weights[range.clone()]))
    }
}

fn clip(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// Resizes `pixels` `[height.from, width.from, 3]` to `[height.to, width.to, 3]`.
pub(crate) fn resize(pixels: &[u8], width: Side, height: Side, filter: Filter) -> Vec<u8> {
    let rows = |pixels: &[u8]| along_rows(pixels, width, filter);
    let columns = |pixels: &[u8], line: usize| along_columns(pixels, line, height, filter);
    match (width.changes(), height.changes()) {
        (false, false) => pixels.to_vec(),
        (true, false) => rows(pixels),
        (false, true) => columns(pixels, width.from),
        (true, true) if columns_first(width, height) => rows(&columns(pixels, width.from)),
        (true, true) => columns(&rows(pixels), width.to),
    }
}

/// Pillow's choice: a picture that loses more than twice as many rows as columns is made lower first, which leaves
/// less to do. Versions before 13 always begin with the rows.
fn columns_first(width: Side, height: Side) -> bool {
    let lost = |side: Side| side.from as i64 - side.to as i64;
    lost(height) > 0 && lost(height) > 2 * lost(width)
}

fn along_rows(pixels: &[u8], side: Side, filter: Filter) -> Vec<u8> {
    let weights = Weights::new(side, filter);
    let mut out = Vec::with_capacity(pixels.len() / side.from * side.to);
    for row in pixels.chunks_exact(side.from * 3) {
        let (row, _) = row.as_chunks::<3>();
        for (first, weights) in weights.iter() {
            let mut sums = [1 << (PRECISION - 1); 3];
            for (pixel, weight) in row[first..].iter().zip(weights) {
                for (sum, &channel) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(channel) * weight;
                }
            }
            out.extend(sums.map(clip));
        }
    }
    out
}

fn along_columns(pixels: &[u8], width: usize, side: Side, filter: Filter) -> Vec<u8> {
    let weights = Weights::new(side, filter);
    let line = width * 3;
    let mut out = Vec::with_capacity(line * side.to);
    let mut sums = vec![0_i32; line];
    for (first, weights) in weights.iter() {
        sums.fill(1 << (PRECISION - 1));
        let rows = pixels[first * line..].chunks_exact(line);
        for (row, weight) in rows.zip(weights) {
            for (sum, &channel) in sums.iter_mut().zip(row) {
                *sum += i32::from(channel) * weight;
            }
        }
        out.extend(sums.iter().map(|&sum| clip(sum)));
    }
    out
}
