//! A tool that turns each frame into another, or into several.

use crate::emit::{Computed, Emitter};
use clap::Args;
use std::time::Duration;
use turbo_cli::{
    Console, Error, InputArgs, LimitArgs, OnError, Output, OutputArgs, Result, refuse_same_file,
};
use turbo_wire::{Frame, Header, Kind, Limits};

/// Where frames come from and go to.
#[derive(Args, Clone, Debug)]
pub struct StreamArgs {
    /// What to read.
    #[command(flatten)]
    pub input: InputArgs,
    /// Where to write.
    #[command(flatten)]
    pub output: OutputArgs,
    /// What to do about a frame that fails
    ///
    /// stop: end at once, with the frame's header written already. skip: report it, leave it out, go on; the exit
    /// status becomes 1. A stream that is cut or is no stream always ends the tool.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    pub on_error: OnError,
    /// Caps.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// What a frame will become, known before its body has come.
#[derive(Debug)]
pub struct Planned<P> {
    /// The header of the new frame, or of the first of several.
    pub header: Header,
    /// Time that opening the model took.
    pub open: Duration,
    /// What [`Stage::compute`] is told.
    pub plan: P,
}

/// A tool that turns each frame into another, or into several.
pub trait Stage {
    /// What the tool reads.
    const READS: Kind;
    /// What to do where stdin is a terminal, such as "pipe encode-text into it".
    const REMEDY: &'static str;
    /// What the tool works out from the header for the body's sake.
    type Plan;

    /// Opens the model, if it is not open, and settles what the frame becomes. `record` counts over all input, from 0.
    ///
    /// # Errors
    /// Those of the record.
    fn plan(&mut self, record: u64, header: &Header) -> Result<Planned<Self::Plan>>;

    /// Computes the new frame's body, and what other frames there are.
    ///
    /// # Errors
    /// Those of the record, and those of `out`, which are to be given on.
    fn compute(&mut self, plan: Self::Plan, frame: &Frame, out: &mut Out<'_, '_>) -> Result<()>;
}

/// Takes the frames that a stage makes of one.
pub struct Out<'a, 'o> {
    emitter: &'a mut Emitter<'o, &'o mut Output>,
    /// The header that was announced; taken by [`Out::first`].
    first: Option<(Header, Duration)>,
    /// Says where an error of the record comes from.
    blame: &'a dyn Fn(Error) -> Error,
    /// Frames planned so far, of all input.
    frames: &'a mut u64,
    /// Whether an error was given back that has its place and has been judged by `--on-error` already.
    ended: bool,
}

impl Out<'_, '_> {
    /// The number of the next frame in the output, from 0: that of `--progress json`.
    pub fn number(&self) -> u64 {
        *self.frames
    }

    /// Computes and writes the body of the frame that was planned. To be called once, before [`Out::more`].
    ///
    /// # Errors
    /// The output fails; with `--on-error stop`, those of `compute`.
    pub fn first(&mut self, compute: impl FnOnce() -> Result<Computed>) -> Result<()> {
        match self.first.take() {
            Some((header, open)) => self.write(open, &header, compute),
            None => Ok(()),
        }
    }

    /// Computes and writes one more frame. With `--on-error skip`, one that fails does not keep the others back.
    ///
    /// # Errors
    /// As [`Out::first`].
    pub fn more(
        &mut self,
        header: &Header,
        compute: impl FnOnce() -> Result<Computed>,
    ) -> Result<()> {
        if let Err(error) = self.emitter.announce(header) {
            self.ended = true;
            return Err(error);
        }
        self.write(Duration::ZERO, header, compute)
    }

    fn write(
        &mut self,
        open: Duration,
        header: &Header,
        compute: impl FnOnce() -> Result<Computed>,
    ) -> Result<()> {
        let frame = *self.frames;
        *self.frames += 1;
        let written = self
            .emitter
            .complete(frame, open, header, || compute().map_err(self.blame));
        self.ended = written.is_err();
        written
    }
}

/// Runs a stage over all input, frame by frame, with one frame in memory at a time.
///
/// # Errors
/// Input or output fails; with `--on-error stop`, also a record.
pub fn run<S: Stage>(stage: &mut S, args: &StreamArgs, console: &Console) -> Result<()> {
    let limits = args.limits.limits();
    let mut output = args.output.open("frames")?;
    let (mut record, mut frames) = (0, 0);
    for source in args.input.sources() {
        let input = source.open(&format!("{} frames", S::READS), S::REMEDY)?;
        refuse_same_file(&input, &output)?;
        let path = input.path().map(ToOwned::to_owned);
        let blame = |error: Error| error.in_file(path.as_deref());
        let mut reader = input.frames(limits).expect(S::READS);
        let mut emitter = Emitter::new(&mut output, args.on_error, console);
        while let Some(header) = reader.next_header().map_err(|error| blame(error.into()))? {
            let index = reader.index();
            let blame_frame = |error: Error| blame(error.in_frame(index));
            let plan = stage
                .plan(record, &header)
                .and_then(|planned| fits(planned, &limits));
            match plan {
                Err(error) => {
                    frames += 1;
                    emitter.fail(blame_frame(error))?;
                }
                Ok(Planned { header, open, plan }) => {
                    emitter.announce(&header)?;
                    let frame = reader.read_body().map_err(|error| blame(error.into()))?;
                    let mut out = Out {
                        emitter: &mut emitter,
                        first: Some((header, open)),
                        blame: &blame_frame,
                        frames: &mut frames,
                        ended: false,
                    };
                    let computed = stage.compute(plan, &frame, &mut out);
                    match computed {
                        Err(error) if !out.ended => {
                            if out.first.is_some() {
                                frames += 1;
                            }
                            emitter.fail(blame_frame(error))?;
                        }
                        computed => computed?,
                    }
                }
            }
            record += 1;
        }
    }
    output.finish()
}

/// Refuses to make a frame that the next tool would refuse to read.
fn fits<P>(planned: Planned<P>, limits: &Limits) -> Result<Planned<P>> {
    let (found, limit) = (planned.header.body_len(), limits.frame_bytes);
    if found > limit {
        return Err(Error::new(format_args!(
            "result: expected at most {limit} bytes, as the next tool reads no more, found {found}; raise \
             --max-frame-bytes here and there"
        )));
    }
    Ok(planned)
}
