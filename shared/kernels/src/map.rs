//! Maps: nearest neighbours and joined channels.

use crate::value::{Context, Planes};

/// One channel drawn from its nearest pixels: source = floor(destination * in / out).
pub(crate) fn upsample_row(x: &[f32], from: [usize; 2], to: [usize; 2], out: &mut [f32]) {
    let double = to[1] == 2 * from[1];
    let mut previous = usize::MAX;
    for y in 0..to[0] {
        let source = y * from[0] / to[0];
        let (done, rest) = out.split_at_mut(y * to[1]);
        let row = &mut rest[..to[1]];
        if source == previous {
            row.copy_from_slice(&done[(y - 1) * to[1]..]);
            continue;
        }
        previous = source;
        let line = &x[source * from[1]..][..from[1]];
        if double {
            for (d, s) in row.chunks_exact_mut(2).zip(line) {
                d.fill(*s);
            }
        } else {
            for (i, d) in row.iter_mut().enumerate() {
                *d = line[i * from[1] / to[1]];
            }
        }
    }
}

/// Nearest neighbour to an explicit size.
///
/// # Panics
/// If `x` is not a map of the size `from`.
pub fn upsample_nearest(ctx: &Context, x: &Planes, from: [usize; 2], to: [usize; 2]) -> Planes {
    assert_eq!(x.positions, from[0] * from[1]);
    let mut out = Planes::take(ctx, x.channels, to[0] * to[1]);
    out.for_each_channel(|c, row| upsample_row(x.row(c), from, to, row));
    out
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
