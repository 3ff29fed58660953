//! The components of a checkpoint.

/// A component that has weights.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Part {
    /// CLIP-L's text encoder.
    TextEncoder,
    /// `OpenCLIP` bigG's text encoder, with its projection.
    TextEncoder2,
    /// The denoising network.
    Unet,
    /// The autoencoder, whichever class it has.
    Vae,
}

impl Part {
    /// All four.
    pub const ALL: [Self; 4] = [Self::TextEncoder, Self::TextEncoder2, Self::Unet, Self::Vae];

    /// Its folder in diffusers' layout.
    pub const fn folder(self) -> &'static str {
        match self {
            Self::TextEncoder => "text_encoder",
            Self::TextEncoder2 => "text_encoder_2",
            Self::Unet => "unet",
            Self::Vae => "vae",
        }
    }

    /// The name of its weight file, before `.safetensors` and its kin.
    pub const fn stem(self) -> &'static str {
        match self {
            Self::TextEncoder | Self::TextEncoder2 => "model",
            Self::Unet | Self::Vae => "diffusion_pytorch_model",
        }
    }
}
