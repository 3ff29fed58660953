//! Sums on their way out of a product.

use crate::arch::PANEL;
use crate::isa::per_isa;
use crate::memory::Disjoint;
use crate::value::panel_range;
use arrayvec::ArrayVec;
use std::ops::Range;

/// Where a run of positions of a panel goes in a row of the result.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub from: usize,
    pub to: usize,
    pub len: usize,
}

/// Segments of panel `panel`: one for tokens; for a map of `width`, one a row, without the zeros between rows.
pub(crate) fn segments(
    panel: usize,
    positions: usize,
    width: Option<usize>,
) -> ArrayVec<Segment, PANEL> {
    let mut out = ArrayVec::new();
    match width {
        None => {
            let Range { start, end } = panel_range(positions, panel);
            out.push(Segment {
                from: 0,
                to: start,
                len: end - start,
            });
        }
        Some(width) => {
            let row = width + 1;
            let Range { start, end } = panel_range(positions / width * row, panel);
            let mut at = start;
            while at < end {
                let (y, x) = (at / row, at % row);
                let len = (width - x).min(end - at);
                if len > 0 {
                    out.push(Segment {
                        from: at - start,
                        to: y * width + x,
                        len,
                    });
                }
                at += len.max(1);
                if at % row == width {
                    at += 1;
                }
            }
        }
    }
    out
}

/// A destination that panels are stored to.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub out: Disjoint<f32>,
    pub pitch: usize,
    pub bias: Option<&'a [f32]>,
    pub add: bool,
    pub activation: crate::math::Activation,
}

per_isa! {
/// Stores `rows` rows of sums, `[rows][PANEL]`, as channels `first..` of a result: bias, activation, residual.
pub(crate) fn store(isa, c: &[f32], rows: usize, first: usize, segments: &[Segment], target: Target<'_>) {
    for r in 0..rows {
        let bias = target.bias.map_or(0.0, |b| b[first + r]);
        for s in segments {
            let sums = &c[r * PANEL + s.from..][..s.len];
            // SAFETY: every panel and row is stored by one thread only, and the result outlives the product.
            let out = unsafe { target.out.range((first + r) * target.pitch + s.to, s.len) };
            if target.add {
                for (o, v) in out.iter_mut().zip(sums) {
                    *o += *v + bias;
                }
            } else {
                for (o, v) in out.iter_mut().zip(sums) {
                    *o = *v + bias;
                }
            }
            crate::math::activate_inline::<LEVEL>(out, target.activation);
        }
    }
}
}
