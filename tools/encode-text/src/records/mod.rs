//! Where records come from.

mod lines;
mod record;
mod skip;

pub(crate) use record::Record;
pub(crate) use skip::Existing;

use lines::{Lines, MAX_BYTES, too_long};
use std::path::{Path, PathBuf};
use turbo_cli::{Appended, Error, Input, Result};
use turbo_stage::{Fault, Place, Source};

/// The records of a run. A record has no body.
pub(crate) struct Records<'a> {
    from: From<'a>,
    /// Records begun.
    count: u64,
}

/// The prompts of the command line, lines of text, or lines of JSON and the file they are in.
enum From<'a> {
    Arguments(std::slice::Iter<'a, String>),
    Lines(Lines<Input>),
    Json(Lines<Input>, Option<PathBuf>),
}

impl<'a> Records<'a> {
    /// Takes the file of JSON lines (`-` is stdin) if one is named; else the prompts; without any, the lines of stdin.
    pub(crate) fn new(prompts: &'a [String], jsonl: Option<&Path>) -> Result<Self> {
        let stdin = turbo_cli::Source::Stdin;
        let from = if let Some(path) = jsonl {
            let source = turbo_cli::Source::new(path);
            let place = if source == stdin {
                "stdin: "
            } else {
                "" // the file's name stands before the frame's number
            };
            let lines = Lines::new(source.open_text()?, place);
            From::Json(lines, source.path().map(Path::to_owned))
        } else if prompts.is_empty() {
            From::Lines(Lines::new(stdin.open_text()?, "stdin: "))
        } else {
            From::Arguments(prompts.iter())
        };
        Ok(Self { from, count: 0 })
    }
}

impl From<'_> {
    fn next(&mut self) -> Result<Option<Record>, Fault> {
        match self {
            Self::Arguments(prompts) => match prompts.next() {
                Some(prompt) if prompt.len() > MAX_BYTES => Err(Fault::Item(too_long("prompt"))),
                prompt => Ok(prompt.cloned().map(Record::of_prompt)),
            },
            Self::Lines(lines) => Ok(lines.next()?.map(Record::of_prompt)),
            Self::Json(lines, _) => {
                let line = lines.next()?;
                let parse = |line: String| {
                    Record::parse(&line).map_err(|error| error.context(lines.place()))
                };
                Ok(line.map(parse).transpose()?)
            }
        }
    }

    fn path(&self) -> Option<&Path> {
        match self {
            Self::Json(_, path) => path.as_deref(),
            Self::Arguments(_) | Self::Lines(_) => None,
        }
    }
}

impl Source for Records<'_> {
    type Head = Record;
    type Body = ();

    fn next(&mut self, _: &Appended) -> Result<Option<Record>, Fault> {
        let next = self.from.next();
        self.count += 1;
        let in_file = |error: Error| error.in_file(self.from.path());
        next.map_err(|fault| match fault {
            Fault::Item(error) => Fault::Item(in_file(self.place().blame(error))),
            Fault::Run(error) => Fault::Run(in_file(error)),
        })
    }

    fn body(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn place(&self) -> Place {
        Place {
            frame: Some(self.count.saturating_sub(1)),
            file: None,
        }
    }
}

/// For fuzzing, which has no other way in.
pub mod fuzz {
    use super::{Fault, Lines, Record};
    use turbo_cli::Error;
    use turbo_wire::Metadata;

    /// The lines of an input, each or its error.
    ///
    /// # Errors
    /// The input as a whole can't be read.
    pub fn lines(input: &[u8]) -> Result<Vec<Result<String, Error>>, Error> {
        let mut lines = Lines::new(input, "");
        let mut found = Vec::new();
        loop {
            match lines.next() {
                Ok(Some(line)) => found.push(Ok(line)),
                Ok(None) => return Ok(found),
                Err(Fault::Item(error)) => found.push(Err(error)),
                Err(Fault::Run(error)) => return Err(error),
            }
        }
    }

    /// The prompt of a record, and what travels beside it.
    ///
    /// # Errors
    /// The record is refused; the text says why.
    pub fn record(line: &str) -> Result<(String, Metadata), String> {
        let record = Record::parse(line).map_err(|error| error.to_string())?;
        Ok((record.prompt, record.metadata))
    }
}
