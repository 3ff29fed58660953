//! `--preview`: frames as small pictures, on the terminal or in files.

mod blocks;
mod inline;
mod picture;
mod sixel;
mod terminal;

use std::path::Path;

use turbo_cli::{Console, Context, Output, Pattern, Result};
use turbo_wire::{Frame, keys, rows};

use picture::Picture;
pub use terminal::{Protocol, Where};

/// Files where stderr is no terminal that shows pictures.
const FILES: &str = "preview-%04d.png";
/// Longest side of a picture on the terminal, in pixels: no more than most windows are wide.
const LONGEST: usize = 512;
/// Smaller pictures, as latents are, are enlarged at least to this.
const SHORTEST: usize = 256;

// Doc comments here are help texts, in which backticks would show.
#[allow(clippy::doc_markdown)]
/// `--preview` and what goes with it.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct PreviewArgs {
    /// Show the pictures in the frames: auto, kitty, iterm2, sixel, blocks, or files such as --preview=x-%04d.png
    ///
    /// Images as they are, latents by a linear map of their four channels to red, green and blue, which takes no
    /// decoder and gives a pixel for each 8 x 8 of the picture. With auto, which is what --preview alone means, on
    /// stderr if that is a terminal: as pictures in terminals that say they can (kitty's, iTerm2's or sixel graphics),
    /// else as coloured half blocks; in files preview-0001.png and so on where stderr is no terminal or cannot show
    /// colours. A name that ends in .png is a file: %d or %04d is the picture's number, from 1, and {id} its id;
    /// without either, each picture replaces the one before. In files pictures have their own size.
    #[arg(
        help_heading = "Preview",
        long,
        value_name = "WHERE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "auto",
    )]
    pub preview: Option<Where>,

    /// Show this tensor of a frame [default: latents or image]
    ///
    /// Such as pred_original_sample of a trace. Frames without it, or in which it has not the shape of latents or of
    /// an image, are not shown.
    #[arg(
        help_heading = "Preview",
        long,
        value_name = "NAME",
        requires = "preview"
    )]
    pub preview_tensor: Option<String>,
}

/// Where pictures are shown.
pub(crate) struct Preview {
    target: Target,
    tensor: Option<String>,
    /// Pictures written.
    pictures: u64,
}

enum Target {
    Terminal(Protocol),
    Files(Pattern),
}

impl Preview {
    /// Settles where pictures go.
    ///
    /// # Errors
    /// The pattern has an unknown `%`.
    pub(crate) fn new(args: &PreviewArgs) -> Result<Option<Self>> {
        let Some(place) = &args.preview else {
            return Ok(None);
        };
        let target = match place {
            Where::Auto => match terminal::detect() {
                Some(protocol) => Target::Terminal(protocol),
                None => Target::Files(Pattern::parse(FILES, "--preview")?),
            },
            Where::Terminal(protocol) => Target::Terminal(*protocol),
            Where::Files(pattern) => Target::Files(Pattern::parse(pattern, "--preview")?),
        };
        Ok(Some(Self {
            target,
            tensor: args.preview_tensor.clone(),
            pictures: 0,
        }))
    }

    /// Writes all rows of a frame to files, if that is where they go and there are pictures in it. Gives the files'
    /// names.
    ///
    /// # Errors
    /// A file cannot be written; its name needs an id and there is none.
    pub(crate) fn write(&mut self, frame: &Frame) -> Result<Vec<String>> {
        let Target::Files(pattern) = &self.target else {
            return Ok(Vec::new());
        };
        let mut files = Vec::new();
        for (row, picture) in Picture::all(frame, self.tensor.as_deref()).enumerate() {
            self.pictures += 1;
            // As to-png names rows.
            let id = frame.header.get(keys::ID);
            let id = id.map(|id| rows::id(id, row as u64));
            let name = pattern.name(self.pictures, id.as_deref())?;
            write(Path::new(&name), &picture.png()?)?;
            files.push(name);
        }
        Ok(files)
    }

    /// Draws all rows of a frame on the terminal, if that is where they go. One at a time, as they take far more room
    /// there than in the frame.
    ///
    /// # Errors
    /// stderr cannot be written.
    pub(crate) fn draw(&self, frame: &Frame, console: &Console) -> Result<()> {
        let Target::Terminal(protocol) = self.target else {
            return Ok(());
        };
        for (row, picture) in Picture::all(frame, self.tensor.as_deref()).enumerate() {
            let gap = if row > 0 { "\n" } else { "" };
            match protocol.draw(&picture) {
                Ok(text) => console.report(&format!("{gap}{text}"))?,
                Err(error) => console.error(&error.context("--preview")),
            }
        }
        Ok(())
    }
}

fn write(path: &Path, png: &[u8]) -> Result<()> {
    let mut output = Output::file(path)?;
    std::io::Write::write_all(&mut output, png).context(path.display())?;
    output.finish()
}

impl Protocol {
    /// What draws the picture, and ends the line.
    fn draw(self, picture: &Picture) -> Result<String> {
        let sized = || picture.shrunk(LONGEST, LONGEST).enlarged(SHORTEST);
        Ok(match self {
            Self::Kitty => inline::kitty(&sized().png()?),
            Self::Iterm2 => inline::iterm2(&sized().png()?),
            Self::Sixel => sixel::draw(&sized()),
            Self::Blocks(colours) => {
                let (columns, rows) = terminal::size();
                // A line for the prompt below; two pixels to a cell.
                let picture = picture.shrunk(columns, rows.saturating_sub(1).max(1) * 2);
                blocks::draw(&picture, colours)
            }
        })
    }
}
