//! Turns `image` frames into PNG pictures, on stdout or in files named by a pattern, with the
//! frame's metadata in PNG text.

#![forbid(unsafe_code)]

mod encode;
mod metadata;
mod pattern;
mod sink;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use turbo_cli::{
    Console, Context, Error, FrameReport, Input, InputArgs, LimitArgs, OnError, Result,
};
use turbo_wire::{FrameReader, Header, Kind, keys, names};

use crate::sink::Sink;

// The text is the help's, where backticks would show.
#[allow(clippy::doc_markdown)]
/// Turn image frames into PNG pictures
///
/// Without -o, pictures go to stdout, one behind the other. Prompt, seed, steps, size, model and
/// the rest go into the PNG as text: "parameters", in the form that AUTOMATIC1111's web UI writes
/// and other programs read, and "sdxl-turbo", all of the frame's metadata as a JSON object.
///
/// Each row of a frame is a picture. Row B from 1 on has the frame's seed plus B, and "-B" behind
/// its id.
#[derive(clap::Parser, Clone, Debug)]
#[command(version)]
pub struct Args {
    #[command(flatten)]
    input: InputArgs,

    /// File to write; %d or %04d is the picture's number, {id} its id
    ///
    /// The number is the picture's place in the input, from 1; %04d pads it with zeros to four
    /// digits; %% is a percent sign. In an id, whatever a file name should not have becomes _;
    /// two pictures of one name are an error. Files are written beside their place and renamed;
    /// a file that is there already is replaced. Without a number or id, one picture is taken.
    /// - is stdout; without this flag, stdout, unless it is a terminal.
    #[arg(short, long, value_name = "PATTERN", value_hint = clap::ValueHint::FilePath)]
    output: Option<PathBuf>,

    /// Leave prompt, seed and all other metadata out of the PNG
    #[arg(long)]
    no_metadata: bool,

    /// What to do with a picture that cannot be written
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    on_error: OnError,

    /// Most pixels a picture may have on a side
    #[arg(
        long,
        value_name = "N",
        default_value_t = 16_384,
        hide_short_help = true
    )]
    max_side: u32,

    #[command(flatten)]
    limits: LimitArgs,
}

/// Runs the tool.
///
/// # Errors
/// An input that cannot be opened or breaks the protocol, a frame of another kind, a picture
/// that is too large or cannot be written. Pictures before it stay.
pub fn run(args: Args, console: &Console) -> Result<()> {
    let sources = args.input.sources();
    let mut run = Run {
        sink: Sink::open(args.output.as_deref())?,
        args,
        console,
        frames: 0,
        pictures: 0,
    };
    for source in sources {
        let input = source.open(
            "image frames",
            "pipe decode-latents into to-png, or name a FILE",
        )?;
        run.sink.refuse(&input)?;
        let path = input.path().map(PathBuf::from);
        run.stream(input).in_file(path.as_deref())?;
    }
    run.sink.finish()
}

struct Run<'a> {
    sink: Sink,
    args: Args,
    console: &'a Console,
    /// Frames seen, of all inputs.
    frames: u64,
    /// Pictures seen, of all inputs.
    pictures: u64,
}

impl Run<'_> {
    fn stream(&mut self, input: Input) -> Result<()> {
        let mut reader = input.frames(self.args.limits.limits()).expect(Kind::Image);
        while let Some(header) = reader.next_header()? {
            let index = reader.index();
            let (frame, first) = (self.frames, self.pictures + 1);
            self.frames += 1;
            self.pictures += header.batch() as u64;
            self.sink.make_room(header.batch()).in_frame(index)?;
            match size(&header, self.args.max_side) {
                Ok(size) => {
                    let compute = self.rows(&mut reader, size, first)?;
                    self.console.frame_done(&FrameReport {
                        frame,
                        id: header.get(keys::ID),
                        compute,
                        ..FrameReport::default()
                    });
                }
                // Its body is passed over by the next next_header.
                Err(error) => self
                    .console
                    .stop_or_skip(error.in_frame(index), self.args.on_error)?,
            }
        }
        Ok(())
    }

    /// Writes the frame's pictures, of which the first has this number. Gives the time it took,
    /// waiting for the body not included.
    fn rows(
        &mut self,
        reader: &mut FrameReader<Input>,
        (height, width): (u32, u32),
        first: u64,
    ) -> Result<Duration> {
        let index = reader.index();
        let frame = reader.read_body()?;
        let start = Instant::now();
        let pixels = frame.bytes(names::IMAGE).unwrap_or_default();
        let rows = pixels.chunks_exact(height as usize * width as usize * 3);
        for (row, (number, pixels)) in (0..).zip((first..).zip(rows)) {
            let metadata = metadata::of_row(frame.header.metadata(), row);
            let text = if self.args.no_metadata {
                Vec::new()
            } else {
                metadata::text(&metadata, width, height)
            };
            let id = metadata.get(keys::ID).map(String::as_str);
            let written = encode::png(width, height, pixels, &text)
                .and_then(|png| self.sink.write(number, id, &png))
                .in_frame(index);
            if let Err(error) = written {
                self.console.stop_or_skip(error, self.args.on_error)?;
            }
        }
        Ok(start.elapsed())
    }
}

/// Height and width of the header's pictures, if both are at most `max_side`.
fn size(header: &Header, max_side: u32) -> Result<(u32, u32)> {
    let image = header
        .tensor(names::IMAGE)
        .ok_or_else(|| Error::new("expected a tensor \"image\", found none"))?;
    let side = |axis: usize| {
        u32::try_from(image.shape[axis])
            .ok()
            .filter(|&n| n <= max_side)
    };
    match (side(1), side(2)) {
        (Some(height), Some(width)) => Ok((height, width)),
        _ => Err(Error::new(format_args!(
            "image: expected at most {max_side} pixels a side, found {} x {} (width x height); \
             raise --max-side to take it",
            image.shape[2], image.shape[1]
        ))),
    }
}
