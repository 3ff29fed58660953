//! Both tokenizers and both text encoders of a checkpoint.

use crate::Args;
use crate::clip_tokenizer::ClipTokenizer;
use std::cell::OnceCell;
use turbo_cli::{Console, Context, Result};
use turbo_sdxl::{TextEmbeddings, TextEncoders, open_text_encoders};
use turbo_stage::{Networks, locate};

/// A prompt as ids of both tokenizers, padded.
pub(crate) struct Text([Vec<u32>; 2]);

impl Text {
    /// Number of ids for each encoder.
    pub(crate) fn tokens(&self) -> usize {
        self.0[0].len()
    }
}

/// What turns a prompt into embeddings.
pub(crate) struct Encoder {
    model: String,
    tokenizers: [ClipTokenizer; 2],
    encoders: Box<dyn TextEncoders>,
    /// The negative prompt, which is the same for every frame.
    negative: Option<(Text, OnceCell<TextEmbeddings>)>,
}

impl Encoder {
    /// Opens the model that the arguments name, and tokenizes their negative prompt.
    pub(crate) fn open(networks: &Networks, args: &Args, console: &Console) -> Result<Self> {
        let model = locate(&args.model.choose(None))?;
        let encoders = open_text_encoders(&networks.device, networks.dtype, &model)?;
        let tokenizer = |n| -> Result<ClipTokenizer> {
            let files = model.tokenizer(n)?;
            ClipTokenizer::new(&files, encoders.max_tokens())
                .context(format_args!("{}: tokenizer {n}", model.name()))
        };
        let tokenizers = [tokenizer(1)?, tokenizer(2)?];
        let mut this = Self {
            model: model.name().to_owned(),
            tokenizers,
            encoders,
            negative: None,
        };
        if let Some(negative) = &args.negative_prompt {
            let text = this.tokenize(negative, None, console, "negative prompt")?;
            this.negative = Some((text, OnceCell::new()));
        }
        Ok(this)
    }

    /// What the model is called in a stream.
    pub(crate) fn model(&self) -> &str {
        &self.model
    }

    /// Values in a row of the prompt's embedding.
    pub(crate) fn width(&self) -> usize {
        self.encoders.width()
    }

    /// Values in the pooled embedding.
    pub(crate) fn pooled_width(&self) -> usize {
        self.encoders.pooled_width()
    }

    /// Tokenizes a prompt, for the second encoder `prompt_2` if there is one, and warns of what is cut off.
    pub(crate) fn tokenize(
        &self,
        prompt: &str,
        prompt_2: Option<&str>,
        console: &Console,
        what: &str,
    ) -> Result<Text> {
        let [first, second] = &self.tokenizers;
        let first_ids = first.encode(prompt)?;
        let second_ids = second.encode(prompt_2.unwrap_or(prompt))?;
        let mut cut: Vec<_> = [&first_ids.truncated, &second_ids.truncated]
            .into_iter()
            .flatten()
            .collect();
        cut.dedup();
        for rest in cut {
            let room = first.length() - 2;
            console.warn(format_args!(
                "{what}: only the first {room} tokens count; cut off: {rest:?}"
            ));
        }
        Ok(Text([first_ids.ids, second_ids.ids]))
    }

    /// Encodes a prompt.
    pub(crate) fn encode(&self, text: &Text, clip_skip: usize) -> Result<TextEmbeddings> {
        Ok(self.encoders.encode(&text.0[0], &text.0[1], clip_skip)?)
    }

    /// The negative prompt's embeddings, if there is one: computed once, and always without `clip_skip`, as in
    /// diffusers.
    pub(crate) fn negative(&self) -> Result<Option<&TextEmbeddings>> {
        let Some((text, cell)) = &self.negative else {
            return Ok(None);
        };
        if let Some(embeddings) = cell.get() {
            return Ok(Some(embeddings));
        }
        let embeddings = self.encode(text, 0).context("negative prompt")?;
        Ok(Some(cell.get_or_init(|| embeddings)))
    }
}
