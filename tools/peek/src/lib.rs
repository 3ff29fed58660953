//! Shows the frames of a stream on stderr, and passes them on unchanged.

#![forbid(unsafe_code)]

mod report;
mod stats;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use turbo_cli::{
    Console, Context, FrameReport, Input, InputArgs, LimitArgs, Output, Result, refuse_same_file,
};
use turbo_wire::keys;

use crate::report::FrameSummary;

// The text is the help's, where backticks would show.
#[allow(clippy::doc_markdown)]
/// Show the frames of a stream on stderr, and pass them on
///
/// For each frame: its kind; each tensor's name, type and shape, and the least, mean, greatest
/// value and standard deviation (of the population) of its finite values, in double precision;
/// how many values are NaN and how many infinite; the metadata. Where stdout is not a terminal,
/// the frames are passed on to it, byte for byte and one by one.
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
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    limits: LimitArgs,
}

/// Runs the tool.
///
/// # Errors
/// An input that cannot be opened or breaks the protocol; stdout cannot be written; stderr cannot
/// be written and nothing is passed on. Frames before it have been shown and passed on.
pub fn run(args: Args, console: &Console) -> Result<()> {
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
    match run.output {
        Some(output) => output.finish(),
        None => Ok(()),
    }
}

struct Run<'a> {
    args: Args,
    console: &'a Console,
    /// stdout, unless it is a terminal.
    output: Option<Output>,
    /// Frames shown, of all inputs.
    frames: u64,
}

impl Run<'_> {
    fn stream(&mut self, input: Input, path: Option<&Path>) -> Result<()> {
        let mut reader = input.frames(self.args.limits.limits());
        while let Some(header) = reader.next_header()? {
            // At once, so that what comes next can open its model while the body is computed.
            self.pass(header.encoded())?;
            let frame = reader.read_body()?;
            self.pass(frame.body())?;

            let start = Instant::now();
            let summary = FrameSummary::new(path, reader.index(), &frame);
            let text = if self.args.json {
                summary.json()?
            } else {
                summary.table()
            };
            let told = self.console.report(&text);
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

    fn pass(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(output) = &mut self.output {
            output.write_all(bytes).context("stdout")?;
            output.flush().context("stdout")?;
        }
        Ok(())
    }
}
