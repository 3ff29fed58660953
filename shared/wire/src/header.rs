//! A frame's header: its kind, its tensors and its metadata.

use std::collections::BTreeSet;

use safetensors::Dtype;
use safetensors::tensor::TensorInfo;

use crate::json::{METADATA, RawHeader};
use crate::keys::{self, Metadata};
use crate::kind::{
    IMAGE, LATENT_CHANNELS, LATENTS, NEGATIVE_POOLED_PROMPT_EMBEDS, NEGATIVE_PROMPT_EMBEDS,
    POOLED_PROMPT_EMBEDS, PROMPT_EMBEDS,
};
use crate::quote::clip;
use crate::{Error, Kind, Limits, Result, TensorSpec, VERSION};

/// A checked header: the kind is known, and names, types and shapes are right for it.
///
/// A header that was read keeps the bytes it was read from, and is written again with just these.
/// Two headers are equal if kind, tensors and metadata are.
#[derive(Clone, Debug)]
pub struct Header {
    kind: Kind,
    tensors: Vec<TensorSpec>,
    metadata: Metadata,
    batch: usize,
    body_len: u64,
    encoded: Vec<u8>,
}

impl PartialEq for Header {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.tensors == other.tensors && self.metadata == other.metadata
    }
}

impl Header {
    /// A header of any kind.
    ///
    /// The tensors are put in the order in which Python's safetensors puts them: wider types
    /// first, then by name. That keeps every body aligned to its element, and makes the bytes
    /// independent of the order given. `format`, `version` and `kind` are set in the metadata,
    /// whatever stood there; all other keys stay.
    ///
    /// # Errors
    /// Those of the [kind](Kind): [`Error::MissingTensor`], [`Error::TensorDtype`],
    /// [`Error::TensorShape`], [`Error::BatchMismatch`], [`Error::ShapeMismatch`],
    /// [`Error::NegativePair`]; and [`Error::DuplicateTensor`], [`Error::ReservedName`],
    /// [`Error::Overflow`].
    pub fn new(kind: Kind, mut tensors: Vec<TensorSpec>, mut metadata: Metadata) -> Result<Self> {
        tensors.sort_by(|a, b| b.dtype.cmp(&a.dtype).then_with(|| a.name.cmp(&b.name)));
        let mut names = BTreeSet::new();
        for tensor in &tensors {
            if tensor.name == METADATA {
                return Err(Error::ReservedName);
            }
            if !names.insert(tensor.name.as_str()) {
                return Err(Error::DuplicateTensor {
                    name: clip(&tensor.name),
                });
            }
        }
        let batch = kind.check(&tensors)?;
        for (key, value) in [
            (keys::FORMAT, "pt"),
            (keys::VERSION, VERSION),
            (keys::KIND, kind.as_str()),
        ] {
            metadata.insert(key.to_owned(), value.to_owned());
        }

        let mut end = 0_usize;
        let mut infos = Vec::with_capacity(tensors.len());
        for tensor in &tensors {
            let begin = end;
            end = tensor
                .byte_len()
                .and_then(|bytes| begin.checked_add(bytes))
                .ok_or_else(|| tensor.overflow())?;
            let info = TensorInfo {
                dtype: tensor.dtype,
                shape: tensor.shape.clone(),
                data_offsets: (begin, end),
            };
            infos.push((tensor.name.clone(), info));
        }
        let raw = RawHeader {
            metadata,
            tensors: infos,
        };
        let encoded = raw.encode()?;
        Ok(Self {
            kind,
            tensors,
            metadata: raw.metadata,
            batch,
            body_len: end as u64,
            encoded,
        })
    }

    /// Embeddings of `batch` prompts: `prompt_embeds` `[batch, tokens, width]` and
    /// `pooled_prompt_embeds` `[batch, pooled_width]`, and if `negative` their negative pair, in
    /// f32. SDXL has 77 tokens, widths 2048 and 1280.
    ///
    /// # Errors
    /// [`Error::TensorShape`] for a zero, [`Error::Overflow`].
    pub fn text_embeddings(
        batch: usize,
        tokens: usize,
        width: usize,
        pooled_width: usize,
        negative: bool,
        metadata: Metadata,
    ) -> Result<Self> {
        let embeds = [batch, tokens, width];
        let pooled = [batch, pooled_width];
        let mut tensors = vec![
            TensorSpec::new(PROMPT_EMBEDS, Dtype::F32, &embeds),
            TensorSpec::new(POOLED_PROMPT_EMBEDS, Dtype::F32, &pooled),
        ];
        if negative {
            tensors.push(TensorSpec::new(NEGATIVE_PROMPT_EMBEDS, Dtype::F32, &embeds));
            tensors.push(TensorSpec::new(
                NEGATIVE_POOLED_PROMPT_EMBEDS,
                Dtype::F32,
                &pooled,
            ));
        }
        Self::new(Kind::TextEmbeddings, tensors, metadata)
    }

    /// `latents` `[batch, 4, height, width]` in f32. Height and width count latent pixels, of
    /// which each is 8 x 8 of the picture.
    ///
    /// # Errors
    /// [`Error::TensorShape`] for a zero, [`Error::Overflow`].
    pub fn latents(batch: usize, height: usize, width: usize, metadata: Metadata) -> Result<Self> {
        let latents = TensorSpec::new(
            LATENTS,
            Dtype::F32,
            &[batch, LATENT_CHANNELS, height, width],
        );
        Self::new(Kind::Latents, vec![latents], metadata)
    }

    /// `image` `[batch, height, width, 3]` in u8, RGB.
    ///
    /// # Errors
    /// [`Error::TensorShape`] for a zero, [`Error::Overflow`].
    pub fn image(batch: usize, height: usize, width: usize, metadata: Metadata) -> Result<Self> {
        let image = TensorSpec::new(IMAGE, Dtype::U8, &[batch, height, width, 3]);
        Self::new(Kind::Image, vec![image], metadata)
    }

    /// Reads a header from its 8 bytes of length and its JSON, and checks it: limits first, then
    /// the layout, then the version, then the kind, then the kind's rules.
    pub(crate) fn parse(encoded: Vec<u8>, limits: &Limits, expected: Option<Kind>) -> Result<Self> {
        let RawHeader {
            metadata,
            tensors: mut infos,
        } = RawHeader::parse(&encoded[8..])?;

        // Which order the entries stand in is free; the bodies lie by their offsets.
        infos.sort_by_key(|(_, info)| info.data_offsets);
        let tensors: Vec<TensorSpec> = infos
            .iter()
            .map(|(name, info)| TensorSpec::new(name, info.dtype, &info.shape))
            .collect();
        limits.check_tensors(&tensors)?;
        let body_len = check_layout(&tensors, infos)?;
        limits.check_frame(encoded.len() as u64 - 8, body_len)?;

        if let Some(version) = metadata.get(keys::VERSION) {
            check_version(version)?;
        }
        let kind = match metadata.get(keys::KIND) {
            Some(kind) => kind.parse()?,
            None => Kind::of_tensors(&tensors)?,
        };
        if let Some(expected) = expected
            && expected != kind
        {
            return Err(Error::WrongKind {
                expected,
                found: kind,
            });
        }
        let batch = kind.check(&tensors)?;
        Ok(Self {
            kind,
            tensors,
            metadata,
            batch,
            body_len,
            encoded,
        })
    }

    /// What the frame holds.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The tensors, in the order in which their bodies lie.
    pub fn tensors(&self) -> &[TensorSpec] {
        &self.tensors
    }

    /// One tensor's description.
    pub fn tensor(&self, name: &str) -> Option<&TensorSpec> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// All metadata, `format`, `version` and `kind` included.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// One metadata value.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// Batch size B of the kind's tensors, at least 1.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Bytes of all bodies together.
    pub fn body_len(&self) -> u64 {
        self.body_len
    }

    /// The bytes of the frame before its body: length, JSON, padding.
    pub fn encoded(&self) -> &[u8] {
        &self.encoded
    }
}

/// Lets the safetensors crate judge offsets and sizes, and says in detail what it refuses. Gives
/// the length of the body.
fn check_layout(tensors: &[TensorSpec], infos: Vec<(String, TensorInfo)>) -> Result<u64> {
    let offsets: Vec<(usize, usize)> = infos.iter().map(|(_, info)| info.data_offsets).collect();
    let refusal = match safetensors::tensor::Metadata::new(None, infos) {
        Ok(metadata) => return Ok(metadata.data_len() as u64),
        Err(refusal) => refusal,
    };

    let mut expected = 0;
    for (tensor, (begin, end)) in tensors.iter().zip(offsets) {
        if begin != expected || end < begin {
            return Err(Error::Offsets {
                tensor: tensor.name.clone(),
                begin,
                end,
                expected,
            });
        }
        expected = end;
        let bytes = tensor.byte_len().ok_or_else(|| tensor.overflow())?;
        if bytes != end - begin {
            return Err(Error::TensorSize {
                tensor: tensor.name.clone(),
                dtype: tensor.dtype,
                shape: tensor.shape.clone(),
                expected: bytes as u64,
                found: (end - begin) as u64,
            });
        }
    }
    // A rule that safetensors has and the loop does not know.
    Err(Error::HeaderJson {
        text: refusal.to_string(),
    })
}

/// Minor versions of the major version spoken here are readable: `1` and `1.N`.
fn check_version(found: &str) -> Result<()> {
    let major = found.split_once('.').map_or(found, |(major, _)| major);
    if major == VERSION {
        Ok(())
    } else {
        Err(Error::Version { found: clip(found) })
    }
}
