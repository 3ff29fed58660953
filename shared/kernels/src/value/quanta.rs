//! What int8 needs to know of each position: its scale, and the sum of its numbers.

use crate::arch::PANEL;
use crate::context::Context;
use crate::memory::{Buffer, Disjoint};

/// What int8 needs to know of each position of a panel.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quanta {
    /// What its numbers have to be multiplied by.
    pub scales: [f32; PANEL],
    /// The sum of its numbers before that.
    pub sums: [i32; PANEL],
}

/// 4-byte elements of a [`Quanta`].
const SIZE: usize = size_of::<Quanta>() / 4;

/// The quanta of each panel of an operand.
#[derive(Debug)]
pub(crate) struct QuantaBuffer(Buffer);

impl QuantaBuffer {
    /// Room for so many panels; the contents are left over from earlier.
    pub(super) fn take(ctx: &Context, panels: usize) -> Self {
        Self(ctx.pool.take(panels * SIZE))
    }

    pub(crate) fn panel(&self, panel: usize) -> &Quanta {
        let bits = &self.0.as_u32()[panel * SIZE..][..SIZE];
        // SAFETY: as long and as aligned as a `Quanta`, every bit pattern of which is valid.
        unsafe { &*bits.as_ptr().cast() }
    }

    /// To be written by several threads.
    pub(super) fn disjoint(&mut self) -> DisjointQuanta {
        DisjointQuanta(Disjoint::new(self.0.as_u32_mut()))
    }
}

/// Quanta that several threads write, each its own panels.
pub(super) struct DisjointQuanta(Disjoint<u32>);

impl DisjointQuanta {
    /// # Safety
    /// - The buffer is still borrowed for `'a`.
    /// - No other thread holds this panel's.
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn panel<'a>(&self, panel: usize) -> &'a mut Quanta {
        // SAFETY: by the caller's word; and as in `QuantaBuffer::panel`.
        unsafe {
            let bits: &'a mut [u32] = self.0.range(panel * SIZE, SIZE);
            &mut *bits.as_mut_ptr().cast()
        }
    }
}

/// The largest number of each position of a panel, whatever its sign. Infinity is larger than any other, and NaN larger
/// than that.
#[derive(Clone, Copy)]
pub(crate) struct Largest([u32; PANEL]);

impl Largest {
    pub(crate) const NONE: Self = Self([0; PANEL]);

    /// One number of each of the first positions.
    #[inline(always)]
    pub(crate) fn see(&mut self, numbers: &[f32]) {
        for (largest, number) in self.0.iter_mut().zip(numbers) {
            // Numbers without a sign are in the order of their bits.
            *largest = (*largest).max(number.to_bits() & 0x7fff_ffff);
        }
    }

    /// The scales, by which the largest number is 127 times its position's, and the factors that bring it there. Where
    /// all is zero, or next to it, so are both; where a number is not finite, nor is the scale.
    #[inline(always)]
    pub(super) fn scales(&self) -> ([f32; PANEL], [f32; PANEL]) {
        let (mut scales, mut factors) = ([0.0; PANEL], [0.0; PANEL]);
        for l in 0..PANEL {
            let largest = f32::from_bits(self.0[l]);
            scales[l] = if largest < 1e-30 {
                0.0
            } else {
                largest / 127.0
            };
            factors[l] = if largest < 1e-30 {
                0.0
            } else {
                127.0 / largest
            };
        }
        (scales, factors)
    }
}
