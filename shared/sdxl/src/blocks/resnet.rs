//! The residual block of the UNet and of the autoencoder.
//!
//! diffusers: `models/resnet.py`.

use crate::Result;
use crate::backend::loader::Loader;
use crate::backend::{Activation, After, Backend, Input, Window};

/// What a [`ResnetBlock2D`] is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResnetConfig {
    /// Channels in.
    pub inputs: usize,
    /// Channels out.
    pub outputs: usize,
    /// Width of the time embedding; the autoencoder has none.
    pub temb: Option<usize>,
    /// Groups of both norms.
    pub groups: usize,
    /// Epsilon of both norms: 1e-5 in the UNet, 1e-6 in the autoencoder.
    pub eps: f32,
}

/// norm, SiLU, convolution, time embedding; norm, SiLU, convolution; and the input beside it.
pub(crate) struct ResnetBlock2D<B: Backend> {
    norm1: B::Norm,
    conv1: B::Conv2d,
    time_emb_proj: Option<B::Linear>,
    norm2: B::Norm,
    conv2: B::Conv2d,
    conv_shortcut: Option<B::Conv2d>,
}

impl<B: Backend> ResnetBlock2D<B> {
    /// Takes the weights.
    ///
    /// # Errors
    /// As [`Loader::weight`].
    pub(crate) fn load(loader: &Loader<'_, B>, config: &ResnetConfig) -> Result<Self> {
        let &ResnetConfig {
            inputs,
            outputs,
            temb,
            groups,
            eps,
        } = config;
        let same = Window::same(3);
        Ok(Self {
            norm1: loader.group_norm("norm1", inputs, groups, eps)?,
            conv1: loader.conv2d("conv1", inputs, outputs, 3, same)?,
            time_emb_proj: temb
                .map(|temb| loader.linear("time_emb_proj", temb, outputs))
                .transpose()?,
            norm2: loader.group_norm("norm2", outputs, groups, eps)?,
            conv2: loader.conv2d("conv2", outputs, outputs, 3, same)?,
            conv_shortcut: (inputs != outputs)
                .then(|| loader.conv2d("conv_shortcut", inputs, outputs, 1, Window::same(1)))
                .transpose()?,
        })
    }

    /// `x` is a map; `silu_temb` is SiLU of the time embedding `[1, temb]`, the same for every block and so computed
    /// once by the caller.
    ///
    /// # Errors
    /// The backend's.
    pub(crate) fn forward(
        &self,
        b: &B,
        x: B::Tensor,
        silu_temb: Option<&B::Tensor>,
    ) -> Result<B::Tensor> {
        let temb = match (&self.time_emb_proj, silu_temb) {
            (Some(proj), Some(temb)) => Some(b.linear(temb, proj, Activation::Identity)?),
            _ => None,
        };
        let after = After {
            channels: temb.as_ref(),
            ..After::default()
        };
        let input = Input::normed(&x, &self.norm1, Activation::Silu);
        let h = b.conv2d(input, &self.conv1, after)?;
        // `x` goes as soon as it can: at the autoencoder's end values are most of the memory.
        let residual = match &self.conv_shortcut {
            Some(shortcut) => {
                let projected = b.conv2d(Input::plain(&x), shortcut, After::default())?;
                drop(x);
                projected
            }
            None => x,
        };
        let after = After {
            residual: Some(residual),
            ..After::default()
        };
        let input = Input::normed(&h, &self.norm2, Activation::Silu);
        b.conv2d(input, &self.conv2, after)
    }
}
