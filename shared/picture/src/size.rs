//! The size that a picture is brought to.

use crate::{Error, Result};

/// Pixels to a latent pixel, in each direction: sides are multiples of this.
pub const FACTOR: usize = 8;

/// Width and height for a picture of `picture` (width, height), where the user wants these sides: the picture's own,
/// reduced to multiples of 8, as diffusers' `get_default_height_width`; one side alone has the other follow the
/// picture's proportions.
///
/// # Errors
/// A picture of less than 8 x 8, or a wanted side that is no multiple of 8.
pub fn target(
    picture: (usize, usize),
    width: Option<usize>,
    height: Option<usize>,
) -> Result<(usize, usize)> {
    for side in [width, height].into_iter().flatten() {
        if side == 0 || !side.is_multiple_of(FACTOR) {
            return Err(Error::Size {
                expected: format!("sides that are multiples of {FACTOR}"),
                found: side.to_string(),
            });
        }
    }
    let floor = |side: usize| side - side % FACTOR;
    let follow = |side: usize, from: usize, to: usize| {
        let exact = side as u128 * to as u128 / from as u128;
        floor(usize::try_from(exact).unwrap_or(usize::MAX)).max(FACTOR)
    };
    let size = match (width, height) {
        (Some(width), Some(height)) => (width, height),
        (Some(width), None) => (width, follow(picture.1, picture.0, width)),
        (None, Some(height)) => (follow(picture.0, picture.1, height), height),
        (None, None) => (floor(picture.0), floor(picture.1)),
    };
    if size.0 == 0 || size.1 == 0 {
        return Err(Error::Size {
            expected: format!(
                "a picture of at least {FACTOR} x {FACTOR} pixels (--width and --height enlarge it)"
            ),
            found: format!("{} x {}", picture.0, picture.1),
        });
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_multiples_of_eight() {
        assert_eq!(target((133, 97), None, None).unwrap(), (128, 96));
        assert_eq!(target((133, 97), Some(64), Some(72)).unwrap(), (64, 72));
        assert_eq!(target((4000, 3000), Some(512), None).unwrap(), (512, 384));
        assert_eq!(target((4000, 3000), None, Some(512)).unwrap(), (680, 512));
        assert_eq!(target((4000, 3), Some(512), None).unwrap(), (512, 8));
        assert!(target((7, 97), None, None).is_err());
        assert!(target((64, 64), Some(63), None).is_err());
        assert!(target((64, 64), None, Some(0)).is_err());
    }
}
