//! Group norm and layer norm by the kernels of `norms.cu`.

use crate::{Number, contiguous, for_type, number};
use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};
use candle_core::{CpuStorage, CudaStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

/// What nvcc made of `norms.cu`: see README.md.
const PTX: &str = include_str!("norms.ptx");

/// The name under which candle keeps the module.
const MODULE: &str = "turbo_norms";

/// Threads of a block.
const BLOCK: u32 = 256;

/// Numbers of a group that a block takes: 32 a thread. The whole GPU is then at work on a large map, and a small one is
/// one block a group.
const SLICE: usize = 8192;

/// Group norm of a map `[1, channels, height, width]` in `groups` groups of channels, with a scale and a shift a channel
/// in float32; then a sigmoid linear unit, if `silu`. Sums are float32's, in two passes, for every type; the result is rounded once.
/// (diffusers' `GroupNorm`; two launches.)
///
/// # Errors
/// The map is not contiguous, not on a GPU, or of a type other than f32, f16 and bf16; or scale and shift are not of its
/// channels.
pub fn group_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    groups: usize,
    eps: f64,
    silu: bool,
) -> Result<Tensor> {
    let (_, channels, height, width) = x.dims4()?;
    expect_channels(channels, weight, bias)?;
    let norm = Norm::Group {
        groups,
        group: channels / groups * height * width,
        pixels: height * width,
        silu,
    };
    x.apply_op3_no_bwd(weight, bias, &Op { norm, eps })
}

/// Layer norm over the last dimension, with a scale and a shift in float32. Sums are float32's, in two passes, for every
/// type; the result is rounded once. (One launch.)
///
/// # Errors
/// As for [`group_norm`].
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let width = x.dim(candle_core::D::Minus1)?;
    expect_channels(width, weight, bias)?;
    let norm = Norm::Layer {
        rows: x.elem_count() / width,
        width,
    };
    x.apply_op3_no_bwd(weight, bias, &Op { norm, eps })
}

/// A scale and a shift for each channel: the kernels rely on it.
fn expect_channels(channels: usize, weight: &Tensor, bias: &Tensor) -> Result<()> {
    if weight.elem_count() != channels || bias.elem_count() != channels {
        bail!(
            "expected scale and shift of {channels} channels, found {:?} and {:?}",
            weight.shape(),
            bias.shape()
        );
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Norm {
    /// Of `group` numbers each, `pixels` a channel.
    Group {
        groups: usize,
        group: usize,
        pixels: usize,
        silu: bool,
    },
    Layer {
        rows: usize,
        width: usize,
    },
}

struct Op {
    norm: Norm,
    eps: f64,
}

impl CustomOp3 for Op {
    fn name(&self) -> &'static str {
        "norm"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("norms of turbo-cuda need a tensor on a GPU")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        layout: &Layout,
        weight: &CudaStorage,
        weight_layout: &Layout,
        bias: &CudaStorage,
        bias_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let tensors = Tensors {
            x: (x, layout),
            weight: (weight, weight_layout),
            bias: (bias, bias_layout),
        };
        let y = for_type!(self, x, &tensors)?;
        Ok((y, layout.shape().clone()))
    }
}

/// The input and its scale and shift.
struct Tensors<'a> {
    x: (&'a CudaStorage, &'a Layout),
    weight: (&'a CudaStorage, &'a Layout),
    bias: (&'a CudaStorage, &'a Layout),
}

impl Op {
    /// Starts the kernels for type `T`, called `name` in `norms.cu`.
    fn run<T: Number>(&self, name: &str, tensors: &Tensors<'_>) -> Result<CudaStorage> {
        let device = tensors.x.0.device();
        let x = contiguous::<T>(tensors.x)?;
        let weight = contiguous::<f32>(tensors.weight)?;
        let bias = contiguous::<f32>(tensors.bias)?;
        // SAFETY: the kernel below writes every element before anything reads one.
        let y: CudaSlice<T> = unsafe { device.alloc(x.len())? };
        let function =
            |kernel: &str| device.get_or_load_custom_func(&format!("{kernel}_{name}"), MODULE, PTX);
        let eps = self.eps as f32;
        match self.norm {
            Norm::Layer { rows, width } => {
                let function = function("layer_norm")?;
                let width = number(width)?;
                let mut launch = function.builder();
                launch
                    .arg(&x)
                    .arg(&weight)
                    .arg(&bias)
                    .arg(&y)
                    .arg(&width)
                    .arg(&eps);
                // SAFETY: the arguments are those of `layer_norm_*` in norms.cu, and it stays within `rows` rows of
                // `width` numbers, which x and y have, and `width` of scale and shift.
                unsafe { launch.launch(blocks(rows, 1)?) }.w()?;
            }
            Norm::Group {
                groups,
                group,
                pixels,
                silu,
            } => {
                let slices = group.div_ceil(SLICE).min(1024);
                let slice = number(group.div_ceil(slices))?;
                let config = blocks(groups, group.div_ceil(slice as usize))?;
                let (group, pixels) = (number(group)?, number(pixels)?);
                let silu = i32::from(silu);
                // SAFETY: `group_moments_*` writes every pair before `group_norm_*` reads one.
                let moments: CudaSlice<f32> =
                    unsafe { device.alloc(2 * groups * config.grid_dim.1 as usize)? };
                let first = function("group_moments")?;
                let mut launch = first.builder();
                launch.arg(&x).arg(&moments).arg(&group).arg(&slice);
                // SAFETY: the arguments are those of `group_moments_*`; it stays within `groups * group` numbers of x,
                // and a pair for each block.
                unsafe { launch.launch(config) }.w()?;
                let second = function("group_norm")?;
                let mut launch = second.builder();
                launch.arg(&x).arg(&moments).arg(&weight).arg(&bias).arg(&y);
                launch
                    .arg(&group)
                    .arg(&slice)
                    .arg(&pixels)
                    .arg(&eps)
                    .arg(&silu);
                // SAFETY: the arguments are those of `group_norm_*`; it reads what the first kernel does, and scale and
                // shift of every channel, of which there are `groups * group / pixels`.
                unsafe { launch.launch(config) }.w()?;
            }
        }
        Ok(T::wrap_cuda_slice(y, device.clone()))
    }
}

/// `x` times `y` blocks of threads.
fn blocks(x: usize, y: usize) -> Result<LaunchConfig> {
    Ok(LaunchConfig {
        grid_dim: (number(x)?, number(y)?, 1),
        block_dim: (BLOCK, 1, 1),
        shared_mem_bytes: 0,
    })
}
