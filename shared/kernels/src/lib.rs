//! CPU kernels of the SDXL networks: matrix product, convolution, norms, attention.
//!
//! `README.md` beside this crate says how numbers lie in memory and how a product runs.

// Bodies of `per_isa!` have to be compiled inside each function that enables an instruction set.
#![allow(clippy::inline_always)]

pub mod arch;
mod attention;
mod context;
mod conv;
mod isa;
mod linear;
mod math;
mod memory;
mod norm;
mod product;
pub mod reference;
mod step;
mod value;
mod weight;

pub use arch::Compute;
pub use attention::{KeysValues, attention};
pub use context::Context;
pub use conv::conv2d;
pub use isa::Isa;
pub use linear::{Left, linear, linear_geglu, linear_panels, linear_vector};
pub use math::{Activation, activate, add, soft_clamp};
pub use memory::{Buffer, Pool};
pub use norm::layer_norm;
pub use product::After;
pub use value::{GroupNorm, Panels, Planes, Source, Window, concat, join};
pub use weight::{Float, LowRank, Matrix, Weights};
