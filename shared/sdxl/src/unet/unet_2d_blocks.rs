//! The blocks a UNet is stacked from: down, mid and up, with and without attention.
//!
//! diffusers: `models/unets/unet_2d_blocks.py`. There, `DownBlock2D` is `CrossAttnDownBlock2D` without its attentions,
//! and `UpBlock2D` likewise; here one type stands for both, with an empty list.

use crate::Result;
use crate::backend::loader::Loader;
use crate::backend::{After, Backend, Input, Samples, Window};
use crate::blocks::resnet::{ResnetBlock2D, ResnetConfig};
use crate::blocks::transformer_2d::{Transformer2DModel, TransformerConfig};

/// What a prompt is to one block: for each of its attentions, keys and values of each layer.
pub(super) type BlockPrompt<B> = Vec<Vec<<B as Backend>::KeysValues>>;

/// What each sample of a batch has beside its map.
pub(super) struct Given<'a, B: Backend> {
    /// SiLU of the time embedding `[1, temb]`.
    pub silu_temb: &'a B::Tensor,
    /// What this block makes of the prompt.
    pub prompt: &'a BlockPrompt<B>,
}

/// Does to the map of each sample what `change` says.
fn each<B: Backend>(
    x: Samples<B::Tensor>,
    given: &[Given<'_, B>],
    change: impl Fn(B::Tensor, &Given<'_, B>) -> Result<B::Tensor>,
) -> Result<Samples<B::Tensor>> {
    let each = x.into_iter().zip(given);
    each.map(|(x, given)| change(x, given)).collect()
}

/// The resnet for each sample.
fn resnet<B: Backend>(
    resnet: &ResnetBlock2D<B>,
    b: &B,
    x: Samples<B::Tensor>,
    given: &[Given<'_, B>],
) -> Result<Samples<B::Tensor>> {
    each(x, given, |x, given| {
        resnet.forward(b, x, Some(given.silu_temb))
    })
}

/// Attention `i` of a block.
fn attention<B: Backend>(
    attention: &Transformer2DModel<B>,
    i: usize,
    b: &B,
    x: Samples<B::Tensor>,
    given: &[Given<'_, B>],
) -> Result<Samples<B::Tensor>> {
    let prompts: Samples<_> = given.iter().map(|given| &given.prompt[i][..]).collect();
    attention.forward(b, x, &prompts)
}

/// Kernel size of down- and upsamplers.
const SAMPLER: usize = 3;

/// What the resnets and attentions of a block have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockConfig<'a> {
    /// Width of the time embedding.
    pub temb: usize,
    /// Groups of every group norm.
    pub groups: usize,
    /// Epsilon of the resnets' norms.
    pub eps: f32,
    /// The attention that follows each resnet, but for its depth.
    pub attention: TransformerConfig,
    /// Depth of each attention; none where no resnet has one.
    pub depths: &'a [usize],
}

impl BlockConfig<'_> {
    fn resnet<B: Backend>(
        &self,
        loader: &Loader<'_, B>,
        inputs: usize,
        outputs: usize,
    ) -> Result<ResnetBlock2D<B>> {
        let &Self {
            temb, groups, eps, ..
        } = self;
        let temb = Some(temb);
        let config = ResnetConfig {
            inputs,
            outputs,
            temb,
            groups,
            eps,
        };
        ResnetBlock2D::load(loader, &config)
    }

    fn attentions<B: Backend>(&self, loader: &Loader<'_, B>) -> Result<Vec<Transformer2DModel<B>>> {
        let attentions = loader.pp("attentions");
        let depths = self.depths.iter().enumerate();
        depths
            .map(|(i, &layers)| {
                let config = TransformerConfig {
                    layers,
                    ..self.attention
                };
                Transformer2DModel::load(&attentions.pp(i), &config)
            })
            .collect()
    }
}

fn condition<B: Backend>(
    attentions: &[Transformer2DModel<B>],
    b: &B,
    prompt: &B::Tensor,
) -> Result<BlockPrompt<B>> {
    attentions.iter().map(|a| a.condition(b, prompt)).collect()
}

/// The resnets of a block, each followed by its attention where the block has attentions.
struct Layers<B: Backend> {
    resnets: Vec<ResnetBlock2D<B>>,
    attentions: Vec<Transformer2DModel<B>>,
}

impl<B: Backend> Layers<B> {
    /// Takes the weights of one layer for each of `inputs`, the channels that its resnet reads.
    fn load(
        loader: &Loader<'_, B>,
        config: &BlockConfig<'_>,
        inputs: impl Iterator<Item = usize>,
        outputs: usize,
    ) -> Result<Self> {
        let resnets = loader.pp("resnets");
        Ok(Self {
            resnets: inputs
                .enumerate()
                .map(|(i, inputs)| config.resnet(&resnets.pp(i), inputs, outputs))
                .collect::<Result<_>>()?,
            attentions: config.attentions(loader)?,
        })
    }

    fn len(&self) -> usize {
        self.resnets.len()
    }

    /// Layer `i`.
    fn forward(
        &self,
        i: usize,
        b: &B,
        x: Samples<B::Tensor>,
        given: &[Given<'_, B>],
    ) -> Result<Samples<B::Tensor>> {
        let x = resnet(&self.resnets[i], b, x, given)?;
        match self.attentions.get(i) {
            Some(layer) => attention(layer, i, b, x, given),
            None => Ok(x),
        }
    }
}

/// `DownBlock2D` and `CrossAttnDownBlock2D`: layers, then a stride-2 convolution.
pub(super) struct DownBlock<B: Backend> {
    layers: Layers<B>,
    downsampler: Option<B::Conv2d>,
}

impl<B: Backend> DownBlock<B> {
    /// Takes the weights of `layers` layers, `inputs` to `outputs` channels; the last block has no downsampler.
    ///
    /// # Errors
    /// As [`Loader::weight`].
    pub(super) fn load(
        loader: &Loader<'_, B>,
        config: &BlockConfig<'_>,
        inputs: usize,
        outputs: usize,
        layers: usize,
        is_last: bool,
    ) -> Result<Self> {
        let window = Window {
            stride: 2,
            padding: [1; 4],
        };
        let inputs = std::iter::once(inputs).chain(std::iter::repeat(outputs));
        Ok(Self {
            layers: Layers::load(loader, config, inputs.take(layers), outputs)?,
            downsampler: (!is_last)
                .then(|| loader.conv2d("downsamplers.0.conv", outputs, outputs, SAMPLER, window))
                .transpose()?,
        })
    }

    /// What the block makes of a prompt.
    ///
    /// # Errors
    /// The backend's.
    pub(super) fn condition(&self, b: &B, prompt: &B::Tensor) -> Result<BlockPrompt<B>> {
        condition(&self.layers.attentions, b, prompt)
    }

    /// `x` has the map of each sample. Every layer's output goes to `skips` as well.
    ///
    /// # Errors
    /// The backend's.
    pub(super) fn forward(
        &self,
        b: &B,
        mut x: Samples<B::Tensor>,
        given: &[Given<'_, B>],
        skips: &mut Vec<Samples<B::Tensor>>,
    ) -> Result<Samples<B::Tensor>> {
        for i in 0..self.layers.len() {
            x = self.layers.forward(i, b, x, given)?;
            skips.push(x.clone());
        }
        if let Some(downsampler) = &self.downsampler {
            x = each(x, given, |x, _| {
                b.conv2d(Input::plain(&x), downsampler, After::default())
            })?;
            skips.push(x.clone());
        }
        Ok(x)
    }
}

/// `UNetMidBlock2DCrossAttn`: resnet, attention, resnet; and `UNetMidBlock2D` as diffusers' `get_mid_block` makes it: a
/// resnet alone.
pub(super) struct MidBlock<B: Backend> {
    first: ResnetBlock2D<B>,
    /// Each with the resnet that follows it.
    then: Vec<ResnetBlock2D<B>>,
    attentions: Vec<Transformer2DModel<B>>,
}

impl<B: Backend> MidBlock<B> {
    /// Takes the weights; `config` has one depth or none.
    ///
    /// # Errors
    /// As [`Loader::weight`].
    pub(super) fn load(
        loader: &Loader<'_, B>,
        config: &BlockConfig<'_>,
        channels: usize,
    ) -> Result<Self> {
        let resnets = loader.pp("resnets");
        let resnet = |i: usize| config.resnet(&resnets.pp(i), channels, channels);
        Ok(Self {
            first: resnet(0)?,
            then: (1..=config.depths.len())
                .map(resnet)
                .collect::<Result<_>>()?,
            attentions: config.attentions(loader)?,
        })
    }

    /// What the block makes of a prompt.
    ///
    /// # Errors
    /// The backend's.
    pub(super) fn condition(&self, b: &B, prompt: &B::Tensor) -> Result<BlockPrompt<B>> {
        condition(&self.attentions, b, prompt)
    }

    /// `x` has the map of each sample, and the result maps of the same shape.
    ///
    /// # Errors
    /// The backend's.
    pub(super) fn forward(
        &self,
        b: &B,
        x: Samples<B::Tensor>,
        given: &[Given<'_, B>],
    ) -> Result<Samples<B::Tensor>> {
        let mut x = resnet(&self.first, b, x, given)?;
        for (i, (layer, then)) in self.attentions.iter().zip(&self.then).enumerate() {
            x = attention(layer, i, b, x, given)?;
            x = resnet(then, b, x, given)?;
        }
        Ok(x)
    }
}

/// `UpBlock2D` and `CrossAttnUpBlock2D`: layers that also take a skip each, then nearest neighbour and a convolution.
pub(super) struct UpBlock<B: Backend> {
    layers: Layers<B>,
    upsampler: Option<B::Conv2d>,
}

impl<B: Backend> UpBlock<B> {
    /// Takes the weights of one layer for each of `skips`, the channels of the skips in the order they are taken.
    /// `inputs` channels come from below. The last block has no upsampler.
    ///
    /// # Errors
    /// As [`Loader::weight`].
    pub(super) fn load(
        loader: &Loader<'_, B>,
        config: &BlockConfig<'_>,
        inputs: usize,
        outputs: usize,
        skips: &[usize],
        is_last: bool,
    ) -> Result<Self> {
        let window = Window::same(SAMPLER);
        let hidden = std::iter::once(inputs).chain(std::iter::repeat(outputs));
        let inputs = hidden.zip(skips).map(|(hidden, skip)| hidden + skip);
        Ok(Self {
            layers: Layers::load(loader, config, inputs, outputs)?,
            upsampler: (!is_last)
                .then(|| loader.conv2d("upsamplers.0.conv", outputs, outputs, SAMPLER, window))
                .transpose()?,
        })
    }

    /// What the block makes of a prompt.
    ///
    /// # Errors
    /// The backend's.
    pub(super) fn condition(&self, b: &B, prompt: &B::Tensor) -> Result<BlockPrompt<B>> {
        condition(&self.layers.attentions, b, prompt)
    }

    /// `x` has the map of each sample. Takes as many of `skips`, from the end, as there are layers. The result is as large as the skip that comes
    /// next: twice the size, or one less where the way down rounded up.
    ///
    /// # Errors
    /// The backend's.
    ///
    /// # Panics
    /// If there are fewer skips.
    pub(super) fn forward(
        &self,
        b: &B,
        mut x: Samples<B::Tensor>,
        given: &[Given<'_, B>],
        skips: &mut Vec<Samples<B::Tensor>>,
    ) -> Result<Samples<B::Tensor>> {
        for i in 0..self.layers.len() {
            let skip = skips.pop().expect("as many skips as layers");
            let both = x.into_iter().zip(skip);
            let joined: Result<Samples<_>> =
                both.map(|(x, skip)| b.concat_channels(x, skip)).collect();
            x = self.layers.forward(i, b, joined?, given)?;
        }
        let (Some(upsampler), Some(skip)) = (&self.upsampler, skips.last()) else {
            return Ok(x);
        };
        let (height, width) = b.size(&skip[0]);
        each(x, given, |x, _| {
            let input = Input::upsampled(&x, height, width);
            b.conv2d(input, upsampler, After::default())
        })
    }
}
