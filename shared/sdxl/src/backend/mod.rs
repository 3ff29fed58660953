//! The layer set: everything a network may ask of a device.
//!
//! The networks of this crate are written once, over [`Backend`]. A backend decides where numbers live, in which
//! type products are formed and in which order memory is laid out; the networks only say what is computed. A value is
//! one sample, and a batch is a list of them ([`Samples`]). Where nearly all is linear layers, in the UNet's transformers,
//! the tokens of all samples are joined, so that weights are read once for all; nothing there looks at two positions at
//! once, but attention, for which they are split again. So a picture never depends on its neighbours.

pub(crate) mod candle;
pub(crate) mod cpu;
pub(crate) mod loader;

use crate::Result;
use smallvec::SmallVec;
use turbo_weights::{LoraPair, Weight};

/// One of each sample of a batch. A batch of one allocates nothing.
pub(crate) type Samples<T> = SmallVec<[T; 1]>;

/// What is applied to the result of a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// `x * sigmoid(x)`.
    Silu,
    /// `x * Phi(x)`, exact, with erf.
    Gelu,
    /// `x * sigmoid(1.702 x)`, CLIP-L's.
    QuickGelu,
    /// `max(x, 0)`.
    Relu,
}

/// Weights of a linear layer or a convolution, as the checkpoint holds them.
#[derive(Clone, Debug)]
pub struct Affine {
    /// `[out, in]` for a linear layer, `[out, in, k, k]` for a convolution.
    pub weight: Weight,
    /// `[out]`.
    pub bias: Option<Weight>,
    /// What LoRAs add to the weight, the user's scales in them.
    pub adapters: Vec<LoraPair>,
}

/// How a convolution moves over its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// 1 or 2.
    pub stride: usize,
    /// Zeros added above, below, left and right.
    pub padding: [usize; 4],
}

impl Window {
    /// Output as large as the input, for an odd kernel of size `k`.
    pub const fn same(k: usize) -> Self {
        Self {
            stride: 1,
            padding: [k / 2; 4],
        }
    }
}

/// What a convolution reads, and what is done to it on its way in: norm, activation and size, in this order.
pub struct Input<'a, B: Backend> {
    /// A map.
    pub x: &'a B::Tensor,
    /// A group norm.
    pub norm: Option<&'a B::Norm>,
    /// Applied to each number.
    pub activation: Activation,
    /// Height and width to enlarge to: each pixel is the nearest, source = floor(destination * in / out).
    pub size: Option<[usize; 2]>,
}

impl<'a, B: Backend> Input<'a, B> {
    /// A map as it is.
    pub fn plain(x: &'a B::Tensor) -> Self {
        Self {
            x,
            norm: None,
            activation: Activation::Identity,
            size: None,
        }
    }

    /// `activation(norm(x))`.
    pub fn normed(x: &'a B::Tensor, norm: &'a B::Norm, activation: Activation) -> Self {
        Self {
            norm: Some(norm),
            activation,
            ..Self::plain(x)
        }
    }

    /// A map, enlarged.
    pub fn upsampled(x: &'a B::Tensor, height: usize, width: usize) -> Self {
        Self {
            size: Some([height, width]),
            ..Self::plain(x)
        }
    }
}

/// What is done to the result of a convolution on its way out: `activation(y + channels + residual)`.
pub struct After<'a, B: Backend> {
    /// A vector `[1, out]`, one value a channel.
    pub channels: Option<&'a B::Tensor>,
    /// A map of the result's shape.
    pub residual: Option<B::Tensor>,
    /// Applied last.
    pub activation: Activation,
}

impl<B: Backend> Default for After<'_, B> {
    fn default() -> Self {
        Self {
            channels: None,
            residual: None,
            activation: Activation::Identity,
        }
    }
}

/// A device and the layers it offers.
///
/// A [`Backend::Tensor`] is either a **map** `[channels, height, width]` or **tokens** `[tokens, channels]`
/// (a vector is one token). Constructors take weights once, when a network is built; they must not copy what
/// they can use in place.
///
/// # Errors
/// A device may fail anywhere, for example for lack of memory. Shapes that do not fit are the networks' fault, and may
/// fail or panic.
#[allow(clippy::missing_errors_doc)] // said above, once
pub trait Backend: Clone + Send + Sync + 'static {
    /// A value on the device. The networks clone what a skip connection keeps; shared storage makes that free.
    type Tensor: Send + Sync + Clone;
    /// `y = W x + b` over the channels of each token.
    type Linear: Send + Sync;
    /// A square convolution.
    type Conv2d: Send + Sync;
    /// Scale and shift of a group or layer norm, with its epsilon and groups.
    type Norm: Send + Sync;
    /// Keys and values of one attention, ready to be asked; kept over steps where they depend on the prompt only.
    type KeysValues: Send + Sync;

    /// Whether weights are used where the file has them, so that reading ahead is worth it.
    const IN_PLACE: bool;

    /// Runs the work of a whole network where the device's layers start soonest: on the CPU, inside its threads.
    fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        work()
    }

    /// Takes the weights of a linear layer.
    fn load_linear(&self, affine: Affine) -> Result<Self::Linear>;
    /// Takes the weights of a convolution.
    fn load_conv2d(&self, affine: Affine, window: Window) -> Result<Self::Conv2d>;
    /// Takes scale and shift (`[channels]` each) of a norm; `groups` is 1 for a layer norm.
    fn load_norm(
        &self,
        weight: Weight,
        bias: Weight,
        groups: usize,
        eps: f32,
    ) -> Result<Self::Norm>;

    /// Tokens `[tokens, channels]` from host memory, row by row.
    fn tokens(&self, data: &[f32], tokens: usize, channels: usize) -> Result<Self::Tensor>;
    /// A map `[channels, height, width]` from host memory.
    fn map(
        &self,
        data: &[f32],
        channels: usize,
        height: usize,
        width: usize,
    ) -> Result<Self::Tensor>;
    /// The values in host memory, in the order [`Backend::tokens`] and [`Backend::map`] take them.
    fn to_host(&self, x: &Self::Tensor) -> Result<Vec<f32>>;
    /// Height and width of a map.
    fn size(&self, x: &Self::Tensor) -> (usize, usize);

    /// Rows of an embedding table `[vocabulary, channels]`, one for each id.
    fn embed(&self, table: &Weight, ids: &[u32]) -> Result<Self::Tensor>;
    /// `x + y`, shapes equal.
    fn add(&self, x: Self::Tensor, y: &Self::Tensor) -> Result<Self::Tensor>;
    /// `activation(x)`, element by element.
    fn activate(&self, x: Self::Tensor, activation: Activation) -> Result<Self::Tensor>;
    /// `3 tanh(x / 3)`: the clamp in front of TAESD's decoder.
    fn soft_clamp(&self, x: Self::Tensor) -> Result<Self::Tensor>;

    /// Normalises the channels of each token.
    fn layer_norm(&self, x: &Self::Tensor, norm: &Self::Norm) -> Result<Self::Tensor>;
    /// Normalises groups of channels over the whole map, for a linear layer to read; a convolution does it on its way in.
    fn group_norm(&self, x: &Self::Tensor, norm: &Self::Norm) -> Result<Self::Tensor>;

    /// `activation(W x + b)`.
    fn linear(
        &self,
        x: &Self::Tensor,
        layer: &Self::Linear,
        activation: Activation,
    ) -> Result<Self::Tensor>;
    /// `residual + W x + b`.
    fn linear_add(
        &self,
        x: &Self::Tensor,
        layer: &Self::Linear,
        residual: Self::Tensor,
    ) -> Result<Self::Tensor>;
    /// GEGLU: with `(value, gate)` the two halves of `W x + b`, `value * gelu(gate)`.
    fn linear_geglu(&self, x: &Self::Tensor, layer: &Self::Linear) -> Result<Self::Tensor>;

    /// Convolution of what [`Input`] says, with what [`After`] says done to the result.
    fn conv2d(
        &self,
        input: Input<'_, Self>,
        layer: &Self::Conv2d,
        after: After<'_, Self>,
    ) -> Result<Self::Tensor>;
    /// `a`'s channels, then `b`'s.
    fn concat_channels(&self, a: Self::Tensor, b: Self::Tensor) -> Result<Self::Tensor>;

    /// The tokens of some samples, as many of each, one sample after the other.
    fn join(&self, samples: Samples<Self::Tensor>) -> Result<Self::Tensor>;
    /// What [`Backend::join`] made of `count` samples, as samples again.
    fn split(&self, joined: Self::Tensor, count: usize) -> Result<Samples<Self::Tensor>>;

    /// A map as tokens: pixel by pixel, row by row.
    fn map_to_tokens(&self, x: Self::Tensor) -> Result<Self::Tensor>;
    /// Tokens as a map of the given size.
    fn tokens_to_map(&self, x: Self::Tensor, height: usize, width: usize) -> Result<Self::Tensor>;

    /// Splits keys and values `[tokens, heads * d]` into heads.
    fn keys_values(
        &self,
        keys: Self::Tensor,
        values: Self::Tensor,
        heads: usize,
    ) -> Result<Self::KeysValues>;
    /// `softmax(q k^T / sqrt(d)) v` for each head; `causal` lets token i see tokens 0 to i only.
    fn attention(
        &self,
        queries: Self::Tensor,
        kv: &Self::KeysValues,
        causal: bool,
    ) -> Result<Self::Tensor>;
}
