//! The layer set on candle's tensors, for every device candle has.
//!
//! This is the way to GPUs, and on a CPU an independent check of our own kernels. Maps are `[1, C, H, W]`, tokens
//! `[1, T, C]`. Norms and softmax are computed in f32 whatever the type.

use crate::backend::{Activation, Affine, After, Backend, Input, Samples, Window};
use crate::{DType, Device, Error, Result};
use candle_core::{D, Tensor};
use candle_nn::ops::softmax_last_dim;
use turbo_weights::{Dtype, Weight};

/// Attention scores held at a time: 64 MiB in f32. Queries are taken in chunks so that they fit.
const SCORES: usize = 1 << 24;

/// A device of candle's and the type to compute in.
#[derive(Clone, Debug)]
pub(crate) struct Candle {
    device: candle_core::Device,
    dtype: candle_core::DType,
}

impl Candle {
    /// Opens a device. [`DType::Auto`] is f32 on a CPU, and f16 on a GPU: it is summed in f32 there, and its error is a
    /// tenth of bf16's.
    ///
    /// # Errors
    /// No such device, a device this build has no code for, or a type candle can't multiply there.
    pub(crate) fn open(device: Device, dtype: DType) -> Result<Self> {
        device.expect_built(env!("CARGO_PKG_NAME"))?;
        let on_cpu = matches!(device, Device::CandleCpu | Device::Cpu);
        let dtype = match dtype {
            DType::BF16 if on_cpu => {
                let message = "candle has no bf16 matrix product on a CPU; try --dtype f32";
                return Err(Error::Device(message.to_owned()));
            }
            DType::Auto if on_cpu => candle_core::DType::F32,
            DType::Auto | DType::F16 => candle_core::DType::F16,
            DType::F32 => candle_core::DType::F32,
            DType::BF16 => candle_core::DType::BF16,
        };
        let device = match device {
            Device::CandleCpu | Device::Cpu => candle_core::Device::Cpu,
            Device::Cuda(n) => cuda(n)?,
            Device::Metal => candle_core::Device::new_metal(0)?,
        };
        Ok(Self { device, dtype })
    }

    /// A weight on the device, in `dtype`.
    fn upload(&self, weight: &Weight, dtype: candle_core::DType) -> Result<Tensor> {
        let stored = match weight.dtype() {
            Dtype::F32 => candle_core::DType::F32,
            Dtype::F16 => candle_core::DType::F16,
            Dtype::BF16 => candle_core::DType::BF16,
            Dtype::I8 => {
                let t = Tensor::from_vec(weight.to_f32(), weight.shape(), &self.device)?;
                return Ok(t.to_dtype(dtype)?);
            }
        };
        let t = Tensor::from_raw_buffer(weight.bytes(), stored, weight.shape(), &self.device)?;
        Ok(t.to_dtype(dtype)?)
    }

    /// Group norm, then an activation, in f32.
    fn normed(&self, x: &Tensor, norm: &Norm, activation: Activation) -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        if self.device.is_cuda() {
            let (weight, bias) = (&norm.weight, &norm.bias);
            let silu = activation == Activation::Silu;
            let x = x.contiguous()?;
            let x = turbo_cuda::group_norm(&x, weight, bias, norm.groups, norm.eps, silu)?;
            let rest = if silu {
                Activation::Identity
            } else {
                activation
            };
            return activated(x, rest);
        }
        let (_, channels, height, width) = x.dims4()?;
        let x = x.to_dtype(candle_core::DType::F32)?;
        // Sums of rows first, then of those: long sums in f32 lose digits.
        let x = x.reshape((norm.groups, channels / norm.groups * height, width))?;
        let x = x.broadcast_sub(&x.mean_keepdim(2)?.mean_keepdim(1)?)?;
        let variance = x.sqr()?.mean_keepdim(2)?.mean_keepdim(1)?;
        let x = x.broadcast_div(&(variance + norm.eps)?.sqrt()?)?;
        let x = x.reshape((1, channels, height, width))?;
        let x = x
            .broadcast_mul(&norm.weight.reshape((1, channels, 1, 1))?)?
            .broadcast_add(&norm.bias.reshape((1, channels, 1, 1))?)?;
        Ok(activated(x, activation)?.to_dtype(self.dtype)?)
    }

    /// The weight of a layer with what LoRAs add to it, summed in f32.
    fn merged(&self, affine: &Affine) -> Result<Tensor> {
        if affine.adapters.is_empty() {
            return self.upload(&affine.weight, self.dtype);
        }
        let f32 = candle_core::DType::F32;
        let mut weight = self.upload(&affine.weight, f32)?;
        for pair in &affine.adapters {
            let (up, down) = (self.upload(&pair.up, f32)?, self.upload(&pair.down, f32)?);
            let added = (up.matmul(&down)? * f64::from(pair.scale))?;
            weight = (&weight + added.reshape(weight.shape())?)?;
        }
        Ok(weight.to_dtype(self.dtype)?)
    }

    /// Host values on the device, in the type of computation.
    fn values(&self, data: &[f32], shape: &[usize]) -> Result<Tensor> {
        Ok(Tensor::from_slice(data, shape, &self.device)?.to_dtype(self.dtype)?)
    }
}

/// A linear layer: the weight as `[in, out]`.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

/// A convolution: the bias as `[1, C, 1, 1]`.
#[derive(Clone, Debug)]
pub(crate) struct Conv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    window: Window,
}

/// A norm: scale and shift `[C]`, in f32.
#[derive(Clone, Debug)]
pub(crate) struct Norm {
    weight: Tensor,
    bias: Tensor,
    groups: usize,
    eps: f64,
}

/// Keys `[heads, d, tokens]` and values `[heads, tokens, d]`.
#[derive(Clone, Debug)]
pub(crate) struct KeysValues {
    keys: Tensor,
    values: Tensor,
}

/// In f32, and rounded once: candle's own formulas round an exponential, a sum and a quotient each.
fn activated(x: Tensor, activation: Activation) -> Result<Tensor> {
    let dtype = x.dtype();
    let wide = || x.to_dtype(candle_core::DType::F32);
    let y = match activation {
        Activation::Identity => return Ok(x),
        Activation::Relu => return Ok(x.relu()?),
        Activation::Silu => wide()?.silu()?,
        Activation::Gelu => wide()?.gelu_erf()?,
        Activation::QuickGelu => {
            let x = wide()?;
            (&x * candle_nn::ops::sigmoid(&(&x * 1.702)?)?)?
        }
    };
    Ok(y.to_dtype(dtype)?)
}

/// With as many zeros on each side. candle has cuDNN sum f16 in f16; ours are summed in f32.
fn convolution(x: &Tensor, weight: &Tensor, padding: usize, stride: usize) -> Result<Tensor> {
    #[cfg(feature = "cudnn")]
    if x.device().is_cuda() {
        return Ok(turbo_cuda::conv2d(
            &x.contiguous()?,
            weight,
            padding,
            stride,
        )?);
    }
    Ok(x.conv2d(weight, padding, stride, 1, 1)?)
}

/// `W x` of tokens.
fn product(x: &Tensor, layer: &Linear) -> Result<Tensor> {
    Ok(x.squeeze(0)?.matmul(&layer.weight)?.unsqueeze(0)?)
}

/// `x + bias`.
fn with_bias(x: Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    Ok(match bias {
        Some(bias) => x.broadcast_add(bias)?,
        None => x,
    })
}

/// `x + bias + residual`.
fn added(x: Tensor, bias: Option<&Tensor>, residual: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if let (true, Some(bias)) = (x.device().is_cuda(), bias) {
        return Ok(turbo_cuda::add(&x, bias, &residual.contiguous()?)?);
    }
    Ok((with_bias(x, bias)? + residual)?)
}

/// GEGLU of `x + bias`, in f32, and rounded once.
fn geglu(x: Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if let (true, Some(bias)) = (x.device().is_cuda(), bias) {
        return Ok(turbo_cuda::geglu(&x, bias)?);
    }
    let dtype = x.dtype();
    let x = with_bias(x, bias)?.to_dtype(candle_core::DType::F32)?;
    let halves = x.chunk(2, D::Minus1)?;
    let gate = halves[1].contiguous()?.gelu_erf()?;
    Ok((halves[0].contiguous()? * gate)?.to_dtype(dtype)?)
}

/// Softmax of scores `[heads, rows, keys]` times `scale`, in f32, and rounded once. With `causal`, row r sees the keys up to
/// `causal + r` only.
fn softmax(scores: &Tensor, scale: f64, causal: Option<usize>) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if scores.device().is_cuda() {
        return Ok(turbo_cuda::softmax(scores, scale, causal)?);
    }
    let (_, rows, keys) = scores.dims3()?;
    let mut x = (scores.to_dtype(candle_core::DType::F32)? * scale)?;
    if let Some(first) = causal {
        let seen = |i: usize| (0..keys).map(move |j| if j <= i { 0. } else { f32::NEG_INFINITY });
        let mask: Vec<f32> = (first..first + rows).flat_map(seen).collect();
        x = x.broadcast_add(&Tensor::from_vec(mask, (1, rows, keys), x.device())?)?;
    }
    Ok(softmax_last_dim(&x)?.to_dtype(scores.dtype())?)
}

/// While it is held, shapes and strides, which candle's kernels read from a GPU's memory, are uploaded once and not at
/// every call. Never while host values are uploaded: what is kept stays until the thread ends.
#[cfg(feature = "cuda")]
fn keep_shapes(device: &candle_core::Device) -> impl Sized + use<> {
    let device = device.as_cuda_device().ok();
    device.map(candle_core::CudaDevice::enable_cuda_graph_htod_cache)
}

#[cfg(not(feature = "cuda"))]
fn keep_shapes(_: &candle_core::Device) -> impl Sized + use<> {}

#[cfg(feature = "cuda")]
fn cuda(ordinal: usize) -> Result<candle_core::Device> {
    turbo_cuda::open(ordinal).map_err(|error| {
        let text = error.to_string();
        Error::Device(format!(
            "--device {}: expected NVIDIA's driver (580 or newer), its CUDA 13 libraries and that GPU, found {}; leave \
             --device out to use the CPU",
            Device::Cuda(ordinal),
            text.lines().next().unwrap_or_default()
        ))
    })
}

/// What candle says where it was built without it.
#[cfg(not(feature = "cuda"))]
fn cuda(ordinal: usize) -> Result<candle_core::Device> {
    Ok(candle_core::Device::new_cuda(ordinal)?)
}

impl Backend for Candle {
    type Tensor = Tensor;
    type Linear = Linear;
    type Conv2d = Conv2d;
    type Norm = Norm;
    type KeysValues = KeysValues;

    const IN_PLACE: bool = false;

    fn load_linear(&self, affine: Affine) -> Result<Linear> {
        let weight = self.merged(&affine)?.t()?;
        let bias = affine.bias.map(|b| self.upload(&b, self.dtype));
        Ok(Linear {
            weight,
            bias: bias.transpose()?,
        })
    }

    fn load_conv2d(&self, affine: Affine, window: Window) -> Result<Conv2d> {
        let weight = self.merged(&affine)?;
        let bias = affine.bias.map(|b| self.upload(&b, self.dtype));
        Ok(Conv2d {
            weight,
            bias: bias
                .transpose()?
                .map(|b| b.reshape((1, (), 1, 1)))
                .transpose()?,
            window,
        })
    }

    fn load_norm(&self, weight: Weight, bias: Weight, groups: usize, eps: f32) -> Result<Norm> {
        Ok(Norm {
            weight: self.upload(&weight, candle_core::DType::F32)?,
            bias: self.upload(&bias, candle_core::DType::F32)?,
            groups,
            eps: f64::from(eps),
        })
    }

    fn tokens(&self, data: &[f32], tokens: usize, channels: usize) -> Result<Tensor> {
        self.values(data, &[1, tokens, channels])
    }

    fn map(&self, data: &[f32], channels: usize, height: usize, width: usize) -> Result<Tensor> {
        self.values(data, &[1, channels, height, width])
    }

    fn to_host(&self, x: &Tensor) -> Result<Vec<f32>> {
        let x = x.to_dtype(candle_core::DType::F32)?;
        Ok(x.flatten_all()?.to_vec1()?)
    }

    fn size(&self, x: &Tensor) -> (usize, usize) {
        let dims = x.dims();
        (dims[2], dims[3])
    }

    fn embed(&self, table: &Weight, ids: &[u32]) -> Result<Tensor> {
        let row = |&id: &u32| table.rows(id as usize, id as usize + 1).to_f32();
        let rows: Vec<f32> = ids.iter().flat_map(row).collect();
        self.tokens(&rows, ids.len(), table.shape()[1])
    }

    fn add(&self, x: Tensor, y: &Tensor) -> Result<Tensor> {
        let _shapes = keep_shapes(&self.device);
        Ok((x + y)?)
    }

    fn activate(&self, x: Tensor, activation: Activation) -> Result<Tensor> {
        let _shapes = keep_shapes(&self.device);
        activated(x, activation)
    }

    fn soft_clamp(&self, x: Tensor) -> Result<Tensor> {
        let _shapes = keep_shapes(&self.device);
        Ok(((x / 3.)?.tanh()? * 3.)?)
    }

    fn layer_norm(&self, x: &Tensor, norm: &Norm) -> Result<Tensor> {
        let _shapes = keep_shapes(&self.device);
        #[cfg(feature = "cuda")]
        if self.device.is_cuda() {
            let x = x.contiguous()?;
            return Ok(turbo_cuda::layer_norm(
                &x,
                &norm.weight,
                &norm.bias,
                norm.eps,
            )?);
        }
        let x = x.to_dtype(candle_core::DType::F32)?;
        let x = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let variance = x.sqr()?.mean_keepdim(D::Minus1)?;
        let x = x.broadcast_div(&(variance + norm.eps)?.sqrt()?)?;
        let x = x.broadcast_mul(&norm.weight)?.broadcast_add(&norm.bias)?;
        Ok(x.to_dtype(self.dtype)?)
    }

    fn group_norm(&self, x: &Tensor, norm: &Norm) -> Result<Tensor> {
        let _shapes = keep_shapes(&self.device);
        self.normed(x, norm, Activation::Identity)
    }

    fn linear(&self, x: &Tensor, layer: &Linear, activation: Activation) -> Result<Tensor> {
        let _shapes = keep_shapes(&self.device);
        activated(
            with_bias(product(x, layer)?, layer.bias.as_ref())?,
            activation,
        )
    }

    fn linear_add(&self, x: &Tensor, layer: &Linear, residual: Tensor) -> Result<Tensor> {
        let _shapes = keep_shapes(&self.device);
        added(product(x, layer)?, layer.bias.as_ref(), &residual)
    }

    fn linear_geglu(&self, x: &Tensor, layer: &Linear) -> Result<Tensor> {
        let _shapes = keep_shapes(&self.device);
        geglu(product(x, layer)?, layer.bias.as_ref())
    }

    fn conv2d(
        &self,
        input: Input<'_, Self>,
        layer: &Conv2d,
        after: After<'_, Self>,
    ) -> Result<Tensor> {
        let _shapes = keep_shapes(&self.device);
        let mut x = match input.norm {
            Some(norm) => self.normed(input.x, norm, input.activation)?,
            None => activated(input.x.clone(), input.activation)?,
        };
        if let Some([height, width]) = input.size {
            x = x.upsample_nearest2d(height, width)?;
        }
        let Window { stride, padding } = layer.window;
        let [top, bottom, left, right] = padding;
        let y = if padding == [top; 4] {
            convolution(&x, &layer.weight, top, stride)?
        } else {
            let x = x
                .pad_with_zeros(2, top, bottom)?
                .pad_with_zeros(3, left, right)?;
            convolution(&x, &layer.weight, 0, stride)?
        };
        // What is for each channel is few numbers.
        let channels = after.channels.map(|c| c.reshape((1, (), 1, 1)));
        let bias = match (layer.bias.clone(), channels.transpose()?) {
            (Some(bias), Some(channels)) => Some((bias + channels)?),
            (bias, channels) => bias.or(channels),
        };
        let y = match after.residual {
            Some(residual) => added(y, bias.as_ref(), &residual)?,
            None => with_bias(y, bias.as_ref())?,
        };
        activated(y, after.activation)
    }

    fn concat_channels(&self, a: Tensor, b: Tensor) -> Result<Tensor> {
        let _shapes = keep_shapes(&self.device);
        Ok(Tensor::cat(&[a, b], 1)?)
    }

    fn join(&self, mut samples: Samples<Tensor>) -> Result<Tensor> {
        if samples.len() == 1 {
            return Ok(samples.remove(0));
        }
        Ok(Tensor::cat(&samples, 1)?)
    }

    fn split(&self, joined: Tensor, count: usize) -> Result<Samples<Tensor>> {
        if count == 1 {
            return Ok(Samples::from_iter([joined]));
        }
        let tokens = joined.dim(1)? / count;
        (0..count)
            .map(|i| Ok(joined.narrow(1, i * tokens, tokens)?))
            .collect()
    }

    fn map_to_tokens(&self, x: Tensor) -> Result<Tensor> {
        let _shapes = keep_shapes(&self.device);
        Ok(x.flatten_from(2)?.transpose(1, 2)?.contiguous()?)
    }

    fn tokens_to_map(&self, x: Tensor, height: usize, width: usize) -> Result<Tensor> {
        let _shapes = keep_shapes(&self.device);
        let (_, _, channels) = x.dims3()?;
        let x = x.transpose(1, 2)?.contiguous()?;
        Ok(x.reshape((1, channels, height, width))?)
    }

    fn keys_values(&self, keys: Tensor, values: Tensor, heads: usize) -> Result<KeysValues> {
        let _shapes = keep_shapes(&self.device);
        let split = |x: Tensor| x.squeeze(0)?.reshape(((), heads, x.dim(2)? / heads));
        Ok(KeysValues {
            keys: split(keys)?.permute((1, 2, 0))?.contiguous()?,
            values: split(values)?.transpose(0, 1)?.contiguous()?,
        })
    }

    fn attention(&self, queries: Tensor, kv: &KeysValues, causal: bool) -> Result<Tensor> {
        let _shapes = keep_shapes(&self.device);
        let (heads, d, keys) = kv.keys.dims3()?;
        let tokens = queries.dim(1)?;
        // Before the product by a power of two, which rounds nothing and keeps f16 from overflowing; after it, in f32, by
        // what is left, which is 1 for heads of 64.
        let scale = 1. / (d as f64).sqrt();
        let before = scale.log2().floor().exp2();
        let after = scale / before;
        let queries = (queries * before)?;
        let queries = queries
            .reshape((tokens, heads, d))?
            .transpose(0, 1)?
            .contiguous()?;
        let chunk = (SCORES / (heads * keys)).max(1);
        let mut found = Vec::new();
        for start in (0..tokens).step_by(chunk) {
            let rows = chunk.min(tokens - start);
            let queries = queries.narrow(1, start, rows)?.contiguous()?;
            let scores = queries.matmul(&kv.keys)?;
            let weights = softmax(&scores, after, causal.then_some(start))?;
            found.push(weights.matmul(&kv.values)?);
        }
        let found = Tensor::cat(&found, 1)?;
        Ok(found
            .transpose(0, 1)?
            .contiguous()?
            .reshape((1, tokens, heads * d))?)
    }
}
