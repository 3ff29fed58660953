//! How one thread does a task.

use super::operands::Product;
use super::plan::{Plan, Unit};
use crate::arch::{Aside, Compute, Fetch, Kernels, LANES, PANEL, Positions, Tile, interleave};
use crate::isa::per_isa;
use crate::memory::{Near, Scratch, prefetch, with_scratch};
use crate::value::{Quanta, panel_range};
use std::ops::Range;

/// Rows of weights that are asked for ahead of the one that is widened beside the products.
const AHEAD: usize = 2;

/// What is done while tiles multiply.
///
/// Every kind has a unit, [`Unit::EMPTY`] where nothing is to be done. The compiler compares a unit's fields before it
/// looks at the kind, as it may; so they always hold something, and valgrind has nothing to remark.
enum Meanwhile<'a> {
    /// A unit's rows are asked for.
    Fetch(Unit),
    /// A unit's rows are widened into what is borrowed.
    Widen(Unit, &'a mut [u32]),
}

impl Product<'_> {
    /// Does a task; `next` is the one that this thread will most likely do after it, `more` what is added to its sums.
    pub(super) fn task<'p>(
        &self,
        plan: &Plan<'_>,
        next: Option<&Plan<'_>>,
        more: impl Iterator<Item = (&'p Product<'p>, Plan<'p>)>,
        sink: &impl Fn(Range<usize>, usize, &[f32]),
    ) {
        plan.kernels.prepare_thread();
        with_scratch(|[now, later, sums, room]| {
            let sums = sums.f32(plan.panels.len() * plan.height * PANEL);
            self.units(plan, next, [now, later, room], sums);
            for (product, plan) in more {
                product.units(&plan, None, [now, later, room], sums);
            }
            for (sums, panel) in sums
                .chunks_exact_mut(plan.height * PANEL)
                .zip(plan.panels.clone())
            {
                self.scale(plan, panel, sums);
                sink(plan.used(plan.rows.clone()), panel, sums);
            }
        });
    }

    /// Multiplies all units of a task, one after the other.
    fn units(
        &self,
        plan: &Plan<'_>,
        next: Option<&Plan<'_>>,
        [now, later, room]: [&mut Scratch; 3],
        sums: &mut [f32],
    ) {
        let len = plan.unit_rows * plan.stride;
        let mut now = now.u32(len);
        let mut later = later.u32(if plan.widens { len } else { 0 });
        let room = room.u32(plan.unit_steps);
        let units = plan.units();
        for i in 0..units {
            let unit = plan.unit(i);
            if plan.widens && i > 0 {
                std::mem::swap(&mut now, &mut later);
            } else {
                self.widen(plan, &unit, now, room);
            }
            let meanwhile = if i + 1 == units {
                Meanwhile::Fetch(next.map_or(Unit::EMPTY, |next| next.unit(0)))
            } else if plan.widens {
                Meanwhile::Widen(plan.unit(i + 1), later)
            } else {
                Meanwhile::Fetch(plan.unit(i + 1))
            };
            self.multiply(plan, &unit, now, meanwhile, sums);
        }
    }

    /// Widens the rows of a unit, each `plan.stride` from the one before.
    fn widen(&self, plan: &Plan<'_>, unit: &Unit, out: &mut [u32], room: &mut [u32]) {
        let (isa, compute, taps) = (self.ctx.isa, self.compute, self.taps.len());
        let cols = self.cols(&unit.steps);
        for (row, out) in unit.rows.clone().zip(out.chunks_mut(plan.stride)) {
            let (row, out) = (self.weight_row(unit, row), &mut out[..unit.steps.len()]);
            if taps > 1 && compute == Compute::Bf16 {
                // As bfloat16, which pairs neighbours of a row; then in pairs of channels.
                let room = &mut room[..compute.steps(cols.len())];
                self.weights
                    .widen_steps(isa, compute, row, cols.clone(), room);
                interleave(room, cols.len(), taps, plan.kernels.steps, out);
            } else {
                self.weights
                    .widen_steps(isa, compute, row, cols.clone(), out);
            }
            if compute == Compute::Int8 && plan.kernels.unsigned_weights {
                offset_weights(isa, out);
            }
        }
    }

    /// Makes floats of a panel's sums, where they are int32.
    fn scale(&self, plan: &Plan<'_>, panel: usize, sums: &mut [f32]) {
        let (Some(quanta), Some(scales)) = (self.quanta, self.weights.scales()) else {
            return;
        };
        let quanta = quanta.panel(panel);
        let rows = plan.used(plan.rows.clone());
        let offset = if plan.kernels.unsigned_weights {
            Kernels::OFFSET
        } else {
            0
        };
        let parts = sums.chunks_exact_mut(plan.rows.len() * PANEL);
        for (part, sums) in parts.enumerate() {
            let first = part * self.rows();
            let scales = &scales[first + rows.start..first + rows.end];
            scale_sums(self.ctx.isa, sums, scales, quanta, offset);
        }
    }

    /// Adds the products of a unit, whose widened rows are `weights`, to the sums of the task.
    fn multiply(
        &self,
        plan: &Plan<'_>,
        unit: &Unit,
        weights: &[u32],
        mut meanwhile: Meanwhile<'_>,
        sums: &mut [f32],
    ) {
        let kernels = plan.kernels;
        let stretch = kernels.stretch.min(plan.unit_steps);
        let tiles = plan.unit_rows.div_ceil(kernels.rows);
        let stretches = unit.steps.clone().step_by(stretch);
        let calls = stretches.len() * plan.panels.len();
        let each = stretches.flat_map(|start| plan.panels.clone().map(move |panel| (start, panel)));
        for (call, (start, panel)) in each.enumerate() {
            let aside = self.begin_meanwhile(plan, &mut meanwhile, call, calls);
            let steps = stretch.min(unit.steps.end - start);
            let positions = Positions {
                panel: &self.a[self.begin(panel)..],
                offsets: &plan.offsets[start / kernels.steps..],
                stride: self.pitch,
                vector: self.layout.vector(),
            };
            let vectors = panel_range(self.positions, panel).len().div_ceil(LANES);
            let kernel = kernels.tiles[vectors - 1];
            let top = (panel - plan.panels.start) * plan.height + unit.top;
            let sums = &mut sums[top * PANEL..][..plan.unit_rows * PANEL];
            let rows = sums.chunks_exact_mut(kernels.rows * PANEL);
            for (i, sums) in rows.enumerate() {
                let first = i * kernels.rows * plan.stride + start - unit.steps.start;
                let weights = &weights[first..];
                let fetch = match &meanwhile {
                    Meanwhile::Fetch(unit) if !kernels.rows_stay => {
                        self.fetch(unit, call * tiles + i, calls * tiles, steps)
                    }
                    _ => [Fetch::NONE; 2],
                };
                let tile = Tile {
                    aside,
                    fetch,
                    ..Tile::new(
                        steps,
                        positions,
                        weights,
                        plan.stride,
                        sums,
                        plan.adds || start > 0,
                    )
                };
                // SAFETY:
                // - every panel lies inside the operand by the assertion in `run`, at the offsets of this stretch;
                // - `Tile::new` checked weights and sums, which are whole tiles of rows;
                // - `aside` is whole chunks of rows of the file and of what `meanwhile` borrows;
                // - `kernels` checked the instruction set, and `task` prepared the thread.
                unsafe { kernel(&tile) };
            }
        }
    }

    /// Call `call` of `calls` begins: what its tiles are to widen; what is asked for at once is asked for here.
    fn begin_meanwhile(
        &self,
        plan: &Plan<'_>,
        meanwhile: &mut Meanwhile<'_>,
        call: usize,
        calls: usize,
    ) -> [Aside; 2] {
        match meanwhile {
            Meanwhile::Widen(unit, out) => self.asides(plan, unit, call, calls, out),
            Meanwhile::Fetch(unit) => {
                if plan.kernels.rows_stay {
                    for row in unit.share(call, calls) {
                        prefetch(self.bytes(unit, row), Near::Second);
                    }
                }
                [Aside::NONE; 2]
            }
        }
    }

    /// Share `i` of `n` of what [`Self::widen`] does, in rows of whole chunks; the rest of a row is done here.
    fn asides(
        &self,
        plan: &Plan<'_>,
        unit: &Unit,
        i: usize,
        n: usize,
        out: &mut [u32],
    ) -> [Aside; 2] {
        let mut asides = [Aside::NONE; 2];
        for (k, row) in unit.share(i, n).enumerate() {
            let bytes = self.bytes(unit, row);
            let out = &mut out[(row - unit.rows.start) * plan.stride..][..unit.steps.len()];
            let chunks = if k < asides.len() {
                bytes.len() / Aside::CHUNK
            } else {
                0
            };
            if chunks > 0 {
                asides[k] = Aside {
                    from: bytes.as_ptr(),
                    to: out.as_mut_ptr(),
                    chunks,
                    ahead: AHEAD * self.weights.row_bytes(),
                };
            }
            let done = Aside::STEPS * chunks;
            let steps = unit.steps.start + done..unit.steps.end;
            if !steps.is_empty() {
                self.weights.widen_steps(
                    self.ctx.isa,
                    self.compute,
                    self.weight_row(unit, row),
                    self.cols(&steps),
                    &mut out[done..],
                );
            }
        }
        asides
    }

    /// Has tile `i` of `n`, of so many steps, ask for a share of what [`Self::widen`] will read: a row, and not before
    /// the last tiles, lest it be gone again.
    fn fetch(&self, unit: &Unit, i: usize, n: usize, steps: usize) -> [Fetch; 2] {
        let mut fetch = [Fetch::NONE; 2];
        let early = n.saturating_sub(unit.rows.len());
        if i >= early {
            for (k, row) in unit.share(i - early, n - early).enumerate() {
                let bytes = self.bytes(unit, row);
                match k {
                    0 => fetch[1] = Fetch::new(bytes, steps),
                    1 => fetch[0] = Fetch::new(bytes, steps),
                    _ => prefetch(bytes, Near::Second),
                }
            }
        }
        fetch
    }

    /// The row of the weights that row `row` of a unit's part is.
    fn weight_row(&self, unit: &Unit, row: usize) -> usize {
        unit.part * self.rows() + row
    }

    /// The file's bytes of a unit's steps of a row.
    fn bytes(&self, unit: &Unit, row: usize) -> &[u8] {
        self.weights
            .bytes(self.weight_row(unit, row), self.cols(&unit.steps))
    }
}

per_isa! {
/// Signed bytes become unsigned ones, larger by [`Kernels::OFFSET`].
fn offset_weights(isa, steps: &mut [u32]) {
    for step in steps {
        *step ^= 0x8080_8080;
    }
}
}

per_isa! {
/// Sums of int32 `[rows][PANEL]`, of weights that were too large by `offset`, become floats.
fn scale_sums(isa, sums: &mut [f32], scales: &[f32], quanta: &Quanta, offset: i32) {
    let mut surplus = [0i32; PANEL];
    for l in 0..PANEL {
        surplus[l] = quanta.sums[l].wrapping_mul(offset);
    }
    for (row, scale) in sums.chunks_exact_mut(PANEL).zip(scales) {
        for l in 0..PANEL {
            let sum = row[l].to_bits().cast_signed().wrapping_sub(surplus[l]);
            row[l] = sum as f32 * quanta.scales[l] * *scale;
        }
    }
}
}
