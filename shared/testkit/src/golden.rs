//! What diffusers computes.

use crate::golden_dir;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// An expected tensor.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// The size of each axis, outermost first.
    pub shape: Vec<usize>,
    dtype: Dtype,
    bytes: Vec<u8>,
}

macro_rules! elements {
    ($($name:ident: $type:ty = $dtype:ident),*) => {$(
        #[doc = concat!("The elements of a tensor of ", stringify!($type), ", in C order.\n\n# Panics\nIf it is of another type.")]
        pub fn $name(&self) -> Vec<$type> {
            assert_eq!(self.dtype, Dtype::$dtype, "the expected tensor has another type");
            let chunks = self.bytes.as_chunks::<{ size_of::<$type>() }>().0;
            chunks.iter().map(|bytes| <$type>::from_le_bytes(*bytes)).collect()
        }
    )*};
}

impl Tensor {
    elements!(f32: f32 = F32, f64: f64 = F64, i64: i64 = I64, u8: u8 = U8);
}

/// The expected tensors in `tests/golden/NAME.safetensors`, or in any file that `name` is the path of.
///
/// # Panics
/// If there is no such file, or it is not safetensors.
pub fn golden(name: impl AsRef<Path>) -> HashMap<String, Tensor> {
    let bytes = read(name.as_ref(), "safetensors");
    let tensors = SafeTensors::deserialize(&bytes)
        .unwrap_or_else(|e| panic!("{}: {e}", name.as_ref().display()));
    let own = |(name, view): (&str, safetensors::tensor::TensorView)| {
        let tensor = Tensor {
            shape: view.shape().to_vec(),
            dtype: view.dtype(),
            bytes: view.data().to_vec(),
        };
        (name.to_owned(), tensor)
    };
    tensors.iter().map(own).collect()
}

/// What the tensors of [`golden`] were computed from: `tests/golden/NAME.json`.
///
/// # Panics
/// If there is no such file, or it is not JSON.
pub fn golden_cases(name: impl AsRef<Path>) -> Value {
    serde_json::from_slice(&read(name.as_ref(), "json"))
        .unwrap_or_else(|e| panic!("{}: {e}", name.as_ref().display()))
}

/// `name` without an extension lies in `tests/golden`.
fn read(name: &Path, extension: &str) -> Vec<u8> {
    let path = golden_dir().join(name.with_extension(extension));
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// `‖ours − expected‖ / ‖expected‖`; NaN if anything is not a number, so that no bound holds.
///
/// # Panics
/// If the lengths differ.
pub fn relative_error(ours: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(
        ours.len(),
        expected.len(),
        "lengths of ours and of what is expected"
    );
    let square = |x: f64| x * x;
    let difference: f64 = ours
        .iter()
        .zip(expected)
        .map(|(a, b)| square(f64::from(*a) - f64::from(*b)))
        .sum();
    let norm: f64 = expected.iter().map(|b| square(f64::from(*b))).sum();
    if difference == 0.0 {
        0.0
    } else {
        (difference / norm).sqrt()
    }
}
