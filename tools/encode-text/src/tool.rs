//! From a record to a frame.

use crate::adapters::{Adapters, Named};
use crate::args::Args;
use crate::cache::Cache;
use crate::embeddings::{Shape, Text};
use crate::encoder::{Encoder, Prepared};
use crate::records::{Existing, Record, Records};
use std::rc::Rc;
use std::time::Duration;
use turbo_cli::{Console, Context, Error, Result, set_task};
use turbo_stage::{Computed, Fault, Networks, Out, Planned, Slot, Stage};
use turbo_wire::{Header, Kind, keys, metadata, names, settings};

/// What makes frames of records.
pub(crate) struct Tool<'a> {
    pub(crate) args: &'a Args,
    pub(crate) networks: Networks,
    pub(crate) cache: Option<&'a Cache<'a>>,
    pub(crate) encoder: Slot<(String, Named), Encoder<'a>>,
    pub(crate) existing: Option<Existing>,
    /// Number of the next record's first picture, by this tool's count.
    pub(crate) pictures: u64,
    pub(crate) console: &'a Console,
}

/// What a record will become.
pub(crate) struct Plan<'a> {
    encoder: Rc<Encoder<'a>>,
    prompt: Prepared,
    negative: Option<Prepared>,
    /// How many tokens each of them is to have.
    tokens: usize,
    clip_skip: usize,
}

impl<'a> Tool<'a> {
    /// Puts the flags' values where the record has none of its own; none if all of its pictures are there already.
    fn settle(&mut self, number: u64, mut record: Record) -> Result<Option<Record>> {
        let args = self.args;
        let some = |text: &String| !text.is_empty();
        // As in diffusers, an empty second prompt is none.
        record.prompt_2 = record
            .prompt_2
            .or_else(|| args.prompt_2.clone())
            .filter(some);
        if record.negative_prompt.is_none() {
            record.negative_prompt.clone_from(&args.negative_prompt);
        }
        record.negative_prompt_2 = record.negative_prompt_2.filter(some);
        if record.negative_prompt_2.is_some() && record.negative_prompt.is_none() {
            return Err(Error::new(
                "negative_prompt_2: expected a negative_prompt beside it, found none; give \"\" at least",
            ));
        }
        record.clip_skip = record.clip_skip.or(Some(args.clip_skip));
        record.weighted = record.weighted.or(args.weighted);
        record
            .embeddings
            .get_or_insert_with(|| args.embedding.clone());

        let images = record.number(keys::IMAGES).or(args.images);
        let mut write = |key: &str, value: u64| {
            let metadata = &mut record.metadata;
            metadata
                .entry(key.to_owned())
                .or_insert_with(|| value.to_string());
        };
        if let Some(images) = images {
            write(keys::IMAGES, images);
        }
        let Some(existing) = &mut self.existing else {
            return Ok(Some(record));
        };
        let images = images.unwrap_or(1);
        write(keys::RECORD_INDEX, number);
        write(keys::PICTURE_INDEX, self.pictures);
        write(keys::IMAGES, images);
        self.pictures = self.pictures.saturating_add(images);
        let first = record.number(keys::PICTURE_INDEX).unwrap_or_default();
        if existing.holds(&record, first, images)? {
            self.console
                .info(format_args!("record {number}: its pictures are there"));
            return Ok(None);
        }
        Ok(Some(record))
    }

    /// The encoder of the record's model, which is found and not opened.
    fn encoder(&mut self, record: &Record) -> Result<Rc<Encoder<'a>>> {
        let spec = self.args.model.choose(record.model.as_deref());
        let (networks, cache, console) = (self.networks, self.cache, self.console);
        let named = Named {
            embeddings: record.embeddings.clone().unwrap_or_default(),
            loras: self.args.lora.choose(record.loras.as_deref())?,
        };
        let key = (spec, named);
        let locate = || {
            let (spec, named) = &key;
            Encoder::locate(networks, spec, Adapters::open(named)?, cache, console)
        };
        Ok(self.encoder.get(&key, locate)?.0)
    }
}

impl<'a> Stage for Tool<'a> {
    type Source = Records<'a>;
    type Plan = Plan<'a>;
    const WRITES: Kind = Kind::TextEmbeddings;

    fn plan(&mut self, number: u64, record: Record) -> Result<Option<Planned<Plan<'a>>>, Fault> {
        // A file that is missing is no fault of the record, unless it is the record that names it.
        let own = record.embeddings.is_some() || record.loras.is_some();
        let fault = if own || record.model.is_some() {
            Fault::Item
        } else {
            Fault::Run
        };
        let Some(record) = self.settle(number, record)? else {
            return Ok(None);
        };
        let encoder = self.encoder(&record).map_err(fault)?;
        let (prompt, negative) = texts(&record);
        let what = format!("frame {number}");
        set_task(&what);
        let known = encoder.known(&prompt, &what);
        let known_negative = negative
            .as_ref()
            .map(|negative| encoder.known(negative, NEGATIVE));
        let missing = match (&known, &known_negative) {
            (None, _) => Some("prompt"),
            (_, Some(None)) => Some(NEGATIVE),
            _ => None,
        };
        let mut open = Duration::ZERO;
        if let Some(missing) = missing {
            if let Some(cache) = self.cache.filter(|cache| cache.only()) {
                return Err(Fault::Item(cache.missing(missing)));
            }
            open = encoder.open().map_err(fault)?;
        }
        let prepare = |text, known: Option<_>, what: &str| {
            known.map_or_else(|| encoder.tokenize(text, what), Ok)
        };
        let prompt = prepare(prompt, known, &what)?;
        let negative = negative
            .map(|negative| prepare(negative, known_negative.flatten(), NEGATIVE))
            .transpose()?;
        let mut shape = prompt.shape();
        if let Some(negative) = &negative {
            shape.tokens = shape.tokens.max(negative.shape().tokens);
        }
        Ok(Some(Planned {
            header: header(&record, &encoder, shape, negative.is_some())?,
            open,
            plan: Plan {
                encoder,
                prompt,
                negative,
                tokens: shape.tokens,
                clip_skip: record.clip_skip.unwrap_or_default(),
            },
        }))
    }

    fn compute(&mut self, plan: Plan<'a>, (): (), out: &mut Out<'_, '_>) -> Result<(), Fault> {
        let Plan {
            encoder,
            prompt,
            negative,
            tokens,
            clip_skip,
        } = plan;
        out.first(|| {
            let prompt = encoder.encode_to(tokens, prompt, clip_skip)?;
            let mut body = vec![
                (names::PROMPT_EMBEDS, prompt.prompt_embeds.clone()),
                (
                    names::POOLED_PROMPT_EMBEDS,
                    prompt.pooled_prompt_embeds.clone(),
                ),
            ];
            if let Some(negative) = negative {
                let negative = encoder.encode_to(tokens, negative, 0).context(NEGATIVE)?;
                body.extend([
                    (
                        names::NEGATIVE_PROMPT_EMBEDS,
                        negative.prompt_embeds.clone(),
                    ),
                    (
                        names::NEGATIVE_POOLED_PROMPT_EMBEDS,
                        negative.pooled_prompt_embeds.clone(),
                    ),
                ]);
            }
            Ok(Computed {
                body,
                ..Computed::default()
            })
        })
    }
}

/// What messages call a negative prompt.
const NEGATIVE: &str = "negative prompt";

/// What the encoders are told of a record: the prompt, and the negative one if there is one.
fn texts(record: &Record) -> (Text, Option<Text>) {
    let text = |first: &str, second: Option<&str>, clip_skip| Text {
        first: first.to_owned(),
        second: second.unwrap_or(first).to_owned(),
        clip_skip,
        weighting: record.weighted,
    };
    let prompt = text(
        &record.prompt,
        record.prompt_2.as_deref(),
        record.clip_skip.unwrap_or_default(),
    );
    // As in diffusers, always without `clip_skip`.
    let negative = record
        .negative_prompt
        .as_deref()
        .map(|negative| text(negative, record.negative_prompt_2.as_deref(), 0));
    (prompt, negative)
}

fn header(record: &Record, encoder: &Encoder<'_>, shape: Shape, negative: bool) -> Result<Header> {
    let clip_skip = record.clip_skip.filter(|&layers| layers > 0);
    let entries = [
        (keys::PROMPT, Some(record.prompt.clone())),
        (keys::PROMPT_2, record.prompt_2.clone()),
        (keys::NEGATIVE_PROMPT, record.negative_prompt.clone()),
        (keys::NEGATIVE_PROMPT_2, record.negative_prompt_2.clone()),
        (keys::CLIP_SKIP, clip_skip.map(|layers| layers.to_string())),
        (
            keys::WEIGHTED,
            record.weighted.map(|weighting| weighting.name().to_owned()),
        ),
        (keys::MODEL, Some(encoder.name().to_owned())),
        (keys::LORA, encoder.loras()),
        (
            keys::EMBEDDING,
            settings::list_of(record.embeddings.iter().flatten()),
        ),
        (keys::PRODUCER, Some(metadata::producer("encode-text"))),
    ];
    let mut metadata = record.metadata.clone();
    metadata::write(&mut metadata, entries);
    shape.header(negative, metadata)
}
