//! The layers, and the CPU that has them.

use super::shared::Counts;
use super::tensor::{CpuTensor, Form};
use crate::backend::{Activation, Affine, After, Backend, Input, Samples, Window};
use crate::{DType, Result};
use turbo_kernels::{
    self as kernels, Compute, Context, Float, GroupNorm, LowRank, Matrix, Planes, Source, Weights,
};
use turbo_weights::{Dtype, LoraPair, Weight, keeps_float_activations};

/// The CPU, with a type in which products are formed.
#[derive(Clone, Debug)]
pub(crate) struct Cpu {
    ctx: Context,
    compute: Compute,
    forms: Counts<Form>,
}

/// Weights of a linear layer, where the files have them.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Weight,
    adapters: Vec<LoraPair>,
    bias: Option<Vec<f32>>,
}

impl From<Affine> for Linear {
    fn from(affine: Affine) -> Self {
        Self {
            bias: affine.bias.map(|b| b.to_f32()),
            weight: affine.weight,
            adapters: affine.adapters,
        }
    }
}

impl Linear {
    /// What is added to the weights.
    fn low_rank(&self) -> Vec<LowRank<'_>> {
        let pairs = self.adapters.iter();
        pairs
            .map(|pair| LowRank {
                down: matrix(&pair.down),
                up: matrix(&pair.up),
                scale: pair.scale,
            })
            .collect()
    }

    fn weights<'a>(&'a self, low_rank: &'a [LowRank<'a>]) -> Weights<'a> {
        Weights {
            matrix: matrix(&self.weight),
            low_rank,
        }
    }
}

/// Weights of a convolution, and how it moves.
#[derive(Debug)]
pub(crate) struct Conv2d {
    affine: Linear,
    window: kernels::Window,
}

/// Scale and shift of a norm.
#[derive(Debug)]
pub(crate) struct Norm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    groups: usize,
    eps: f32,
}

impl Conv2d {
    /// The bias, with one more number a channel.
    fn bias_and(&self, ctx: &Context, channels: &CpuTensor) -> Planes {
        let mut sum = channels.planes(ctx).copy(ctx);
        for (s, b) in sum
            .data_mut()
            .iter_mut()
            .zip(self.affine.bias.iter().flatten())
        {
            *s += b;
        }
        sum
    }
}

impl Norm {
    fn measure(&self, ctx: &Context, x: &Planes) -> GroupNorm {
        GroupNorm::measure(ctx, x, &self.weight, &self.bias, self.groups, self.eps)
    }
}

fn matrix(weight: &Weight) -> Matrix<'_> {
    let (rows, cols) = (weight.shape()[0], weight.shape()[1..].iter().product());
    let float = match weight.dtype() {
        Dtype::F32 => Float::F32,
        Dtype::F16 => Float::F16,
        Dtype::BF16 => Float::Bf16,
        Dtype::I8 => {
            let scales = weight.scales().unwrap_or_default();
            return Matrix::int8(weight.bytes(), scales, rows, cols);
        }
    };
    Matrix::new(weight.bytes(), float, rows, cols)
}

fn activation(activation: Activation) -> kernels::Activation {
    match activation {
        Activation::Identity => kernels::Activation::Identity,
        Activation::Silu => kernels::Activation::Silu,
        Activation::Gelu => kernels::Activation::Gelu,
        Activation::QuickGelu => kernels::Activation::QuickGelu,
        Activation::Relu => kernels::Activation::Relu,
    }
}

impl Cpu {
    /// This CPU's fastest instruction set, or the one that `TURBO_ISA` names. [`DType::BF16`] forms products in bfloat16
    /// where the instruction set has them, [`DType::Auto`] where they are also the faster ones. [`DType::F16`] is
    /// computed as float32, which holds every float16.
    ///
    /// # Errors
    /// `TURBO_ISA` names an instruction set that does not exist here.
    pub(crate) fn open(dtype: DType) -> Result<Self> {
        let (isa, compute) = dtype.on_cpu()?;
        Ok(Self {
            ctx: Context::new(isa),
            compute,
            forms: Counts::default(),
        })
    }

    fn map_of(&self, planes: Planes, height: usize, width: usize) -> CpuTensor {
        CpuTensor {
            form: self.forms.share(Form::Planes(planes)),
            height,
            width,
            tokens: false,
        }
    }

    /// Changes every channel of `x`.
    fn change(&self, x: CpuTensor, f: impl Fn(usize, &mut [f32]) + Sync) -> CpuTensor {
        let (height, width, tokens) = (x.height, x.width, x.tokens);
        let mut planes = x.into_planes(&self.ctx);
        planes.for_each_channel(f);
        CpuTensor {
            tokens,
            ..self.map_of(planes, height, width)
        }
    }

    /// A linear layer on one token, where reading the weights is all the work.
    fn vector(&self, x: &CpuTensor, layer: &Linear, act: Activation) -> Option<Planes> {
        let x = match &*x.form {
            Form::Planes(x) if x.positions == 1 => x,
            _ => return None,
        };
        Some(kernels::linear_vector(
            &self.ctx,
            &x.data()[..x.channels],
            layer.weights(&layer.low_rank()),
            layer.bias.as_deref(),
            activation(act),
        ))
    }
}

impl Cpu {
    /// The type in which a layer's products are formed: int8 where the weights are int8, the CPU multiplies int8, and
    /// nothing asks for floats. A LoRA asks for floats, since it is made of them.
    fn operand_type(&self, layer: &Linear) -> Compute {
        let weight = &layer.weight;
        let int8 = weight.dtype() == Dtype::I8 && self.ctx.isa.has_int8();
        if int8
            && layer.adapters.is_empty()
            && !weight.wants_full_precision()
            && !keeps_float_activations(weight.name().trim_end_matches(".weight"))
        {
            Compute::Int8
        } else {
            self.compute
        }
    }
}

impl Backend for Cpu {
    type Tensor = CpuTensor;
    type Linear = Linear;
    type Conv2d = Conv2d;
    type Norm = Norm;
    type KeysValues = kernels::KeysValues;

    const IN_PLACE: bool = true;

    fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        // Inside the pool each layer starts at once; from outside each would wake it first.
        let mut result = None;
        rayon::scope(|_| result = Some(work()));
        result.expect("the scope has run")
    }

    fn load_linear(&self, affine: Affine) -> Result<Linear> {
        Ok(affine.into())
    }

    fn load_conv2d(&self, affine: Affine, window: Window) -> Result<Conv2d> {
        let kernel = affine.weight.shape()[2];
        let window = kernels::Window {
            kernel,
            stride: window.stride,
            padding: window.padding,
        };
        Ok(Conv2d {
            affine: affine.into(),
            window,
        })
    }

    fn load_norm(&self, weight: Weight, bias: Weight, groups: usize, eps: f32) -> Result<Norm> {
        Ok(Norm {
            weight: weight.to_f32(),
            bias: bias.to_f32(),
            groups,
            eps,
        })
    }

    fn tokens(&self, data: &[f32], tokens: usize, channels: usize) -> Result<CpuTensor> {
        let planes = Planes::from_tokens(&self.ctx, data, tokens, channels);
        Ok(CpuTensor {
            form: self.forms.share(Form::Planes(planes)),
            height: tokens,
            width: 1,
            tokens: true,
        })
    }

    fn map(&self, data: &[f32], channels: usize, height: usize, width: usize) -> Result<CpuTensor> {
        let planes = Planes::from_channels(&self.ctx, data, channels, height * width);
        Ok(self.map_of(planes, height, width))
    }

    fn to_host(&self, x: &CpuTensor) -> Result<Vec<f32>> {
        let planes = x.planes(&self.ctx);
        Ok(if x.tokens {
            planes.to_tokens()
        } else {
            planes.to_channels()
        })
    }

    fn size(&self, x: &CpuTensor) -> (usize, usize) {
        (x.height, x.width)
    }

    fn embed(&self, table: &Weight, ids: &[u32]) -> Result<CpuTensor> {
        let channels = table.shape()[1];
        let rows: Vec<f32> = ids
            .iter()
            .flat_map(|&id| table.rows(id as usize, id as usize + 1).to_f32())
            .collect();
        self.tokens(&rows, ids.len(), channels)
    }

    fn add(&self, x: CpuTensor, y: &CpuTensor) -> Result<CpuTensor> {
        let planes = y.planes(&self.ctx);
        Ok(self.change(x, |c, row| kernels::add(self.ctx.isa, row, planes.row(c))))
    }

    fn activate(&self, x: CpuTensor, act: Activation) -> Result<CpuTensor> {
        Ok(self.change(x, |_, row| {
            kernels::activate(self.ctx.isa, row, activation(act));
        }))
    }

    fn soft_clamp(&self, x: CpuTensor) -> Result<CpuTensor> {
        Ok(self.change(x, |_, row| kernels::soft_clamp(self.ctx.isa, row, 3.0)))
    }

    fn layer_norm(&self, x: &CpuTensor, norm: &Norm) -> Result<CpuTensor> {
        let planes = x.planes(&self.ctx);
        if planes.positions == 1 {
            let normed = Source {
                norm: Some(&norm.measure(&self.ctx, &planes)),
                ..Source::plain(&planes, [1, 1])
            };
            return Ok(x.with(Form::Planes(normed.planes(&self.ctx))));
        }
        let out = kernels::layer_norm(
            &self.ctx,
            &planes,
            &norm.weight,
            &norm.bias,
            norm.eps,
            self.compute,
        );
        Ok(x.with(Form::Panels(out)))
    }

    fn group_norm(&self, x: &CpuTensor, norm: &Norm) -> Result<CpuTensor> {
        let planes = x.planes(&self.ctx);
        let group = norm.measure(&self.ctx, &planes);
        let out = group.panels(&self.ctx, &planes, self.compute);
        Ok(x.with(Form::Panels(out)))
    }

    fn linear(&self, x: &CpuTensor, layer: &Linear, act: Activation) -> Result<CpuTensor> {
        if let Some(out) = self.vector(x, layer, act) {
            return Ok(x.with(Form::Planes(out)));
        }
        let operand = x.operand(&self.ctx, self.operand_type(layer));
        let low_rank = layer.low_rank();
        let (w, bias) = (layer.weights(&low_rank), layer.bias.as_deref());
        // Behind an activation another linear layer reads, without one a norm, attention or a convolution may.
        Ok(x.with(if act == Activation::Identity {
            let after = kernels::After::bias(bias);
            Form::Planes(kernels::linear(&self.ctx, operand.left(), w, after))
        } else {
            let act = activation(act);
            Form::Panels(kernels::linear_panels(
                &self.ctx,
                operand.left(),
                w,
                bias,
                act,
                self.compute,
            ))
        }))
    }

    fn linear_add(&self, x: &CpuTensor, layer: &Linear, residual: CpuTensor) -> Result<CpuTensor> {
        let after = kernels::After {
            residual: Some(residual.into_planes(&self.ctx)),
            ..kernels::After::bias(layer.bias.as_deref())
        };
        let operand = x.operand(&self.ctx, self.operand_type(layer));
        let low_rank = layer.low_rank();
        let w = layer.weights(&low_rank);
        let out = kernels::linear(&self.ctx, operand.left(), w, after);
        Ok(x.with(Form::Planes(out)))
    }

    fn linear_geglu(&self, x: &CpuTensor, layer: &Linear) -> Result<CpuTensor> {
        let out = kernels::linear_geglu(
            &self.ctx,
            x.operand(&self.ctx, self.operand_type(layer)).left(),
            layer.weights(&layer.low_rank()),
            layer.bias.as_deref(),
            self.compute,
        );
        Ok(x.with(Form::Panels(out)))
    }

    fn conv2d(
        &self,
        input: Input<'_, Self>,
        layer: &Conv2d,
        after: After<'_, Self>,
    ) -> Result<CpuTensor> {
        let (ctx, from) = (&self.ctx, [input.x.height, input.x.width]);
        let planes = input.x.planes(ctx);
        let norm = input.norm.map(|norm| norm.measure(ctx, &planes));
        let source = Source {
            planes: &planes,
            from,
            size: input.size.unwrap_or(from),
            norm: norm.as_ref(),
            activation: activation(input.activation),
        };
        let sum = after.channels.map(|sum| layer.bias_and(ctx, sum));
        let after = kernels::After {
            bias: sum
                .as_ref()
                .map(Planes::data)
                .or(layer.affine.bias.as_deref()),
            residual: after.residual.map(|residual| residual.into_planes(ctx)),
            activation: activation(after.activation),
        };
        let low_rank = layer.affine.low_rank();
        let w = layer.affine.weights(&low_rank);
        let out = kernels::conv2d(ctx, &source, w, layer.window, after, self.compute);
        let [height, width] = layer.window.output(source.size[0], source.size[1]);
        Ok(self.map_of(out, height, width))
    }

    fn concat_channels(&self, a: CpuTensor, b: CpuTensor) -> Result<CpuTensor> {
        let out = kernels::concat(&self.ctx, &a.planes(&self.ctx), &b.planes(&self.ctx));
        Ok(a.with(Form::Planes(out)))
    }

    fn join(&self, mut samples: Samples<CpuTensor>) -> Result<CpuTensor> {
        if samples.len() == 1 {
            return Ok(samples.remove(0));
        }
        let planes: Samples<_> = samples.iter().map(|x| x.planes(&self.ctx)).collect();
        let parts: Samples<_> = planes.iter().map(|planes| &**planes).collect();
        let joined = kernels::join(&self.ctx, &parts);
        Ok(CpuTensor {
            height: joined.positions,
            ..samples[0].with(Form::Planes(joined))
        })
    }

    fn split(&self, joined: CpuTensor, count: usize) -> Result<Samples<CpuTensor>> {
        if count == 1 {
            return Ok(Samples::from_iter([joined]));
        }
        let planes = joined.planes(&self.ctx);
        let tokens = planes.positions / count;
        let sample = |i| {
            let part = planes.part(&self.ctx, i * tokens..(i + 1) * tokens);
            CpuTensor {
                height: tokens,
                ..joined.with(Form::Planes(part))
            }
        };
        Ok((0..count).map(sample).collect())
    }

    fn map_to_tokens(&self, x: CpuTensor) -> Result<CpuTensor> {
        Ok(CpuTensor {
            height: x.height * x.width,
            width: 1,
            form: x.form,
            tokens: true,
        })
    }

    fn tokens_to_map(&self, x: CpuTensor, height: usize, width: usize) -> Result<CpuTensor> {
        Ok(CpuTensor {
            form: x.form,
            height,
            width,
            tokens: false,
        })
    }

    fn keys_values(
        &self,
        keys: CpuTensor,
        values: CpuTensor,
        heads: usize,
    ) -> Result<kernels::KeysValues> {
        let (keys, values) = (keys.planes(&self.ctx), values.planes(&self.ctx));
        // bfloat16 comes in pairs, which must not straddle two heads.
        let compute = if (keys.channels / heads).is_multiple_of(2) {
            self.compute
        } else {
            Compute::F32
        };
        Ok(kernels::KeysValues::pack(
            &self.ctx, &keys, &values, heads, compute,
        ))
    }

    fn attention(
        &self,
        queries: CpuTensor,
        kv: &kernels::KeysValues,
        causal: bool,
    ) -> Result<CpuTensor> {
        let out = kernels::attention(&self.ctx, &queries.planes(&self.ctx), kv, causal);
        Ok(queries.with(Form::Panels(out)))
    }
}
