//! Manners shared by the tools: exit codes, output, progress, common flags.
//!
//! A tool is a `lib.rs` with its flags and a `run`, and a `main.rs` of a line:
//!
//! ```no_run
//! /// Copies its input.
//! #[derive(clap::Parser)]
//! #[command(version)]
//! struct Args {
//!     #[command(flatten)]
//!     input: turbo_cli::InputArgs,
//!     #[command(flatten)]
//!     output: turbo_cli::OutputArgs,
//! }
//!
//! fn run(args: Args, _console: &turbo_cli::Console) -> turbo_cli::Result<()> {
//!     let mut output = args.output.open("bytes")?;
//!     for source in args.input.sources() {
//!         let mut input = source.open("bytes", "give it a FILE")?;
//!         turbo_cli::refuse_same_file(&input, &output)?;
//!         std::io::copy(&mut input, &mut output)?;
//!     }
//!     output.finish()
//! }
//!
//! #[global_allocator]
//! static ALLOCATOR: turbo_cli::Allocator = turbo_cli::Allocator;
//!
//! fn main() -> std::process::ExitCode {
//!     turbo_cli::main(run)
//! }
//! ```
//!
//! [`main`] adds `--quiet`, `--verbose`, `--progress` and `--generate` to every tool; the other
//! common flags are structs to flatten. What the tools promise:
//!
//! | exit status | meaning |
//! |---|---|
//! | 0 | all done; an empty stream too |
//! | 1 | failure, or a record that `--on-error skip` left out |
//! | 2 | usage |
//! | 101 | a bug in the tool |
//! | 130 | interrupted; temporary files are removed |
//! | 141 | the reader of stdout went away; nothing is printed |
//!
//! SIGTERM, SIGHUP and the like end a tool as they end any program, but for temporary files, which are removed too. What
//! a killed process leaves behind is removed by the next one that writes a file into the same folder. A file that would
//! grow beyond `ulimit -f` is an error, status 1; so is memory that ends, with what was wanted.
//!
//! What `--progress` shows, and each key of its JSON lines, is in PROGRESS.md of this crate.
//!
//! Nothing but data goes to stdout. Errors are one line on stderr,
//! `tool: file: frame 3: what: expected X, found Y; do Z`, with control characters escaped.
//! A stdin that is closed reads as empty, a stdout that is closed is an error. Where stdin or stdout was left
//! non-blocking by whoever shares it, the tools wait all the same.
//!
//! With the feature `wire`, [`LimitArgs`] turns flags into the wire crate's caps and
//! [`Input::frames`] gives a frame reader. Without it the crate knows nothing of frames.

#![forbid(unsafe_code)]

mod bar;
mod console;
mod entry;
mod error;
mod escape;
mod exhausted;
mod flags;
mod generate;
mod input;
mod interrupt;
mod memory;
mod output;
mod path;
mod pattern;
mod regular;
mod stdio;
mod temporary;
#[cfg(feature = "wire")]
mod wire;

pub use bar::{Bar, Unit};
pub use console::{Console, FrameReport};
pub use entry::{command, main};
pub use error::{Context, Error, Result};
pub use escape::{escape, escape_json};
pub use exhausted::set_task;
pub use flags::{OnError, Progress, ReportArgs, parse_size};
pub use generate::Document;
pub use input::{Input, InputArgs, Source};
pub use interrupt::remove_temporary_files;
pub use memory::max_rss_bytes;
pub use output::{Appended, Output, OutputArgs, refuse_same_file};
pub use path::quote;
pub use pattern::{Names, Pattern};
pub use regular::open as open_regular;
pub use temporary::remove_leftovers;
#[cfg(feature = "wire")]
pub use wire::LimitArgs;
// Every tool's, so that memory that ends is told of.
pub use turbo_process::Allocator;
