//! From a record to a frame.

use crate::Args;
use crate::cache::Cache;
use crate::embeddings::Text;
use crate::encoder::{Encoder, Prepared};
use crate::records::{Existing, Record};
use std::time::Duration;
use turbo_cli::{Console, Error, Result};
use turbo_stage::{Computed, Networks, Slot};
use turbo_wire::{Header, keys, names};

/// What makes frames of records.
pub(crate) struct Tool<'a> {
    pub(crate) args: &'a Args,
    pub(crate) networks: Networks,
    pub(crate) cache: Option<&'a Cache<'a>>,
    pub(crate) encoder: Slot<String, Encoder<'a>>,
    pub(crate) existing: Option<Existing>,
    /// Number of the next record's first picture, by this tool's count.
    pub(crate) pictures: u64,
    pub(crate) console: &'a Console,
}

/// What a record will become.
pub(crate) struct Planned {
    spec: String,
    pub(crate) header: Header,
    /// Time that opening the model took.
    pub(crate) open: Duration,
    prompt: Prepared,
    negative: Option<Prepared>,
}

impl Tool<'_> {
    /// Puts the flags' values where the record has none of its own; none if all of its pictures are there already.
    pub(crate) fn settle(&mut self, number: u64, mut record: Record) -> Result<Option<Record>> {
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

    /// Finds out what the record becomes, and opens the model if that is not known. The inner error is of that record
    /// alone.
    pub(crate) fn plan(&mut self, number: u64, record: &Record) -> Result<Result<Planned>> {
        // A model that is missing is no fault of the record, unless it is the record that names it.
        let own_model = record.model.is_some();
        let judge = |error: Error| if own_model { Ok(error) } else { Err(error) };
        let spec = self.args.model.choose(record.model.as_deref());
        let (networks, cache, console) = (self.networks, self.cache, self.console);
        let located = self
            .encoder
            .get(&spec, || Encoder::locate(networks, &spec, cache, console));
        let encoder = match located {
            Ok((encoder, _)) => encoder,
            Err(error) => return judge(error).map(Err),
        };
        let what = format!("frame {number}");
        let text = |first: &str, second: Option<&str>, clip_skip| Text {
            first: first.to_owned(),
            second: second.unwrap_or(first).to_owned(),
            clip_skip,
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
        let known = encoder.known(&prompt, &what);
        let known_negative = negative
            .as_ref()
            .map(|negative| encoder.known_negative(negative));
        let mut open = Duration::ZERO;
        let is_known = |prepared: &Option<Prepared>| prepared.is_some();
        if !is_known(&known) || !known_negative.as_ref().is_none_or(is_known) {
            if let Some(cache) = self.cache.filter(|cache| cache.only()) {
                let which = if is_known(&known) {
                    "negative prompt"
                } else {
                    "prompt"
                };
                return Ok(Err(cache.missing(which)));
            }
            open = match encoder.open() {
                Ok(took) => took,
                Err(error) => return judge(error).map(Err),
            };
        }
        let finish = || {
            let prompt = match known {
                Some(known) => known,
                None => encoder.tokenize(prompt, &what)?,
            };
            let negative = match (known_negative.flatten(), negative) {
                (None, Some(negative)) => Some(encoder.tokenize_negative(negative)?),
                (known, _) => known,
            };
            let header = header(record, encoder.name(), &prompt, negative.is_some())?;
            Ok(Planned {
                spec,
                header,
                open,
                prompt,
                negative,
            })
        };
        Ok(finish())
    }

    pub(crate) fn compute(&mut self, planned: Planned) -> Result<Computed> {
        let missing = || Err(Error::new("the model was closed"));
        let (encoder, _) = self.encoder.get(&planned.spec, missing)?;
        let prompt = encoder.encode(planned.prompt)?;
        let mut body = vec![
            (names::PROMPT_EMBEDS, prompt.prompt_embeds.clone()),
            (
                names::POOLED_PROMPT_EMBEDS,
                prompt.pooled_prompt_embeds.clone(),
            ),
        ];
        if let Some(negative) = planned.negative {
            let negative = encoder.encode_negative(negative)?;
            body.push((
                names::NEGATIVE_PROMPT_EMBEDS,
                negative.prompt_embeds.clone(),
            ));
            body.push((
                names::NEGATIVE_POOLED_PROMPT_EMBEDS,
                negative.pooled_prompt_embeds.clone(),
            ));
        }
        Ok(Computed { body, steps: None })
    }
}

fn header(record: &Record, model: &str, prompt: &Prepared, negative: bool) -> Result<Header> {
    let clip_skip = record.clip_skip.filter(|&layers| layers > 0);
    let entries = [
        (keys::PROMPT, Some(record.prompt.clone())),
        (keys::PROMPT_2, record.prompt_2.clone()),
        (keys::NEGATIVE_PROMPT, record.negative_prompt.clone()),
        (keys::NEGATIVE_PROMPT_2, record.negative_prompt_2.clone()),
        (keys::CLIP_SKIP, clip_skip.map(|layers| layers.to_string())),
        (keys::MODEL, Some(model.to_owned())),
        (
            keys::PRODUCER,
            Some(concat!("encode-text ", env!("CARGO_PKG_VERSION")).to_owned()),
        ),
    ];
    let mut metadata = record.metadata.clone();
    metadata.extend(
        entries
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?))),
    );
    prompt.shape().header(negative, metadata)
}
