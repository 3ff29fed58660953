//! Where records come from.

mod lines;
mod record;
mod skip;

pub(crate) use record::Record;
pub(crate) use skip::Existing;

use lines::{Lines, MAX_BYTES, too_long};
use std::path::{Path, PathBuf};
use turbo_cli::{Input, Result, Source};

/// The prompts of the command line, lines of text, or lines of JSON.
pub(crate) enum Records<'a> {
    Arguments(std::slice::Iter<'a, String>),
    Lines(Lines<Input>),
    Json(Lines<Input>, Option<PathBuf>),
}

impl<'a> Records<'a> {
    /// Takes the file of JSON lines (`-` is stdin) if one is named; else the prompts; without any, the lines of stdin.
    pub(crate) fn new(prompts: &'a [String], jsonl: Option<&Path>) -> Result<Self> {
        if let Some(path) = jsonl {
            let source = Source::new(path);
            let place = if source.path().is_none() {
                "stdin: "
            } else {
                "" // the file's name stands before the frame's number
            };
            let lines = Lines::new(source.open_text()?, place);
            return Ok(Self::Json(lines, source.path().map(Path::to_owned)));
        }
        if prompts.is_empty() {
            let lines = Lines::new(Source::Stdin.open_text()?, "stdin: ");
            return Ok(Self::Lines(lines));
        }
        Ok(Self::Arguments(prompts.iter()))
    }

    /// The next record; `None` at the end. The inner error is of that record alone, the outer one of the input.
    pub(crate) fn next(&mut self) -> Result<Option<Result<Record>>> {
        Ok(match self {
            Self::Arguments(prompts) => prompts.next().cloned().map(|prompt| {
                if prompt.len() > MAX_BYTES {
                    return Err(too_long("prompt"));
                }
                Ok(Record::of_prompt(prompt))
            }),
            Self::Lines(lines) => lines.next()?.map(|line| line.map(Record::of_prompt)),
            Self::Json(lines, path) => {
                let blame = |error: turbo_cli::Error| error.in_file(path.as_deref());
                let line = lines.next().map_err(blame)?;
                let parse = |line: String| {
                    Record::parse(&line).map_err(|error| error.context(lines.place()))
                };
                line.map(|line| line.and_then(parse).map_err(blame))
            }
        })
    }
}
