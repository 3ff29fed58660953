//! From a map to inputs in the transformed domain.

use super::blocks::Block;
use super::transform::{IN, Lanes, OUT, POINTS, b};
use crate::Isa;
use crate::arch::{LANES, PANEL};
use crate::buffer::Scratch;
use crate::isa::per_isa;
use crate::map::Source;

/// Where the inputs of a task lie: `[POINTS][panels][channels][PANEL]`.
///
/// Vectors are stored whole, so what is stored for the last tiles of a run reaches into lanes that the next run, or the
/// next channel, overwrites. Behind a panel there is room for it, which also keeps the 36 numbers of a tile out of one
/// set of the cache.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    panel: usize,
    point: usize,
}

impl Layout {
    pub(super) fn new(channels: usize, panels: usize) -> Self {
        let panel = channels * PANEL + LANES;
        Self {
            panel,
            point: panels * panel,
        }
    }

    pub(super) fn len(self) -> usize {
        POINTS * self.point
    }

    pub(super) fn at(self, point: usize, panel: usize, channel: usize) -> usize {
        point * self.point + panel * self.panel + channel * PANEL
    }
}

/// Reads the pixels of `block` and around it, and transforms them.
pub(super) fn transform(
    isa: Isa,
    x: &Source<'_>,
    block: &Block,
    layout: Layout,
    out: &mut [f32],
    scratch: &mut [Scratch; 4],
) {
    let [lines, phases, room, _] = scratch;
    let rows = block.height * OUT + IN - OUT;
    // The last tile's inputs and the first two of the one after it.
    let pitch = ((block.width + 1) * OUT).next_multiple_of(LANES);
    let lines = lines.f32(rows * pitch);
    lines.fill(0.0);
    let phase_pitch = pitch / OUT + LANES;
    let phases = phases.f32(IN * OUT * phase_pitch);
    for c in 0..x.planes.channels {
        for y in 0..rows {
            let (done, line) = lines.split_at_mut(y * pitch);
            let line = &mut line[..block.width * OUT + IN - OUT];
            // In the map, counted from the zero above it and left of it.
            let (top, left) = (block.top * OUT + y, block.left * OUT);
            if y > 0 && x.repeats(top) {
                line.copy_from_slice(&done[(y - 1) * pitch..][..line.len()]);
            } else {
                x.line(isa, c, top, left, line, room);
            }
        }
        for y in 0..block.height {
            let lines = &lines[y * OUT * pitch..][..IN * pitch];
            down(isa, lines, phases, phase_pitch);
            for run in block.runs(y) {
                let out = &mut out[layout.at(0, run.panel, c) + run.lane..];
                along(isa, &phases[run.x..], phase_pitch, run.len, out, layout.point);
            }
        }
    }
}

per_isa! {
/// Transforms [`IN`] lines down the columns, and sorts each result's pixels by their place in a tile: `[IN][OUT]`
/// rows of tiles, `phase_pitch` apart.
fn down(isa, lines: &[f32], phases: &mut [f32], phase_pitch: usize) {
    let pitch = lines.len() / IN;
    for x in (0..pitch).step_by(LANES) {
        let mut v = [Lanes::ZERO; IN];
        for i in 0..IN {
            v[i] = Lanes::load(&lines[i * pitch + x..]);
        }
        let v = b(v);
        for i in 0..IN {
            let mut pixels = [0.0; LANES];
            v[i].store(&mut pixels);
            for k in 0..OUT {
                let tiles = &mut phases[(i * OUT + k) * phase_pitch + x / OUT..][..LANES / OUT];
                for t in 0..LANES / OUT {
                    tiles[t] = pixels[t * OUT + k];
                }
            }
        }
    }
}
}

per_isa! {
/// Transforms along the rows: `tiles` tiles, whole vectors of them, to [`POINTS`] numbers, `stride` apart.
fn along(isa, phases: &[f32], phase_pitch: usize, tiles: usize, out: &mut [f32], stride: usize) {
    for t in (0..tiles).step_by(LANES) {
        for i in 0..IN {
            let mut v = [Lanes::ZERO; IN];
            for j in 0..IN {
                // The last two inputs of a tile are the first two of the next.
                v[j] = Lanes::load(&phases[(i * OUT + j % OUT) * phase_pitch + t + j / OUT..]);
            }
            let v = b(v);
            for j in 0..IN {
                v[j].store(&mut out[(i * IN + j) * stride + t..]);
            }
        }
    }
}
}
