//! What `text-embeddings` frames may hold of a picture to start from.

use crate::kind::LATENT_CHANNELS;
use crate::tensors::{check_float, check_shape, find};
use crate::{Error, TensorSpec};

/// `image_mean`, `[B,4,h,w]`: the mean of the distribution of the picture's latents, in the U-Net's scale.
pub const IMAGE_MEAN: &str = "image_mean";
/// `image_logvar`, shaped as `image_mean`: logarithms of the variances, in the U-Net's scale. An autoencoder without a
/// distribution gives none.
pub const IMAGE_LOGVAR: &str = "image_logvar";
/// `mask`, `[B,1,h,w]`: 1 where the picture is to be painted anew, 0 where it stays.
pub const MASK: &str = "mask";
/// `masked_image_mean`, shaped as `image_mean`: the mean for the picture with grey under the mask. Networks with nine
/// channels ask for it.
pub const MASKED_IMAGE_MEAN: &str = "masked_image_mean";
/// `masked_image_logvar`, shaped as `image_mean`: what `image_logvar` is for `image_mean`.
pub const MASKED_IMAGE_LOGVAR: &str = "masked_image_logvar";

/// Each tensor, and the one that it does not come without. A `mask` without a picture is some other tensor, which
/// the protocol does not know.
const NEEDS: [(&str, &str); 3] = [
    (IMAGE_LOGVAR, IMAGE_MEAN),
    (MASKED_IMAGE_MEAN, MASK),
    (MASKED_IMAGE_LOGVAR, MASKED_IMAGE_MEAN),
];

/// Checks types and shapes of the tensors that are there, beside the frame's `batch` prompts.
pub(crate) fn check(tensors: &[TensorSpec], batch: usize) -> Result<(), Error> {
    for (present, missing) in NEEDS {
        if find(tensors, present).is_some() && find(tensors, missing).is_none() {
            return Err(Error::Companion { present, missing });
        }
    }
    let Some(mean) = find(tensors, IMAGE_MEAN) else {
        return Ok(());
    };
    check_float(mean, IMAGE_MEAN)?;
    check_shape(
        mean,
        IMAGE_MEAN,
        "[B,4,h,w]",
        &[None, Some(LATENT_CHANNELS), None, None],
    )?;
    if mean.shape[0] != batch {
        return Err(Error::BatchMismatch {
            tensor: IMAGE_MEAN,
            other: crate::kind::PROMPT_EMBEDS,
            expected: batch,
            found: mean.shape[0],
        });
    }
    let mut mask_shape = mean.shape.clone();
    mask_shape[1] = 1;
    for (name, expected) in [
        (IMAGE_LOGVAR, &mean.shape),
        (MASK, &mask_shape),
        (MASKED_IMAGE_MEAN, &mean.shape),
        (MASKED_IMAGE_LOGVAR, &mean.shape),
    ] {
        let Some(tensor) = find(tensors, name) else {
            continue;
        };
        check_float(tensor, name)?;
        if tensor.shape != *expected {
            return Err(Error::PictureShape {
                tensor: name,
                other: IMAGE_MEAN,
                expected: expected.clone(),
                found: tensor.shape.clone(),
            });
        }
    }
    Ok(())
}
