//! The kinds of frame, and the names of their tensors.

use std::fmt;

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
/// Channels of latents.
pub const LATENT_CHANNELS: usize = 4;
/// Pixels of the picture to a latent pixel, in each direction.
pub const LATENT_SCALE: usize = 8;
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
    pub(crate) const fn mark(self) -> &'static str {
        match self {
            Self::TextEmbeddings => PROMPT_EMBEDS,
            Self::Latents => LATENTS,
            Self::Image => IMAGE,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
