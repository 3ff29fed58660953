//! Pictures as the autoencoder sees them, and back.
//!
//! diffusers: `image_processor.py` (`VaeImageProcessor`).

use crate::error::{expect_finite, expect_len};
use crate::{Error, Result};

/// A decoded image `[3, height, width]`, -1 to 1, as RGB bytes `[height, width, 3]`.
///
/// Values are clamped to 0 to 1 after halving and shifting, and rounded half to even, as numpy does.
///
/// # Errors
/// An image of another size, or with NaN or infinity in it.
pub fn postprocess(image: &[f32], height: usize, width: usize) -> Result<Vec<u8>> {
    expect_len("image", image, &[3, height, width])?;
    expect_finite("image", image)?;
    let plane = height * width;
    let to_byte = |x: f32| ((x * 0.5 + 0.5).clamp(0., 1.) * 255.).round_ties_even() as u8;
    Ok((0..3 * plane)
        .map(|i| to_byte(image[i % 3 * plane + i / 3]))
        .collect())
}

/// RGB bytes `[height, width, 3]` as an image `[3, height, width]`, -1 to 1.
///
/// # Errors
/// A picture of another size.
pub fn preprocess(rgb: &[u8], height: usize, width: usize) -> Result<Vec<f32>> {
    let plane = height * width;
    if rgb.len() != 3 * plane {
        let expected = format!("{} bytes ({height} x {width} x 3)", 3 * plane);
        return Err(Error::argument("picture", expected, rgb.len()));
    }
    Ok((0..3 * plane)
        .map(|i| 2. * (f32::from(rgb[i % plane * 3 + i / plane]) / 255.) - 1.)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected: numpy, `(np.clip(x / 2 + 0.5, 0, 1) * 255).round().astype("uint8")` in float32.
    #[test]
    fn ties_go_to_even_and_the_range_is_clamped() {
        // 255 (x / 2 + 0.5) is 127.5, 64.5 and 190.5 for the first three, exactly so in f32.
        let values = [0., -0.494_117_65, 0.494_117_65, 1., 7., -7.];
        let image: Vec<f32> = (0..18).map(|i| values[i % 6]).collect();
        let bytes = postprocess(&image, 2, 3).unwrap();
        let expected = [128, 64, 190, 255, 255, 0];
        for (i, &byte) in bytes.iter().enumerate() {
            assert_eq!(byte, expected[i / 3], "{i}");
        }
    }

    #[test]
    fn not_a_number_is_an_error_and_not_black() {
        let mut image = vec![0.; 12];
        image[5] = f32::NAN;
        image[6] = f32::INFINITY;
        let message = postprocess(&image, 2, 2).unwrap_err().to_string();
        assert!(
            message.starts_with("image: 2 of 12 values are NaN or infinite"),
            "{message}"
        );
        assert!(postprocess(&image, 2, 3).is_err());
    }

    #[test]
    fn planes_and_pixels_change_places() {
        let rgb: Vec<u8> = (0..=17).map(|i| i * 15).collect();
        let image = preprocess(&rgb, 2, 3).unwrap();
        assert!((image[1] - (2. * 45. / 255. - 1.)).abs() < 1e-6); // red of the second pixel
        assert_eq!(postprocess(&image, 2, 3).unwrap(), rgb);
        assert!(preprocess(&rgb, 3, 3).is_err());
    }
}
