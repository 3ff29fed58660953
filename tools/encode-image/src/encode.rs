//! A picture to its encoding.

use crate::args::{Args, Fit};
use crate::photos::Photo;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use turbo_cli::{Console, Result};
use turbo_picture::{Alpha, Rgb, mask, size};
use turbo_sdxl::image_processor::preprocess;
use turbo_sdxl::{Encoded, VaeEncoder, open_vae_encoder};
use turbo_stage::{Networks, Slot, Vae, VaeChoice};

/// An open encoder.
pub(crate) type Encoder = Vae<dyn VaeEncoder>;

/// What the tool keeps from picture to picture.
pub(crate) struct Encode<'a> {
    pub(crate) args: &'a Args,
    pub(crate) networks: Networks,
    encoder: Slot<VaeChoice, Encoder>,
}

/// A distribution of latents, or latents, `[4, height / 8, width / 8]` in UNet scale.
#[derive(Debug)]
pub(crate) struct Moments {
    pub(crate) mean: Vec<f32>,
    /// None where the encoder gives latents.
    pub(crate) logvar: Option<Vec<f32>>,
}

impl<'a> Encode<'a> {
    pub(crate) fn new(args: &'a Args, console: &Console) -> Result<Self> {
        Ok(Self {
            args,
            networks: Networks::new(&args.model, console)?,
            encoder: Slot::default(),
        })
    }

    /// Opens an encoder, unless it is open: the flag's, else the one that the stream names, else the checkpoint's.
    pub(crate) fn encoder(
        &mut self,
        vae: Option<&str>,
        model: Option<&str>,
    ) -> Result<(Rc<Encoder>, Duration)> {
        let flag = self.args.vae.as_deref();
        let choice = VaeChoice {
            vae: flag.or(vae).unwrap_or(VaeChoice::FULL).to_owned(),
            model: self.args.model.choose(model),
        };
        let Networks { device, dtype } = self.networks;
        self.encoder.get(&choice, || {
            Vae::open(&choice, |vae| Ok(open_vae_encoder(&device, dtype, vae)?))
        })
    }

    /// The size that a picture is encoded in, for a record that wants these sides.
    pub(crate) fn size(
        &self,
        photo: &Photo,
        width: Option<usize>,
        height: Option<usize>,
    ) -> Result<Size> {
        let (width, height) = (width.or(self.args.width), height.or(self.args.height));
        let (width, height) = size::target(photo.picture.size(), width, height)
            .map_err(|error| photo.blame(error.into()))?;
        Ok(Size {
            width,
            height,
            fit: self.args.fit,
        })
    }

    /// Reads a file of its own: a record's picture.
    pub(crate) fn read(&self, path: &Path) -> Result<Photo> {
        let background = Alpha::On(self.args.background.0);
        Photo::open(path, background, &self.args.picture_limits())
    }

    /// Reads a mask.
    pub(crate) fn read_mask(&self, path: &Path) -> Result<Photo> {
        Photo::open(path, Alpha::Ignored, &self.args.picture_limits())
    }
}

/// What a picture is brought to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) width: usize,
    pub(crate) height: usize,
    fit: Fit,
}

impl Size {
    /// Pixels to a latent pixel, in each direction.
    const FACTOR: usize = size::FACTOR;

    /// Width and height of the latents.
    pub(crate) fn latents(self) -> (usize, usize) {
        (self.width / Self::FACTOR, self.height / Self::FACTOR)
    }

    /// The picture in this size.
    fn fit(self, photo: &Photo) -> Result<Rgb> {
        turbo_picture::Fit::from(self.fit)
            .apply(&photo.picture, self.width, self.height)
            .map_err(|error| photo.blame(error.into()))
    }

    /// The picture `[3, height, width]`, -1 to 1.
    pub(crate) fn prepare(self, photo: &Photo) -> Result<Vec<f32>> {
        let picture = self.fit(photo)?;
        Ok(preprocess(picture.pixels(), self.height, self.width)?)
    }

    /// The mask `[height, width]`, 1 where the picture is painted anew.
    pub(crate) fn prepare_mask(self, mask: &Photo) -> Result<Vec<f32>> {
        Ok(mask::binarize(&self.fit(mask)?))
    }

    /// Encodes what was prepared.
    pub(crate) fn encode(self, encoder: &Encoder, image: &[f32], tile: bool) -> Result<Moments> {
        let encoded = encoder
            .network
            .encode(image, self.height, self.width, tile)?;
        Ok(match encoded {
            Encoded::Latents(mean) => Moments { mean, logvar: None },
            Encoded::Posterior(posterior) => {
                let (mean, logvar) = posterior.in_unet_scale();
                Moments {
                    mean,
                    logvar: Some(logvar),
                }
            }
        })
    }
}
