//! Both tokenizers and both text encoders of a checkpoint, opened when a text asks for them.

use crate::cache::{Cache, Keys};
use crate::clip_tokenizer::ClipTokenizer;
use crate::embeddings::{CutOff, Embeddings, Shape, Text};
use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};
use turbo_cli::{Console, Context, Result};
use turbo_sdxl::{TextEncoders, open_text_encoders};
use turbo_stage::{Networks, locate};
use turbo_weights::Model;

/// A checkpoint that turns texts into embeddings.
pub(crate) struct Encoder<'a> {
    model: Model,
    networks: Networks,
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
        ids: [Vec<u32>; 2],
        shape: Shape,
        cut_off: CutOff,
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
    /// Finds the model, and opens nothing.
    pub(crate) fn locate(
        networks: Networks,
        spec: &str,
        cache: Option<&'a Cache<'a>>,
        console: &'a Console,
    ) -> Result<Self> {
        let model = locate(spec, turbo_demo::TEXT)?;
        let keys = |cache: &'a Cache<'a>| {
            let keys = cache.keys(&model, &networks.device.describe(networks.dtype)?)?;
            Ok::<_, turbo_cli::Error>((cache, keys))
        };
        Ok(Self {
            cache: cache.map(keys).transpose()?,
            model,
            networks,
            console,
            open: OnceCell::new(),
            last: RefCell::default(),
        })
    }

    /// What the model is called in a stream.
    pub(crate) fn name(&self) -> &str {
        self.model.name()
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
        // What is in use stays longest.
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
        let encoders = open_text_encoders(&self.networks.device, self.networks.dtype, model)?;
        let tokenizer = |n| -> Result<ClipTokenizer> {
            let files = model.tokenizer(n)?;
            ClipTokenizer::new(&files, encoders.max_tokens())
                .context(format_args!("{}: tokenizer {n}", model.name()))
        };
        let tokenizers = [tokenizer(1)?, tokenizer(2)?];
        if let Some((_, keys)) = &self.cache {
            keys.check(model)?;
        }
        self.open.get_or_init(|| Open {
            tokenizers,
            encoders,
        });
        Ok(start.elapsed())
    }

    /// Tokenizes a text, and warns of what is cut off. To be called once the model is open.
    ///
    /// # Errors
    /// The text cannot be tokenized.
    pub(crate) fn tokenize(&self, text: Text, what: &str) -> Result<Prepared> {
        let Open {
            tokenizers: [first, second],
            encoders,
        } = self.opened()?;
        let first = first.encode(&text.first)?;
        let second = second.encode(&text.second)?;
        let cut_off =
            [&first.truncated, &second.truncated].map(|end| end.as_ref().map_or(0, String::len));
        let shape = Shape {
            tokens: first.ids.len(),
            width: encoders.width(),
            pooled_width: encoders.pooled_width(),
        };
        self.warn(&text, cut_off, shape.tokens, what);
        Ok(Prepared::Tokens {
            text,
            ids: [first.ids, second.ids],
            shape,
            cut_off,
        })
    }

    /// Encodes a text, unless its embeddings are known.
    ///
    /// # Errors
    /// Those of the encoders.
    pub(crate) fn encode(&self, prepared: Prepared) -> Result<Rc<Embeddings>> {
        let (text, ids, shape, cut_off) = match prepared {
            Prepared::Known(embeddings) => return Ok(embeddings),
            Prepared::Tokens {
                text,
                ids,
                shape,
                cut_off,
            } => (text, ids, shape, cut_off),
        };
        let encoders = &self.opened()?.encoders;
        let embeddings = encoders.encode(&ids[0], &ids[1], text.clip_skip)?;
        let embeddings = Embeddings::new(&embeddings, shape, cut_off);
        if let Some((cache, keys)) = &self.cache {
            cache.put(&keys.of(&text), &embeddings);
        }
        let embeddings = Rc::new(embeddings);
        self.remember(text, &embeddings);
        Ok(embeddings)
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
            self.console.warn(format_args!(
                "{what}: only the first {room} tokens count; cut off: {rest:?}"
            ));
        }
    }
}

/// How many texts an encoder remembers: a prompt of SDXL and its negative take 630 KB each.
const KEPT: usize = 4;
