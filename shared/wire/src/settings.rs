//! The settings: every metadata key with a meaning, the type and range of its value, and where it is valid.
//!
//! The table is the only place that says what a setting may be. Records, flags and metadata are held to it by
//! [`Setting::of_json`], [`parse`] and [`metadata::read`](crate::metadata::read); a test compares it with PROTOCOL.md. All of them accept the same
//! values, and give them the same normal form.

use std::fmt;
use std::str::FromStr;

use serde_json::Value as Json;

use crate::keys;
use crate::kind::LATENT_SCALE;
use crate::quote::clip;

/// The largest side of a picture, in pixels: far above what the networks draw well, and below what would end in an
/// allocation that fails.
pub const MAX_SIDE: u64 = 16384;

/// What the value of a setting may be. Its normal form is how it stands in metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Any text.
    Text,
    /// A text that is not empty; in a record also a number, which becomes one.
    Name,
    /// A whole number from the one to the other, also where it is written as 7.0.
    Whole(u64, u64),
    /// A side of a picture in pixels: a multiple of [`LATENT_SCALE`], up to [`MAX_SIDE`].
    Side,
    /// A finite number.
    Number,
    /// A number above 0 and up to 1.
    Share,
    /// A number from 0 to 1.
    Fraction,
    /// Finite numbers with commas between; in a record a list of them.
    Numbers,
    /// A JSON object.
    Object,
    /// Two whole numbers with an x between, the vertical one first.
    Pair,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A JSON list of texts; in a record a list, or a text, which becomes a list of one.
    List,
}

/// Where a setting is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In every frame, of which it describes the form. A record that was taken from a frame may have it; it is left out.
    Frame,
    /// In a record and in every frame that is made of it.
    Record,
    /// In a record and in `text-embeddings`: [`keys::IMAGES`], which `denoise` uses up.
    Prompt,
    /// In `latents` and `image`, where a tool sets it.
    Picture,
    /// In `latents` of a trace.
    Trace,
}

impl fmt::Display for Place {
    /// As in the table of PROTOCOL.md.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Frame => "frames",
            Self::Record => "records, frames",
            Self::Prompt => "records, `text-embeddings`",
            Self::Picture => "`latents`, `image`",
            Self::Trace => "a trace",
        })
    }
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The metadata key, which is also a record's.
    pub key: &'static str,
    /// Type and range.
    pub value: Type,
    /// Where it is valid.
    pub place: Place,
    /// What it means, in the words of PROTOCOL.md.
    pub meaning: &'static str,
}

const INDEX: Type = Type::Whole(0, u64::MAX);
const COUNT: Type = Type::Whole(1, u64::MAX);

/// All settings, in the order of PROTOCOL.md.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    row(keys::FORMAT, Type::Text, Place::Frame, "`pt`; some loaders ask for it. Consumers here ignore it"),
    row(keys::VERSION, Type::Text, Place::Frame, "`1`; missing means 1"),
    row(keys::KIND, Type::Text, Place::Frame, "see above"),
    row(keys::PRODUCER, Type::Text, Place::Frame, "name and version of the tool that wrote the frame"),
    row(keys::ID, Type::Name, Place::Record, "the record's own name"),
    row(keys::RECORD_INDEX, INDEX, Place::Record, "which record of its run a frame was made of, from 0. For runs that leave out records which were done before: seeds that count from that of the first record count by it. Missing means the frame's place in the stream"),
    row(keys::PICTURE_INDEX, INDEX, Place::Record, "likewise, which picture of its run the frame's first row is, from 0: numbers in file names count by it, from 1"),
    row(keys::PROMPT, Type::Text, Place::Record, "as the user wrote it; a record must have it"),
    row(keys::PROMPT_2, Type::Text, Place::Record, "for the second text encoder, where it is to have another"),
    row(keys::NEGATIVE_PROMPT, Type::Text, Place::Record, "what the picture should not show. No negative prompt and an empty one are two different things"),
    row(keys::NEGATIVE_PROMPT_2, Type::Text, Place::Record, "for the second text encoder, where it is to have another"),
    row(keys::CLIP_SKIP, INDEX, Place::Record, "how many of the text encoders' last layers are left out, beside the one that always is"),
    row(keys::WEIGHTED, Type::Word(&["blend", "scale"]), Place::Record, "how brackets in the prompts weigh, and that prompts may be of any length. Missing means that brackets are text"),
    row(keys::EMBEDDING, Type::List, Place::Record, "textual inversions, each as `FILE` or `FILE=TOKEN`"),
    row(keys::LORA, Type::List, Place::Record, "LoRA files that are added to the checkpoint, each as `FILE` or `FILE=SCALE`: a path, or `owner/name:file` in the Hugging Face cache"),
    row(keys::IMAGE, Type::Text, Place::Record, "path of the picture to start from, relative to where `encode-image` runs"),
    row(keys::MASK, Type::Text, Place::Record, "path of its mask, likewise: white is drawn anew, black is kept"),
    row(keys::SEED, INDEX, Place::Record, "seed of the noise; row b of a batch has seed + b, modulo 2^64"),
    row(keys::IMAGES, COUNT, Place::Prompt, "how many pictures to draw of the prompt. Picture j is a frame of its own and has seed + j"),
    row(keys::IMAGE_INDEX, INDEX, Place::Picture, "which of several pictures of a prompt a frame is, from 0. From 1 on its `id` is the record's with `-1`, `-2`, ... behind it"),
    row(keys::STEPS, COUNT, Place::Record, "denoising steps"),
    row(keys::RECIPE, Type::Text, Place::Record, "a published recipe (`denoise --recipe list` has them), for whatever neither record nor flags say"),
    row(keys::SCHEDULER, Type::Text, Place::Record, "the class of scheduler, as diffusers calls it; a record may have the short name of `denoise --scheduler`"),
    row(keys::SCHEDULER_SET, Type::Object, Place::Record, "keys over those of the checkpoint's `scheduler_config.json`, by diffusers' names"),
    row(keys::TIMESTEPS, Type::Numbers, Place::Record, "the timesteps to run at, descending, instead of `steps`"),
    row(keys::SIGMAS, Type::Numbers, Place::Record, "the sigmas to run at, descending, with the one after the last step, instead of `steps`"),
    row(keys::ETA, Type::Fraction, Place::Record, "noise that the steps of DDIM and TCD add: 0 none, 1 the most"),
    row(keys::STRENGTH, Type::Share, Place::Record, "share of the steps that run where there is a picture to start from"),
    row(keys::GUIDANCE_SCALE, Type::Number, Place::Record, "classifier-free guidance, on above 1"),
    row(keys::GUIDANCE_RESCALE, Type::Fraction, Place::Record, "how far guidance is brought back to the contrast that the prompt alone has (<https://arxiv.org/abs/2305.08891>)"),
    row(keys::DENOISING_START, Type::Share, Place::Record, "where a run starts on latents that are noisy already: a share of the training, counted from pure noise"),
    row(keys::DENOISING_END, Type::Share, Place::Record, "where a run ends, likewise, so that noise is left for another"),
    row(keys::WIDTH, Type::Side, Place::Record, "of the picture in pixels"),
    row(keys::HEIGHT, Type::Side, Place::Record, "likewise"),
    row(keys::ORIGINAL_SIZE, Type::Pair, Place::Record, "what the network is told of the size before cropping, as `HEIGHTxWIDTH`"),
    row(keys::TARGET_SIZE, Type::Pair, Place::Record, "of the size aimed at, likewise"),
    row(keys::CROPS_TOP_LEFT, Type::Pair, Place::Record, "of the crop's corner, as `TOPxLEFT`"),
    row(keys::MODEL, Type::Text, Place::Record, "the checkpoint, as the user named it"),
    row(keys::VAE, Type::Text, Place::Record, "the autoencoder, where it is not the checkpoint's own"),
    row(keys::STEP, INDEX, Place::Trace, "the step after which the frame was taken, from 0"),
    row(keys::TIMESTEP, Type::Number, Place::Trace, "what the network was told at this step"),
    row(keys::SIGMA, Type::Number, Place::Trace, "standard deviation of the noise before this step"),
];

const fn row(key: &'static str, value: Type, place: Place, meaning: &'static str) -> Setting {
    Setting {
        key,
        value,
        place,
        meaning,
    }
}

/// A value that a setting cannot have. The key does not stand in the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {found}{remedy}")]
pub struct Wrong {
    /// The type and range, in words.
    pub expected: String,
    /// The value found, cut to a length fit for a message.
    pub found: String,
    /// What to do, with `; ` before it; empty where the rest says it.
    pub remedy: String,
}

impl fmt::Display for Type {
    /// As in "expected a whole number from 1".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("a string"),
            Self::Name => f.write_str("a string that is not empty"),
            Self::Whole(0, u64::MAX) => f.write_str("a whole number from 0 to 2^64 - 1"),
            Self::Whole(from, u64::MAX) => write!(f, "a whole number from {from}"),
            Self::Whole(from, to) => write!(f, "a whole number from {from} to {to}"),
            Self::Side => write!(
                f,
                "a multiple of {LATENT_SCALE} from {LATENT_SCALE} to {MAX_SIDE}"
            ),
            Self::Number => f.write_str("a finite number"),
            Self::Share => f.write_str("a number above 0 and up to 1"),
            Self::Fraction => f.write_str("a number from 0 to 1"),
            Self::Numbers => f.write_str("a list of numbers, such as 999,499"),
            Self::Object => f.write_str("a JSON object"),
            Self::Pair => f.write_str("two whole numbers with an x between, such as 512x512"),
            Self::Word(words) => f.write_str(&words.join(" or ")),
            Self::List => f.write_str("a list of strings"),
        }
    }
}

impl Type {
    /// The normal form of a text's value, if it is one.
    fn normal(self, text: &str) -> Option<String> {
        match self {
            Self::Text => Some(text.to_owned()),
            Self::Word(words) => words.contains(&text).then(|| text.to_owned()),
            Self::List => serde_json::from_str::<Vec<String>>(text)
                .is_ok()
                .then(|| text.to_owned()),
            Self::Name => (!text.is_empty()).then(|| text.to_owned()),
            Self::Whole(from, to) => whole(text)
                .filter(|number| (from..=to).contains(number))
                .map(|number| number.to_string()),
            Self::Side => whole(text)
                .filter(|&side| side > 0 && side <= MAX_SIDE)
                .filter(|side| side.is_multiple_of(LATENT_SCALE as u64))
                .map(|side| side.to_string()),
            // What is computed with is an f32.
            Self::Number | Self::Share | Self::Fraction => {
                let number = text.parse::<f32>().ok().filter(|n| n.is_finite())?;
                let fits = match self {
                    Self::Share => number > 0.0 && number <= 1.0,
                    Self::Fraction => (0.0..=1.0).contains(&number),
                    _ => true,
                };
                fits.then(|| text.to_owned())
            }
            Self::Numbers => {
                let parts: Vec<_> = text.split(',').map(str::trim).collect();
                let finite = |part: &&str| part.parse::<f64>().is_ok_and(f64::is_finite);
                parts.iter().all(finite).then(|| parts.join(","))
            }
            Self::Object => {
                let object: serde_json::Map<String, Json> = serde_json::from_str(text).ok()?;
                Some(Json::Object(object).to_string())
            }
            Self::Pair => {
                let (first, second) = text.split_once('x')?;
                let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
                let fits = |text: &str| digits(text) && text.parse::<u32>().is_ok();
                (fits(first) && fits(second)).then(|| text.to_owned())
            }
        }
    }

    pub(crate) fn wrong(self, shown: &str, text: &str) -> Wrong {
        let mut remedy = String::new();
        if let (Self::Side, Some(side @ 1..=MAX_SIDE)) = (self, whole(text)) {
            let scale = LATENT_SCALE as u64;
            let below = side / scale * scale;
            remedy = match below {
                0 => format!("; give {scale}"),
                below => format!("; give {below} or {}", below + scale),
            };
        }
        Wrong {
            expected: self.to_string(),
            found: clip(shown),
            remedy,
        }
    }
}

/// A whole number from 0, also where it is written as 7.0 or 7e0.
fn whole(text: &str) -> Option<u64> {
    /// The first number that is too large, 2^64.
    const END: f64 = 18_446_744_073_709_551_616.0;
    text.parse().ok().or_else(|| {
        let number: f64 = text.parse().ok()?;
        (number.fract() == 0.0 && (0.0..END).contains(&number)).then_some(number as u64)
    })
}

impl Setting {
    /// The setting with this key.
    pub fn of(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }

    /// The normal form of a value that stands in metadata or behind a flag.
    ///
    /// # Errors
    /// It is of another type, or out of range.
    pub fn of_text(&self, text: &str) -> Result<String, Wrong> {
        let wrong = || self.value.wrong(&format!("{text:?}"), text);
        self.value.normal(text).ok_or_else(wrong)
    }

    /// The normal form of a value that stands in a record. Null is a setting that is not there.
    ///
    /// # Errors
    /// It is of another type, or out of range.
    pub fn of_json(&self, value: &Json) -> Result<Option<String>, Wrong> {
        let mut shown = value.to_string();
        if let (Type::List, Json::String(_)) = (self.value, value) {
            shown = format!("[{shown}]");
        }
        let listed;
        let text = match (self.value, value) {
            (_, Json::Null) => return Ok(None),
            (Type::Text | Type::Name | Type::Pair | Type::Word(_), Json::String(text)) => {
                Some(text)
            }
            (Type::List, Json::String(_) | Json::Array(_))
            | (
                Type::Whole(..)
                | Type::Side
                | Type::Number
                | Type::Share
                | Type::Fraction
                | Type::Name,
                Json::Number(_),
            )
            | (Type::Object, Json::Object(_)) => Some(&shown),
            (Type::Numbers, Json::Array(list)) if list.iter().all(Json::is_number) => {
                listed = list
                    .iter()
                    .map(Json::to_string)
                    .collect::<Vec<_>>()
                    .join(",");
                Some(&listed)
            }
            _ => None,
        };
        text.and_then(|text| self.value.normal(text))
            .map(Some)
            .ok_or_else(|| self.value.wrong(&shown, &shown))
    }
}

/// The texts of a [`Type::List`], in its normal form.
pub fn list(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap_or_default()
}

/// A [`Type::List`] of these texts, in its normal form; none without any.
pub fn list_of(items: impl IntoIterator<Item = impl fmt::Display>) -> Option<String> {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    (!items.is_empty()).then(|| Json::from(items).to_string())
}

/// The value of a flag that has a setting's key, as clap takes it: `value_parser = settings::parse::<usize>(keys::STEPS)`.
///
/// # Panics
/// The key is not in the table, or `T` does not hold what the table allows.
pub fn parse<T: FromStr>(key: &'static str) -> impl Fn(&str) -> Result<T, Wrong> + Clone
where
    T::Err: fmt::Debug,
{
    let setting = Setting::of(key).expect("a key of the table");
    move |text| {
        let normal = setting.of_text(text).map_err(|mut wrong| {
            // Clap repeats the value itself.
            wrong.found = clip(text);
            wrong
        })?;
        Ok(normal
            .parse()
            .expect("a type that holds what the table allows"))
    }
}

#[cfg(test)]
mod tests;
