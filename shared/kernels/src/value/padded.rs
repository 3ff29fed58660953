//! The operand of 3x3 convolutions.

use super::planes::Planes;
use super::window::Window;
use crate::arch::{Compute, LANES, PANEL};
use crate::context::Context;
use crate::isa::per_isa;
use crate::memory::{Buffer, with_scratch};
use crate::step::StepWriter;
use rayon::prelude::*;

/// Left operand of a 3x3 convolution: maps with a rim of zeros, in which the nine neighbours of each pixel of the result
/// lie at nine fixed distances, so that the convolution is a product over a run of pixels. See [`Neighbours`].
#[derive(Debug)]
pub(crate) struct Padded {
    pub(crate) data: Buffer,
    /// Pixels of the result.
    pub(crate) pixels: usize,
    neighbours: Neighbours,
    /// Type of the numbers.
    pub(crate) compute: Compute,
    /// Elements from one step (a channel, or two) to the next.
    pub(crate) pitch: usize,
}

/// Widest map that is kept three times.
const NARROW: usize = 32;

/// How the maps of a [`Padded`] lie, for a result of `height` and `width`.
#[derive(Clone, Copy, Debug)]
struct Neighbours {
    height: usize,
    width: usize,
    /// Elements from one row to the next.
    row: usize,
    /// Elements from one of several maps to the next.
    map: usize,
    way: Way,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Stride 1. A row is followed by one zero, which is the right neighbour of its last pixel and the left neighbour of
    /// the next row's first; a row of zeros stands above and below. So a run of pixels may go on over the ends of rows:
    /// the sums that fall on the zeros between are not used.
    Once,
    /// Stride 1, where whole vectors make a narrow row, and a zero behind it would be one sum in 17, or in 33: three maps,
    /// moved by a pixel to the right, not at all, and to the left, with no zeros between rows.
    Thrice,
    /// Stride 2: four maps, of the pixels in even and in odd rows and columns. A row has one pixel more than the result's,
    /// where a run goes on over its end.
    Quartered,
}

impl Neighbours {
    fn new(window: Window, [height, width]: [usize; 2]) -> Self {
        let [height, width] = window.output(height, width);
        let (row, map, way) = if window.stride == 2 {
            (width + 1, (height + 1) * (width + 1), Way::Quartered)
        } else if width.is_multiple_of(LANES) && width <= NARROW {
            (width, (height + 2) * width, Way::Thrice)
        } else {
            (width + 1, 1, Way::Once)
        };
        Self {
            height,
            width,
            row,
            map,
            way,
        }
    }

    /// Where the neighbours of the first pixel lie, row after row.
    fn taps(self) -> [usize; 9] {
        std::array::from_fn(|t| {
            let (y, x) = (t / 3, t % 3);
            match self.way {
                Way::Quartered => (y % 2 * 2 + x % 2) * self.map + y / 2 * self.row + x / 2,
                Way::Once | Way::Thrice => y * self.row + x * self.map,
            }
        })
    }

    /// Positions of the run.
    fn positions(self) -> usize {
        self.height * self.row
    }

    /// Elements that a run of whole panels reaches.
    fn len(self) -> usize {
        let last = self.taps().into_iter().max().unwrap_or(0);
        self.positions().next_multiple_of(PANEL) + last
    }
}

impl Padded {
    /// Builds the operand of a convolution over `size` step by step. The map is `finished`, or `fill(channel, out)` writes
    /// one channel of it, row after row without gaps.
    ///
    /// # Panics
    /// If the window is not 3x3, of stride 1 with a rim of one, or of stride 2 with a rim of at most one.
    pub(crate) fn build(
        ctx: &Context,
        channels: usize,
        size: [usize; 2],
        window: Window,
        compute: Compute,
        finished: Option<&Planes>,
        fill: impl Fn(usize, &mut [f32]) + Sync,
    ) -> Self {
        let narrow = window.padding.iter().all(|rim| *rim <= 1);
        let known = window == Window::same(3) || window.stride == 2 && narrow;
        assert!(window.kernel == 3 && known, "no way for {window:?}");
        let neighbours = Neighbours::new(window, size);
        let pitch = (neighbours.len().div_ceil(LANES) | 1) * LANES;
        let mut data = ctx.pool.take(compute.steps(channels) * pitch);
        let (isa, pixels) = (ctx.isa, size[0] * size[1]);
        data.as_u32_mut()
            .par_chunks_mut(pitch)
            .enumerate()
            .for_each(|(s, plane)| {
                with_scratch(|[rows, lines, ..]| {
                    let mut rooms = rows.f32(2 * pixels).chunks_exact_mut(pixels);
                    let mut channel = |c: usize| -> &[f32] {
                        let room = rooms.next().expect("a room for each channel of a step");
                        match finished {
                            _ if c >= channels => room.fill(0.0),
                            Some(planes) => return planes.row(c),
                            None => fill(c, room),
                        }
                        room
                    };
                    let maps = match compute {
                        // A step of one number: the other map is not read.
                        Compute::F32 => [channel(s); 2],
                        Compute::Bf16 => [channel(2 * s), channel(2 * s + 1)],
                        Compute::Int8 => panic!("3x3 convolutions have no products of int8"),
                    };
                    if window.stride == 2 {
                        let [top, _, left, _] = window.padding;
                        let lines = lines.f32(4 * neighbours.row);
                        quarter(
                            isa,
                            maps,
                            size,
                            [top, left],
                            lines,
                            plane,
                            neighbours,
                            compute,
                        );
                    } else {
                        let [low, high] = maps;
                        lay_out(isa, low, high, plane, neighbours, compute);
                    }
                });
            });
        Self {
            data,
            pixels: neighbours.height * neighbours.width,
            neighbours,
            compute,
            pitch,
        }
    }

    /// Where the neighbours of the first pixel lie, row after row.
    pub(crate) fn taps(&self) -> [usize; 9] {
        self.neighbours.taps()
    }

    /// Width of the rows between which a run of pixels has one that is not used.
    pub(crate) fn gaps(&self) -> Option<usize> {
        (self.neighbours.way != Way::Thrice).then_some(self.neighbours.width)
    }

    /// Positions of the run.
    pub(crate) fn positions(&self) -> usize {
        self.neighbours.positions()
    }
}

per_isa! {
/// One step of a [`Padded`] for stride 1: the rim and the rows of one channel, or two.
fn lay_out(
    isa, low: &[f32], high: &[f32], plane: &mut [u32], neighbours: Neighbours, compute: Compute,
) {
    let Neighbours { height, width, row, map: size, way } = neighbours;
    // The map as it is, between rows of zeros.
    let map = &mut plane[size - 1..];
    map[..=row].fill(0);
    for y in 0..height {
        let (low, high) = (&low[y * width..][..width], &high[y * width..][..width]);
        let dst = &mut map[(y + 1) * row + 1..][..row];
        StepWriter::<LEVEL>(compute).across([low, high, &[], &[]], &mut dst[..width]);
        dst[width..].fill(0);
    }
    map[(height + 1) * row + 1..][..row].fill(0);
    if way == Way::Thrice {
        // Its left neighbours before it, and its right ones behind it.
        plane.copy_within(size..2 * size - 1, 1);
        plane.copy_within(size + 1..2 * size, 2 * size);
        for y in 0..height + 2 {
            plane[y * width] = 0;
            plane[2 * size + (y + 1) * width - 1] = 0;
        }
    }
}
}

per_isa! {
/// One step of a [`Padded`] for stride 2: its four maps. Row y and column x of map (a, b) are row 2y + a - top and column
/// 2x + b - left of `maps`, or zero outside.
fn quarter(
    isa, maps: [&[f32]; 2], size: [usize; 2], rim: [usize; 2], lines: &mut [f32], plane: &mut [u32],
    neighbours: Neighbours, compute: Compute,
) {
    let ([height, width], [top, left], Neighbours { row, map: quarter, .. }) = (size, rim, neighbours);
    // Of each of `maps` the lines of b = 0 and 1; what no pixel falls on stays zero.
    lines.fill(0.0);
    let (low, high) = lines.split_at_mut(2 * row);
    for a in 0..2 {
        // A window has two even rows, and an odd one.
        for y in 0..=neighbours.height - a {
            let from = (2 * y + a).wrapping_sub(top);
            if from < height {
                let lines = [&mut *low, &mut *high];
                for (map, lines) in maps.iter().zip(lines).take(compute.per_step()) {
                    split(&map[from * width..][..width], left, lines);
                }
            }
            for b in 0..2 {
                let out = &mut plane[(2 * a + b) * quarter + y * row..][..row];
                if from < height {
                    let [low, high] = [&low[b * row..][..row], &high[b * row..][..row]];
                    StepWriter::<LEVEL>(compute).across([low, high, &[], &[]], out);
                } else {
                    out.fill(0);
                }
            }
        }
    }
}
}

/// Parts the columns of a row: into the first half of `lines` those at even places behind `left` zeros, into the second
/// those at odd ones.
#[inline(always)]
fn split(row: &[f32], left: usize, lines: &mut [f32]) {
    let half = lines.len() / 2;
    let (first, second) = lines.split_at_mut(half);
    let (even, odd) = match left {
        0 => (first, second),
        // The first pixel is at place 1.
        _ => (second, &mut first[1..]),
    };
    for ((even, odd), pair) in even.iter_mut().zip(odd).zip(row.chunks_exact(2)) {
        *even = pair[0];
        *odd = pair[1];
    }
    if let [last] = row.chunks_exact(2).remainder()
        && let Some(even) = even.get_mut(row.len() / 2)
    {
        *even = *last;
    }
}
