//! Where networks run, and in which type.

/// Where networks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Device {
    /// This machine's processor, by our own kernels.
    Cpu {
        /// Threads; 0 is one for each core.
        threads: usize,
    },
    /// This machine's processor, by candle: slow, and an independent check of our own kernels.
    CandleCpu,
    /// An NVIDIA GPU, counted from 0; needs the cargo feature `cuda`.
    Cuda(usize),
    /// An Apple GPU; needs the cargo feature `metal`.
    Metal,
}

/// The type in which a network computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum DType {
    /// The device's fastest that is as exact as PyTorch in that type.
    #[default]
    Auto,
    /// 32 bits: equal to diffusers on a CPU.
    F32,
    /// 16 bits with f32's range.
    BF16,
    /// 16 bits with a small range; overflow shows as an error.
    F16,
}
