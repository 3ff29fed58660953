//! The left operand of a product.

use super::planes::Planes;
use crate::arch::{Compute, Kernels, LANES, MV, PANEL, kernels};
use crate::context::Context;
use crate::isa::per_isa;
use crate::memory::Buffer;
use crate::weight::pairs;
use rayon::prelude::*;
use std::ops::Range;

/// How the steps of a panel lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `[steps, PANEL]`.
    Rows,
    /// `[groups of steps, MV, steps of a group, LANES]`: what a tile register takes lies together.
    Tiles,
}

impl Layout {
    /// Steps of a group.
    pub(crate) const GROUP: usize = 16;

    /// The one that suits kernels, for so many steps.
    pub(crate) fn of(kernels: &Kernels, steps: usize) -> Self {
        if kernels.steps == Self::GROUP && steps.is_multiple_of(Self::GROUP) {
            Self::Tiles
        } else {
            Self::Rows
        }
    }

    /// Where the first vector of a step lies.
    #[inline(always)]
    pub(crate) fn at(self, step: usize) -> usize {
        match self {
            Self::Rows => step * PANEL,
            Self::Tiles => step / Self::GROUP * Self::GROUP * PANEL + step % Self::GROUP * LANES,
        }
    }

    /// Elements from one vector of a step to the next.
    #[inline(always)]
    pub(crate) fn vector(self) -> usize {
        match self {
            Self::Rows => LANES,
            Self::Tiles => Self::GROUP * LANES,
        }
    }

    /// Elements from one step of a group to the next.
    pub(crate) fn step(self) -> usize {
        match self {
            Self::Rows => PANEL,
            Self::Tiles => LANES,
        }
    }
}

/// Writes a step of a panel: `low`, or pairs of `low` and `high`.
#[inline(always)]
pub(crate) fn write_step<const LEVEL: u8>(
    compute: Compute,
    low: &[f32; PANEL],
    high: &[f32; PANEL],
    layout: Layout,
    step: usize,
    panel: &mut [u32],
) {
    for v in 0..MV {
        let out = &mut panel[layout.at(step) + v * layout.vector()..][..LANES];
        let (low, high) = (&low[v * LANES..][..LANES], &high[v * LANES..][..LANES]);
        match compute {
            Compute::F32 => {
                for l in 0..LANES {
                    out[l] = low[l].to_bits();
                }
            }
            Compute::Bf16 => pairs::<LEVEL>(low, high, out),
        }
    }
}

/// Left operand of a matrix product: panels of [`PANEL`] positions.
#[derive(Debug)]
pub struct Panels {
    pub(crate) data: Buffer,
    pub(crate) layout: Layout,
    /// Inputs of each position.
    pub channels: usize,
    /// Positions that mean something.
    pub positions: usize,
    /// Type of the numbers.
    pub compute: Compute,
}

impl Panels {
    /// Room for an operand.
    pub fn take(ctx: &Context, channels: usize, positions: usize, compute: Compute) -> Self {
        let steps = compute.steps(channels);
        Self {
            data: ctx.pool.take(positions.div_ceil(PANEL) * steps * PANEL),
            layout: Layout::of(&kernels(ctx.isa, compute), steps),
            channels,
            positions,
            compute,
        }
    }

    /// Steps of the inner dimension.
    pub fn steps(&self) -> usize {
        self.compute.steps(self.channels)
    }

    /// Number of panels.
    pub fn panels(&self) -> usize {
        self.positions.div_ceil(PANEL)
    }

    /// The floats that were packed, as far as the type of products kept them.
    pub fn unpack(&self, ctx: &Context) -> Planes {
        let mut out = Planes::take(ctx, self.channels, self.positions);
        let (bits, steps, compute) = (self.data.as_u32(), self.steps(), self.compute);
        out.for_each_channel(|c, row| {
            let at = self.layout.at(c / compute.per_step());
            for p in 0..self.panels() {
                let chunk = &mut row[panel_range(self.positions, p)];
                let panel = &bits[p * steps * PANEL + at..];
                for (v, chunk) in chunk.chunks_mut(LANES).enumerate() {
                    let vector = &panel[v * self.layout.vector()..][..chunk.len()];
                    unpack_row(vector, c, compute, chunk);
                }
            }
        });
        out
    }

    /// Builds an operand panel by panel. `fill(positions, layout, out)` writes one.
    pub(crate) fn build(
        ctx: &Context,
        channels: usize,
        positions: usize,
        compute: Compute,
        fill: impl Fn(Range<usize>, Layout, &mut [u32]) + Sync,
    ) -> Self {
        let mut out = Self::take(ctx, channels, positions, compute);
        let (steps, layout) = (out.steps(), out.layout);
        out.data
            .as_u32_mut()
            .par_chunks_mut(steps * PANEL)
            .enumerate()
            .for_each(|(p, panel)| fill(panel_range(positions, p), layout, panel));
        out
    }

    /// Packs floats.
    pub fn pack(ctx: &Context, x: &Planes, compute: Compute) -> Self {
        let Planes {
            channels,
            positions,
            pitch,
            ..
        } = *x;
        Self::build(ctx, channels, positions, compute, |range, layout, panel| {
            pack_panel(
                ctx.isa,
                x.data(),
                pitch,
                channels,
                range,
                panel,
                layout,
                compute,
            );
        })
    }
}

per_isa! {
/// One panel: the positions of `range` of every row.
fn pack_panel(
    isa, x: &[f32], pitch: usize, channels: usize, range: Range<usize>, panel: &mut [u32], layout: Layout,
    compute: Compute,
) {
    let per = compute.per_step();
    let mut values = [[0f32; PANEL]; 2];
    for s in 0..compute.steps(channels) {
        for i in 0..per {
            let c = s * per + i;
            let row = &mut values[i][..range.len()];
            if c < channels {
                row.copy_from_slice(&x[c * pitch + range.start..][..range.len()]);
            } else {
                row.fill(0.0);
            }
        }
        write_step::<LEVEL>(compute, &values[0], &values[1], layout, s, panel);
    }
}
}

/// Channel `c` out of the step that holds it.
pub(super) fn unpack_row(step: &[u32], c: usize, compute: Compute, out: &mut [f32]) {
    for (o, bits) in out.iter_mut().zip(step) {
        *o = f32::from_bits(match compute {
            Compute::F32 => *bits,
            Compute::Bf16 if c.is_multiple_of(2) => bits << 16,
            Compute::Bf16 => bits & 0xffff_0000,
        });
    }
}

/// Positions of panel `panel`. Vectors are spread evenly over the panels, since a tile kernel of one vector waits for
/// its own sums.
pub(crate) fn panel_range(positions: usize, panel: usize) -> Range<usize> {
    let vectors = positions.div_ceil(LANES);
    let panels = vectors.div_ceil(MV);
    let (each, more) = (vectors / panels, vectors % panels);
    let start = |p: usize| (p * each + p.min(more)) * LANES;
    start(panel)..start(panel + 1).min(positions)
}
