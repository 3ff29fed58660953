//! Prompts in, text embeddings out.

#![forbid(unsafe_code)]

pub mod clip_tokenizer;
mod encoder;
mod prompts;

use clap::Parser;
use encoder::{Encoder, Text};
use prompts::Prompts;
use std::time::{Duration, Instant};
use turbo_cli::{Console, ModelArgs, OnError, OutputArgs, Result};
use turbo_stage::{Computed, Emitter, Networks};
use turbo_wire::{Header, Metadata, f32_bytes, keys, names};

/// Turn prompts into text embeddings, for denoise
///
/// One frame for each PROMPT; without any, one for each line of stdin, in which blank lines do not count. A prompt
/// has room for 75 tokens; what is cut off is told on stderr.
#[derive(Parser, Debug)]
#[command(version)]
pub struct Args {
    /// Prompts; without any, the lines of stdin
    #[arg(value_name = "PROMPT")]
    pub prompts: Vec<String>,

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
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub clip_skip: usize,

    /// What to do about a prompt that fails
    ///
    /// stop: end at once. skip: report it, leave it out, go on; the exit status becomes 1.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    pub on_error: OnError,

    /// Where to write.
    #[command(flatten)]
    pub output: OutputArgs,

    /// Which model, and where it runs.
    #[command(flatten)]
    pub model: ModelArgs,
}

/// Runs the tool.
///
/// # Errors
/// Input, output or model fail; with `--on-error stop`, also a prompt.
#[allow(clippy::needless_pass_by_value, reason = "as turbo_cli::main gives it")]
pub fn run(args: Args, console: &Console) -> Result<()> {
    let networks = Networks::new(&args.model, console)?;
    let mut output = args.output.open("text-embeddings frames")?;
    let mut emitter = Emitter::new(&mut output, args.on_error, console);
    let mut open = None;
    let mut prompts = Prompts::new(&args.prompts)?;
    let mut record = 0;
    while let Some(prompt) = prompts.next()? {
        let start = Instant::now();
        let first = open.is_none();
        // Opened with the first prompt, so that an empty input needs no model.
        let encoder = match &open {
            Some(encoder) => encoder,
            None => open.insert(Encoder::open(&networks, &args, console)?),
        };
        let open = if first {
            start.elapsed()
        } else {
            Duration::ZERO
        };
        let planned = prompt.and_then(|prompt| {
            let text = encoder.tokenize(
                &prompt,
                args.prompt_2(),
                console,
                &format!("frame {record}"),
            )?;
            Ok((header(&args, encoder, &text, prompt)?, text))
        });
        match planned {
            Err(error) => emitter.fail(error.in_frame(record))?,
            Ok((header, text)) => {
                emitter.announce(&header)?;
                emitter.complete(record, open, &header, || {
                    compute(encoder, &text, args.clip_skip).map_err(|error| error.in_frame(record))
                })?;
            }
        }
        record += 1;
    }
    output.finish()
}

impl Args {
    /// The second encoder's own prompt. As in diffusers, an empty one is none.
    fn prompt_2(&self) -> Option<&str> {
        self.prompt_2.as_deref().filter(|prompt| !prompt.is_empty())
    }
}

fn header(args: &Args, encoder: &Encoder, text: &Text, prompt: String) -> Result<Header> {
    let clip_skip = (args.clip_skip > 0).then(|| args.clip_skip.to_string());
    let entries = [
        (keys::PROMPT, Some(prompt)),
        (keys::PROMPT_2, args.prompt_2().map(str::to_owned)),
        (keys::NEGATIVE_PROMPT, args.negative_prompt.clone()),
        (keys::CLIP_SKIP, clip_skip),
        (keys::MODEL, Some(encoder.model().to_owned())),
        (
            keys::PRODUCER,
            Some(concat!("encode-text ", env!("CARGO_PKG_VERSION")).to_owned()),
        ),
    ];
    let metadata: Metadata = entries
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect();
    let negative = args.negative_prompt.is_some();
    let (width, pooled) = (encoder.width(), encoder.pooled_width());
    Ok(Header::text_embeddings(
        1,
        text.tokens(),
        width,
        pooled,
        negative,
        metadata,
    )?)
}

fn compute(encoder: &Encoder, text: &Text, clip_skip: usize) -> Result<Computed> {
    let prompt = encoder.encode(text, clip_skip)?;
    let mut body = vec![
        (names::PROMPT_EMBEDS, f32_bytes(&prompt.prompt_embeds)),
        (
            names::POOLED_PROMPT_EMBEDS,
            f32_bytes(&prompt.pooled_prompt_embeds),
        ),
    ];
    if let Some(negative) = encoder.negative()? {
        body.push((
            names::NEGATIVE_PROMPT_EMBEDS,
            f32_bytes(&negative.prompt_embeds),
        ));
        body.push((
            names::NEGATIVE_POOLED_PROMPT_EMBEDS,
            f32_bytes(&negative.pooled_prompt_embeds),
        ));
    }
    Ok(Computed { body, steps: None })
}
