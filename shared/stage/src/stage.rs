//! A tool that turns each frame into another.

use crate::emit::{Computed, Emitter};
use clap::Args;
use std::time::Duration;
use turbo_cli::{
    Console, Error, InputArgs, LimitArgs, OnError, OutputArgs, Result, refuse_same_file,
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
    /// The new frame's header.
    pub header: Header,
    /// Time that opening the model took.
    pub open: Duration,
    /// What [`Stage::compute`] is told.
    pub plan: P,
}

/// A tool that turns each frame into another.
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

    /// Computes the new frame's body.
    ///
    /// # Errors
    /// Those of the record.
    fn compute(&mut self, plan: Self::Plan, frame: &Frame) -> Result<Computed>;
}

/// Runs a stage over all input, frame by frame, with one frame in memory at a time.
///
/// # Errors
/// Input or output fails; with `--on-error stop`, also a record.
pub fn run<S: Stage>(stage: &mut S, args: &StreamArgs, console: &Console) -> Result<()> {
    let limits = args.limits.limits();
    let mut output = args.output.open("frames")?;
    let mut record = 0;
    for source in args.input.sources() {
        let input = source.open(&format!("{} frames", S::READS), S::REMEDY)?;
        refuse_same_file(&input, &output)?;
        let path = input.path().map(ToOwned::to_owned);
        let blame = |error: Error| error.in_file(path.as_deref());
        let mut reader = input.frames(limits).expect(S::READS);
        let mut emitter = Emitter::new(&mut output, args.on_error, console);
        while let Some(header) = reader.next_header().map_err(|error| blame(error.into()))? {
            let index = reader.index();
            let plan = stage
                .plan(record, &header)
                .and_then(|planned| fits(planned, &limits));
            match plan {
                Err(error) => emitter.fail(blame(error.in_frame(index)))?,
                Ok(Planned { header, open, plan }) => {
                    emitter.announce(&header)?;
                    let frame = reader.read_body().map_err(|error| blame(error.into()))?;
                    emitter.complete(record, open, &header, || {
                        stage
                            .compute(plan, &frame)
                            .map_err(|error| blame(error.in_frame(index)))
                    })?;
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
