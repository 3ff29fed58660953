//! What is to be drawn: from the frame, the flags and the defaults, in this order.

use std::fmt;
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
    /// Frame k has the seed N + k, and row b of a frame of several rows counts on from its frame's seed. Without a
    /// seed a random one is taken.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

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
        usage(self.steps.map_or(Ok(()), check_steps))?;
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
    pub(crate) seed: u64,
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
        let seed = flags.seed.map(|seed| seed.wrapping_add(record));
        let settings = Self {
            steps: own(header, keys::STEPS, "a whole number from 1")?
                .or(flags.steps)
                .unwrap_or(1),
            seed: own(header, keys::SEED, "a whole number from 0 to 2^64 - 1")?
                .or(seed)
                .unwrap_or_else(random),
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
        check_steps(settings.steps)?;
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

    /// Writes the settings where the picture's metadata will come from. Sizes that are the picture's own are left
    /// out.
    pub(crate) fn write(&self, metadata: &mut Metadata) {
        let pair = |pair: Option<Pair>| pair.map(|pair| pair.to_string());
        let entries = [
            (keys::STEPS, Some(self.steps.to_string())),
            (keys::SEED, Some(self.seed.to_string())),
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

fn check_steps(steps: usize) -> Result<()> {
    if steps == 0 {
        return Err(Error::new("steps: expected at least 1, found 0"));
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
mod tests {
    use super::*;

    fn header(metadata: &[(&str, &str)]) -> Header {
        let metadata = metadata
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        Header::text_embeddings(1, 2, 3, 4, false, metadata).unwrap()
    }

    fn refused(metadata: &[(&str, &str)]) -> String {
        Settings::new(&header(metadata), &Flags::default(), 0, 512)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn the_frame_wins_then_the_flag_then_the_default() {
        let flags = Flags {
            steps: Some(2),
            width: Some(640),
            guidance_scale: Some(1.5),
            ..Flags::default()
        };
        let settings =
            Settings::new(&header(&[("steps", "4"), ("seed", "7")]), &flags, 3, 512).unwrap();
        assert_eq!((settings.steps, settings.seed), (4, 7));
        assert_eq!((settings.width, settings.height), (640, 512));
        assert!(settings.guides());
        let plain = Settings::new(&header(&[]), &Flags::default(), 0, 512).unwrap();
        assert_eq!(
            (plain.steps, plain.width, plain.height, plain.guides()),
            (1, 512, 512, false)
        );
    }

    #[test]
    fn seeds_count_on_over_the_stream() {
        let flags = Flags {
            seed: Some(u64::MAX),
            ..Flags::default()
        };
        let seed = |record| {
            Settings::new(&header(&[]), &flags, record, 512)
                .unwrap()
                .seed
        };
        assert_eq!((seed(0), seed(1), seed(2)), (u64::MAX, 0, 1));
    }

    #[test]
    fn random_seeds_differ_and_are_short() {
        let seed = || {
            Settings::new(&header(&[]), &Flags::default(), 0, 512)
                .unwrap()
                .seed
        };
        let seeds = [seed(), seed(), seed()];
        assert!(seeds[0] != seeds[1] || seeds[1] != seeds[2]);
        assert!(seeds.iter().all(|&seed| u32::try_from(seed).is_ok()));
    }

    #[test]
    fn guidance_is_on_above_one_only() {
        for (scale, guides) in [
            ("0", false),
            ("0.5", false),
            ("1", false),
            ("1.0001", true),
            ("-3", false),
        ] {
            let settings = Settings::new(
                &header(&[("guidance_scale", scale)]),
                &Flags::default(),
                0,
                512,
            )
            .unwrap();
            assert_eq!(settings.guides(), guides, "{scale}");
        }
    }

    #[test]
    fn what_cannot_be_is_named() {
        assert_eq!(
            refused(&[("width", "515")]),
            "width: expected a multiple of 8, found 515; give 512 or 520"
        );
        assert_eq!(
            refused(&[("height", "5")]),
            "height: expected a multiple of 8, found 5; give 8"
        );
        assert_eq!(
            refused(&[("height", "0")]),
            "height: expected 8 to 16384 pixels, found 0"
        );
        assert_eq!(
            refused(&[("width", "1000000000")]),
            "width: expected 8 to 16384 pixels, found 1000000000"
        );
        assert_eq!(
            refused(&[("steps", "0")]),
            "steps: expected at least 1, found 0"
        );
        assert_eq!(
            refused(&[("steps", "two")]),
            "metadata: steps: expected a whole number from 1, found \"two\""
        );
        assert_eq!(
            refused(&[("guidance_scale", "NaN")]),
            "guidance_scale: expected a finite number, found NaN"
        );
        assert_eq!(
            refused(&[("seed", "-1")]),
            "metadata: seed: expected a whole number from 0 to 2^64 - 1, found \"-1\""
        );
        assert_eq!(
            refused(&[("target_size", "512")]),
            "metadata: target_size: expected HEIGHTxWIDTH, found \"512\""
        );
    }

    #[test]
    fn time_ids_are_height_before_width() {
        let header = header(&[
            ("original_size", "1024x768"),
            ("crops_top_left", "16x32"),
            ("width", "128"),
        ]);
        let settings = Settings::new(&header, &Flags::default(), 0, 64).unwrap();
        let whole = settings.time_ids().map(|id| id as u32);
        assert_eq!(whole, [1024, 768, 16, 32, 64, 128]);
    }

    #[test]
    fn what_was_written_is_read_again() {
        let flags = Flags {
            target_size: Some(Pair(8, 9)),
            guidance_scale: Some(2.5),
            ..Flags::default()
        };
        let settings = Settings::new(&header(&[]), &flags, 0, 512).unwrap();
        let mut metadata = Metadata::new();
        settings.write(&mut metadata);
        assert_eq!(metadata["guidance_scale"], "2.5");
        assert!(!metadata.contains_key("original_size"));
        let again = Header::text_embeddings(1, 2, 3, 4, false, metadata).unwrap();
        assert_eq!(
            Settings::new(&again, &Flags::default(), 9, 64).unwrap(),
            settings
        );
    }

    #[test]
    fn pairs() {
        assert_eq!("1024x768".parse(), Ok(Pair(1024, 768)));
        for bad in [
            "",
            "x",
            "1x",
            "x1",
            "1x2x3",
            "-1x2",
            "+1x2",
            "1.5x2",
            "1 x 2",
            "99999999999x1",
        ] {
            assert!(bad.parse::<Pair>().is_err(), "{bad}");
        }
    }
}
