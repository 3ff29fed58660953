//! The command line.

use clap::{Parser, ValueEnum};
use std::path::PathBuf;
use turbo_cli::{LimitArgs, OnError, OutputArgs};
use turbo_picture::Color;
use turbo_stage::ModelArgs;
use turbo_wire::{keys, settings};

/// Turn pictures into latents, for decode-latents, or join them to text embeddings, for denoise
///
/// A PICTURE is a PNG, JPEG, WebP, PPM (P6) or PGM (P5) file; - is stdin, with pictures back to back, as `ffmpeg -f
/// image2pipe` writes them. Nothing is read from stdin that is not named. Alone, each picture becomes a frame of
/// latents, of the mean of its distribution, which decode-latents turns into the picture again. With --join, each
/// frame of a stream of text embeddings gets a picture to start from: all of the distribution, from which denoise
/// draws by the picture's seed, as diffusers does.
#[derive(Parser, Debug)]
#[command(version)]
pub struct Args {
    /// Pictures, - for stdin
    #[arg(value_name = "PICTURE", value_hint = clap::ValueHint::FilePath)]
    pub pictures: Vec<PathBuf>,

    /// Join the pictures to the text embeddings in FILE, - for stdin
    ///
    /// Frames and pictures pair one to one; a single one of either side is repeated for all of the other, and any
    /// other difference in number is an error. A frame whose record has an "image" or a "mask" (paths, relative to
    /// where this tool runs) gets those instead. The frame is otherwise as it was.
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub join: Option<PathBuf>,

    /// Picture that says what is painted anew: white is, black stays
    ///
    /// It is brought to the picture's size as the picture is, and counts as white from half grey on.
    #[arg(long, value_name = "MASK", requires = "join", value_hint = clap::ValueHint::FilePath)]
    pub mask: Option<PathBuf>,

    /// Width of the picture that is encoded, in pixels, a multiple of 8
    ///
    /// Without --width and --height a picture keeps its size, reduced to multiples of 8; with one of them the other
    /// follows the picture's proportions. A record's own "width" and "height" win.
    #[arg(long, value_name = "W", value_parser = settings::parse::<usize>(keys::WIDTH))]
    pub width: Option<usize>,

    /// Height, likewise
    #[arg(long, value_name = "H", value_parser = settings::parse::<usize>(keys::HEIGHT))]
    pub height: Option<usize>,

    /// What to do where the picture's proportions are others
    #[arg(long, value_enum, value_name = "HOW", default_value_t)]
    pub fit: Fit,

    /// Colour behind transparent pictures, such as #ffcc00 or black [default: white]
    #[arg(long, value_name = "COLOR", default_value_t = Color::WHITE, hide_default_value = true)]
    pub background: Color,

    /// Read bare pixels: red, green and blue of 8 bits, row by row, pictures of this size back to back
    ///
    /// What `ffmpeg -f rawvideo -pix_fmt rgb24` writes.
    #[arg(long, value_name = "WxH", value_parser = raw_size)]
    pub raw: Option<(usize, usize)>,

    /// Encoder: full, tiny, a file, a folder or a hub id [default: full]
    ///
    /// As the flag of decode-latents. What is not the checkpoint's own is named in the frames, so that decode-latents
    /// takes the same.
    #[arg(long, value_name = "VAE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub vae: Option<String>,

    /// Encode large pictures in overlapping tiles
    ///
    /// That takes less memory and gives slightly other latents, as in diffusers. Large is what is larger than the
    /// checkpoint's size, or for the tiny encoder than 448 pixels.
    #[arg(long)]
    pub tile: bool,

    /// What to do about a picture or frame that fails
    ///
    /// stop: end at once. skip: report it, leave it out, go on; the exit status becomes 1. A stream of pictures that
    /// is cut or is none always ends the tool.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    pub on_error: OnError,

    /// Most pixels of a picture that is read
    #[arg(help_heading = "Limits", long, value_name = "N", default_value_t = turbo_picture::Limits::default().pixels,
        hide_short_help = true)]
    pub max_pixels: u64,

    /// Caps.
    #[command(flatten)]
    pub limits: LimitArgs,

    /// Where to write.
    #[command(flatten)]
    pub output: OutputArgs,

    /// Which model, and where it runs.
    #[command(flatten)]
    pub model: ModelArgs,
}

/// The values of `--fit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Fit {
    /// Stretch it
    #[default]
    Stretch,
    /// Cover the size, and cut off what is too much
    Cover,
    /// Fit it in, and fill the rest with its outermost rows or columns
    Contain,
}

impl From<Fit> for turbo_picture::Fit {
    fn from(fit: Fit) -> Self {
        match fit {
            Fit::Stretch => Self::Stretch,
            Fit::Cover => Self::Cover,
            Fit::Contain => Self::Contain,
        }
    }
}

impl Args {
    /// What pictures are held to.
    pub(crate) fn picture_limits(&self) -> turbo_picture::Limits {
        turbo_picture::Limits {
            pixels: self.max_pixels,
            bytes: self.limits.limits().frame_bytes,
        }
    }
}

fn raw_size(text: &str) -> Result<(usize, usize), String> {
    let side = |text: &str| text.parse().ok().filter(|&side: &usize| side > 0);
    text.split_once('x')
        .and_then(|(width, height)| Some((side(width)?, side(height)?)))
        .ok_or_else(|| "expected WIDTHxHEIGHT in pixels, such as 512x512".to_owned())
}
