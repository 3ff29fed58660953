//! Both tokenizers and both text encoders of a checkpoint, opened when a text asks for them.

use crate::adapters::Adapters;
use crate::cache::{Cache, Keys};
use crate::clip_tokenizer::ClipTokenizer;
use crate::embeddings::{CutOff, Embeddings, Shape, Text};
use crate::tokenized::{Input, Tokenized};
use crate::weighted::{Rows, Weighting};
use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};
use turbo_cli::{Console, Context, Result};
use turbo_sdxl::{TextEncoders, expect_finite, open_text_encoders};
use turbo_stage::{Networks, locate};
use turbo_weights::Model;
use turbo_wire::f32_bytes;

/// A checkpoint that turns texts into embeddings.
pub(crate) struct Encoder<'a> {
    model: Model,
    networks: Networks,
    adapters: Adapters,
    cache: Option<(&'a Cache<'a>, Keys)>,
    console: &'a Console,
    open: OnceCell<Open>,
    /// The texts that came last, the newest at the end: a negative prompt is mostly the same for every record.
    last: RefCell<Vec<(Text, Rc<Embeddings>)>>,
}

struct Open {
    tokenizers: [ClipTokenizer; 2],
    encoders: Box<dyn TextEncoders>,
}

/// A text on its way to embeddings.
pub(crate) enum Prepared {
    /// They were known.
    Known(Rc<Embeddings>),
    /// They are to be computed.
    Tokens {
        text: Text,
        tokenized: Tokenized,
        shape: Shape,
    },
}

impl Prepared {
    /// Sizes of the embeddings.
    pub(crate) fn shape(&self) -> Shape {
        match self {
            Self::Known(embeddings) => embeddings.shape,
            Self::Tokens { shape, .. } => *shape,
        }
    }
}

impl<'a> Encoder<'a> {
    /// Finds the model, and opens nothing but what is added to it.
    pub(crate) fn locate(
        networks: Networks,
        spec: &str,
        adapters: Adapters,
        cache: Option<&'a Cache<'a>>,
        console: &'a Console,
    ) -> Result<Self> {
        let model = locate(spec, turbo_demo::TEXT)?;
        let keys = |cache: &'a Cache<'a>| {
            let computation = networks.device.describe(networks.dtype)? + &adapters.identity();
            let keys = cache.keys(&model, adapters.files(), &computation)?;
            Ok::<_, turbo_cli::Error>((cache, keys))
        };
        Ok(Self {
            cache: cache.map(keys).transpose()?,
            model,
            networks,
            adapters,
            console,
            open: OnceCell::new(),
            last: RefCell::default(),
        })
    }

    /// What the model is called in a stream.
    pub(crate) fn name(&self) -> &str {
        self.model.name()
    }

    /// How a frame names the LoRAs that are added to it.
    pub(crate) fn loras(&self) -> Option<String> {
        self.adapters.loras.named()
    }

    /// Looks for a text's embeddings among what is known: the last texts, then the cache. `what` is the text's name in
    /// messages; what is cut off a text is told when it is not one of the last.
    pub(crate) fn known(&self, text: &Text, what: &str) -> Option<Prepared> {
        if let Some(embeddings) = self.last(text) {
            return Some(Prepared::Known(embeddings));
        }
        let (cache, keys) = self.cache.as_ref()?;
        let found = Rc::new(cache.get(&keys.of(text))?);
        self.warn(text, found.cut_off, found.shape.tokens, what);
        self.remember(text.clone(), &found);
        Some(Prepared::Known(found))
    }

    fn last(&self, text: &Text) -> Option<Rc<Embeddings>> {
        let mut last = self.last.borrow_mut();
        let place = last.iter().position(|(of, _)| of == text)?;
        // A text moves to the end when it is used, so the oldest is dropped first.
        last[place..].rotate_left(1);
        last.last().map(|(_, embeddings)| Rc::clone(embeddings))
    }

    fn remember(&self, text: Text, embeddings: &Rc<Embeddings>) {
        let mut last = self.last.borrow_mut();
        if last.len() == KEPT {
            last.remove(0);
        }
        last.push((text, Rc::clone(embeddings)));
    }

    /// Opens the model, if it is not open. Gives the time it took.
    ///
    /// # Errors
    /// The model is damaged, or is another than was found.
    pub(crate) fn open(&self) -> Result<Duration> {
        if self.open.get().is_some() {
            return Ok(Duration::ZERO);
        }
        let start = Instant::now();
        let model = &self.model;
        let Networks { device, dtype } = &self.networks;
        let loras = self.adapters.loras.to_add();
        let mut encoders = open_text_encoders(device, *dtype, model, &loras)?;
        let tokenizer = |n| -> Result<ClipTokenizer> {
            let files = model.tokenizer(n)?;
            ClipTokenizer::new(&files, encoders.max_tokens())
                .context(format_args!("{}: tokenizer {n}", model.name()))
        };
        let mut tokenizers = [tokenizer(1)?, tokenizer(2)?];
        self.adapters.add_tokens(&mut tokenizers, &mut *encoders)?;
        if let Some((_, keys)) = &self.cache {
            keys.check()?;
        }
        self.open.get_or_init(|| Open {
            tokenizers,
            encoders,
        });
        Ok(start.elapsed())
    }

    /// Tokenizes a text, and warns of what is cut off and of brackets that mean nothing. To be called once the model is
    /// open.
    ///
    /// # Errors
    /// The text cannot be tokenized.
    pub(crate) fn tokenize(&self, text: Text, what: &str) -> Result<Prepared> {
        let Open {
            tokenizers,
            encoders,
        } = self.opened()?;
        let tokenized = Tokenized::of(&text, tokenizers)?;
        let shape = Shape {
            tokens: tokenized.chunks.len() * tokenizers[0].length(),
            width: encoders.width(),
            pooled_width: encoders.pooled_width(),
        };
        self.warn(&text, tokenized.cut_off, shape.tokens, what);
        Ok(Prepared::Tokens {
            text,
            tokenized,
            shape,
        })
    }

    /// Encodes a text, unless its embeddings are known.
    ///
    /// # Errors
    /// An encoder fails.
    pub(crate) fn encode(&self, prepared: Prepared) -> Result<Rc<Embeddings>> {
        let (text, tokenized, shape) = match prepared {
            Prepared::Known(embeddings) => return Ok(embeddings),
            Prepared::Tokens {
                text,
                tokenized,
                shape,
            } => (text, tokenized, shape),
        };
        let encoders = &self.opened()?.encoders;
        let mut prompt_embeds = Vec::new();
        let mut pooled_prompt_embeds = None;
        for [first, second] in &tokenized.chunks {
            let mut chunk = encoders.encode(&first.ids, &second.ids, text.clip_skip)?;
            if let Some(weighting) = text.weighting {
                let rows = &mut chunk.prompt_embeds;
                self.weigh(weighting, rows, [first, second], text.clip_skip)?;
            }
            prompt_embeds.append(&mut chunk.prompt_embeds);
            pooled_prompt_embeds.get_or_insert(chunk.pooled_prompt_embeds);
        }
        let pooled_prompt_embeds = pooled_prompt_embeds.unwrap_or_default();
        let embeddings = Embeddings {
            shape,
            prompt_embeds: f32_bytes(&prompt_embeds),
            pooled_prompt_embeds: f32_bytes(&pooled_prompt_embeds),
            cut_off: tokenized.cut_off,
        };
        if let Some((cache, keys)) = &self.cache {
            cache.put(keys, &text, &embeddings)?;
        }
        let embeddings = Rc::new(embeddings);
        self.remember(text, &embeddings);
        Ok(embeddings)
    }

    /// As [`Encoder::encode`], with an empty text's embeddings behind it where it has fewer tokens than `tokens`.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn encode_to(
        &self,
        tokens: usize,
        prepared: Prepared,
        clip_skip: usize,
    ) -> Result<Rc<Embeddings>> {
        let embeddings = self.encode(prepared)?;
        if embeddings.shape.tokens == tokens {
            return Ok(embeddings);
        }
        Ok(Rc::new(embeddings.filled(&*self.empty(clip_skip)?, tokens)))
    }

    /// Applies the weights of a chunk to both encoders' hidden states.
    fn weigh(
        &self,
        weighting: Weighting,
        values: &mut [f32],
        inputs: [&Input; 2],
        clip_skip: usize,
    ) -> Result<()> {
        #[allow(
            clippy::float_cmp,
            reason = "1 is what text without brackets has, exactly"
        )]
        if inputs
            .iter()
            .all(|input| input.weights.iter().all(|&weight| weight == 1.0))
        {
            return Ok(());
        }
        let [first, second] = self.opened()?.encoders.widths();
        let width = first + second;
        let empty = self.empty(clip_skip)?.prompt_embeds();
        for (input, columns) in inputs.into_iter().zip([0..first, first..width]) {
            let mut rows = Rows {
                values,
                width,
                columns,
            };
            weighting.apply(&mut rows, &empty, &input.weights);
        }
        expect_finite("the prompt's embedding with its weights", values)?;
        Ok(())
    }

    /// What the encoders make of no text.
    ///
    /// # Errors
    /// An encoder fails.
    pub(crate) fn empty(&self, clip_skip: usize) -> Result<Rc<Embeddings>> {
        let (text, what) = (Text::empty(clip_skip), "the empty prompt");
        match self.known(&text, what) {
            Some(known) => self.encode(known),
            None => self.encode(self.tokenize(text, what)?),
        }
    }

    fn opened(&self) -> Result<&Open> {
        if self.open.get().is_none() {
            self.open()?;
        }
        self.open
            .get()
            .ok_or_else(|| turbo_cli::Error::new("the model is not open"))
    }

    fn warn(&self, text: &Text, cut_off: CutOff, tokens: usize, what: &str) {
        for rest in text.ends(cut_off) {
            let room = tokens.saturating_sub(2);
            let shown: String = rest.chars().take(SHOWN).collect();
            let more = match rest.len() - shown.len() {
                0 => String::new(),
                bytes => format!(" and {bytes} bytes more"),
            };
            self.console.warn(format_args!(
                "{what}: only the first {room} tokens count without --weighted blend (or scale); cut off: {shown:?}{more}"
            ));
        }
        if text.has_idle_brackets() {
            self.console.warn(format_args!(
                "{what}: brackets and BREAK are text without --weighted blend (or scale)"
            ));
        }
    }
}

/// Characters that a warning shows of what is cut off.
const SHOWN: usize = 100;

/// How many texts an encoder remembers: a prompt of SDXL and its negative take 630 KB each.
const KEPT: usize = 4;
