//! Turns `image` frames into PNG pictures, on stdout or in files named by a pattern, with the
//! frame's metadata in PNG text.

#![forbid(unsafe_code)]

mod encode;
mod grid;
mod metadata;
mod paste;
mod sink;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

use turbo_cli::{
    Console, Context, Error, FrameReport, Input, InputArgs, LimitArgs, OnError, Result, set_task,
};
use turbo_wire::{FrameReader, Header, Kind, keys, metadata::read, names};

use crate::grid::Grid;
use crate::metadata::Rows;
use crate::paste::{Paste, PasteArgs};
use crate::sink::Sink;

/// For fuzzing, which has no other way in.
#[doc(hidden)]
pub mod fuzz {
    use crate::encode;
    use crate::metadata::Rows;
    use turbo_wire::Metadata;

    /// A PNG of the row of a frame with this metadata, and the text in it.
    ///
    /// # Panics
    /// If the pixels are not three bytes each.
    pub fn png(
        metadata: &Metadata,
        row: u64,
        (width, height): (u32, u32),
        pixels: &[u8],
    ) -> (Vec<u8>, Vec<(&'static str, String)>) {
        let text = Rows::new(metadata).text(row, width, height);
        let png = encode::png(width, height, pixels, &text).expect("a size that fits");
        (png, text)
    }
}

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
    /// The number is the picture's place in the input, from 1, or what encode-text
    /// --skip-existing says it is; %04d pads it with zeros to four digits; %% is a percent sign.
    /// In an id, whatever a file name should not have becomes _; two pictures of one name are an
    /// error. Files are written beside their place and renamed, so that none is ever seen in
    /// part; a file that is there already is replaced. Without a number or id, one picture is
    /// taken. - is stdout; without this flag, stdout, unless it is a terminal.
    #[arg(short, long, value_name = "PATTERN", value_hint = clap::ValueHint::FilePath)]
    output: Option<PathBuf>,

    /// Leave files that are there already as they are, for a run that is started again
    ///
    /// A file of a picture's name counts as that picture, whoever wrote it: of a run that was
    /// stopped or killed, every file that is there is whole. encode-text --skip-existing spares
    /// the work before this tool too.
    #[arg(long)]
    skip_existing: bool,

    /// Put all pictures into one PNG, so many side by side
    ///
    /// The pictures, which must be of one size, are kept until the last is there. What made them
    /// is not written into the PNG.
    #[arg(long, value_name = "COLUMNS", conflicts_with = "skip_existing")]
    grid: Option<NonZeroUsize>,

    #[command(flatten)]
    paste: PasteArgs,

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
    let to_stdout = args
        .output
        .as_deref()
        .is_none_or(|path| path.as_os_str() == "-");
    if args.skip_existing && to_stdout {
        return Err(Error::usage(
            "--skip-existing: expected files to look for, found stdout; name them with -o PATTERN",
        ));
    }
    let mut run = Run {
        sink: Sink::open(args.output.as_deref())?,
        grid: args.grid.map(|columns| Grid::new(columns.get())),
        paste: args.paste.open()?,
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
    run.sheet()?;
    run.sink.finish()
}

struct Run<'a> {
    sink: Sink,
    grid: Option<Grid>,
    paste: Option<Paste>,
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
            if self.grid.is_some() {
                if let Err(error) = self.gather(&mut reader, &header).in_frame(index) {
                    self.console.stop_or_skip(error, self.args.on_error)?;
                }
                continue;
            }
            self.sink.make_room(header.batch()).in_frame(index)?;
            match self.plan(&header, first) {
                Ok(plan) => {
                    let (height, width) = plan.size;
                    set_task(format_args!("frame {index}: {width}x{height}"));
                    self.frame(&mut reader, &header, frame, &plan)?;
                }
                // Its body is passed over by the next next_header.
                Err(error) => self
                    .console
                    .stop_or_skip(error.in_frame(index), self.args.on_error)?,
            }
        }
        Ok(())
    }

    /// What becomes of a frame, of which the first picture is `first` by this tool's count. Looks at the header as a
    /// whole, not at each row: rows that are announced may never come.
    fn plan(&self, header: &Header, first: u64) -> Result<Plan> {
        let size = size(header, self.args.max_side)?;
        let rows = header.batch() as u64;
        let index: Option<u64> = read(header.metadata(), keys::PICTURE_INDEX)?;
        // The last row has a number too.
        if index.is_some_and(|index| index.checked_add(rows).is_none()) {
            return Err(Error::new(format_args!(
                "metadata: {}: expected a number that leaves room for {rows} pictures, found {}",
                keys::PICTURE_INDEX,
                index.unwrap_or_default()
            )));
        }
        let plan = Plan {
            size,
            first: index.map_or(first, |index| index + 1),
            counted: index.is_none(),
        };
        // A name that the first picture cannot have, none can.
        let id = header.get(keys::ID);
        self.sink.look(plan.first, id)?;
        Ok(plan)
    }

    /// Puts a frame's pictures into the grid.
    fn gather(&mut self, reader: &mut FrameReader<Input>, header: &Header) -> Result<()> {
        let size = size(header, self.args.max_side)?;
        let Some(grid) = &mut self.grid else {
            return Ok(());
        };
        let (height, width) = size;
        grid.expect(self.paste.as_ref().map_or(size, Paste::size))?;
        let frame = reader.read_body()?;
        let pixels = frame.bytes(names::IMAGE).unwrap_or_default();
        for one in pixels.chunks_exact(height as usize * width as usize * 3) {
            match &self.paste {
                Some(paste) => grid.push(paste.apply(size, one)?.pixels()),
                None => grid.push(one),
            }
        }
        Ok(())
    }

    /// Writes the grid, if there is one and a picture in it.
    fn sheet(&mut self) -> Result<()> {
        let Some(grid) = &self.grid else {
            return Ok(());
        };
        let Some(sheet) = grid.sheet(self.args.max_side)? else {
            return Ok(());
        };
        let png = encode::png(sheet.width, sheet.height, &sheet.pixels, &[])?;
        let target = self.sink.take(1, true, None)?;
        self.sink.write(&target, &png)
    }

    /// Writes a frame's pictures, but for those that are there already and may stay. A frame of
    /// which nothing is to be written is passed over.
    fn frame(
        &mut self,
        reader: &mut FrameReader<Input>,
        header: &Header,
        number: u64,
        plan: &Plan,
    ) -> Result<()> {
        let index = reader.index();
        let mut rows = Rows::new(header.metadata());
        if self.args.skip_existing && self.is_there(header, plan, &rows) {
            for row in 0..header.batch() as u64 {
                let id = rows.id(row);
                let taken = self
                    .sink
                    .take(plan.first + row, plan.counted, id.as_deref());
                if let Err(error) = taken.in_frame(index) {
                    self.console.stop_or_skip(error, self.args.on_error)?;
                }
            }
            self.console.info(format_args!(
                "frame {number}: nothing to write, all is there"
            ));
            return Ok(());
        }
        let frame = reader.read_body()?;
        let start = Instant::now();
        let (height, width) = plan.size;
        let pixels = frame.bytes(names::IMAGE).unwrap_or_default();
        let pictures = pixels.chunks_exact(height as usize * width as usize * 3);
        for (row, pixels) in (0..).zip(pictures) {
            if let Err(error) = self.picture(&mut rows, row, plan, pixels).in_frame(index) {
                self.console.stop_or_skip(error, self.args.on_error)?;
            }
        }
        self.console.frame_done(&FrameReport {
            frame: number,
            id: header.get(keys::ID),
            compute: start.elapsed(),
            ..FrameReport::default()
        });
        Ok(())
    }

    /// Whether there is a file for each picture of a frame. Stops at the first that is missing, so that it looks
    /// at no more rows than there are files.
    fn is_there(&self, header: &Header, plan: &Plan, rows: &Rows) -> bool {
        (0..header.batch() as u64).all(|row| {
            self.sink
                .look(plan.first + row, rows.id(row).as_deref())
                .is_ok_and(|target| target.exists())
        })
    }

    /// Writes one picture to where it goes.
    fn picture(&mut self, rows: &mut Rows, row: u64, plan: &Plan, pixels: &[u8]) -> Result<()> {
        let id = rows.id(row);
        let number = plan.first + row;
        let target = self.sink.take(number, plan.counted, id.as_deref())?;
        if self.args.skip_existing && target.exists() {
            return Ok(());
        }
        let pasted = self.paste.as_ref();
        let pasted = pasted
            .map(|paste| paste.apply(plan.size, pixels))
            .transpose()?;
        let pixels = pasted.as_ref().map_or(pixels, |picture| picture.pixels());
        let (height, width) = self.paste.as_ref().map_or(plan.size, Paste::size);
        let text = if self.args.no_metadata {
            Vec::new()
        } else {
            rows.text(row, width, height)
        };
        let png = encode::png(width, height, pixels, &text)?;
        self.sink.write(&target, &png)
    }
}

/// What becomes of a frame.
struct Plan {
    /// Height and width of its pictures.
    size: (u32, u32),
    /// Number of its first picture, from 1.
    first: u64,
    /// Whether that is this tool's own count.
    counted: bool,
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
