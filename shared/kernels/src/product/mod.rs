//! The blocked product behind linear layers and convolutions.
//!
//! Weights stay in the file: a block of rows is widened into the cache, a stretch of the inner dimension at a time,
//! used against every panel of the task, and forgotten. The other operand is packed already, so a tile kernel reads
//! both sides from cache. Tasks are blocks of output rows (and, for large
//! maps, groups of panels); each is written by one thread, so the result does not depend on their number.

mod offsets;
mod plan;
mod store;

use crate::arch::{Aside, Compute, Fetch, Kernels, LANES, PANEL, Tile, interleave, kernels};
use crate::context::Context;
use crate::memory::{Buffer, Near, prefetch, with_scratch};
use crate::value::{Layout, panel_range};
use crate::weight::{Float, Matrix, to_steps};
pub(crate) use offsets::offsets;
use plan::{Meanwhile, Plan, Tasks, Unit};
use rayon::prelude::*;
use std::ops::Range;
pub(crate) use store::{Target, segments, store};

/// Elements of the operand that stay in cache likewise, where rows stay.
const OPERAND: usize = 160 * 1024;
/// Rows of weights that are asked for ahead of the one that is widened beside the products.
const AHEAD: usize = 2;

/// A product of positions with rows of weights.
pub(crate) struct Product<'a> {
    pub ctx: &'a Context,
    pub compute: Compute,
    /// The operand with the positions.
    pub a: &'a [u32],
    /// Elements from one panel to the next; without it positions follow each other.
    pub panel_pitch: Option<usize>,
    /// Positions in all, those between rows of a map included.
    pub positions: usize,
    /// Elements from one step to the next, or for a convolution from one channel, or pair, to the next.
    pub pitch: usize,
    /// How the vectors of a step lie, and groups of steps.
    pub layout: Layout,
    /// Neighbours of a position that a convolution asks for, as distances from it; for a linear layer itself, `[0]`.
    pub taps: &'a [usize],
    /// The other operand, where the file has it, `[rows][channel][tap]`.
    pub weights: Matrix<'a>,
    /// Matrices stacked in the weights: 2 for a gated layer, else 1.
    pub parts: usize,
    /// Steps widened at a time at most.
    pub block: usize,
}

impl Product<'_> {
    /// Runs it. `sink(rows, panel, sums)` takes finished sums, `[parts][rows of the task][PANEL]`, and the rows that
    /// mean something.
    pub(crate) fn run(&self, sink: impl Fn(Range<usize>, usize, &[f32]) + Sync) {
        let kernels = self.kernels();
        let panels = self.positions.div_ceil(PANEL);
        let offsets = self.offsets(&kernels);
        let farthest =
            self.step_at(self.channel_steps() - 1) + self.taps.iter().max().unwrap_or(&0);
        let end = |panel| {
            let vectors = panel_range(self.positions, panel).len().div_ceil(LANES);
            self.begin(panel) + farthest + (vectors - 1) * self.layout.vector() + LANES
        };
        assert!(
            (0..panels).all(|panel| end(panel) <= self.a.len()),
            "operand too short"
        );
        let tasks = Tasks::new(self.rows(), self.parts, panels, &kernels);
        (0..tasks.count())
            .into_par_iter()
            .with_max_len(1)
            .for_each(|task| {
                let plan = |task| {
                    let (rows, panels) = tasks.get(task);
                    self.plan(&kernels, offsets.as_u32(), rows, panels)
                };
                let next = (task + 1 < tasks.count()).then(|| plan(task + 1));
                self.task(&plan(task), next.as_ref(), &sink);
            });
    }

    /// Kernels that can take the operand as it lies: a tile of several steps takes them from one neighbour.
    fn kernels(&self) -> Kernels {
        let best = kernels(self.ctx.isa, self.compute);
        if self.taps.len() == 1 || self.channel_steps().is_multiple_of(best.steps) {
            best
        } else {
            kernels(self.ctx.isa.plain(), self.compute)
        }
    }

    /// Rows of the result.
    fn rows(&self) -> usize {
        self.weights.rows / self.parts
    }

    /// Steps that the channels of one neighbour take.
    fn channel_steps(&self) -> usize {
        self.compute.steps(self.weights.cols / self.taps.len())
    }

    /// Where a panel begins.
    fn begin(&self, panel: usize) -> usize {
        self.panel_pitch.map_or_else(
            || panel_range(self.positions, panel).start,
            |pitch| panel * pitch,
        )
    }

    /// Where each tile of steps lies: a tile's channels at the first neighbour, at the second, and so on.
    fn offsets(&self, kernels: &Kernels) -> Buffer {
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
            Layout::Tiles => self.layout.at(step),
        }
    }

    /// Steps of a block: whole windows of whole tiles. Where rows stay, fewer for many panels, so that these stay in the
    /// second-level cache until the last rows of the task have seen them.
    fn block(&self, kernels: &Kernels, panels: usize) -> usize {
        let unit = self.taps.len() * kernels.steps;
        let most = if kernels.rows_stay {
            (OPERAND / PANEL / panels * self.taps.len()).min(self.block)
        } else {
            self.block
        };
        (most / unit * unit).max(unit)
    }

    /// The file's bytes of steps of a row.
    fn bytes(&self, part: usize, row: usize, steps: &Range<usize>) -> &[u8] {
        let per = self.compute.per_step();
        let end = (steps.end * per).min(self.weights.cols);
        self.weights
            .part(part * self.rows() + row, steps.start * per, end)
    }

    /// Widens rows, each `stride` from the one before.
    fn widen(
        &self,
        kernels: &Kernels,
        unit: &Unit,
        stride: usize,
        out: &mut [u32],
        room: &mut [u32],
    ) {
        let float = self.weights.float;
        for (row, out) in unit.rows.clone().zip(out.chunks_mut(stride)) {
            let bytes = self.bytes(unit.part, row, &unit.steps);
            let out = &mut out[..unit.steps.len()];
            if self.taps.len() > 1 && self.compute == Compute::Bf16 {
                // As bfloat16, which pairs neighbours; then in pairs of channels.
                let count = bytes.len() / float.size();
                let room = &mut room[..self.compute.steps(count)];
                to_steps(self.ctx.isa, self.compute, float, bytes, room);
                interleave(room, count, self.taps.len(), kernels.steps, out);
            } else {
                to_steps(self.ctx.isa, self.compute, float, bytes, out);
            }
        }
    }

    /// Part `i` of `n` of what [`Self::widen`] does, in rows of whole chunks; the rest of a row is done here.
    fn asides(
        &self,
        unit: &Unit,
        i: usize,
        n: usize,
        stride: usize,
        out: &mut [u32],
    ) -> [Aside; 2] {
        let mut asides = [Aside::NONE; 2];
        let count = unit.rows.len();
        for (k, r) in (i * count / n..(i + 1) * count / n).enumerate() {
            let bytes = self.bytes(unit.part, unit.rows.start + r, &unit.steps);
            let out = &mut out[r * stride..][..unit.steps.len()];
            let chunks = if k < asides.len() {
                bytes.len() / 64
            } else {
                0
            };
            if chunks > 0 {
                asides[k] = Aside {
                    from: bytes.as_ptr(),
                    to: out.as_mut_ptr(),
                    chunks,
                    ahead: AHEAD * self.weights.cols * self.weights.float.size(),
                };
            }
            let (rest, out) = (&bytes[64 * chunks..], &mut out[16 * chunks..]);
            if !rest.is_empty() {
                to_steps(self.ctx.isa, self.compute, self.weights.float, rest, out);
            }
        }
        asides
    }

    /// Asks for part `i` of `n` of what [`Self::widen`] will read.
    fn prefetch(&self, unit: &Unit, i: usize, n: usize) {
        for row in unit.share(i, n) {
            prefetch(self.bytes(unit.part, row, &unit.steps), Near::Second);
        }
    }

    /// Has tile `i` of `n`, of so many steps, ask for a part of what [`Self::widen`] will read: a row, and not before
    /// the last tiles, lest it be gone again.
    fn fetch(&self, unit: &Unit, i: usize, n: usize, steps: usize) -> [Fetch; 2] {
        let mut fetch = [Fetch::NONE; 2];
        let early = n.saturating_sub(unit.rows.len());
        if i >= early {
            for (k, row) in unit.share(i - early, n - early).enumerate() {
                let bytes = self.bytes(unit.part, row, &unit.steps);
                match k {
                    0 => fetch[1] = Fetch::new(bytes, steps),
                    1 => fetch[0] = Fetch::new(bytes, steps),
                    _ => prefetch(bytes, Near::Second),
                }
            }
        }
        fetch
    }

    fn plan<'a>(
        &self,
        kernels: &'a Kernels,
        offsets: &'a [u32],
        rows: Range<usize>,
        panels: Range<usize>,
    ) -> Plan<'a> {
        let block = self.block(kernels, panels.len());
        Plan {
            kernels,
            offsets,
            height: self.parts * rows.len(),
            share: if kernels.rows_stay {
                kernels.rows
            } else {
                rows.len()
            },
            steps: self.channel_steps() * self.taps.len(),
            block,
            stride: (block.div_ceil(LANES) | 1) * LANES,
            widens: kernels.widens && self.taps.len() == 1 && self.weights.float == Float::F16,
            end: self.rows(),
            rows,
            panels,
        }
    }

    /// Does a task; `next` is the one that this thread will most likely do after it.
    fn task(
        &self,
        plan: &Plan<'_>,
        next: Option<&Plan<'_>>,
        sink: &impl Fn(Range<usize>, usize, &[f32]),
    ) {
        plan.kernels.prepare_thread();
        with_scratch(|[now, later, c, room]| {
            let len = plan.share * plan.stride;
            let mut now = now.u32(len);
            let mut later = later.u32(if plan.widens { len } else { 0 });
            let c = c.f32(plan.panels.len() * plan.height * PANEL);
            let room = room.u32(plan.block);
            let units = plan.units();
            for i in 0..units {
                let unit = plan.unit(i);
                if plan.widens && i > 0 {
                    std::mem::swap(&mut now, &mut later);
                } else {
                    self.widen(plan.kernels, &unit, plan.stride, now, room);
                }
                let meanwhile = if i + 1 == units {
                    next.map_or(Meanwhile::Nothing, |next| Meanwhile::Fetch(next.unit(0)))
                } else if plan.widens {
                    Meanwhile::Widen(plan.unit(i + 1), later)
                } else {
                    Meanwhile::Fetch(plan.unit(i + 1))
                };
                self.multiply(plan, &unit, now, meanwhile, c);
            }
            for (c, panel) in c.chunks_exact(plan.height * PANEL).zip(plan.panels.clone()) {
                sink(plan.used(plan.rows.clone()), panel, c);
            }
        });
    }

    /// Adds the products of a unit, whose rows are `w`, to the sums `c`.
    fn multiply(
        &self,
        plan: &Plan<'_>,
        unit: &Unit,
        w: &[u32],
        mut meanwhile: Meanwhile<'_>,
        c: &mut [f32],
    ) {
        let (kernels, steps) = (plan.kernels, &unit.steps);
        let stretch = kernels.stretch.min(plan.block);
        let tiles = plan.share.div_ceil(kernels.rows);
        let calls = steps.len().div_ceil(stretch) * plan.panels.len();
        let stretches = steps.clone().step_by(stretch);
        let each = stretches.flat_map(|start| plan.panels.clone().map(move |panel| (start, panel)));
        for (call, (start, panel)) in each.enumerate() {
            let width = panel_range(self.positions, panel).len();
            let kernel = kernels.tiles[width.div_ceil(LANES) - 1];
            let top = (panel - plan.panels.start) * plan.height + unit.top;
            let c = &mut c[top * PANEL..][..plan.share * PANEL];
            let now = stretch.min(steps.end - start);
            let mut aside = [Aside::NONE; 2];
            match &mut meanwhile {
                Meanwhile::Widen(unit, out) => {
                    aside = self.asides(unit, call, calls, plan.stride, out);
                }
                Meanwhile::Fetch(unit) if kernels.rows_stay => self.prefetch(unit, call, calls),
                _ => {}
            }
            for (i, r) in (0..plan.share).step_by(kernels.rows).enumerate() {
                let fetch = match &meanwhile {
                    Meanwhile::Fetch(unit) if !kernels.rows_stay => {
                        self.fetch(unit, call * tiles + i, calls * tiles, now)
                    }
                    _ => [Fetch::NONE; 2],
                };
                let tile = Tile {
                    steps: now,
                    a: self.a[self.begin(panel)..].as_ptr(),
                    offsets: plan.offsets[start / kernels.steps..].as_ptr(),
                    a_stride: self.pitch,
                    a_vector: self.layout.vector(),
                    w: w[r * plan.stride + start - steps.start..].as_ptr(),
                    w_stride: plan.stride,
                    c: c[r * PANEL..][..kernels.rows * PANEL].as_mut_ptr(),
                    accumulate: start > 0,
                    aside,
                    fetch,
                };
                // SAFETY: `a` reaches far enough for every panel by the assertion in `run`; `w` holds the plan's share
                // of rows, `stride` elements each, and `c` as many of a panel, both whole tiles of rows; `aside` is
                // whole chunks of rows of the file and of what `meanwhile` borrows; `kernels` checked the instruction
                // set and `task` prepared the thread.
                unsafe { kernel(&tile) };
            }
        }
    }
}
