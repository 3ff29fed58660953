//! Tensors where they lie: their bytes, the file around them, and all of one component.

mod bytes;
#[cfg(unix)]
mod cut;
mod dtype;
mod file;
mod int8;
mod quantize;
mod stored;
mod weight;
mod weights;

pub(crate) use bytes::Bytes;
pub use bytes::check_unchanged;
#[cfg(unix)]
pub use cut::on_cut;
pub use dtype::Dtype;
pub(crate) use file::TensorFile;
pub use file::is_pickle;
pub use quantize::NotQuantized;
pub use weight::Weight;
pub(crate) use weights::is_ignored;
pub use weights::{Pages, Weights};

/// Windows lets nobody cut a file that is mapped.
#[cfg(not(unix))]
pub fn on_cut(_: fn()) {}
