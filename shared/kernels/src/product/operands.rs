//! The two operands of a product, and where their numbers lie.

use super::offsets::offsets;
use crate::arch::{Compute, Kernels, LANES, PANEL, kernels};
use crate::context::Context;
use crate::memory::Buffer;
use crate::value::{Layout, QuantaBuffer, panel_range};
use crate::weight::Matrix;
use std::ops::Range;

/// A product of positions with rows of weights.
pub(crate) struct Product<'a> {
    pub ctx: &'a Context,
    pub compute: Compute,
    /// The operand with the positions.
    pub a: &'a [u32],
    /// For int8: scales of its positions, and the sums of their numbers.
    pub quanta: Option<&'a QuantaBuffer>,
    /// Elements from one panel to the next; without it positions follow each other.
    pub panel_pitch: Option<usize>,
    /// Positions in all, those between rows of a map included.
    pub positions: usize,
    /// Elements from one step to the next, or for a convolution from one channel, or pair, to the next.
    pub pitch: usize,
    /// How the vectors of a step lie, and groups of steps.
    pub layout: Layout,
    /// How far the neighbours lie that a convolution reads at each position; `[0]` for a linear layer, which reads the
    /// position itself.
    pub taps: &'a [usize],
    /// The other operand, where the file has it, `[rows][channel][tap]`.
    pub weights: Matrix<'a>,
    /// Matrices stacked in the weights: 2 for a gated layer, else 1.
    pub parts: usize,
    /// Steps of a unit at most.
    pub unit: usize,
    /// Products whose sums are added to these: by other weights, of other numbers of the same positions, to the same rows.
    pub more: &'a [Product<'a>],
}

impl Product<'_> {
    /// Kernels that can take the operand as it lies: a tile of several steps takes them from one neighbour.
    pub(super) fn kernels(&self) -> Kernels {
        let best = kernels(self.ctx.isa, self.compute);
        if self.taps.len() == 1 || self.channel_steps().is_multiple_of(best.steps) {
            best
        } else {
            kernels(self.ctx.isa.plain(), self.compute)
        }
    }

    /// Rows of the result.
    pub(super) fn rows(&self) -> usize {
        self.weights.rows / self.parts
    }

    /// Steps that the channels of one neighbour take.
    pub(super) fn channel_steps(&self) -> usize {
        self.compute.steps(self.weights.cols / self.taps.len())
    }

    /// Where a panel begins.
    pub(super) fn begin(&self, panel: usize) -> usize {
        self.panel_pitch.map_or_else(
            || panel_range(self.positions, panel).start,
            |pitch| panel * pitch,
        )
    }

    /// Where each tile of steps lies: a tile's channels at the first neighbour, at the second, and so on.
    pub(super) fn offsets(&self, kernels: &Kernels) -> Buffer {
        let tiles = (0..self.channel_steps()).step_by(kernels.steps);
        let count = tiles.len() * self.taps.len();
        let at = tiles.flat_map(|s| {
            let at = self.step_at(s);
            self.taps.iter().map(move |tap| at + tap)
        });
        offsets(self.ctx, count, at)
    }

    /// Where a step of the channels lies.
    fn step_at(&self, step: usize) -> usize {
        match self.layout {
            Layout::Rows => step * self.pitch,
            Layout::Tiles | Layout::Vectors(_) => self.layout.at(step),
        }
    }

    /// Whether every panel lies inside the operand.
    pub(super) fn fits(&self) -> bool {
        let farthest =
            self.step_at(self.channel_steps() - 1) + self.taps.iter().max().unwrap_or(&0);
        let end = |panel| {
            let vectors = panel_range(self.positions, panel).len().div_ceil(LANES);
            self.begin(panel) + farthest + (vectors - 1) * self.layout.vector() + LANES
        };
        (0..self.panels()).all(|panel| end(panel) <= self.a.len())
    }

    /// Number of panels.
    pub(super) fn panels(&self) -> usize {
        self.positions.div_ceil(PANEL)
    }

    /// The columns of the weights that some steps hold.
    pub(super) fn cols(&self, steps: &Range<usize>) -> Range<usize> {
        let per = self.compute.per_step();
        steps.start * per..(steps.end * per).min(self.weights.cols)
    }
}
