//! Convolutions by cuDNN, summed in float32 for every type, where candle has float16 summed in float16.

use crate::{Number, contiguous, for_type};
use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::cudnn::sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION;
use candle_core::cuda_backend::cudarc::cudnn::sys::cudnnMathType_t::{
    CUDNN_FMA_MATH, CUDNN_TENSOR_OP_MATH,
};
use candle_core::cuda_backend::cudarc::cudnn::sys::cudnnTensorFormat_t::CUDNN_TENSOR_NCHW;
use candle_core::cuda_backend::cudarc::cudnn::{ConvForward, Cudnn, CudnnDataType, CudnnError};
use candle_core::cuda_backend::{CudaDevice, DeviceId};
use candle_core::{
    CpuStorage, CudaStorage, CustomOp2, DType, Error, Layout, Result, Shape, Tensor, bail,
};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

thread_local! {
    /// cuDNN's state for each device. It must stay with its thread.
    static HANDLES: RefCell<HashMap<DeviceId, Arc<Cudnn>>> = RefCell::default();
}

/// Convolution of a map `[1, in, height, width]` with `[out, in, k, k]`, with `padding` zeros on each side. Sums are
/// float32's for every type, as in PyTorch; and products of float32 are float32's, never TF32's. The result is rounded once.
///
/// # Errors
/// A tensor is not contiguous, not on a GPU, or of a type other than f32, f16 and bf16, or they differ in it; shapes do not
/// fit; cuDNN is missing or fails.
pub fn conv2d(x: &Tensor, weight: &Tensor, padding: usize, stride: usize) -> Result<Tensor> {
    x.apply_op2_no_bwd(weight, &Convolution { padding, stride })
}

struct Convolution {
    padding: usize,
    stride: usize,
}

impl CustomOp2 for Convolution {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("convolutions of turbo-cuda need a tensor on a GPU")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        weight: &CudaStorage,
        weight_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let tensors = [(x, x_layout), (weight, weight_layout)];
        for_type!(self, x, tensors)
    }
}

impl Convolution {
    fn run<T: Number + CudnnDataType>(
        &self,
        _: &str,
        [(x, x_layout), (weight, weight_layout)]: [(&CudaStorage, &Layout); 2],
    ) -> Result<(CudaStorage, Shape)> {
        let (batch, channels, height, width) = x_layout.shape().dims4()?;
        let (out, of_channels, k, k_across) = weight_layout.shape().dims4()?;
        let padded = [height, width].map(|side| side + 2 * self.padding);
        if of_channels != channels || padded[0] < k || padded[1] < k_across {
            bail!("{weight_layout:?} does not fit {x_layout:?}");
        }
        let out_height = (padded[0] - k) / self.stride + 1;
        let out_width = (padded[1] - k_across) / self.stride + 1;
        let shape = Shape::from((batch, out, out_height, out_width));

        let math = match T::DTYPE {
            DType::F32 => CUDNN_FMA_MATH,
            _ => CUDNN_TENSOR_OP_MATH,
        };
        let device = x.device();
        let x = contiguous::<T>((x, x_layout))?;
        let weight = contiguous::<T>((weight, weight_layout))?;
        // SAFETY: cuDNN writes every number before anything reads one.
        let mut y = unsafe { device.alloc::<T>(shape.elem_count())? };

        let cudnn = handle(device)?;
        let (padding, stride) = (int(self.padding)?, int(self.stride)?);
        let mut convolution = cudnn
            .create_conv2d::<f32>([padding; 2], [stride; 2], [1; 2], CUDNN_CROSS_CORRELATION)
            .map_err(said)?;
        convolution.set_math_type(math).map_err(said)?;
        let tensor = |dims: &Shape| {
            let tensor = cudnn.create_4d_tensor::<T>(CUDNN_TENSOR_NCHW, ints(dims)?);
            tensor.map_err(said)
        };
        let (of_x, of_y) = (tensor(x_layout.shape())?, tensor(&shape)?);
        let of_weight = cudnn
            .create_4d_filter::<T>(CUDNN_TENSOR_NCHW, ints(weight_layout.shape())?)
            .map_err(said)?;
        let forward = ConvForward {
            conv: &convolution,
            x: &of_x,
            w: &of_weight,
            y: &of_y,
        };
        let algorithm = forward.pick_algorithm().map_err(said)?;
        let size = forward.get_workspace_size(algorithm).map_err(said)?;
        // No piece of memory is empty.
        // SAFETY: it is cuDNN's to write before it reads.
        let mut workspace = unsafe { device.alloc::<u8>(size.max(1))? };
        let (one, zero) = (T::one(), T::zero());
        // SAFETY: type and layout of x, weight and y are those of their descriptors, and each has as many numbers as its
        // shape; the stream of cuDNN's handle is the one on which they are made, used and freed.
        unsafe {
            forward.launch(
                algorithm,
                Some(&mut workspace),
                (one, zero),
                &x,
                &weight,
                &mut y,
            )
        }
        .map_err(said)?;
        Ok((T::wrap_cuda_slice(y, device.clone()), shape))
    }
}

/// cuDNN on the device's stream, for this thread.
fn handle(device: &CudaDevice) -> Result<Arc<Cudnn>> {
    HANDLES.with_borrow_mut(|handles| {
        if let Some(handle) = handles.get(&device.id()) {
            return Ok(handle.clone());
        }
        let handle = Cudnn::new(device.cuda_stream()).map_err(|error| {
            Error::msg(format!(
                "cuDNN: expected its version 9 beside CUDA's libraries, found {error:?}"
            ))
        })?;
        handles.insert(device.id(), handle.clone());
        Ok(handle)
    })
}

fn said(error: CudnnError) -> Error {
    Error::wrap(error)
}

fn int(value: usize) -> Result<i32> {
    i32::try_from(value).map_err(Error::wrap)
}

/// The four sizes of a tensor.
fn ints(shape: &Shape) -> Result<[i32; 4]> {
    let (a, b, c, d) = shape.dims4()?;
    Ok([int(a)?, int(b)?, int(c)?, int(d)?])
}
