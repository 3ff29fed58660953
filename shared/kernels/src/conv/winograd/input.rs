//! From a map to inputs in the transformed domain.

use super::rectangles::Rectangle;
use super::strides::Strides;
use super::transform::{IN, Lanes, OUT, b};
use crate::arch::LANES;
use crate::isa::Isa;
use crate::isa::per_isa;
use crate::memory::Scratch;
use crate::value::{Region, Source};

/// Reads the pixels of `rectangle` and around it, and transforms them.
pub(super) fn transform(
    isa: Isa,
    x: &Source<'_>,
    rectangle: &Rectangle,
    strides: Strides,
    out: &mut [f32],
    room: &mut Scratch,
) {
    let rows = rectangle.height * OUT + IN - OUT;
    let used = rectangle.width * OUT + IN - OUT;
    let width = used.next_multiple_of(LANES);
    let region = Region {
        top: rectangle.top * OUT,
        left: rectangle.left * OUT,
        width,
    };
    // Neighbours share two columns: the last tile's last two stand where a next tile's first two would.
    let phase_pitch = (rectangle.width + 1).next_multiple_of(LANES) + LANES;
    let room = room.f32((rows + IN) * width + IN * OUT * phase_pitch);
    let (lines, room) = room.split_at_mut(rows * width);
    let (columns, phases) = room.split_at_mut(IN * width);
    for c in 0..x.planes.channels {
        x.region(isa, c, region, lines);
        for y in 0..rectangle.height {
            for row in y * OUT..((y + 1) * OUT).min(rows) {
                x.prefetch(c + 1, region, row);
            }
            let lines = &lines[y * OUT * width..][..IN * width];
            down(isa, lines, columns);
            for (line, phases) in columns
                .chunks_exact(width)
                .zip(phases.chunks_exact_mut(OUT * phase_pitch))
            {
                let (p0, rest) = phases.split_at_mut(phase_pitch);
                let (p1, rest) = rest.split_at_mut(phase_pitch);
                let (p2, p3) = rest.split_at_mut(phase_pitch);
                sort(isa, &line[..rectangle.width * OUT], p0, p1, p2, p3);
                p0[rectangle.width] = line[used - 2];
                p1[rectangle.width] = line[used - 1];
            }
            let out = &mut out[strides.at(0, c) + y * rectangle.width..];
            along(
                isa,
                phases,
                phase_pitch,
                rectangle.width,
                out,
                strides.point,
            );
        }
    }
}

per_isa! {
/// Transforms [`IN`] lines down the columns.
fn down(isa, lines: &[f32], out: &mut [f32]) {
    let pitch = lines.len() / IN;
    for x in (0..pitch).step_by(LANES) {
        let mut v = [Lanes::ZERO; IN];
        for i in 0..IN {
            v[i] = Lanes::load(&lines[i * pitch + x..]);
        }
        let v = b(v);
        for i in 0..IN {
            v[i].store(&mut out[i * pitch + x..]);
        }
    }
}
}

per_isa! {
/// Sorts pixels by their column in a tile.
fn sort(isa, line: &[f32], p0: &mut [f32], p1: &mut [f32], p2: &mut [f32], p3: &mut [f32]) {
    let tiles = line.len() / OUT;
    let (line, p0, p1) = (&line[..tiles * OUT], &mut p0[..tiles], &mut p1[..tiles]);
    let (p2, p3) = (&mut p2[..tiles], &mut p3[..tiles]);
    for t in 0..tiles {
        p0[t] = line[t * OUT];
        p1[t] = line[t * OUT + 1];
        p2[t] = line[t * OUT + 2];
        p3[t] = line[t * OUT + 3];
    }
}
}

per_isa! {
/// Transforms along the rows: `tiles` tiles, whole vectors of them, to `IN * IN` numbers, `stride` apart.
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
