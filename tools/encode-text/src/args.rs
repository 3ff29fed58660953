//! The command line.

// Help texts, in which brackets are no links.
#![allow(rustdoc::broken_intra_doc_links)]

use crate::cache::CacheArgs;
use crate::textual_inversion::EmbeddingArg;
use crate::weighted::Weighting;
use clap::Parser;
use std::path::PathBuf;
use turbo_cli::{OnError, OutputArgs};
use turbo_stage::{LoraArgs, ModelArgs};
use turbo_wire::{keys, settings};

/// Turn prompts into text embeddings, for denoise
///
/// One frame for each PROMPT; without any, one for each line of stdin, in which blank lines do not count; with
/// --jsonl, one for each line of JSON. A prompt has room for 75 tokens; what is cut off is told on stderr, and --weighted
/// takes all of it.
#[derive(Parser, Debug)]
#[command(version)]
pub struct Args {
    /// Prompts; without any, the lines of stdin
    #[arg(value_name = "PROMPT")]
    pub prompts: Vec<String>,

    /// Read records: a JSON object a line, of FILE or of stdin
    ///
    /// A record has a "prompt" and, if wanted, "id", "prompt_2", "negative_prompt", "negative_prompt_2", "clip_skip",
    /// "weighted", "embedding", "lora", "model", "seed", "images", "steps", "width", "height", "guidance_scale" and "strength". Each of them wins over
    /// the flag of that name, here or in a later tool; null is as good as none. Any other key travels on as metadata,
    /// strings as they are and other values as JSON. A record gives the same bytes wherever it stands.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-", conflicts_with = "prompts",
        value_hint = clap::ValueHint::FilePath)]
    pub jsonl: Option<PathBuf>,

    /// Prompt for the second text encoder, where it is to have another
    #[arg(long, value_name = "PROMPT")]
    pub prompt_2: Option<String>,

    /// What the picture should not show
    ///
    /// It counts only where denoise has a --guidance-scale above 1. An empty one is encoded; without this flag, the
    /// guidance leads away from zeros.
    #[arg(long, value_name = "PROMPT")]
    pub negative_prompt: Option<String>,

    /// Leave out that many of the text encoders' last layers, beside the one that SDXL always leaves out
    #[arg(long, value_name = "N", value_parser = settings::parse::<usize>(keys::CLIP_SKIP), default_value_t = 0, hide_default_value = true)]
    pub clip_skip: usize,

    /// Give brackets, weights and BREAK in prompts their meaning, and take prompts of any length
    ///
    /// (text) weighs 1.1 times as much, [text] as much less, (text:1.3) as much as the number says; they nest, and \(
    /// is a bracket. A prompt fills as many chunks of 75 tokens as it needs, and BREAK begins the next one. Negative
    /// prompts are read in the same way. Without this flag brackets are text and a prompt is cut, as in diffusers.
    #[arg(long, value_enum, value_name = "HOW")]
    pub weighted: Option<Weighting>,

    /// Textual inversion: a .safetensors file for SDXL (clip_l and clip_g), and what stands for it in prompts
    ///
    /// Without =TOKEN it is the file's name without its ending. It is found in any case and within words, and counts as
    /// many tokens as the file has vectors. May be given several times. A record's "embedding" is such a text, or a
    /// list of them.
    #[arg(long, value_name = "FILE[=TOKEN]", value_hint = clap::ValueHint::FilePath)]
    pub embedding: Vec<EmbeddingArg>,

    /// Pictures that denoise is to draw of each prompt
    ///
    /// It travels with each prompt and wins over the flag of denoise. With --skip-existing it has to be given here,
    /// so that all of them are looked for.
    #[arg(long, value_name = "M", value_parser = settings::parse::<u64>(keys::IMAGES))]
    pub images: Option<u64>,

    /// Leave out prompts whose pictures are there: PATTERN is that of to-png -o
    ///
    /// For a run that was stopped or killed: started again with the same command it does what is missing, and ends
    /// with the same files, given that seeds do not come by chance (from the records, or denoise --seed). Give to-png
    /// --skip-existing too. The frames say which record and picture of the run they are (record_index, picture_index,
    /// images), so that seeds and the numbers in file names stay those of a run in one go.
    #[arg(long, value_name = "PATTERN", value_hint = clap::ValueHint::FilePath)]
    pub skip_existing: Option<String>,

    /// What to do about a prompt that fails
    ///
    /// stop: end at once. skip: report it, leave it out, go on; the exit status becomes 1.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    pub on_error: OnError,

    /// What is added to the model.
    #[command(flatten)]
    pub lora: LoraArgs,

    /// What was encoded before.
    #[command(flatten)]
    pub cache: CacheArgs,

    /// Where to write.
    #[command(flatten)]
    pub output: OutputArgs,

    /// Which model, and where it runs.
    #[command(flatten)]
    pub model: ModelArgs,
}
