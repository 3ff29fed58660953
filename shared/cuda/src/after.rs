//! What follows a product, by the kernels of `after.cu`.

use crate::{Number, contiguous, for_type, number};
use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, D, Layout, Result, Shape, Tensor,
    bail,
};

/// What nvcc made of `after.cu`: see README.md.
const PTX: &str = include_str!("after.ptx");

/// The name under which candle keeps the module.
const MODULE: &str = "turbo_after";

/// Threads of a block.
const BLOCK: u32 = 256;

/// Softmax over the last dimension of scores `[heads, rows, keys]` times `scale`. With `causal`, row `r` of a head sees the
/// keys up to `causal + r` only. Computed in float32, rounded once. (One launch.)
///
/// # Errors
/// The scores are not contiguous, not on a GPU, or of a type other than f32, f16 and bf16.
pub fn softmax(scores: &Tensor, scale: f64, causal: Option<usize>) -> Result<Tensor> {
    let (heads, rows, keys) = scores.dims3()?;
    let (masked, first) = match causal {
        Some(first) => (rows, first),
        None => (0, 0),
    };
    scores.apply_op1_no_bwd(&Softmax {
        rows: number(heads * rows)?,
        keys: number(keys)?,
        scale: scale as f32,
        masked: number(masked)?,
        first: number(first)?,
    })
}

/// GEGLU of a product `[.., 2 width]` and its bias `[2 width]`: of each row the first half times the GELU, with erf, of the
/// second. Computed in float32, rounded once. (One launch.)
///
/// # Errors
/// As for [`softmax`]; or the bias is not of the last dimension, or the types differ.
pub fn geglu(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let width = x.dim(D::Minus1)? / 2;
    if bias.elem_count() != 2 * width || x.dim(D::Minus1)? != 2 * width {
        bail!(
            "GEGLU: expected two halves and a bias for each, found {:?} and {:?}",
            x.shape(),
            bias.shape()
        );
    }
    x.apply_op2_no_bwd(
        bias,
        &Geglu {
            width: number(width)?,
        },
    )
}

/// `x + bias + residual`, of tokens `[1, tokens, channels]` or a map `[1, channels, height, width]`, with a bias for each
/// channel. Computed in float32, rounded once. (One launch.)
///
/// # Errors
/// As for [`softmax`]; or shapes or types differ.
pub fn add(x: &Tensor, bias: &Tensor, residual: &Tensor) -> Result<Tensor> {
    let (channels, pixels) = match x.dims() {
        [_, _, channels] => (*channels, 1),
        [_, channels, height, width] => (*channels, height * width),
        other => bail!("bias: expected tokens or a map, found {other:?}"),
    };
    if bias.elem_count() != channels || residual.shape() != x.shape() {
        bail!(
            "expected a bias for each of {channels} channels and a residual like {:?}, found {:?} and {:?}",
            x.shape(),
            bias.shape(),
            residual.shape()
        );
    }
    let op = Add {
        channels: number(channels)?,
        pixels: number(pixels)?,
    };
    x.apply_op3_no_bwd(bias, residual, &op)
}

struct Softmax {
    /// Of all heads.
    rows: u32,
    keys: u32,
    scale: f32,
    /// The rows of a head, if the mask is causal.
    masked: u32,
    first: u32,
}

struct Geglu {
    width: u32,
}

struct Add {
    channels: u32,
    pixels: u32,
}

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("softmax of turbo-cuda needs a tensor on a GPU")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let y = for_type!(self, x, (x, layout))?;
        Ok((y, layout.shape().clone()))
    }
}

impl Softmax {
    fn run<T: Number>(&self, name: &str, x: (&CudaStorage, &Layout)) -> Result<CudaStorage> {
        let device = x.0.device();
        let x = contiguous::<T>(x)?;
        // SAFETY: the kernel below writes every number before anything reads one.
        let y: CudaSlice<T> = unsafe { device.alloc(x.len())? };
        let function = device.get_or_load_custom_func(&format!("softmax_{name}"), MODULE, PTX)?;
        let mut launch = function.builder();
        launch.arg(&x).arg(&y).arg(&self.keys).arg(&self.scale);
        launch.arg(&self.masked).arg(&self.first);
        // SAFETY: the arguments are those of `softmax_*` in after.cu. A block stays within its row of `keys` numbers, and x
        // and y have `rows` of them.
        unsafe { launch.launch(blocks(self.rows)) }.w()?;
        Ok(T::wrap_cuda_slice(y, device.clone()))
    }
}

impl CustomOp2 for Geglu {
    fn name(&self) -> &'static str {
        "geglu"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("GEGLU of turbo-cuda needs tensors on a GPU")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        layout: &Layout,
        bias: &CudaStorage,
        bias_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let y = for_type!(self, x, (x, layout), (bias, bias_layout))?;
        let mut dims = layout.dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = self.width as usize;
        }
        Ok((y, Shape::from(dims)))
    }
}

impl Geglu {
    fn run<T: Number>(
        &self,
        name: &str,
        x: (&CudaStorage, &Layout),
        bias: (&CudaStorage, &Layout),
    ) -> Result<CudaStorage> {
        let device = x.0.device();
        let (x, bias) = (contiguous::<T>(x)?, contiguous::<T>(bias)?);
        let count = number(x.len() / 2)?;
        // SAFETY: the kernel below writes every number before anything reads one.
        let y: CudaSlice<T> = unsafe { device.alloc(count as usize)? };
        let function = device.get_or_load_custom_func(&format!("geglu_{name}"), MODULE, PTX)?;
        let mut launch = function.builder();
        launch
            .arg(&x)
            .arg(&bias)
            .arg(&y)
            .arg(&count)
            .arg(&self.width);
        // SAFETY: the arguments are those of `geglu_*` in after.cu. A thread writes number `i` of y, if it is below `count`,
        // and reads two of x, which has twice as many, and two of the bias, which has `2 width`.
        unsafe { launch.launch(blocks(count.div_ceil(BLOCK))) }.w()?;
        Ok(T::wrap_cuda_slice(y, device.clone()))
    }
}

impl CustomOp3 for Add {
    fn name(&self) -> &'static str {
        "add"
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
        bail!("sums of turbo-cuda need tensors on a GPU")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        layout: &Layout,
        bias: &CudaStorage,
        bias_layout: &Layout,
        residual: &CudaStorage,
        residual_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (bias, residual) = ((bias, bias_layout), (residual, residual_layout));
        let y = for_type!(self, x, (x, layout), bias, residual)?;
        Ok((y, layout.shape().clone()))
    }
}

impl Add {
    fn run<T: Number>(
        &self,
        name: &str,
        x: (&CudaStorage, &Layout),
        bias: (&CudaStorage, &Layout),
        residual: (&CudaStorage, &Layout),
    ) -> Result<CudaStorage> {
        let device = x.0.device();
        let (x, bias) = (contiguous::<T>(x)?, contiguous::<T>(bias)?);
        let residual = contiguous::<T>(residual)?;
        let count = number(x.len())?;
        // SAFETY: the kernel below writes every number before anything reads one.
        let y: CudaSlice<T> = unsafe { device.alloc(x.len())? };
        let function = device.get_or_load_custom_func(&format!("add_{name}"), MODULE, PTX)?;
        let mut launch = function.builder();
        launch.arg(&x).arg(&bias).arg(&residual).arg(&y);
        launch.arg(&count).arg(&self.channels).arg(&self.pixels);
        // SAFETY: the arguments are those of `add_*` in after.cu. A thread reads and writes number `i`, if it is below `count`,
        // which x, residual and y have, and one of `channels` biases.
        unsafe { launch.launch(blocks(count.div_ceil(BLOCK))) }.w()?;
        Ok(T::wrap_cuda_slice(y, device.clone()))
    }
}

/// So many blocks in a row.
fn blocks(blocks: u32) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (blocks, 1, 1),
        block_dim: (BLOCK, 1, 1),
        shared_mem_bytes: 0,
    }
}
