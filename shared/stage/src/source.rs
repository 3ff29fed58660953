//! What a stage reads: frames, records, pictures.

use clap::Args;
use std::path::{Path, PathBuf};
use turbo_cli::{Appended, Error, Input, InputArgs, LimitArgs, OnError, OutputArgs, Result};
use turbo_wire::{Frame, FrameReader, Header, Kind, Limits};

/// What went wrong, and how much of the run it ends.
#[derive(Debug)]
pub enum Fault {
    /// One item failed; `--on-error skip` goes on with the next.
    Item(Error),
    /// The input or the model failed, and nothing can go on.
    Run(Error),
}

impl<E: Into<Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Item(error.into())
    }
}

/// A sequence of items: frames, records or pictures.
///
/// An item has a head, by which a stage plans (and opens its model), and a body, which may come much later.
pub trait Source {
    /// What is known of an item at once.
    type Head;
    /// The rest of an item.
    type Body;

    /// The next item's head; none at the end. A body that was not taken is passed over. `output` is the file that the
    /// tool appends to, which no input may be.
    ///
    /// # Errors
    /// [`Fault::Item`] for an item that cannot be and that others may follow; [`Fault::Run`] where the input fails. Both
    /// say where.
    fn next(&mut self, output: &Appended) -> Result<Option<Self::Head>, Fault>;

    /// The body of the item whose head was given last.
    ///
    /// # Errors
    /// As [`Source::next`].
    fn body(&mut self) -> Result<Self::Body, Fault>;

    /// Where the item lies whose head was given last.
    fn place(&self) -> Place;

    /// The head of the next item, if all of that item has come already. None where one would have to wait for it, where
    /// it failed, and from sources that read nothing ahead.
    fn waiting(&mut self) -> Option<&Self::Head> {
        None
    }
}

/// Where an item lies, for messages. What is not told here, the errors of the source tell themselves.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Its number, from 0.
    pub frame: Option<u64>,
    /// The file it is in.
    pub file: Option<PathBuf>,
}

impl Place {
    /// Says in an error that it is about this item.
    #[must_use]
    pub fn blame(&self, error: Error) -> Error {
        let error = match self.frame {
            Some(frame) => error.in_frame(frame),
            None => error,
        };
        error.in_file(self.file.as_deref())
    }
}

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

/// The frames of one kind in one or several inputs, read one after the other.
pub struct Frames {
    kind: Kind,
    limits: Limits,
    remedy: &'static str,
    /// Inputs that are not opened yet.
    rest: std::vec::IntoIter<turbo_cli::Source>,
    /// The one that is being read.
    open: Option<FrameReader<Input>>,
    /// The file that is being read, or was read last.
    path: Option<PathBuf>,
}

impl Frames {
    /// Nothing is opened yet. `remedy` says what to do where stdin is a terminal, such as "pipe encode-text into it".
    pub fn new(args: &StreamArgs, kind: Kind, remedy: &'static str) -> Self {
        Self::of(args.input.sources(), args.limits.limits(), kind, remedy)
    }

    /// The frames of one file; `-` is stdin.
    pub fn of_file(path: &Path, limits: Limits, kind: Kind, remedy: &'static str) -> Self {
        Self::of(vec![turbo_cli::Source::new(path)], limits, kind, remedy)
    }

    fn of(
        sources: Vec<turbo_cli::Source>,
        limits: Limits,
        kind: Kind,
        remedy: &'static str,
    ) -> Self {
        Self {
            kind,
            limits,
            remedy,
            rest: sources.into_iter(),
            open: None,
            path: None,
        }
    }

    /// Ends the run with an error of the input.
    fn fail(&self, error: impl Into<Error>) -> Fault {
        Fault::Run(error.into().in_file(self.path.as_deref()))
    }
}

impl Source for Frames {
    type Head = Header;
    type Body = Frame;

    fn next(&mut self, output: &Appended) -> Result<Option<Header>, Fault> {
        loop {
            if let Some(reader) = &mut self.open {
                match reader.next_header() {
                    Ok(Some(header)) => return Ok(Some(header)),
                    Ok(None) => self.open = None,
                    Err(error) => return Err(self.fail(error)),
                }
            }
            let Some(source) = self.rest.next() else {
                return Ok(None);
            };
            let input = source
                .open(&format!("{} frames", self.kind), self.remedy)
                .map_err(Fault::Run)?;
            output.refuse(&input).map_err(Fault::Run)?;
            self.path = input.path().map(Path::to_owned);
            self.open = Some(input.frames(self.limits).expect(self.kind));
        }
    }

    fn body(&mut self) -> Result<Frame, Fault> {
        match &mut self.open {
            Some(reader) => reader.read_body().map_err(|error| self.fail(error)),
            None => Err(self.fail(Error::new("no frame was begun"))),
        }
    }

    fn place(&self) -> Place {
        Place {
            frame: self.open.as_ref().map(FrameReader::index),
            file: self.path.clone(),
        }
    }
}
