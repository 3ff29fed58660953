//! Prompts in, text embeddings out.

#![forbid(unsafe_code)]
// Doc comments of arguments are help texts, in which backticks would show.
#![allow(clippy::doc_markdown)]

mod adapters;
mod args;
mod cache;
pub mod clip_tokenizer;
mod embeddings;
mod encoder;
mod records;
mod textual_inversion;
mod tokenized;
mod tool;
pub mod weighted;

pub use args::Args;
pub use cache::CacheArgs;
#[doc(hidden)]
pub use records::fuzz;
pub use textual_inversion::EmbeddingArg;
pub use weighted::Weighting;

use cache::Cache;
use records::{Existing, Records};
use tool::Tool;
use turbo_cli::{Console, Result};
use turbo_stage::{Networks, Slot, To};
use turbo_wire::Limits;

/// Runs the tool.
///
/// # Errors
/// Input, output or model fail; with `--on-error stop`, also a prompt.
#[allow(clippy::needless_pass_by_value, reason = "as turbo_cli::main gives it")]
pub fn run(args: Args, console: &Console) -> Result<()> {
    let networks = Networks::new(&args.model, console)?;
    let existing = args.skip_existing.as_deref().map(Existing::new);
    let cache = Cache::open(&args.cache, console)?;
    let records = Records::new(&args.prompts, args.jsonl.as_deref())?;
    let mut tool = Tool {
        args: &args,
        networks,
        cache: cache.as_ref(),
        encoder: Slot::default(),
        existing: existing.transpose()?,
        pictures: 0,
        console,
    };
    let to = To {
        output: &args.output,
        on_error: args.on_error,
        limits: Limits::default(),
    };
    turbo_stage::run(&mut tool, records, to, console)
}
