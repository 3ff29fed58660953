//! The pictures that are named on the command line.

use crate::args::Args;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use turbo_cli::{Appended, Error, Input, Result};
use turbo_picture::{Alpha, Encoded, Limits, Pictures, Rgb};
use turbo_stage::{Fault, Source};

/// A decoded picture.
#[derive(Clone, Debug)]
pub(crate) struct Photo {
    pub(crate) picture: Rc<Rgb>,
    place: Place,
}

/// Where a picture lies, for messages.
#[derive(Clone, Debug)]
struct Place {
    /// The file; none for stdin.
    path: Option<PathBuf>,
    /// Which picture of a stream it is, from 0.
    index: Option<u64>,
}

impl Photo {
    /// The picture of a file.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub(crate) fn open(path: &Path, alpha: Alpha, limits: &Limits) -> Result<Self> {
        let source = turbo_cli::Source::new(path);
        let input = source.open("a picture", "name a file")?;
        let place = Place {
            path: input.path().map(Path::to_owned),
            index: None,
        };
        let picture = turbo_picture::read(input, alpha, limits);
        Ok(Self {
            picture: Rc::new(picture.map_err(|error| place.blame(error))?),
            place,
        })
    }

    /// Says in an error which picture it is about.
    pub(crate) fn blame(&self, error: Error) -> Error {
        self.place.blame(error)
    }
}

impl Place {
    fn blame(&self, error: impl Into<Error>) -> Error {
        let error: Error = error.into();
        let error = match self.index {
            Some(index) => error.context(format_args!("picture {index}")),
            None => error,
        };
        match &self.path {
            Some(path) => error.in_file(path.as_path()),
            None => error.context("stdin"),
        }
    }

    fn decode(self, encoded: &Encoded, alpha: Alpha, limits: &Limits) -> Result<Photo> {
        match encoded.decode(alpha, limits) {
            Ok(picture) => Ok(Photo {
                picture: Rc::new(picture),
                place: self,
            }),
            Err(error) => Err(self.blame(error)),
        }
    }
}

/// The pictures of several inputs, one after the other: of a file its picture, of a pipe all that come, of bare pixels
/// all that are there.
pub(crate) struct Photos {
    rest: std::vec::IntoIter<PathBuf>,
    open: Option<Open>,
    raw: Option<(usize, usize)>,
    alpha: Alpha,
    limits: Limits,
}

/// An input that is being read.
struct Open {
    path: Option<PathBuf>,
    pictures: Pictures<Input>,
    /// Whether pictures may lie in it back to back.
    is_stream: bool,
    /// Pictures given so far.
    count: u64,
}

impl Photos {
    /// Nothing is opened yet.
    pub(crate) fn new(args: &Args) -> Self {
        Self {
            rest: args.pictures.clone().into_iter(),
            open: None,
            raw: args.raw,
            alpha: Alpha::On(args.background.0),
            limits: args.picture_limits(),
        }
    }

    fn open(&self, path: &Path, output: &Appended) -> Result<Open, Fault> {
        let source = turbo_cli::Source::new(path);
        // A file that is not there is the fault of its name, and others may follow.
        let input = source
            .open("pictures", "pipe them into it, or name a file")
            .map_err(Fault::Item)?;
        output.refuse(&input).map_err(Fault::Run)?;
        let path = input.path().map(Path::to_owned);
        let is_file = path.as_deref().is_some_and(Path::is_file);
        Ok(Open {
            pictures: match self.raw {
                Some((width, height)) => Pictures::raw(input, self.limits, width, height),
                None => Pictures::new(input, self.limits),
            },
            is_stream: self.raw.is_some() || !is_file,
            path,
            count: 0,
        })
    }
}

impl Source for Photos {
    type Head = Photo;
    type Body = ();

    fn next(&mut self, output: &Appended) -> Result<Option<Photo>, Fault> {
        loop {
            let mut open = match self.open.take() {
                Some(open) => open,
                None => match self.rest.next() {
                    Some(path) => self.open(&path, output)?,
                    None => return Ok(None),
                },
            };
            let place = Place {
                path: open.path.clone(),
                index: open.is_stream.then_some(open.count),
            };
            let encoded = match open.pictures.next() {
                Ok(Some(encoded)) => encoded,
                Ok(None) if open.is_stream => continue,
                Ok(None) => return Err(Fault::Item(place.blame(turbo_picture::Error::Empty))),
                // In a stream, where the next picture begins is not known.
                Err(error) if open.is_stream => return Err(Fault::Run(place.blame(error))),
                Err(error) => return Err(Fault::Item(place.blame(error))),
            };
            if open.is_stream {
                open.count += 1;
                self.open = Some(open);
            }
            let photo = place.decode(&encoded, self.alpha, &self.limits);
            return Ok(Some(photo.map_err(Fault::Item)?));
        }
    }

    fn body(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    /// A [`Photo`] says itself where it lies.
    fn place(&self) -> turbo_stage::Place {
        turbo_stage::Place::default()
    }
}
