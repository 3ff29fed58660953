//! Shows the frames of a stream on stderr, and passes them on unchanged.

#![forbid(unsafe_code)]

mod compare;
mod difference;
mod number;
mod preview;
mod report;
mod stats;
mod table;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;
use turbo_cli::{
    Console, Context, FrameReport, Input, InputArgs, LimitArgs, Output, Result, escape_json,
    refuse_same_file, set_task,
};
use turbo_wire::{Frame, keys};

use crate::compare::Compare;
pub use crate::compare::CompareArgs;
use crate::preview::Preview;
pub use crate::preview::{PreviewArgs, Protocol, Where};
use crate::report::FrameSummary;

// The text is the help's, where backticks would show.
#[allow(clippy::doc_markdown)]
/// Show the frames of a stream on stderr, and pass them on
///
/// For each frame: its kind; each tensor's name, type and shape, and the least, mean, greatest
/// value and standard deviation (of the population) of its finite values, in double precision;
/// how many values are NaN and how many infinite; the metadata. Where stdout is not a terminal,
/// the frames are passed on to it, byte for byte and one by one.
///
/// --compare tells instead how far they are from those of another stream, and --preview shows the pictures in them. With
/// --quiet nothing is shown: the frames are passed on, files of --preview are written, and the exit status tells.
#[derive(clap::Parser, Clone, Debug)]
#[command(version)]
pub struct Args {
    #[command(flatten)]
    input: InputArgs,

    /// Write a JSON object a line instead of tables, on stderr too
    ///
    /// Keys: file (for files only), frame (from 0, in its file), kind, bytes (of the whole
    /// frame), tensors (a list of name, dtype, shape, min, mean, max, std, nan, inf), metadata.
    /// A number that there is not is null: min, mean, max and std of a tensor without a finite
    /// value; all of them for a type that peek does not compute with (8-bit floats and smaller,
    /// complex numbers).
    ///
    /// With --compare: file, frame, within (whether it is near enough), kind, other_kind (null where
    /// OTHER has ended), tensors (a list of name, dtype, shape, other_dtype, other_shape, within,
    /// distance: differing, max_abs, mean_abs, relative, and first: index, value, other), metadata
    /// (the keys that differ, each with the value here and there). What is not there is null, and so
    /// is a distance that is infinite. With --preview, files has the names of what was written.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    compare: CompareArgs,

    #[command(flatten)]
    preview: PreviewArgs,

    #[command(flatten)]
    limits: LimitArgs,
}

/// Runs the tool.
///
/// # Errors
/// An input that cannot be opened or breaks the protocol; stdout cannot be written; stderr cannot
/// be written and nothing is passed on; with `--compare`, the streams are too far apart. Frames
/// before it have been shown and passed on.
pub fn run(args: Args, console: &Console) -> Result<()> {
    let compare = Compare::open(&args.compare, &args.limits, &args.input.sources())?;
    let preview = Preview::new(&args.preview)?;
    let output = if io::stdout().is_terminal() {
        None
    } else {
        Some(Output::stdout()?)
    };
    let sources = args.input.sources();
    let mut run = Run {
        args,
        console,
        output,
        compare,
        preview,
        frames: 0,
    };
    for source in sources {
        let input = source.open("frames", "put peek into a pipe, or name a FILE")?;
        if let Some(output) = &run.output {
            refuse_same_file(&input, output)?;
        }
        let path = input.path().map(PathBuf::from);
        run.stream(input, path.as_deref())
            .in_file(path.as_deref())?;
    }
    if let Some(output) = run.output {
        output.finish()?;
    }
    match run.compare {
        Some(compare) => compare.finish(),
        None => Ok(()),
    }
}

struct Run<'a> {
    args: Args,
    console: &'a Console,
    /// stdout, unless it is a terminal.
    output: Option<Output>,
    compare: Option<Compare>,
    preview: Option<Preview>,
    /// Frames shown, of all inputs.
    frames: u64,
}

impl Run<'_> {
    fn stream(&mut self, input: Input, path: Option<&Path>) -> Result<()> {
        let mut reader = input.frames(self.args.limits.limits());
        while let Some(header) = reader.next_header()? {
            set_task(format_args!("frame {}", reader.index()));
            // At once, so that what comes next can open its model while the body is computed.
            self.pass(header.encoded())?;
            let frame = reader.read_body()?;
            self.pass(frame.body())?;

            let start = Instant::now();
            let files = self.write(&frame);
            let told = self.tell(path, reader.index(), &frame, &files)?;
            if self.output.is_none() {
                told?;
            }
            self.console.frame_done(&FrameReport {
                frame: self.frames,
                id: header.get(keys::ID),
                compute: start.elapsed(),
                ..FrameReport::default()
            });
            self.frames += 1;
        }
        Ok(())
    }

    /// Writes the pictures in a frame, where that is asked for. If it fails, the frame still passes; the exit status
    /// becomes 1.
    fn write(&mut self, frame: &Frame) -> Vec<String> {
        let files = self
            .preview
            .as_mut()
            .map_or(Ok(Vec::new()), |preview| preview.write(frame));
        files.unwrap_or_else(|error| {
            self.console.error(&error.context("--preview"));
            Vec::new()
        })
    }

    fn draw(&self, frame: &Frame) -> Result<()> {
        match &self.preview {
            Some(preview) => preview.draw(frame, self.console),
            None => Ok(()),
        }
    }

    /// Tells of a frame. The inner error is that of stderr.
    fn tell(
        &mut self,
        path: Option<&Path>,
        index: u64,
        frame: &Frame,
        files: &[String],
    ) -> Result<Result<()>> {
        let (json, quiet) = (self.args.json, self.console.is_quiet());
        let text = match &mut self.compare {
            Some(compare) => {
                // Counts, whether or not it is told.
                let difference = compare.frame(path, index, frame, files)?;
                if json {
                    json_line(&difference)?
                } else {
                    difference.table()
                }
            }
            None if quiet => String::new(),
            None => {
                let summary = FrameSummary::new(path, index, frame, files);
                if json {
                    json_line(&summary)?
                } else {
                    summary.table()
                }
            }
        };
        if quiet {
            return Ok(Ok(()));
        }
        Ok(self.console.report(&text).and_then(|()| self.draw(frame)))
    }

    fn pass(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(output) = &mut self.output {
            output.write_all(bytes).context("stdout")?;
            output.flush().context("stdout")?;
        }
        Ok(())
    }
}

/// The JSON object, and the end of the line.
fn json_line(value: &impl Serialize) -> Result<String> {
    let mut json = escape_json(&serde_json::to_string(value)?).into_owned();
    json.push('\n');
    Ok(json)
}
