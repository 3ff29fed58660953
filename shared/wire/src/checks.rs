//! What each kind of frame asks of its tensors.

use std::str::FromStr;

use safetensors::Dtype;

use crate::kind::{
    IMAGE, LATENT_CHANNELS, LATENTS, NEGATIVE_POOLED_PROMPT_EMBEDS, NEGATIVE_PROMPT_EMBEDS,
    POOLED_PROMPT_EMBEDS, PROMPT_EMBEDS,
};
use crate::quote::{clip, list};
use crate::tensors::{check_float, check_like, check_shape, find, need};
use crate::{Error, Kind, TensorSpec, picture};

impl Kind {
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

impl FromStr for Kind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == name)
            .ok_or_else(|| Error::UnknownKind { found: clip(name) })
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

fn check_latents(tensors: &[TensorSpec]) -> Result<usize, Error> {
    let latents = need(Kind::Latents, tensors, LATENTS)?;
    check_float(latents, LATENTS)?;
    check_shape(
        latents,
        LATENTS,
        "[B,4,h,w]",
        &[None, Some(LATENT_CHANNELS), None, None],
    )?;
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
