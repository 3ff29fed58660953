//! The kinds of frame, and what each kind asks of its tensors.

use std::fmt;
use std::str::FromStr;

use safetensors::Dtype;

use crate::quote::{clip, list};
use crate::{Error, TensorSpec, picture};

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// What SDXL's text encoders make of a prompt: `prompt_embeds` `[B,T,D]` and
    /// `pooled_prompt_embeds` `[B,P]`, and perhaps `negative_prompt_embeds` and
    /// `negative_pooled_prompt_embeds` of the same shapes; and perhaps a picture to start from: `image_mean`
    /// `[B,4,h,w]`, `image_logvar`, `mask` and the other tensors of PROTOCOL.md. F32, F16 or BF16.
    TextEmbeddings,
    /// `latents` `[B,4,h,w]` in the U-Net's scale. F32, F16 or BF16.
    Latents,
    /// `image` `[B,H,W,3]`, RGB. U8.
    Image,
}

/// `prompt_embeds`, `[B,T,D]`: the hidden states of both text encoders side by side.
pub const PROMPT_EMBEDS: &str = "prompt_embeds";
/// `pooled_prompt_embeds`, `[B,P]`: the projected pooled output of the second text encoder.
pub const POOLED_PROMPT_EMBEDS: &str = "pooled_prompt_embeds";
/// `negative_prompt_embeds`, shaped as `prompt_embeds`.
pub const NEGATIVE_PROMPT_EMBEDS: &str = "negative_prompt_embeds";
/// `negative_pooled_prompt_embeds`, shaped as `pooled_prompt_embeds`.
pub const NEGATIVE_POOLED_PROMPT_EMBEDS: &str = "negative_pooled_prompt_embeds";
/// `latents`, `[B,4,h,w]`.
pub const LATENTS: &str = "latents";
/// `image`, `[B,H,W,3]`.
pub const IMAGE: &str = "image";

impl Kind {
    /// All kinds, in the order of the pipe.
    pub const ALL: [Self; 3] = [Self::TextEmbeddings, Self::Latents, Self::Image];

    /// The name that stands in the metadata.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TextEmbeddings => "text-embeddings",
            Self::Latents => "latents",
            Self::Image => "image",
        }
    }

    /// The tensor by which a frame without a metadata `kind` is known.
    const fn mark(self) -> &'static str {
        match self {
            Self::TextEmbeddings => PROMPT_EMBEDS,
            Self::Latents => LATENTS,
            Self::Image => IMAGE,
        }
    }

    /// The kind of a frame that does not say its own.
    pub(crate) fn of_tensors(tensors: &[TensorSpec]) -> Result<Self, Error> {
        let mut marked = Self::ALL
            .into_iter()
            .filter(|kind| find(tensors, kind.mark()).is_some());
        match (marked.next(), marked.next()) {
            (Some(kind), None) => Ok(kind),
            _ => Err(Error::NoKind {
                found: list(tensors.iter().map(|tensor| tensor.name.as_str())),
            }),
        }
    }

    /// Checks names, types and shapes. Gives the batch size. Tensors that the kind does not know
    /// are let through: a later minor version may define them.
    pub(crate) fn check(self, tensors: &[TensorSpec]) -> Result<usize, Error> {
        match self {
            Self::TextEmbeddings => check_text_embeddings(tensors),
            Self::Latents => check_latents(tensors),
            Self::Image => check_image(tensors),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == name)
            .ok_or_else(|| Error::UnknownKind { found: clip(name) })
    }
}

pub(crate) fn find<'a>(tensors: &'a [TensorSpec], name: &str) -> Option<&'a TensorSpec> {
    tensors.iter().find(|tensor| tensor.name == name)
}

fn need<'a>(
    kind: Kind,
    tensors: &'a [TensorSpec],
    name: &'static str,
) -> Result<&'a TensorSpec, Error> {
    find(tensors, name).ok_or_else(|| Error::MissingTensor {
        kind,
        tensor: name,
        found: list(tensors.iter().map(|tensor| tensor.name.as_str())),
    })
}

pub(crate) fn check_float(tensor: &TensorSpec, name: &'static str) -> Result<(), Error> {
    match tensor.dtype {
        Dtype::F32 | Dtype::F16 | Dtype::BF16 => Ok(()),
        found => Err(Error::TensorDtype {
            tensor: name,
            expected: "F32, F16 or BF16",
            found,
        }),
    }
}

/// Rank, fixed dimensions (`None` is any) and emptiness.
pub(crate) fn check_shape(
    tensor: &TensorSpec,
    name: &'static str,
    expected: &'static str,
    dims: &[Option<usize>],
) -> Result<(), Error> {
    let fits = tensor.shape.len() == dims.len()
        && tensor
            .shape
            .iter()
            .zip(dims)
            .all(|(&found, dim)| found >= 1 && dim.is_none_or(|dim| dim == found));
    if fits {
        Ok(())
    } else {
        Err(Error::TensorShape {
            tensor: name,
            expected,
            found: tensor.shape.clone(),
        })
    }
}

fn check_text_embeddings(tensors: &[TensorSpec]) -> Result<usize, Error> {
    let embeds = need(Kind::TextEmbeddings, tensors, PROMPT_EMBEDS)?;
    let pooled = need(Kind::TextEmbeddings, tensors, POOLED_PROMPT_EMBEDS)?;
    check_float(embeds, PROMPT_EMBEDS)?;
    check_float(pooled, POOLED_PROMPT_EMBEDS)?;
    check_shape(embeds, PROMPT_EMBEDS, "[B,T,D]", &[None; 3])?;
    check_shape(pooled, POOLED_PROMPT_EMBEDS, "[B,P]", &[None; 2])?;
    if pooled.shape[0] != embeds.shape[0] {
        return Err(Error::BatchMismatch {
            tensor: POOLED_PROMPT_EMBEDS,
            other: PROMPT_EMBEDS,
            expected: embeds.shape[0],
            found: pooled.shape[0],
        });
    }

    let negative = find(tensors, NEGATIVE_PROMPT_EMBEDS);
    let negative_pooled = find(tensors, NEGATIVE_POOLED_PROMPT_EMBEDS);
    match (negative, negative_pooled) {
        (None, None) => {}
        (Some(negative), Some(negative_pooled)) => {
            check_like((negative, NEGATIVE_PROMPT_EMBEDS), (embeds, PROMPT_EMBEDS))?;
            check_like(
                (negative_pooled, NEGATIVE_POOLED_PROMPT_EMBEDS),
                (pooled, POOLED_PROMPT_EMBEDS),
            )?;
        }
        (Some(_), None) => {
            return Err(Error::NegativePair {
                present: NEGATIVE_PROMPT_EMBEDS,
                missing: NEGATIVE_POOLED_PROMPT_EMBEDS,
            });
        }
        (None, Some(_)) => {
            return Err(Error::NegativePair {
                present: NEGATIVE_POOLED_PROMPT_EMBEDS,
                missing: NEGATIVE_PROMPT_EMBEDS,
            });
        }
    }
    picture::check(tensors, embeds.shape[0])?;
    Ok(embeds.shape[0])
}

/// A negative embedding against its positive one.
fn check_like(
    (tensor, name): (&TensorSpec, &'static str),
    (other, other_name): (&TensorSpec, &'static str),
) -> Result<(), Error> {
    check_float(tensor, name)?;
    if tensor.shape == other.shape {
        Ok(())
    } else {
        Err(Error::ShapeMismatch {
            tensor: name,
            other: other_name,
            expected: other.shape.clone(),
            found: tensor.shape.clone(),
        })
    }
}

fn check_latents(tensors: &[TensorSpec]) -> Result<usize, Error> {
    let latents = need(Kind::Latents, tensors, LATENTS)?;
    check_float(latents, LATENTS)?;
    check_shape(latents, LATENTS, "[B,4,h,w]", &[None, Some(4), None, None])?;
    Ok(latents.shape[0])
}

fn check_image(tensors: &[TensorSpec]) -> Result<usize, Error> {
    let image = need(Kind::Image, tensors, IMAGE)?;
    if image.dtype != Dtype::U8 {
        return Err(Error::TensorDtype {
            tensor: IMAGE,
            expected: "U8",
            found: image.dtype,
        });
    }
    check_shape(image, IMAGE, "[B,H,W,3]", &[None, None, None, Some(3)])?;
    Ok(image.shape[0])
}
