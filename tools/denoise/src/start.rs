//! What a picture starts from beside noise: another picture's latents, and a mask.
//!
//! diffusers: `StableDiffusionXLImg2ImgPipeline` and `StableDiffusionXLInpaintPipeline`, `prepare_latents` and
//! `prepare_mask_latents`.

use turbo_cli::{Error, Result};
use turbo_scheduler::{Generator, Scheduler};
use turbo_sdxl::expect_finite;
use turbo_wire::{Frame, Header, names};

/// What a header tells of a picture to start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pictured {
    /// Height and width, in latent pixels.
    pub(crate) size: (usize, usize),
    /// Whether there is a mask.
    pub(crate) masked: bool,
}

impl Pictured {
    /// Reads what a frame's header says of a picture, or the header of the latents beside it.
    ///
    /// # Errors
    /// There are both; the latents have another number of rows.
    pub(crate) fn of(header: &Header, init: Option<&Header>) -> Result<Option<Self>> {
        let size = |header: &Header, name| {
            let shape = &header.tensor(name)?.shape;
            Some((shape[2], shape[3]))
        };
        let own = size(header, names::IMAGE_MEAN);
        let Some(init) = init else {
            let masked = header.tensor(names::MASK).is_some();
            return Ok(own.map(|size| Self { size, masked }));
        };
        if own.is_some() {
            return Err(Error::new(
                "--init: expected a frame without a picture to start from, found one with; leave out --init or \
                 encode-image",
            ));
        }
        let (rows, batch) = (init.batch(), header.batch());
        if rows != 1 && rows != batch {
            return Err(Error::new(format_args!(
                "--init: expected latents of {batch} rows or of one, found {rows}"
            )));
        }
        Ok(size(init, names::LATENTS).map(|size| Self {
            size,
            masked: false,
        }))
    }
}

/// A distribution of latents, or latents where there is no variance; of all rows.
struct Moments {
    mean: Vec<f32>,
    logvar: Option<Vec<f32>>,
}

impl Moments {
    fn read(frame: &Frame, mean: &'static str, logvar: &'static str) -> Result<Option<Self>> {
        let read = |name: &'static str| -> Result<Option<Vec<f32>>> {
            let values = frame.to_f32(name);
            if let Some(values) = &values {
                expect_finite(name, values)?;
            }
            Ok(values)
        };
        let logvar = read(logvar)?;
        Ok(read(mean)?.map(|mean| Self { mean, logvar }))
    }

    /// One row's, drawn from the distribution. Nothing is drawn where there is none.
    fn draw(&self, row: usize, len: usize, generator: &mut Generator) -> Vec<f32> {
        // A single row stands for all.
        let start = row * len % self.mean.len();
        let mut latents = self.mean[start..start + len].to_vec();
        if let Some(logvar) = &self.logvar {
            let noise = generator.randn(len);
            for ((value, logvar), noise) in latents.iter_mut().zip(&logvar[start..]).zip(noise) {
                // torch clamps where it makes the distribution.
                *value += (0.5 * logvar).exp() * noise;
            }
        }
        latents
    }
}

/// The pictures that a frame's rows start from.
pub(crate) struct Starts {
    image: Moments,
    /// `[rows, 1, h, w]`: 1 where the picture is painted anew, 0 where it stays.
    mask: Option<Vec<f32>>,
    /// For networks that see it: the picture with grey under the mask.
    masked: Option<Moments>,
}

impl Starts {
    /// Reads the pictures of a frame, or the latents beside it.
    pub(crate) fn read(frame: &Frame, init: Option<&Frame>) -> Result<Option<Self>> {
        if let Some(init) = init {
            return Ok(Moments::read(init, names::LATENTS, "")?.map(|image| Self {
                image,
                mask: None,
                masked: None,
            }));
        }
        let Some(image) = Moments::read(frame, names::IMAGE_MEAN, names::IMAGE_LOGVAR)? else {
            return Ok(None);
        };
        let mask = frame.to_f32(names::MASK);
        if let Some(mask) = &mask {
            expect_finite(names::MASK, mask)?;
        }
        let masked = Moments::read(frame, names::MASKED_IMAGE_MEAN, names::MASKED_IMAGE_LOGVAR)?;
        Ok(Some(Self {
            image,
            mask,
            masked,
        }))
    }
}

/// A picture before its first step.
pub(crate) struct Begin {
    /// Draws this picture's noise and no other's, so that a picture does not depend on those drawn with it.
    pub(crate) generator: Generator,
    /// What the first step starts from.
    pub(crate) sample: Vec<f32>,
    /// The part of the picture that stays, for networks that do not see the picture themselves.
    pub(crate) kept: Option<Kept>,
    /// `[channels, h, w]`: what the network sees beside the sample.
    pub(crate) channels: Vec<f32>,
}

/// How a picture begins.
pub(crate) struct Beginning<'a> {
    pub(crate) scheduler: &'a dyn Scheduler,
    /// The first call of the network.
    pub(crate) first: usize,
    /// Values of a picture, and of its mask.
    pub(crate) len: usize,
    /// Whether the network has channels for mask and masked picture.
    pub(crate) sees_mask: bool,
    /// Whether all steps are run.
    pub(crate) whole: bool,
    /// Whether the picture has its noise already.
    pub(crate) noisy: bool,
}

impl Beginning<'_> {
    /// Draws what there is to be drawn, in diffusers' order: the picture, the noise, the masked picture.
    pub(crate) fn draw(&self, seed: u64, starts: Option<(&Starts, usize)>) -> Begin {
        let mut generator = Generator::new(seed);
        let (scheduler, len) = (self.scheduler, self.len);
        let Some((starts, row)) = starts else {
            let mut sample = generator.randn(len);
            scheduler.scale_initial_noise(&mut sample);
            return Begin {
                generator,
                sample,
                kept: None,
                channels: Vec::new(),
            };
        };
        if self.noisy && starts.mask.is_none() {
            let sample = starts.image.draw(row, len, &mut generator);
            return Begin {
                generator,
                sample,
                kept: None,
                channels: Vec::new(),
            };
        }
        // A whole run of inpainting starts from noise alone; one of image to image never does.
        let pure = starts.mask.is_some() && self.whole;
        let image = (!pure || !self.sees_mask).then(|| starts.image.draw(row, len, &mut generator));
        let noise = generator.randn(len);
        let sample = match &image {
            Some(image) if self.noisy => image.clone(),
            Some(image) if !pure => scheduler.add_noise(image, &noise, self.first),
            _ => {
                let mut sample = noise.clone();
                scheduler.scale_initial_noise(&mut sample);
                sample
            }
        };
        let mut begin = Begin {
            generator,
            sample,
            kept: None,
            channels: Vec::new(),
        };
        if let Some(mask) = &starts.mask {
            let pixels = len / names::LATENT_CHANNELS;
            let mask = mask[row * pixels..(row + 1) * pixels].to_vec();
            // diffusers encodes and draws the masked picture for every network, whether it sees it or not.
            let drawn = starts.masked.as_ref().unwrap_or(&starts.image);
            let masked = drawn.draw(row, len, &mut begin.generator);
            if self.sees_mask {
                begin.channels = [mask, masked].concat();
            } else {
                begin.kept = image.map(|image| Kept { image, noise, mask });
            }
        }
        begin
    }
}

/// The part of a picture that stays.
pub(crate) struct Kept {
    image: Vec<f32>,
    noise: Vec<f32>,
    mask: Vec<f32>,
}

impl Kept {
    /// Puts the picture back where the mask is 0, with as much noise as there is before call `next`; none at the end.
    pub(crate) fn put_back(
        &self,
        sample: &mut [f32],
        scheduler: &dyn Scheduler,
        next: Option<usize>,
    ) {
        let noisy = next.map(|next| scheduler.add_noise(&self.image, &self.noise, next));
        let image = noisy.as_ref().unwrap_or(&self.image);
        for (channel, image) in sample
            .chunks_exact_mut(self.mask.len())
            .zip(image.chunks_exact(self.mask.len()))
        {
            for ((value, image), mask) in channel.iter_mut().zip(image).zip(&self.mask) {
                *value = (1.0 - mask) * image + mask * *value;
            }
        }
    }
}
