//! The product behind linear layers and convolutions, cut so that its pieces stay in caches.
//!
//! Weights stay in the file: some rows of it are widened into the cache, a piece of the inner dimension at a time, used
//! against every panel of the task, and forgotten. The other operand is packed already, so a tile kernel reads both
//! sides from cache.
//!
//! A **task** is some rows of the result by some panels of positions. One thread does it, so the result does not depend
//! on the number of threads. Its weights:
//!
//! ```text
//!                     steps of the inner dimension
//!            ┌───────── unit ─────────┬───────── unit ────────┐
//!   rows of  │ stretch ╎ stretch ╎ .. │                       │  part 0
//!   the task ├────────────────────────┼───────────────────────┤
//!            │                        │                       │  part 1: the gates, where there are any
//!            └────────────────────────┴───────────────────────┘
//! ```
//!
//! - A **part** is one of the matrices stacked in the weights.
//! - A **unit** is what is widened together: all rows of a part, or those of one tile, by some steps.
//! - A **stretch** is the steps that a tile kernel is given at a time.

mod after;
mod offsets;
mod operands;
mod plan;
mod store;
mod task;

use crate::arch::Compute;
pub use after::After;
pub(crate) use offsets::offsets;
pub(crate) use operands::Product;
use plan::{Plan, Tasks};
use rayon::prelude::*;
use std::ops::Range;
pub(crate) use store::{Target, segments, store};

impl Product<'_> {
    /// Runs it. `sink(rows, panel, sums)` takes finished sums, `[parts][rows of the task][PANEL]`, and the rows that
    /// there are.
    ///
    /// # Panics
    /// If the operand is too short.
    pub(crate) fn run(&self, sink: impl Fn(Range<usize>, usize, &[f32]) + Sync) {
        let fits = |product: &Product<'_>| {
            let shape = (self.rows(), self.parts, self.positions);
            product.fits() && (product.rows(), product.parts, product.positions) == shape
        };
        assert!(fits(self), "operand too short");
        // Sums of int8 have their scales applied at the end, which others lack.
        let float = self.more.is_empty() || self.compute != Compute::Int8;
        assert!(
            float && self.more.iter().all(fits),
            "operand of what is added"
        );
        let kernels = self.kernels();
        let offsets = self.offsets(&kernels);
        let more: Vec<_> = self.more.iter().map(|p| (p, p.offsets(&kernels))).collect();
        let tasks = Tasks::new(self.rows(), self.parts, self.panels(), &kernels);
        let plan = |task| Plan::new(self, &kernels, offsets.as_u32(), tasks.get(task));
        (0..tasks.count())
            .into_par_iter()
            .with_max_len(1)
            .for_each(|task| {
                let next = (task + 1 < tasks.count()).then(|| plan(task + 1));
                let more = more.iter().map(|(product, offsets)| {
                    let plan = Plan::new(product, &kernels, offsets.as_u32(), tasks.get(task));
                    (*product, plan.added())
                });
                self.task(&plan(task), next.as_ref(), more, &sink);
            });
    }
}
