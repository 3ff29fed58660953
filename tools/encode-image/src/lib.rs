//! Pictures in, latents out; or the picture's encoding joined to text embeddings.

#![forbid(unsafe_code)]
// Doc comments of arguments are help texts, in which backticks would show.
#![allow(clippy::doc_markdown)]

mod alone;
mod args;
mod encode;
mod joined;
mod photos;

pub use args::{Args, Fit};

use alone::Alone;
use encode::Encode;
use joined::Joined;
use photos::Photos;
use std::path::Path;
use turbo_cli::{Console, Error, Result};
use turbo_stage::{Beside, Frames, To};
use turbo_wire::Kind;

/// Runs the tool.
///
/// # Errors
/// Input, output or model fail; with `--on-error stop`, also a picture or a frame.
#[allow(clippy::needless_pass_by_value, reason = "as turbo_cli::main gives it")]
pub fn run(args: Args, console: &Console) -> Result<()> {
    check_inputs(&args)?;
    let encode = Encode::new(&args, console)?;
    let photos = Photos::new(&args);
    let to = To {
        output: &args.output,
        on_error: args.on_error,
        limits: args.limits.limits(),
    };
    let Some(join) = &args.join else {
        return turbo_stage::run(&mut Alone(encode), photos, to, console);
    };
    let frames = Frames::of_file(
        join,
        args.limits.limits(),
        Kind::TextEmbeddings,
        "pipe encode-text into it",
    );
    let photos = (!args.pictures.is_empty()).then_some((photos, "picture"));
    let pairs = Beside::new((frames, "frame"), photos);
    turbo_stage::run(&mut Joined::new(encode), pairs, to, console)
}

/// Refuses a run without pictures, and stdin in two places.
fn check_inputs(args: &Args) -> Result<()> {
    if args.pictures.is_empty() && args.join.is_none() {
        return Err(Error::usage(
            "expected a PICTURE (- for pictures on stdin), or --join FILE with records that name theirs, found \
             neither",
        ));
    }
    let inputs = args.pictures.iter().chain(&args.join).chain(&args.mask);
    let stdin = inputs.filter(|path| path.as_path() == Path::new("-"));
    match stdin.count() {
        0 | 1 => Ok(()),
        _ => Err(Error::usage(
            "stdin (-): expected in one place, found in several; put the others into files",
        )),
    }
}
