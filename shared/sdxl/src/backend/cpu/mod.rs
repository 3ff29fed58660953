//! The layer set on the CPU, on the kernels of `turbo-kernels`.

mod layers;
mod shared;
mod tensor;

pub(crate) use layers::Cpu;
