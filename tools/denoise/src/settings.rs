//! What is to be drawn: from the frame, the flags and the defaults, in this order.

use crate::sampling::{Levels, SamplingFlags};
use crate::start::Pictured;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::str::FromStr;
use turbo_cli::{Error, Result};
use turbo_scheduler::Start;
use turbo_wire::metadata::{read, write};
use turbo_wire::names::LATENT_SCALE;
use turbo_wire::settings;
use turbo_wire::{Header, Metadata, keys, rows};

/// Two numbers, such as `HEIGHTxWIDTH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair(pub u32, pub u32);

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let number = |text: &str| {
            text.parse()
                .ok()
                .filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let (first, second) = text.split_once('x').unwrap_or((text, ""));
        number(first)
            .zip(number(second))
            .map(|(first, second)| Self(first, second))
            .ok_or_else(|| "expected two numbers with an x between, such as 1024x768".to_owned())
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.0, self.1)
    }
}

/// What the command line says.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Flags {
    /// How it is drawn.
    #[command(flatten)]
    pub sampling: SamplingFlags,

    /// Denoising steps [default: the recipe's, else 1]
    #[arg(long, value_name = "N", value_parser = settings::parse::<usize>(keys::STEPS))]
    pub steps: Option<usize>,

    /// Share of the steps that run where there is a picture to start from: above 0, up to 1 [default: 0.5; with a mask 1]
    ///
    /// That many of the last steps run, rounded down, after as much noise was added as there is before them: the higher
    /// it is, the less of the picture is left. Without --steps there are as many as it takes to run one.
    #[arg(long, value_name = "S", value_parser = settings::parse::<f64>(keys::STRENGTH))]
    pub strength: Option<f64>,

    /// Seed of the noise: 0 to 2^64 - 1, of which the low 32 bits count; the frames after the first count on from it
    ///
    /// Frame k has the seed N + k, and if M pictures are drawn of it, the seeds from N + k * M on, so that no two
    /// pictures of a stream have the same unless its frames ask for different numbers of them. Row b of a frame of
    /// several rows counts on from its frame's seed. Without a seed a random one is taken.
    #[arg(long, value_name = "N", value_parser = seed)]
    pub seed: Option<u64>,

    /// How far seeds count on from frame to frame; 0 keeps one for all, as films want it [default: 1]
    #[arg(long, value_name = "N")]
    pub seed_step: Option<u64>,

    /// Pictures to draw of each prompt, with one seed after the other [default: 1]
    ///
    /// Each is a frame of its own, the same as a run with its seed alone would give. The first keeps the record's id,
    /// picture j from 1 on has "-j" behind it; which it is stands in the metadata as image_index, from 0. What depends
    /// on the prompt alone is computed once. A record's own number (images) wins.
    #[arg(long, value_name = "M", value_parser = settings::parse::<usize>(keys::IMAGES))]
    pub images: Option<usize>,

    /// Width in pixels, a multiple of 8 [default: the recipe's, else the checkpoint's; 512 for SDXL Turbo]
    #[arg(long, value_name = "W", value_parser = settings::parse::<usize>(keys::WIDTH))]
    pub width: Option<usize>,

    /// Height in pixels, a multiple of 8 [default: as for the width]
    #[arg(long, value_name = "H", value_parser = settings::parse::<usize>(keys::HEIGHT))]
    pub height: Option<usize>,

    /// Classifier-free guidance, on above 1; SDXL Turbo was made to do without [default: the recipe's, else 0]
    #[arg(long, value_name = "G", value_parser = settings::parse::<f32>(keys::GUIDANCE_SCALE))]
    pub guidance_scale: Option<f32>,

    /// Tell the network of this size before cropping [default: the picture's]
    #[arg(long, value_name = "HxW", value_parser = settings::parse::<Pair>(keys::ORIGINAL_SIZE))]
    pub original_size: Option<Pair>,

    /// Tell the network of this size to aim at [default: the picture's]
    #[arg(long, value_name = "HxW", value_parser = settings::parse::<Pair>(keys::TARGET_SIZE))]
    pub target_size: Option<Pair>,

    /// Tell the network of a crop with this corner [default: 0x0]
    #[arg(long, value_name = "TxL", value_parser = settings::parse::<Pair>(keys::CROPS_TOP_LEFT))]
    pub crops_top_left: Option<Pair>,
}

/// Reads a seed. -1 is what other programs call a random one.
fn seed(text: &str) -> Result<u64, String> {
    settings::parse::<u64>(keys::SEED)(text).map_err(|wrong| {
        format!("{wrong}; without --seed a random one is taken, and written into the picture")
    })
}

/// Everything that makes the latents, beside the embeddings and the model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    /// Which scheduler, which steps.
    pub(crate) levels: Levels,
    /// As many as are asked for, or as it takes.
    pub(crate) steps: usize,
    /// Where the run starts.
    pub(crate) start: Start,
    /// Of the first picture's first row.
    pub(crate) seed: u64,
    /// Where there is a picture to start from.
    pub(crate) strength: Option<f64>,
    pub(crate) images: usize,
    /// Number of the first picture's first row, where the stream tells it.
    picture_index: Option<u64>,
    /// Rows of the frame.
    rows: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) guidance_scale: f32,
    pub(crate) original_size: Option<Pair>,
    pub(crate) target_size: Option<Pair>,
    pub(crate) crops_top_left: Option<Pair>,
}

impl Settings {
    /// Settles everything for frame `record` (from 0). `default_side` is the checkpoint's, in pixels.
    pub(crate) fn new(
        header: &Header,
        flags: &Flags,
        record: u64,
        default_side: usize,
        pictured: Option<Pictured>,
    ) -> Result<Self> {
        let random = || {
            // torch's generator takes 32 bits, and a short seed is easier to type.
            std::collections::hash_map::RandomState::new()
                .build_hasher()
                .finish()
                & 0xffff_ffff
        };
        let own = header.metadata();
        let record = read(own, keys::RECORD_INDEX)?.unwrap_or(record);
        let levels = Levels::new(own, &flags.sampling, flags.steps, flags.guidance_scale)?;
        let default_side = levels.side().unwrap_or(default_side);
        let images = read(own, keys::IMAGES)?.or(flags.images).unwrap_or(1);
        // By the record itself and its place, so that it can be told of any record without the others.
        let seed = flags.seed.map(|seed| {
            let pictures = record.wrapping_mul(images as u64);
            seed.wrapping_add(pictures.wrapping_mul(flags.seed_step.unwrap_or(1)))
        });
        let share = levels.denoising_start();
        if share.is_some() && pictured.is_none() {
            return Err(Error::new(
                "denoising_start: expected latents to start from, found none; give them with --init, or leave it out",
            ));
        }
        let strength = match pictured {
            // As in diffusers, who says where it starts says all.
            _ if share.is_some() => None,
            None => None,
            Some(Pictured { masked, .. }) => {
                let default = if masked { 1.0 } else { 0.5 };
                let own = read(own, keys::STRENGTH)?;
                Some(own.or(flags.strength).unwrap_or(default))
            }
        };
        let start = match (share, strength) {
            (Some(share), _) => Start::Share(share),
            (None, Some(strength)) => Start::Strength(strength),
            (None, None) => Start::Noise,
        };
        let steps = levels
            .steps()?
            .unwrap_or_else(|| strength.map_or(1, least_steps));
        if let Some(strength) = strength
            && steps_run(steps, strength) == 0
        {
            return Err(Error::new(format_args!(
                "strength: {strength} of {steps} steps is less than one; give a strength of at least {}, or at \
                 least {} steps",
                least_strength(steps),
                least_steps(strength)
            )));
        }
        // A picture has the size that it has.
        let side = |key, flag: Option<usize>, picture: fn((usize, usize)) -> usize| {
            let wanted = read(own, key)?.or(flag);
            let found = pictured.map(|pictured| picture(pictured.size) * LATENT_SCALE);
            match (wanted, found) {
                (Some(wanted), Some(found)) if wanted != found => Err(Error::new(format_args!(
                    "{key}: expected {found}, which the picture to start from has, found {wanted}; leave it out, or \
                     give it to encode-image"
                ))),
                (wanted, found) => Ok(found.or(wanted).unwrap_or(default_side)),
            }
        };
        Ok(Self {
            start,
            steps,
            strength,
            seed: read(own, keys::SEED)?.or(seed).unwrap_or_else(random),
            images,
            picture_index: read(own, keys::PICTURE_INDEX)?,
            rows: header.batch(),
            width: side(keys::WIDTH, flags.width, |(_, width)| width)?,
            height: side(keys::HEIGHT, flags.height, |(height, _)| height)?,
            guidance_scale: levels.guidance_scale().unwrap_or(0.0),
            original_size: read(own, keys::ORIGINAL_SIZE)?.or(flags.original_size),
            target_size: read(own, keys::TARGET_SIZE)?.or(flags.target_size),
            crops_top_left: read(own, keys::CROPS_TOP_LEFT)?.or(flags.crops_top_left),
            levels,
        })
    }

    /// Height and width in latent pixels.
    pub(crate) fn latent_size(&self) -> (usize, usize) {
        (self.height / LATENT_SCALE, self.width / LATENT_SCALE)
    }

    /// Whether there is classifier-free guidance. As in diffusers, 0 and 1 both mean none.
    pub(crate) fn guides(&self) -> bool {
        self.guidance_scale > 1.0
    }

    /// What the network is told of sizes: original height and width, crop top and left, target height and width.
    pub(crate) fn time_ids(&self) -> [f32; 6] {
        let size = Pair(self.height as u32, self.width as u32);
        let original = self.original_size.unwrap_or(size);
        let crop = self.crops_top_left.unwrap_or(Pair(0, 0));
        let target = self.target_size.unwrap_or(size);
        [original.0, original.1, crop.0, crop.1, target.0, target.1].map(|n| n as f32)
    }

    /// The seed of row `row` of picture `image`.
    pub(crate) fn seed_of(&self, image: usize, row: usize) -> u64 {
        rows::seed(rows::seed(self.seed, image as u64), row as u64)
    }

    /// Writes the settings of picture `image` where its metadata will come from. Sizes that are the picture's own are
    /// left out, and so is the number of pictures, as this is one of them.
    pub(crate) fn write(&self, metadata: &mut Metadata, image: usize) {
        metadata.remove(keys::IMAGES);
        let image_index = (self.images > 1).then(|| image.to_string());
        let picture_index = self.picture_index.map(|first| {
            first
                .wrapping_add((image as u64).wrapping_mul(self.rows as u64))
                .to_string()
        });
        let id = metadata.get(keys::ID).map(|id| rows::id(id, image as u64));
        let pair = |pair: Option<Pair>| pair.map(|pair| pair.to_string());
        let entries = [
            (keys::ID, id),
            (
                keys::STRENGTH,
                self.strength.map(|strength| strength.to_string()),
            ),
            (keys::SEED, Some(self.seed_of(image, 0).to_string())),
            (keys::IMAGE_INDEX, image_index),
            (keys::PICTURE_INDEX, picture_index),
            (keys::WIDTH, Some(self.width.to_string())),
            (keys::HEIGHT, Some(self.height.to_string())),
            (keys::GUIDANCE_SCALE, Some(self.guidance_scale.to_string())),
            (keys::ORIGINAL_SIZE, pair(self.original_size)),
            (keys::TARGET_SIZE, pair(self.target_size)),
            (keys::CROPS_TOP_LEFT, pair(self.crops_top_left)),
        ];
        write(metadata, entries);
    }
}

/// How many of `steps` run at a strength, as diffusers counts them.
fn steps_run(steps: usize, strength: f64) -> usize {
    (steps as f64 * strength) as usize
}

/// The smallest number of steps at which this strength runs one.
fn least_steps(strength: f64) -> usize {
    let near = (1.0 / strength) as usize;
    (near.max(1)..near.saturating_add(3))
        .find(|&steps| steps_run(steps, strength) > 0)
        .unwrap_or(near)
}

/// The least strength at which one of `steps` runs, rounded up to four places.
fn least_strength(steps: usize) -> f64 {
    let places = 10_000.0;
    let above = (places / steps as f64).ceil();
    (0..10)
        .map(|more| (above + f64::from(more)) / places)
        .find(|&strength| steps_run(steps, strength) > 0)
        .unwrap_or(1.0)
}

#[cfg(test)]
mod tests;
