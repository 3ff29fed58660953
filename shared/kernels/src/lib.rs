//! CPU kernels of the SDXL networks: matrix product, convolution, norms, attention.
#![deny(unsafe_op_in_unsafe_fn)]

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
pub use linear::{linear, linear_add, linear_geglu, linear_panels, linear_vector};
pub use map::{concat, upsample_nearest};
pub use math::{Activation, activate, add, soft_clamp};
pub use norm::{GroupNorm, layer_norm};
pub use value::{Context, Padded, Panels, Planes};
