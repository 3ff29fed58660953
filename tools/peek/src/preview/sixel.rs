//! Sixel graphics, as the VT340 had them and many terminals do again.

use std::fmt::Write;

use super::picture::Picture;

/// Levels of red, green and blue: 216 colours, which every terminal with sixels has room for. Sixel colours are per
/// cent, and these levels are whole ones.
const LEVELS: usize = 6;

/// The picture in the colours of a cube, with what is rounded off handed on to the pixels beside and below, so that
/// areas keep their colour.
pub(crate) fn draw(picture: &Picture) -> String {
    let (width, height) = (picture.width, picture.height);
    let indices = dither(picture);
    // No scaling (1:1 pixels), pixels that are not drawn stay as they are; then the size.
    let mut text = format!("\x1bP0;1;0q\"1;1;{width};{height}");
    let mut used = [false; LEVELS * LEVELS * LEVELS];
    for &index in &indices {
        used[usize::from(index)] = true;
    }
    for index in (0..used.len()).filter(|&index| used[index]) {
        let [r, g, b] = levels(index).map(|level| level * 100 / (LEVELS - 1));
        let _ = write!(text, "#{index};2;{r};{g};{b}");
    }
    for band in indices.chunks(6 * width) {
        let mut used = [false; LEVELS * LEVELS * LEVELS];
        for &index in band {
            used[usize::from(index)] = true;
        }
        let mut first = true;
        for index in (0..used.len()).filter(|&index| used[index]) {
            if !first {
                text.push('$');
            }
            first = false;
            let _ = write!(text, "#{index}");
            run_lengths(&mut text, band, width, index);
        }
        text.push('-');
    }
    text.push_str("\x1b\\\n");
    text
}

/// One colour of a band: a character a column, six pixels high, the topmost being the lowest bit.
fn run_lengths(text: &mut String, band: &[u8], width: usize, index: usize) {
    let column = |x: usize| -> u8 {
        let rows = band.iter().skip(x).step_by(width).enumerate();
        let bits: u8 = rows
            .filter(|(_, pixel)| usize::from(**pixel) == index)
            .map(|(row, _)| 1 << row)
            .sum();
        b'?' + bits
    };
    let mut x = 0;
    while x < width {
        let sixel = column(x);
        let mut count = 1;
        while x + count < width && column(x + count) == sixel {
            count += 1;
        }
        x += count;
        // Nothing more of this colour to the right.
        if x == width && sixel == b'?' {
            break;
        }
        let _ = match count {
            1..=3 => (0..count).try_for_each(|_| write!(text, "{}", char::from(sixel))),
            count => write!(text, "!{count}{}", char::from(sixel)),
        };
    }
}

fn levels(index: usize) -> [usize; 3] {
    [
        index / LEVELS / LEVELS,
        index / LEVELS % LEVELS,
        index % LEVELS,
    ]
}

/// Floyd and Steinberg's error diffusion.
fn dither(picture: &Picture) -> Vec<u8> {
    let width = picture.width;
    let step = 255.0 / (LEVELS - 1) as f32;
    // Errors of this row and the next, with a pixel more on both sides.
    let mut errors = [vec![[0.0_f32; 3]; width + 2], vec![[0.0; 3]; width + 2]];
    let mut indices = Vec::with_capacity(picture.pixels.len());
    for row in picture.pixels.chunks(width) {
        for (x, pixel) in row.iter().enumerate() {
            let mut index = 0;
            for c in 0..3 {
                let wanted = f32::from(pixel[c]) + errors[0][x + 1][c];
                let level = (wanted / step).round().clamp(0.0, (LEVELS - 1) as f32);
                index = index * LEVELS + level as usize;
                let error = wanted - level * step;
                errors[0][x + 2][c] += error * 7.0 / 16.0;
                errors[1][x][c] += error * 3.0 / 16.0;
                errors[1][x + 1][c] += error * 5.0 / 16.0;
                errors[1][x + 2][c] += error / 16.0;
            }
            indices.push(index as u8);
        }
        errors.swap(0, 1);
        errors[1].fill([0.0; 3]);
    }
    indices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_of_the_cubes_colours_is_itself() {
        let (red, blue) = ([255, 0, 0], [0, 0, 255]);
        let row = [red, red, red, red, red, blue];
        let picture = Picture {
            width: 6,
            height: 7,
            pixels: row.repeat(7),
        };
        // Red is colour 5 * 36, blue is 5. The first band is six pixels high (~), the second one (@).
        assert_eq!(
            draw(&picture),
            "\x1bP0;1;0q\"1;1;6;7#5;2;0;0;100#180;2;100;0;0#5!5?~$#180!5~-#5!5?@$#180!5@-\x1b\\\n"
        );
    }
}
