//! A photo's own pixels where a mask keeps them.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use turbo_cli::{Context, Error, Result};
use turbo_picture::{Alpha, Fit, Limits, Rgb, blend, read};

// The text is the help's, where backticks would show.
#[allow(clippy::doc_markdown)]
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct PasteArgs {
    /// Put PHOTO's own pixels back wherever the mask is black
    ///
    /// An autoencoder changes a little what was to be left alone. Of each picture only what the mask shows in white
    /// remains, and where it is grey the two are blended. The picture takes on the photo's size. PHOTO and MASK are
    /// what encode-image was given, stretched to the picture's size if at all.
    #[arg(long, value_name = "PHOTO", requires = "mask", value_hint = clap::ValueHint::FilePath)]
    paste: Option<PathBuf>,

    /// Mask for --paste: white is the new picture, black is the photo
    #[arg(long, value_name = "MASK", requires = "paste", value_hint = clap::ValueHint::FilePath)]
    mask: Option<PathBuf>,
}

/// A photo, and what of it is to be seen.
pub(crate) struct Paste {
    photo: Rgb,
    /// `[height, width]`: 0 is the photo.
    mask: Vec<u8>,
}

impl PasteArgs {
    /// Reads photo and mask, if they are wanted. The mask is brought to the photo's size.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub(crate) fn open(&self) -> Result<Option<Paste>> {
        let (Some(photo), Some(mask)) = (&self.paste, &self.mask) else {
            return Ok(None);
        };
        let photo = open(photo, Alpha::On([255; 3])).context("--paste")?;
        let mask = open(mask, Alpha::Ignored).context("--mask")?;
        let mask = Fit::Stretch.apply(&mask, photo.width(), photo.height())?;
        Ok(Some(Paste {
            mask: mask.to_grey(),
            photo,
        }))
    }
}

fn open(path: &Path, alpha: Alpha) -> Result<Rgb> {
    let file = File::open(path).in_file(path)?;
    let picture = read(BufReader::new(file), alpha, &Limits::default());
    picture.map_err(Error::from).in_file(path)
}

impl Paste {
    /// Height and width of what comes out.
    pub(crate) fn size(&self) -> (u32, u32) {
        (self.photo.height() as u32, self.photo.width() as u32)
    }

    /// The picture, in the photo's size, with the photo's own pixels.
    ///
    /// # Errors
    /// Pixels of another size.
    pub(crate) fn apply(&self, (height, width): (u32, u32), pixels: &[u8]) -> Result<Rgb> {
        let picture = Rgb::new(width as usize, height as usize, pixels.to_vec())?;
        let picture = Fit::Stretch.apply(&picture, self.photo.width(), self.photo.height())?;
        Ok(blend(&self.photo, &picture, &self.mask)?)
    }
}
