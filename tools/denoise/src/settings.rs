//! What is to be drawn: from the frame, the flags and the defaults, in this order.

use std::fmt::{self, Write};
use std::hash::{BuildHasher, Hasher};
use std::str::FromStr;
use turbo_cli::{Error, Result};
use turbo_wire::{Header, Metadata, keys};

/// The largest side of a picture, in pixels: far above what the networks draw well, and below what would end in an
/// allocation that fails.
const MAX_SIDE: usize = 16384;

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
    /// Denoising steps [default: 1]
    #[arg(long, value_name = "N")]
    pub steps: Option<usize>,

    /// Seed of the noise: 0 to 2^64 - 1, of which the low 32 bits count; the frames after the first count on from it
    ///
    /// Frame k has the seed N + k, and if M pictures are drawn of it, the seeds from N + k * M on, so that no two
    /// pictures of a stream have the same unless its frames ask for different numbers of them. Row b of a frame of
    /// several rows counts on from its frame's seed. Without a seed a random one is taken.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// Pictures to draw of each prompt, with one seed after the other [default: 1]
    ///
    /// Each is a frame of its own, the same as a run with its seed alone would give. The first keeps the record's id,
    /// picture j from 1 on has "-j" behind it; which it is stands in the metadata as image_index, from 0. What depends
    /// on the prompt alone is computed once. A record's own number (images) wins.
    #[arg(long, value_name = "M")]
    pub images: Option<usize>,

    /// Width in pixels, a multiple of 8 [default: the checkpoint's; 512 for SDXL Turbo]
    #[arg(long, value_name = "W")]
    pub width: Option<usize>,

    /// Height in pixels, a multiple of 8 [default: as for the width]
    #[arg(long, value_name = "H")]
    pub height: Option<usize>,

    /// Classifier-free guidance, on above 1; SDXL Turbo was made to do without [default: 0]
    #[arg(long, value_name = "G")]
    pub guidance_scale: Option<f32>,

    /// Tell the network of this size before cropping [default: the picture's]
    #[arg(long, value_name = "HxW")]
    pub original_size: Option<Pair>,

    /// Tell the network of this size to aim at [default: the picture's]
    #[arg(long, value_name = "HxW")]
    pub target_size: Option<Pair>,

    /// Tell the network of a crop with this corner [default: 0x0]
    #[arg(long, value_name = "TxL")]
    pub crops_top_left: Option<Pair>,
}

impl Flags {
    /// Refuses values that can never be right, before anything is read.
    pub(crate) fn check(&self) -> Result<()> {
        let usage =
            |result: Result<()>| result.map_err(|error| Error::usage(format_args!("--{error}")));
        usage(self.width.map_or(Ok(()), |side| check_side("width", side)))?;
        usage(
            self.height
                .map_or(Ok(()), |side| check_side("height", side)),
        )?;
        usage(
            self.steps
                .map_or(Ok(()), |steps| check_count("steps", steps)),
        )?;
        usage(
            self.images
                .map_or(Ok(()), |images| check_count("images", images)),
        )?;
        usage(
            self.guidance_scale
                .map_or(Ok(()), |scale| check_guidance("guidance-scale", scale)),
        )
    }
}

/// Everything that makes the latents, beside the embeddings and the model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    pub(crate) steps: usize,
    /// Of the first picture's first row.
    pub(crate) seed: u64,
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
    ) -> Result<Self> {
        let random = || {
            // torch's generator takes 32 bits, and a short seed is easier to type.
            std::collections::hash_map::RandomState::new()
                .build_hasher()
                .finish()
                & 0xffff_ffff
        };
        let index = "a whole number from 0";
        let record = own(header, keys::RECORD_INDEX, index)?.unwrap_or(record);
        let images = own(header, keys::IMAGES, "a whole number from 1")?
            .or(flags.images)
            .unwrap_or(1);
        // By the record itself and its place, so that it can be told of any record without the others.
        let seed = flags
            .seed
            .map(|seed| seed.wrapping_add(record.wrapping_mul(images as u64)));
        let settings = Self {
            steps: own(header, keys::STEPS, "a whole number from 1")?
                .or(flags.steps)
                .unwrap_or(1),
            seed: own(header, keys::SEED, "a whole number from 0 to 2^64 - 1")?
                .or(seed)
                .unwrap_or_else(random),
            images,
            picture_index: own(header, keys::PICTURE_INDEX, index)?,
            rows: header.batch(),
            width: own(header, keys::WIDTH, "pixels")?
                .or(flags.width)
                .unwrap_or(default_side),
            height: own(header, keys::HEIGHT, "pixels")?
                .or(flags.height)
                .unwrap_or(default_side),
            guidance_scale: own(header, keys::GUIDANCE_SCALE, "a number")?
                .or(flags.guidance_scale)
                .unwrap_or(0.0),
            original_size: own(header, keys::ORIGINAL_SIZE, "HEIGHTxWIDTH")?
                .or(flags.original_size),
            target_size: own(header, keys::TARGET_SIZE, "HEIGHTxWIDTH")?.or(flags.target_size),
            crops_top_left: own(header, keys::CROPS_TOP_LEFT, "TOPxLEFT")?.or(flags.crops_top_left),
        };
        check_count(keys::STEPS, settings.steps)?;
        check_count(keys::IMAGES, settings.images)?;
        check_side(keys::WIDTH, settings.width)?;
        check_side(keys::HEIGHT, settings.height)?;
        check_guidance(keys::GUIDANCE_SCALE, settings.guidance_scale)?;
        Ok(settings)
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
        self.seed
            .wrapping_add(image as u64)
            .wrapping_add(row as u64)
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
        if let Some(id) = metadata.get_mut(keys::ID) {
            count_on(id, image);
        }
        let pair = |pair: Option<Pair>| pair.map(|pair| pair.to_string());
        let entries = [
            (keys::STEPS, Some(self.steps.to_string())),
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
        metadata.extend(
            entries
                .into_iter()
                .filter_map(|(key, value)| Some((key.to_owned(), value?))),
        );
    }
}

/// Tells one of several apart: the first keeps the record's id, the others get their number behind it.
pub(crate) fn count_on(id: &mut String, index: usize) {
    if index > 0 {
        let _ = write!(id, "-{index}");
    }
}

/// The frame's own value.
fn own<T: FromStr>(header: &Header, key: &str, expected: &str) -> Result<Option<T>> {
    let Some(text) = header.get(key) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(value) => Ok(Some(value)),
        Err(_) => Err(Error::new(format_args!(
            "metadata: {key}: expected {expected}, found {text:?}"
        ))),
    }
}

fn check_side(what: &str, side: usize) -> Result<()> {
    if side == 0 || side > MAX_SIDE {
        return Err(Error::new(format_args!(
            "{what}: expected 8 to {MAX_SIDE} pixels, found {side}"
        )));
    }
    if !side.is_multiple_of(8) {
        let (below, above) = (side / 8 * 8, side.next_multiple_of(8));
        let nearest = if below == 0 {
            above.to_string()
        } else {
            format!("{below} or {above}")
        };
        return Err(Error::new(format_args!(
            "{what}: expected a multiple of 8, found {side}; give {nearest}"
        )));
    }
    Ok(())
}

fn check_count(what: &str, count: usize) -> Result<()> {
    if count == 0 {
        return Err(Error::new(format_args!(
            "{what}: expected at least 1, found 0"
        )));
    }
    Ok(())
}

fn check_guidance(what: &str, scale: f32) -> Result<()> {
    if !scale.is_finite() {
        return Err(Error::new(format_args!(
            "{what}: expected a finite number, found {scale}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
