//! Where the numbers of a task lie in the transformed domain.

use super::transform::POINTS;
use crate::arch::{LANES, PANEL};

/// Strides of `[POINTS][rows][PANEL]`, where a row is a channel.
///
/// There is room behind each point. It takes what whole vectors store beyond the last tile, and keeps the 36 numbers of
/// a tile out of one set of the cache.
#[derive(Clone, Copy)]
pub(super) struct Strides {
    /// Elements from one point to the next.
    pub(super) point: usize,
}

impl Strides {
    /// Strides for so many rows.
    pub(super) fn new(rows: usize) -> Self {
        Self {
            point: rows * PANEL + LANES,
        }
    }

    /// Elements in all.
    pub(super) fn len(self) -> usize {
        POINTS * self.point
    }

    /// Where a row of a point begins.
    pub(super) fn at(self, point: usize, row: usize) -> usize {
        point * self.point + row * PANEL
    }
}
