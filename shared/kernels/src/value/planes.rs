//! Floats, channel by channel.

use crate::arch::LANES;
use crate::context::Context;
use crate::memory::Buffer;
use rayon::prelude::*;
use std::ops::Range;

/// Elements from one row of positions to the next: an odd number of cache lines, so that a walk down the rows does
/// not fall into one set of the cache.
pub(crate) fn pitch(positions: usize) -> usize {
    if positions == 1 {
        1
    } else {
        (positions.div_ceil(LANES) | 1) * LANES
    }
}

/// Floats `[channels, positions]`.
#[derive(Debug)]
pub struct Planes {
    pub(crate) data: Buffer,
    /// Rows.
    pub channels: usize,
    /// Numbers in a row that mean something.
    pub positions: usize,
    /// Elements from row to row.
    pub pitch: usize,
}

impl Planes {
    /// Room for a value; the contents are left over from earlier.
    pub fn take(ctx: &Context, channels: usize, positions: usize) -> Self {
        let pitch = pitch(positions);
        Self {
            data: ctx.pool.take(channels * pitch),
            channels,
            positions,
            pitch,
        }
    }

    /// From `[channels, positions]`.
    ///
    /// # Panics
    /// If the length does not fit.
    pub fn from_channels(ctx: &Context, data: &[f32], channels: usize, positions: usize) -> Self {
        assert_eq!(data.len(), channels * positions);
        let mut planes = Self::take(ctx, channels, positions);
        for (c, row) in data.chunks_exact(positions).enumerate() {
            planes.row_mut(c).copy_from_slice(row);
        }
        planes
    }

    /// From `[positions, channels]`.
    ///
    /// # Panics
    /// If the length does not fit.
    pub fn from_tokens(ctx: &Context, data: &[f32], positions: usize, channels: usize) -> Self {
        assert_eq!(data.len(), channels * positions);
        let mut planes = Self::take(ctx, channels, positions);
        for c in 0..channels {
            for (p, v) in planes.row_mut(c).iter_mut().enumerate() {
                *v = data[p * channels + c];
            }
        }
        planes
    }

    /// As `[channels, positions]`.
    pub fn to_channels(&self) -> Vec<f32> {
        let mut out = Vec::with_capacity(self.channels * self.positions);
        (0..self.channels).for_each(|c| out.extend_from_slice(self.row(c)));
        out
    }

    /// As `[positions, channels]`.
    pub fn to_tokens(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.channels * self.positions];
        for c in 0..self.channels {
            for (p, v) in self.row(c).iter().enumerate() {
                out[p * self.channels + c] = *v;
            }
        }
        out
    }

    /// A copy.
    #[must_use]
    pub fn copy(&self, ctx: &Context) -> Self {
        let mut out = Self::take(ctx, self.channels, self.positions);
        out.for_each_channel(|c, row| row.copy_from_slice(self.row(c)));
        out
    }

    /// A copy of some positions.
    #[must_use]
    pub fn part(&self, ctx: &Context, positions: Range<usize>) -> Self {
        let mut out = Self::take(ctx, self.channels, positions.len());
        out.for_each_channel(|c, row| row.copy_from_slice(&self.row(c)[positions.clone()]));
        out
    }

    /// Changes every channel: `f(channel, numbers)`.
    pub fn for_each_channel(&mut self, f: impl Fn(usize, &mut [f32]) + Sync) {
        let (pitch, positions) = (self.pitch, self.positions);
        self.data_mut()
            .par_chunks_mut(pitch)
            .enumerate()
            .for_each(|(c, row)| f(c, &mut row[..positions]));
    }

    /// Multiplies every number.
    pub(crate) fn scale(&mut self, factor: f32) {
        self.for_each_channel(|_, row| row.iter_mut().for_each(|v| *v *= factor));
    }

    /// One channel.
    pub fn row(&self, c: usize) -> &[f32] {
        &self.data.as_f32()[c * self.pitch..][..self.positions]
    }

    /// One channel, to write.
    pub fn row_mut(&mut self, c: usize) -> &mut [f32] {
        &mut self.data.as_f32_mut()[c * self.pitch..][..self.positions]
    }

    /// Some positions of some channels.
    pub(crate) fn view(&self, channels: Range<usize>, positions: Range<usize>) -> View<'_> {
        View {
            data: &self.data()[channels.start * self.pitch + positions.start..],
            pitch: self.pitch,
            channels: channels.len(),
            positions: positions.len(),
        }
    }

    /// Everything, rows at `pitch`, the gaps between them included.
    pub fn data(&self) -> &[f32] {
        self.data.as_f32()
    }

    /// Everything, to write.
    pub fn data_mut(&mut self) -> &mut [f32] {
        self.data.as_f32_mut()
    }
}

/// Some positions of some channels of [`Planes`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    /// From the first number on.
    data: &'a [f32],
    pitch: usize,
    pub channels: usize,
    pub positions: usize,
}

impl<'a> View<'a> {
    /// One channel.
    #[inline(always)]
    pub(crate) fn row(&self, c: usize) -> &'a [f32] {
        &self.data[c * self.pitch..][..self.positions]
    }
}

/// `a`'s channels, then `b`'s.
///
/// # Panics
/// If they differ in positions.
pub fn concat(ctx: &Context, a: &Planes, b: &Planes) -> Planes {
    assert_eq!(a.positions, b.positions);
    let mut out = Planes::take(ctx, a.channels + b.channels, a.positions);
    out.for_each_channel(|c, row| {
        row.copy_from_slice(if c < a.channels {
            a.row(c)
        } else {
            b.row(c - a.channels)
        });
    });
    out
}

/// The positions of each value, one value after the other.
///
/// # Panics
/// If they differ in channels, or there is none.
pub fn join(ctx: &Context, values: &[&Planes]) -> Planes {
    let channels = values[0].channels;
    assert!(values.iter().all(|value| value.channels == channels));
    let positions = values.iter().map(|value| value.positions).sum();
    let mut out = Planes::take(ctx, channels, positions);
    out.for_each_channel(|c, mut row| {
        for value in values {
            let part = row.split_off_mut(..value.positions).expect("room for each");
            part.copy_from_slice(value.row(c));
        }
    });
    out
}
