//! Pictures as characters: the upper half block, two pixels to a cell.

use std::fmt::Write;

use super::picture::Picture;

/// Which colours a terminal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// Any, by `38;2;R;G;B`.
    All,
    /// xterm's 256, by `38;5;N`.
    Indexed,
}

/// Lines of half blocks, each with its colours taken back at its end.
pub(crate) fn draw(picture: &Picture, colours: Colours) -> String {
    let mut text = String::new();
    for rows in picture.pixels.chunks(2 * picture.width) {
        let (upper, lower) = rows.split_at(picture.width);
        let mut last = (None, None);
        for (x, &above) in upper.iter().enumerate() {
            let below = lower.get(x).copied();
            let new = (Some(above), below);
            if new != last {
                let _ = match below {
                    Some(below) => write!(
                        text,
                        "\x1b[{};{}m",
                        colour(38, above, colours),
                        colour(48, below, colours)
                    ),
                    None => write!(text, "\x1b[{}m", colour(38, above, colours)),
                };
                last = new;
            }
            text.push('\u{2580}');
        }
        text.push_str("\x1b[0m\n");
    }
    text
}

/// The part of an escape sequence that sets the foreground (38) or background (48).
fn colour(plane: u8, [r, g, b]: [u8; 3], colours: Colours) -> String {
    match colours {
        Colours::All => format!("{plane};2;{r};{g};{b}"),
        Colours::Indexed => format!("{plane};5;{}", nearest([r, g, b])),
    }
}

/// The nearest of xterm's colours: 16 to 231 are a cube of six levels a side, 232 to 255 are greys.
fn nearest(rgb: [u8; 3]) -> u8 {
    const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    let distance = |other: [u8; 3]| -> u32 {
        let apart = |(a, b): (&u8, &u8)| u32::from(a.abs_diff(*b)).pow(2);
        rgb.iter().zip(&other).map(apart).sum()
    };
    let level = |value: u8| {
        (0..6)
            .min_by_key(|&i| LEVELS[i].abs_diff(value))
            .unwrap_or(0)
    };
    let [r, g, b] = rgb.map(level);
    let cube = [r, g, b].map(|i| LEVELS[i]);
    let mean = rgb.iter().map(|&value| u32::from(value)).sum::<u32>() / 3;
    let grey = (mean.saturating_sub(3) / 10).min(23) as u8;
    let value = 8 + 10 * grey;
    if distance([value; 3]) < distance(cube) {
        232 + grey
    } else {
        (16 + 36 * r + 6 * g + b) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pixels_to_a_cell() {
        let picture = Picture {
            width: 2,
            height: 3,
            pixels: vec![
                [1, 2, 3],
                [1, 2, 3],
                [4, 5, 6],
                [4, 5, 6],
                [7, 8, 9],
                [0, 0, 0],
            ],
        };
        assert_eq!(
            draw(&picture, Colours::All),
            "\x1b[38;2;1;2;3;48;2;4;5;6m▀▀\x1b[0m\n\
             \x1b[38;2;7;8;9m▀\x1b[38;2;0;0;0m▀\x1b[0m\n"
        );
    }

    #[test]
    fn indexed_colours_are_the_nearest() {
        // From xterm's table.
        for (rgb, index) in [
            ([0, 0, 0], 16),
            ([255, 255, 255], 231),
            ([255, 0, 0], 196),
            ([95, 135, 175], 67),
            ([128, 128, 128], 244),
            ([8, 8, 8], 232),
            ([238, 238, 238], 255),
            ([90, 140, 170], 67),
        ] {
            assert_eq!(nearest(rgb), index, "{rgb:?}");
        }
    }
}
