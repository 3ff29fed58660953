//! The layer set on the CPU, on the kernels of `turbo-kernels`.
//!
//! A value is kept in whatever form the layer that made it could write for the layer that will read it: norms and
//! activations write packed operands, attention writes the operand of its output projection, upsampling writes the
//! padded map that a convolution reads. Convolutions in float32, which those of large maps are in bfloat16 too unless
//! there is AMX, normalise and enlarge maps on the way instead, so those layers only note down what is to be done. Asking
//! a value for another form converts it.

mod shared;

use crate::backend::{Activation, Affine, Backend, Window};
use crate::{DType, Result};
use shared::{Home, Shared};
use std::ops::Deref;
use turbo_kernels::{
    self as kernels, Compute, Context, Float, GroupNorm, Left, Matrix, Padded, Panels, Planes,
    Residual, Source,
};
use turbo_weights::{Dtype, Weight};

/// The CPU, with a type in which products are formed.
#[derive(Clone, Debug)]
pub(crate) struct Cpu {
    ctx: Context,
    compute: Compute,
    forms: Home<Form>,
}

/// A value: numbers in one of three forms, shared by its clones.
#[derive(Clone, Debug)]
pub(crate) struct CpuTensor {
    form: Shared<Form>,
    /// Of a map; tokens are one column.
    height: usize,
    width: usize,
    /// Tokens, which the host sees row by row, or a map, channel by channel.
    tokens: bool,
}

#[derive(Debug)]
enum Form {
    /// What everything can read.
    Planes(Planes),
    /// What linear layers read.
    Panels(Panels),
    /// What 3x3 convolutions read.
    Padded(Padded),
    /// A map that is finished by who reads it.
    Pending(Pending),
}

/// A map with what is still to be done to it. Large ones are most of the memory of a decoder, and a convolution that
/// can do it on the way saves writing another.
#[derive(Debug)]
struct Pending {
    /// [`Form::Planes`].
    form: Shared<Form>,
    from: [usize; 2],
    size: [usize; 2],
    norm: Option<GroupNorm>,
    activation: kernels::Activation,
}

impl Pending {
    fn source(&self) -> Source<'_> {
        let Form::Planes(planes) = &*self.form else {
            unreachable!("`Cpu::pending` holds planes only");
        };
        Source {
            planes,
            from: self.from,
            size: self.size,
            norm: self.norm.as_ref(),
            activation: self.activation,
        }
    }

    /// The numbers and what is to be applied to them, where that is all and nobody else holds them.
    fn into_residual(self, ctx: &Context) -> Residual {
        if self.norm.is_some() || self.from != self.size {
            return self.source().planes(ctx).into();
        }
        match self.form.try_unwrap() {
            Ok(Form::Planes(planes)) => Residual {
                planes,
                activation: self.activation,
            },
            Ok(_) => unreachable!("`Cpu::pending` holds planes only"),
            Err(form) => Self { form, ..self }.source().planes(ctx).into(),
        }
    }
}

impl Form {
    fn channels(&self) -> usize {
        match self {
            Self::Planes(p) => p.channels,
            Self::Panels(p) => p.channels,
            Self::Padded(p) => p.channels,
            Self::Pending(p) => p.form.channels(),
        }
    }

    /// The operand of a linear layer, which [`Cpu::left`] gives.
    fn left(&self) -> Left<'_> {
        match self {
            Self::Planes(p) => p.into(),
            Self::Panels(p) => p.into(),
            Self::Padded(_) | Self::Pending(_) => unreachable!("`Cpu::left` gives none"),
        }
    }
}

/// A form that was there, or one made for the occasion.
enum As<'a, T> {
    Is(&'a T),
    Made(T),
}

const IDENTITY: kernels::Activation = kernels::Activation::Identity;

impl As<'_, Planes> {
    /// One made for the occasion.
    fn into_made(self) -> Planes {
        match self {
            Self::Made(planes) => planes,
            Self::Is(_) => unreachable!("asked for where the form is another"),
        }
    }
}

impl<T> Deref for As<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        match self {
            Self::Is(t) => t,
            Self::Made(t) => t,
        }
    }
}

/// Weights of a linear layer, where the file has them.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Weight,
    bias: Option<Vec<f32>>,
}

/// Weights of a convolution, where the file has them.
#[derive(Debug)]
pub(crate) struct Conv2d {
    weight: Weight,
    bias: Option<Vec<f32>>,
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

fn matrix(weight: &Weight) -> Matrix<'_> {
    let float = match weight.dtype() {
        Dtype::F32 => Float::F32,
        Dtype::F16 => Float::F16,
        Dtype::BF16 => Float::Bf16,
    };
    let rows = weight.shape()[0];
    Matrix::new(
        weight.bytes(),
        float,
        rows,
        weight.shape()[1..].iter().product(),
    )
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
            forms: Home::default(),
        })
    }

    fn planes<'a>(&self, x: &'a CpuTensor) -> As<'a, Planes> {
        match &*x.form {
            Form::Planes(p) => As::Is(p),
            Form::Panels(p) => As::Made(p.unpack(&self.ctx)),
            Form::Padded(p) => As::Made(p.unpack(&self.ctx)),
            Form::Pending(p) => As::Made(p.source().planes(&self.ctx)),
        }
    }

    /// What linear layers read: a float32 value as it is, or an operand.
    fn left<'a>(&self, x: &'a CpuTensor) -> As<'a, Form> {
        match &*x.form {
            Form::Panels(_) => As::Is(&x.form),
            // One token is laid out without room for a vector.
            Form::Planes(p) if self.compute == Compute::F32 && p.positions > 1 => As::Is(&x.form),
            _ => As::Made(Form::Panels(Panels::pack(
                &self.ctx,
                &self.planes(x),
                self.compute,
            ))),
        }
    }

    /// Whether what is to be done to a map waits for the convolution that follows.
    fn waits(&self, x: &CpuTensor, size: [usize; 2]) -> bool {
        self.compute == Compute::F32
            || kernels::reads_planes(&self.ctx, self.compute, x.form.channels(), size)
    }

    /// `x` with what is to be done to it when it is read, after what is pending already.
    fn pending(
        &self,
        x: &CpuTensor,
        size: [usize; 2],
        norm: Option<GroupNorm>,
        act: kernels::Activation,
    ) -> CpuTensor {
        let pending = match &*x.form {
            // Nearest neighbours of finished numbers are the finished numbers of nearest neighbours.
            Form::Pending(p)
                if p.norm.is_none() && p.size == p.from && norm.is_none() && act == IDENTITY =>
            {
                Pending {
                    form: p.form.clone(),
                    from: p.from,
                    size,
                    norm: None,
                    activation: p.activation,
                }
            }
            form => Pending {
                form: match form {
                    Form::Planes(_) => x.form.clone(),
                    _ => self.forms.share(Form::Planes(self.planes(x).into_made())),
                },
                from: [x.height, x.width],
                size,
                norm,
                activation: act,
            },
        };
        CpuTensor {
            form: self.forms.share(Form::Pending(pending)),
            height: size[0],
            width: size[1],
            tokens: false,
        }
    }

    /// The numbers to change: those of `x` where nobody else holds them, else a copy.
    fn owned(&self, x: CpuTensor) -> Planes {
        match x.form.try_unwrap() {
            Ok(Form::Planes(p)) => p,
            Ok(Form::Panels(p)) => p.unpack(&self.ctx),
            Ok(Form::Padded(p)) => p.unpack(&self.ctx),
            Ok(Form::Pending(p)) => p.into_residual(&self.ctx).finish(&self.ctx),
            Err(shared) => match &*shared {
                Form::Planes(p) => p.copy(&self.ctx),
                Form::Panels(p) => p.unpack(&self.ctx),
                Form::Padded(p) => p.unpack(&self.ctx),
                Form::Pending(p) => p.source().planes(&self.ctx),
            },
        }
    }

    /// The numbers to add to, with an activation that the convolution can apply on the way.
    fn residual(&self, x: CpuTensor) -> Residual {
        match x.form.try_unwrap() {
            Ok(Form::Pending(p)) => p.into_residual(&self.ctx),
            Ok(form) => self
                .owned(CpuTensor {
                    form: self.forms.share(form),
                    ..x
                })
                .into(),
            Err(form) => self.owned(CpuTensor { form, ..x }).into(),
        }
    }

    /// Changes every channel of `x`.
    fn change(&self, x: CpuTensor, f: impl Fn(usize, &mut [f32]) + Sync) -> CpuTensor {
        let (height, width, tokens) = (x.height, x.width, x.tokens);
        let mut planes = self.owned(x);
        planes.for_each_channel(f);
        CpuTensor {
            form: self.forms.share(Form::Planes(planes)),
            height,
            width,
            tokens,
        }
    }

    /// A map.
    fn map_of(&self, planes: Planes, height: usize, width: usize) -> CpuTensor {
        CpuTensor {
            form: self.forms.share(Form::Planes(planes)),
            height,
            width,
            tokens: false,
        }
    }

    /// A linear layer on one token, where reading the weights is all the work.
    fn vector(&self, x: &CpuTensor, layer: &Linear, act: Activation) -> Option<Planes> {
        let Form::Planes(x) = &*x.form else {
            return None;
        };
        if x.positions != 1 {
            return None;
        }
        Some(kernels::linear_vector(
            &self.ctx,
            &x.data()[..x.channels],
            matrix(&layer.weight),
            layer.bias.as_deref(),
            activation(act),
        ))
    }
}

impl CpuTensor {
    /// The same shape around another form.
    fn with(&self, form: Form) -> Self {
        Self {
            form: self.form.another(form),
            height: self.height,
            width: self.width,
            tokens: self.tokens,
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
        Ok(Linear {
            bias: affine.bias.map(|b| b.to_f32()),
            weight: affine.weight,
        })
    }

    fn load_conv2d(&self, affine: Affine, window: Window) -> Result<Conv2d> {
        let kernel = affine.weight.shape()[2];
        let window = kernels::Window {
            kernel,
            stride: window.stride,
            padding: window.padding,
        };
        Ok(Conv2d {
            bias: affine.bias.map(|b| b.to_f32()),
            weight: affine.weight,
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
        let planes = self.planes(x);
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
        let planes = self.planes(y);
        Ok(self.change(x, |c, row| kernels::add(self.ctx.isa, row, planes.row(c))))
    }

    fn activate(&self, x: CpuTensor, act: Activation) -> Result<CpuTensor> {
        // Of a map a convolution follows.
        if !x.tokens && self.waits(&x, [x.height, x.width]) {
            return Ok(self.pending(&x, [x.height, x.width], None, activation(act)));
        }
        Ok(self.change(x, |_, row| {
            kernels::activate(self.ctx.isa, row, activation(act));
        }))
    }

    fn soft_clamp(&self, x: CpuTensor) -> Result<CpuTensor> {
        Ok(self.change(x, |_, row| kernels::soft_clamp(self.ctx.isa, row, 3.0)))
    }

    fn layer_norm(&self, x: &CpuTensor, norm: &Norm) -> Result<CpuTensor> {
        let planes = self.planes(x);
        if planes.positions == 1 {
            let group =
                GroupNorm::measure(&self.ctx, &planes, &norm.weight, &norm.bias, 1, norm.eps);
            return Ok(x.with(Form::Planes(group.planes(
                &self.ctx,
                &planes,
                kernels::Activation::Identity,
            ))));
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

    fn group_norm(&self, x: &CpuTensor, norm: &Norm, act: Activation) -> Result<CpuTensor> {
        let planes = self.planes(x);
        let group = GroupNorm::measure(
            &self.ctx,
            &planes,
            &norm.weight,
            &norm.bias,
            norm.groups,
            norm.eps,
        );
        let size = [x.height, x.width];
        if act != Activation::Identity && self.waits(x, size) {
            return Ok(self.pending(x, size, Some(group), activation(act)));
        }
        // With an activation a convolution follows, without one a projection does.
        Ok(x.with(if act == Activation::Identity {
            Form::Panels(group.panels(&self.ctx, &planes, self.compute))
        } else {
            Form::Padded(group.padded(&self.ctx, &planes, size, activation(act), self.compute))
        }))
    }

    fn linear(&self, x: &CpuTensor, layer: &Linear, act: Activation) -> Result<CpuTensor> {
        if let Some(out) = self.vector(x, layer, act) {
            return Ok(x.with(Form::Planes(out)));
        }
        let left = self.left(x);
        let (w, bias) = (matrix(&layer.weight), layer.bias.as_deref());
        // With an activation another layer follows.
        Ok(x.with(if act == Activation::Identity {
            Form::Planes(kernels::linear(
                &self.ctx,
                left.left(),
                w,
                bias,
                activation(act),
            ))
        } else {
            Form::Panels(kernels::linear_panels(
                &self.ctx,
                left.left(),
                w,
                bias,
                activation(act),
            ))
        }))
    }

    fn linear_add(&self, x: &CpuTensor, layer: &Linear, residual: CpuTensor) -> Result<CpuTensor> {
        let residual = self.owned(residual);
        let left = self.left(x);
        let out = kernels::linear_add(
            &self.ctx,
            left.left(),
            matrix(&layer.weight),
            layer.bias.as_deref(),
            residual,
        );
        Ok(x.with(Form::Planes(out)))
    }

    fn linear_geglu(&self, x: &CpuTensor, layer: &Linear) -> Result<CpuTensor> {
        let out = kernels::linear_geglu(
            &self.ctx,
            self.left(x).left(),
            matrix(&layer.weight),
            layer.bias.as_deref(),
        );
        Ok(x.with(Form::Panels(out)))
    }

    fn conv2d(
        &self,
        x: &CpuTensor,
        layer: &Conv2d,
        channels: Option<&CpuTensor>,
        residual: Option<CpuTensor>,
    ) -> Result<CpuTensor> {
        let w = matrix(&layer.weight);
        let sum = channels.map(|channels| {
            let mut sum = self.planes(channels).copy(&self.ctx);
            for (s, b) in sum.data_mut().iter_mut().zip(layer.bias.iter().flatten()) {
                *s += b;
            }
            sum
        });
        let bias = sum.as_ref().map(Planes::data).or(layer.bias.as_deref());
        let [height, width] = layer.window.output(x.height, x.width);
        let out = if layer.window
            == (kernels::Window {
                kernel: 3,
                stride: 1,
                padding: [1; 4],
            }) {
            let planes;
            let source = match &*x.form {
                Form::Padded(p) => {
                    let residual = residual.map(|r| self.owned(r));
                    let out = kernels::conv3x3(&self.ctx, p, w, bias, residual);
                    return Ok(self.map_of(out, height, width));
                }
                Form::Pending(p) => p.source(),
                _ => {
                    planes = self.planes(x);
                    Source::plain(&planes, [x.height, x.width])
                }
            };
            let residual = residual.map(|r| self.residual(r));
            source.conv3x3(&self.ctx, w, bias, residual, self.compute)
        } else {
            let one = layer.window
                == kernels::Window {
                    kernel: 1,
                    stride: 1,
                    padding: [0; 4],
                };
            let left = if one {
                self.left(x)
            } else {
                let size = [x.height, x.width];
                As::Made(Form::Panels(kernels::gather(
                    &self.ctx,
                    &self.planes(x),
                    size,
                    layer.window,
                    self.compute,
                )))
            };
            match residual {
                Some(r) => kernels::linear_add(&self.ctx, left.left(), w, bias, self.owned(r)),
                None => kernels::linear(
                    &self.ctx,
                    left.left(),
                    w,
                    bias,
                    kernels::Activation::Identity,
                ),
            }
        };
        Ok(self.map_of(out, height, width))
    }

    fn upsample_nearest(&self, x: &CpuTensor, height: usize, width: usize) -> Result<CpuTensor> {
        // A convolution follows, always.
        if self.waits(x, [height, width]) {
            return Ok(self.pending(x, [height, width], None, IDENTITY));
        }
        let planes = self.planes(x);
        let source = Source::upsampled(&planes, [x.height, x.width], [height, width]);
        let out = source.padded(&self.ctx, self.compute);
        Ok(CpuTensor {
            form: self.forms.share(Form::Padded(out)),
            height,
            width,
            tokens: false,
        })
    }

    fn concat_channels(&self, a: CpuTensor, b: CpuTensor) -> Result<CpuTensor> {
        let out = kernels::concat(&self.ctx, &self.planes(&a), &self.planes(&b));
        Ok(a.with(Form::Planes(out)))
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
        let (keys, values) = (self.planes(&keys), self.planes(&values));
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
        let out = kernels::attention(&self.ctx, &self.planes(&queries), kv, causal);
        Ok(queries.with(Form::Panels(out)))
    }
}
