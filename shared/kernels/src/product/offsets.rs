//! Where the steps of a product lie.

use crate::context::Context;
use crate::memory::Buffer;

/// Where so many tiles of steps lie, as a tile kernel asks for it: with one more number behind them.
pub(crate) fn offsets(ctx: &Context, count: usize, at: impl Iterator<Item = usize>) -> Buffer {
    let mut offsets = ctx.pool.take(count + 1);
    let after = std::iter::once(0);
    for (offset, at) in offsets
        .as_u32_mut()
        .iter_mut()
        .zip(at.take(count).chain(after))
    {
        *offset = at as u32;
    }
    offsets
}
