//! Masks by the rules of diffusers' `VaeImageProcessor` with `do_convert_grayscale` and `do_binarize`.

use crate::Rgb;
use crate::size::FACTOR;

/// `[height, width]`: 1 where a picture is to be painted anew (half grey and lighter), 0 where it stays.
///
/// The mask is brought to the picture's size before, by the picture's own rules.
pub fn binarize(mask: &Rgb) -> Vec<f32> {
    // 127 / 255 is below a half, 128 / 255 is above.
    let light = |grey: u8| f32::from(u8::from(grey >= 128));
    mask.to_grey().into_iter().map(light).collect()
}

/// A mask `[height, width]` in the size of the latents, `[height / 8, width / 8]`, as torch's
/// `interpolate(mode="nearest")`: the top left of every eight by eight pixels counts.
pub fn to_latents(mask: &[f32], width: usize, height: usize) -> Vec<f32> {
    let rows = (0..height).step_by(FACTOR);
    rows.flat_map(|y| (0..width).step_by(FACTOR).map(move |x| mask[y * width + x]))
        .collect()
}

/// The picture `[3, height, width]`, -1 to 1, with grey (0) wherever the mask `[height, width]` is 1.
pub fn masked(image: &[f32], mask: &[f32]) -> Vec<f32> {
    image
        .iter()
        .zip(mask.iter().cycle())
        .map(|(&value, &mask)| if mask < 0.5 { value } else { 0.0 })
        .collect()
}
