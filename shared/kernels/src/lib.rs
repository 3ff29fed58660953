//! CPU kernels of the SDXL networks: matrix product, convolution, norms, attention.
//!
//! `README.md` beside this crate says how numbers lie in memory and how a product runs.

// Bodies of `per_isa!` have to be compiled inside each function that enables an instruction set.
#![allow(clippy::inline_always)]

pub mod arch;
mod attention;
mod buffer;
mod conv;
mod float;
mod isa;
mod linear;
mod map;
mod math;
mod norm;
mod product;
pub mod reference;
mod value;
mod winograd;

pub use arch::Compute;
pub use attention::{KeysValues, attention};
pub use buffer::{Buffer, Pool};
pub use conv::{Window, conv3x3, gather};
pub use float::{Float, Matrix, to_f32};
pub use isa::Isa;
pub use linear::{Left, linear, linear_add, linear_geglu, linear_panels, linear_vector};
pub use map::{Residual, Source, concat, reads_planes, upsample_nearest};
pub use math::{Activation, activate, add, soft_clamp};
pub use norm::{GroupNorm, layer_norm};
pub use value::{Context, Padded, Panels, Planes};
