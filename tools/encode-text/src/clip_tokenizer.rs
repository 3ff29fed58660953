//! CLIP's byte-pair tokenizer, from the files of a checkpoint's `tokenizer/` or `tokenizer_2/`.
//!
//! transformers: `models/clip/tokenization_clip.py`. Built from `vocab.json` and `merges.txt`, as the checkpoint has
//! no `tokenizer.json`, and those that other repositories have treat `!` in another way (see [`ClipTokenizer::new`]).

use crate::weighted::Token;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use tokenizers::models::bpe::{BPE, Merges};
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{Lowercase, NFC, Replace, Sequence};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer};
use turbo_weights::TokenizerFiles;

/// What a text is split into before pieces are made: special tokens, contractions, words, single digits, the rest.
const PIECES: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// What the last piece of a word ends with.
const END_OF_WORD: &str = "</w>";

/// More ids than any text encoder has: below it there is room for those that are added.
const LARGEST_VOCABULARY: u32 = 1 << 24;

/// Why a tokenizer could not be built, or a text not be tokenized.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `vocab.json` is not what it should be.
    #[error("vocab.json: expected a JSON object of pieces and ids: {0}")]
    Vocab(#[source] serde_json::Error),
    /// An id of `vocab.json` is beyond all that a text encoder has.
    #[error("vocab.json: {piece:?}: expected an id below {LARGEST_VOCABULARY}, found {id}")]
    VocabId {
        /// The piece.
        piece: String,
        /// Its id.
        id: u32,
    },
    /// A line of `merges.txt` is not a pair.
    #[error("merges.txt: line {line}: expected two pieces with a space between, found {found:?}")]
    Merges {
        /// Counted from 1.
        line: usize,
        /// The line.
        found: String,
    },
    /// A key of `tokenizer_config.json` or `special_tokens_map.json` has a value of the wrong form.
    #[error("{file}: {key}: expected {expected}, found {found}")]
    Config {
        /// The file.
        file: &'static str,
        /// The key.
        key: String,
        /// What may stand there.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// A special token has no id.
    #[error("tokenizer_config.json: {key}: the token {token:?} is not in vocab.json")]
    UnknownToken {
        /// The key that names it.
        key: &'static str,
        /// The token.
        token: String,
    },
    /// A token that is to be added is there.
    #[error("the token {0:?} is in the vocabulary; give it another name")]
    KnownToken(String),
    /// The tokenizers crate refused the files or the text.
    #[error("tokenizer: {0}")]
    Tokenizers(#[source] tokenizers::Error),
}

/// The ids of a prompt, ready for a text encoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenIds {
    /// Start of text, the prompt, end of text, padding: as many as the tokenizer's length.
    pub ids: Vec<u32>,
    /// The end of the prompt that found no place, if any; as the user wrote it.
    pub truncated: Option<String>,
}

/// A CLIP tokenizer with its special tokens and length.
pub struct ClipTokenizer {
    tokenizer: Tokenizer,
    bos: u32,
    eos: u32,
    pad: u32,
    length: usize,
    /// Tokens that were added, and the ids that each of them becomes.
    added: HashMap<u32, Range<u32>>,
    /// Behind the ids of the token that was added last.
    free: u32,
}

impl ClipTokenizer {
    /// Builds the tokenizer. `max_length` is what the encoder takes; `model_max_length` of the configuration may be
    /// less.
    ///
    /// Special tokens are cut out of the text before it is split into pieces, and those that are not "normalized"
    /// even before it is lowercased. SDXL's second tokenizer pads with `!` and so makes a special token of it: each
    /// `!` of a prompt becomes id 0 by itself, where the first tokenizer makes pieces such as `!!!` and `wow!`.
    ///
    /// # Errors
    /// A file that is not what it should be; a special token without an id.
    pub fn new(files: &TokenizerFiles, max_length: usize) -> Result<Self, Error> {
        let vocab: HashMap<String, u32> =
            serde_json::from_str(&files.vocab).map_err(Error::Vocab)?;
        if let Some((piece, &id)) = vocab.iter().find(|(_, id)| **id >= LARGEST_VOCABULARY) {
            let piece = clip(piece);
            return Err(Error::VocabId { piece, id });
        }
        let special = SpecialTokens::read(files)?;
        let id = |key, token: &AddedToken| {
            vocab
                .get(&token.content)
                .copied()
                .ok_or_else(|| Error::UnknownToken {
                    key,
                    token: clip(&token.content),
                })
        };
        let bos = id("bos_token", &special.bos)?;
        let eos = id("eos_token", &special.eos)?;
        let pad = id("pad_token", &special.pad)?;
        id("unk_token", &special.unk)?;

        let bpe = BPE::builder()
            .vocab_and_merges(
                vocab
                    .into_iter()
                    .collect::<tokenizers::models::bpe::Vocab>(),
                merges(&files.merges)?,
            )
            .unk_token(special.unk.content.clone())
            .end_of_word_suffix(END_OF_WORD.to_owned())
            .build()
            .map_err(Error::Tokenizers)?;
        let mut tokenizer = Tokenizer::new(bpe);
        let whitespace = Replace::new(ReplacePattern::Regex(r"\s+".to_owned()), " ")
            .map_err(Error::Tokenizers)?;
        tokenizer
            .with_normalizer(Some(Sequence::new(vec![
                NFC.into(),
                whitespace.into(),
                Lowercase.into(),
            ])))
            .map_err(Error::Tokenizers)?;
        let pieces = SplitPattern::Regex(PIECES.to_owned());
        let split =
            Split::new(pieces, SplitDelimiterBehavior::Removed, true).map_err(Error::Tokenizers)?;
        let bytes = ByteLevel::default().add_prefix_space(false);
        tokenizer.with_pre_tokenizer(Some(PreTokenizers::new(vec![split.into(), bytes.into()])));
        tokenizer
            .add_special_tokens(special.in_order())
            .map_err(Error::Tokenizers)?;
        tokenizer
            .add_tokens(special.plain)
            .map_err(Error::Tokenizers)?;

        let length = special
            .model_max_length
            .map_or(max_length, |length| length.min(max_length));
        Ok(Self {
            tokenizer,
            bos,
            eos,
            pad,
            length,
            added: HashMap::new(),
            free: 0,
        })
    }

    /// Number of ids that [`Self::encode`] gives (77 for SDXL).
    pub fn length(&self) -> usize {
        self.length
    }

    /// How many of them a text's own tokens may be (75 for SDXL).
    pub fn room(&self) -> usize {
        self.length.saturating_sub(2)
    }

    /// Adds a token that becomes `vectors` ids in a row: the first that are free, as in diffusers
    /// (`loaders/textual_inversion.py`). It is found in any case, and within words.
    ///
    /// # Errors
    /// [`Error::KnownToken`]; [`Error::Tokenizers`].
    pub fn add_token(&mut self, token: &str, vectors: usize) -> Result<Range<u32>, Error> {
        if self.tokenizer.token_to_id(token).is_some() {
            return Err(Error::KnownToken(token.to_owned()));
        }
        self.tokenizer
            .add_tokens([AddedToken::from(token, false)])
            .map_err(Error::Tokenizers)?;
        let id = self.tokenizer.token_to_id(token);
        let id = id.ok_or_else(|| Error::KnownToken(token.to_owned()))?;
        let first = id.max(self.free);
        let ids = first..first + vectors as u32;
        self.free = ids.end;
        self.added.insert(id, ids.clone());
        Ok(ids)
    }

    /// The ids that an id of the tokenizers crate becomes.
    fn ids_of(&self, id: u32) -> Range<u32> {
        self.added.get(&id).cloned().unwrap_or(id..id + 1)
    }

    /// The tokens of a text, without start of text, end of text, padding and limit. A special token is a word; so is
    /// an added one, with all of its ids.
    ///
    /// # Errors
    /// [`Error::Tokenizers`].
    pub fn tokens(&self, text: &str) -> Result<Vec<Token>, Error> {
        let encoding = self
            .tokenizer
            .encode(text, false)
            .map_err(Error::Tokenizers)?;
        let added = self
            .tokenizer
            .get_added_vocabulary()
            .get_added_tokens_decoder();
        let mut tokens = Vec::with_capacity(encoding.len());
        for (&id, token) in encoding.get_ids().iter().zip(encoding.get_tokens()) {
            let ends_word = token.ends_with(END_OF_WORD) || added.contains_key(&id);
            let ids = self.ids_of(id);
            let last = ids.end - 1;
            tokens.extend(ids.map(|id| Token {
                id,
                ends_word: ends_word && id == last,
            }));
        }
        Ok(tokens)
    }

    /// A chunk's ids, ready for a text encoder: start of text, these, end of text, padding.
    #[must_use]
    pub fn framed(&self, content: &[u32]) -> Vec<u32> {
        let mut ids = Vec::with_capacity(self.length);
        ids.push(self.bos);
        ids.extend_from_slice(content);
        ids.push(self.eos);
        ids.resize(self.length, self.pad);
        ids
    }

    /// Tokenizes a prompt. What is too long is cut, and the last id is then still end of text.
    ///
    /// # Errors
    /// [`Error::Tokenizers`].
    pub fn encode(&self, prompt: &str) -> Result<TokenIds, Error> {
        let encoding = self
            .tokenizer
            .encode(prompt, false)
            .map_err(Error::Tokenizers)?;
        let starts = encoding.get_ids().iter().zip(encoding.get_offsets());
        let (content, starts): (Vec<u32>, Vec<usize>) = starts
            .flat_map(|(&id, &(start, _))| self.ids_of(id).map(move |id| (id, start)))
            .unzip();
        let room = self.room();
        let kept = content.len().min(room);
        let truncated = starts.get(room).map(|&start| {
            // An offset may lie inside a character that became several pieces.
            let start = (0..=start.min(prompt.len()))
                .rev()
                .find(|&i| prompt.is_char_boundary(i))
                .unwrap_or(0);
            prompt[start..].to_owned()
        });
        let ids = self.framed(&content[..kept]);
        Ok(TokenIds { ids, truncated })
    }
}

fn merges(text: &str) -> Result<Merges, Error> {
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.starts_with("#version") && !line.is_empty());
    lines
        .map(|(index, line)| match line.split_once(' ') {
            Some((left, right)) if !right.contains(' ') => Ok((left.to_owned(), right.to_owned())),
            _ => Err(Error::Merges {
                line: index + 1,
                found: clip(line),
            }),
        })
        .collect()
}

/// The special tokens, from the three places in which transformers looks for them.
struct SpecialTokens {
    bos: AddedToken,
    eos: AddedToken,
    unk: AddedToken,
    pad: AddedToken,
    /// Further special tokens of `added_tokens_decoder`.
    further: Vec<AddedToken>,
    /// Tokens of `added_tokens_decoder` that are not special.
    plain: Vec<AddedToken>,
    model_max_length: Option<usize>,
}

impl SpecialTokens {
    fn read(files: &TokenizerFiles) -> Result<Self, Error> {
        let decoder: BTreeMap<String, TokenJson> =
            match files.tokenizer_config.get("added_tokens_decoder") {
                None | Some(Value::Null) => BTreeMap::new(),
                Some(value) => BTreeMap::deserialize(value).map_err(|_| {
                    config_error("added_tokens_decoder", "an object of ids and tokens", value)
                })?,
            };
        let decoder: Vec<AddedToken> = decoder.into_values().map(TokenJson::added).collect();
        let token = |key: &'static str, default: &str| {
            let (file, value) = match files.special_tokens_map.get(key) {
                Some(value) => ("special_tokens_map.json", Some(value)),
                None => ("tokenizer_config.json", files.tokenizer_config.get(key)),
            };
            let content = match value {
                None | Some(Value::Null) => default,
                Some(Value::String(content)) => content,
                Some(object) => {
                    let token = TokenJson::deserialize(object).map_err(|_| Error::Config {
                        file,
                        key: key.to_owned(),
                        expected: "a token",
                        found: clip(&object.to_string()),
                    })?;
                    return Ok(token.added().special(true));
                }
            };
            // A bare name has the properties that the list of added tokens gives it.
            let known = decoder
                .iter()
                .find(|token| token.content == content)
                .cloned();
            Ok(known.unwrap_or_else(|| AddedToken::from(content, true)))
        };
        let model_max_length = match files.tokenizer_config.get("model_max_length") {
            None | Some(Value::Null) => None,
            Some(value) => match value.as_f64() {
                Some(length) if length >= 2.0 => Some(length as usize),
                _ => {
                    return Err(config_error(
                        "model_max_length",
                        "a number of at least 2",
                        value,
                    ));
                }
            },
        };
        let (further, plain) = decoder.iter().cloned().partition(|token| token.special);
        Ok(Self {
            bos: token("bos_token", "<|startoftext|>")?,
            eos: token("eos_token", "<|endoftext|>")?,
            unk: token("unk_token", "<|endoftext|>")?,
            pad: token("pad_token", "<|endoftext|>")?,
            further,
            plain,
            model_max_length,
        })
    }

    /// All of them, each content once. Where two keys name one token, the later key's properties count.
    fn in_order(&self) -> Vec<AddedToken> {
        let named = [&self.bos, &self.eos, &self.unk, &self.pad];
        let mut tokens: Vec<AddedToken> = Vec::new();
        for token in self.further.iter().chain(named) {
            tokens.retain(|other| other.content != token.content);
            tokens.push(token.clone().special(true));
        }
        tokens
    }
}

fn config_error(key: &str, expected: &'static str, found: &Value) -> Error {
    Error::Config {
        file: "tokenizer_config.json",
        key: key.to_owned(),
        expected,
        found: clip(&found.to_string()),
    }
}

/// A file's text, cut to a length fit for a message.
fn clip(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

/// A token as JSON writes it.
#[allow(clippy::struct_excessive_bools, reason = "the file has them")]
#[derive(Deserialize)]
struct TokenJson {
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    normalized: Option<bool>,
    #[serde(default)]
    special: bool,
}

impl TokenJson {
    fn added(self) -> AddedToken {
        AddedToken {
            content: self.content,
            single_word: self.single_word,
            lstrip: self.lstrip,
            rstrip: self.rstrip,
            normalized: self.normalized.unwrap_or(!self.special),
            special: self.special,
        }
    }
}
