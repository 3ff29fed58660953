//! The loop of every stage: an item in, a frame or several out.

use crate::emit::{Computed, Emitter};
use crate::{Fault, Place, Source, StreamArgs};
use std::collections::VecDeque;
use std::time::Duration;
use turbo_cli::{Appended, Console, Error, OnError, Output, OutputArgs, Result, set_task};
use turbo_wire::{Header, Kind, Limits, keys};

/// What an item will become, known before its body has come.
#[derive(Debug)]
pub struct Planned<P> {
    /// The header of the new frame, or of the first of several.
    pub header: Header,
    /// Time that opening the model took.
    pub open: Duration,
    /// What [`Stage::compute`] is told. It holds the model.
    pub plan: P,
}

/// A tool that turns each item of a source into a frame, or into several.
pub trait Stage {
    /// What the tool reads.
    type Source: Source;
    /// What the tool writes.
    const WRITES: Kind;
    /// What the tool works out from the head for the body's sake.
    type Plan;

    /// Opens the model, if it is not open, and settles what the item becomes; none if there is nothing to do. `record`
    /// counts over all input, from 0.
    ///
    /// # Errors
    /// Those of the item, and those that end the run.
    fn plan(
        &mut self,
        record: u64,
        head: <Self::Source as Source>::Head,
    ) -> Result<Option<Planned<Self::Plan>>, Fault>;

    /// Computes the new frame's body, and what other frames there are.
    ///
    /// # Errors
    /// Those of the item, and those of `out`, which are to be given on.
    fn compute(
        &mut self,
        plan: Self::Plan,
        body: <Self::Source as Source>::Body,
        out: &mut Out<'_, '_>,
    ) -> Result<(), Fault>;

    /// Shows an item that is to be computed, when those shown before it are.
    fn show(&mut self, _plan: &Self::Plan, _body: &<Self::Source as Source>::Body) {}

    /// Whether the stage wants an item that waits behind those shown, as it can compute it together with the first of them:
    /// it is then planned and shown.
    fn wants(&self, _waiting: &<Self::Source as Source>::Head) -> bool {
        false
    }
}

/// Where frames go to, and when to stop.
#[derive(Clone, Copy, Debug)]
pub struct To<'a> {
    /// Where to write.
    pub output: &'a OutputArgs,
    /// What to do about an item that fails.
    pub on_error: OnError,
    /// Caps on the frames written.
    pub limits: Limits,
}

impl<'a> From<&'a StreamArgs> for To<'a> {
    fn from(args: &'a StreamArgs) -> Self {
        Self {
            output: &args.output,
            on_error: args.on_error,
            limits: args.limits.limits(),
        }
    }
}

/// Takes the frames that a stage makes of one item.
pub struct Out<'a, 'o> {
    emitter: &'a mut Emitter<'o, Output>,
    /// The header that was announced; taken by [`Out::first`].
    first: Option<(Header, Duration)>,
    /// Where the item lies.
    place: &'a Place,
    /// Frames planned so far, of all input.
    frames: &'a mut u64,
}

impl Out<'_, '_> {
    /// The number of the next frame in the output, from 0: that of `--progress json`.
    pub fn number(&self) -> u64 {
        *self.frames
    }

    /// Computes and writes the body of the frame that was planned. To be called once, before [`Out::more`].
    ///
    /// # Errors
    /// [`Fault::Run`]: the output fails; with `--on-error stop`, those of `compute`.
    pub fn first(&mut self, compute: impl FnOnce() -> Result<Computed>) -> Result<(), Fault> {
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
    ) -> Result<(), Fault> {
        self.emitter.announce(header).map_err(Fault::Run)?;
        self.write(Duration::ZERO, header, compute)
    }

    fn write(
        &mut self,
        open: Duration,
        header: &Header,
        compute: impl FnOnce() -> Result<Computed>,
    ) -> Result<(), Fault> {
        let frame = *self.frames;
        *self.frames += 1;
        self.emitter
            .complete(frame, open, header, || {
                compute().map_err(|error| self.place.blame(error))
            })
            .map_err(Fault::Run)
    }
}

/// Runs a stage over all items of a source, with one of them in memory at a time, and those that it wants beside it.
///
/// # Errors
/// Input or output fails; with `--on-error stop`, also an item.
pub fn run<S: Stage>(
    stage: &mut S,
    source: S::Source,
    to: To<'_>,
    console: &Console,
) -> Result<()> {
    turbo_weights::on_cut(turbo_cli::remove_temporary_files);
    let output = to.output.open(&format!("{} frames", S::WRITES))?;
    let mut run = Run {
        stage,
        source,
        appended: output.appended()?,
        ahead: VecDeque::new(),
        records: 0,
        emitter: Emitter::new(output, to.on_error, console),
        limits: to.limits,
        frames: 0,
    };
    loop {
        // An item of which nothing is written has a number too.
        let next = run.frames + 1;
        match run.item() {
            Ok(true) => {}
            Ok(false) => return run.emitter.into_output().finish(),
            Err(Fault::Item(error)) => run.emitter.fail(error)?,
            Err(Fault::Run(error)) => return Err(error),
        }
        run.frames = run.frames.max(next);
    }
}

/// A stage at work.
struct Run<'a, S: Stage> {
    stage: &'a mut S,
    source: S::Source,
    /// What no input may be.
    appended: Appended,
    /// What was taken from the source before its turn.
    ahead: VecDeque<Result<Taken<S>, Fault>>,
    /// Items taken so far.
    records: u64,
    emitter: Emitter<'a, Output>,
    limits: Limits,
    /// Frames planned so far.
    frames: u64,
}

/// What a source gave.
enum Taken<S: Stage> {
    Item(Item<S>),
    /// An item of which nothing is to be made.
    Nothing,
    End,
}

/// An item that is planned.
struct Item<S: Stage> {
    planned: Planned<S::Plan>,
    /// None: still to be read.
    body: Option<<S::Source as Source>::Body>,
    place: Place,
}

impl<S: Stage> Run<'_, S> {
    /// Does the next item, and says whether there was one.
    fn item(&mut self) -> Result<bool, Fault> {
        let taken = self.ahead.pop_front();
        let item = match taken.unwrap_or_else(|| self.take())? {
            Taken::Item(item) => item,
            Taken::Nothing => return Ok(true),
            Taken::End => return Ok(false),
        };
        let Planned { header, open, plan } = item.planned;
        set_task(task(self.frames, &header));
        self.emitter.announce(&header).map_err(Fault::Run)?;
        let body = match item.body {
            Some(body) => body,
            None => self.body(&plan)?,
        };
        self.look_ahead();
        let mut out = Out {
            emitter: &mut self.emitter,
            first: Some((header, open)),
            place: &item.place,
            frames: &mut self.frames,
        };
        let done = self.stage.compute(plan, body, &mut out);
        done.map_err(|fault| blamed(fault, &item.place))?;
        Ok(true)
    }

    /// Reads the body of the item that was taken last, and shows it to the stage.
    fn body(&mut self, plan: &S::Plan) -> Result<<S::Source as Source>::Body, Fault> {
        let body = self.source.body()?;
        self.stage.show(plan, &body);
        Ok(body)
    }

    /// Takes the next item from the source and plans it.
    fn take(&mut self) -> Result<Taken<S>, Fault> {
        let record = self.records;
        self.records += 1;
        let Some(head) = self.source.next(&self.appended)? else {
            return Ok(Taken::End);
        };
        let place = self.source.place();
        let planned = self
            .stage
            .plan(record, head)
            .and_then(|planned| fits(planned, &self.limits))
            .map_err(|fault| blamed(fault, &place))?;
        Ok(match planned {
            Some(planned) => Taken::Item(Item {
                planned,
                body: None,
                place,
            }),
            None => Taken::Nothing,
        })
    }

    /// Takes the items that wait and that the stage wants beside the one it is about to compute. What fails meanwhile fails
    /// in its turn.
    fn look_ahead(&mut self) {
        while let Some(head) = self.source.waiting()
            && self.stage.wants(head)
        {
            let taken = self.take().and_then(|taken| self.with_body(taken));
            let is_item = matches!(taken, Ok(Taken::Item(_)));
            self.ahead.push_back(taken);
            if !is_item {
                return;
            }
        }
    }

    /// With the body of an item that waits.
    fn with_body(&mut self, mut taken: Taken<S>) -> Result<Taken<S>, Fault> {
        if let Taken::Item(item) = &mut taken {
            item.body = Some(self.body(&item.planned.plan)?);
        }
        Ok(taken)
    }
}

/// Says in the error of an item which one it was.
fn blamed(fault: Fault, place: &Place) -> Fault {
    match fault {
        Fault::Item(error) => Fault::Item(place.blame(error)),
        run @ Fault::Run(_) => run,
    }
}

/// What is done for a frame, for when memory ends meanwhile.
fn task(index: u64, header: &Header) -> String {
    match (header.get(keys::WIDTH), header.get(keys::HEIGHT)) {
        (Some(width), Some(height)) => format!("frame {index}: {width}x{height}"),
        _ => format!("frame {index}"),
    }
}

/// Refuses to make a frame that the next tool would refuse to read.
fn fits<P>(planned: Option<Planned<P>>, limits: &Limits) -> Result<Option<Planned<P>>, Fault> {
    let limit = limits.frame_bytes;
    let found = planned
        .as_ref()
        .map_or(0, |planned| planned.header.body_len());
    if found > limit {
        return Err(Fault::Item(Error::new(format_args!(
            "result: expected at most {limit} bytes, as the next tool reads no more, found {found}; raise \
             --max-frame-bytes here and there"
        ))));
    }
    Ok(planned)
}
