//! What a header says of one tensor, and checks of it.

use safetensors::Dtype;

use crate::quote::{clip, list};
use crate::{Error, Kind};

/// Name, type and shape of a tensor. Bodies are little-endian, in C order (last index fastest).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// The diffusers argument it equals, such as `prompt_embeds`.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
}

impl TensorSpec {
    /// A tensor's description.
    pub fn new(name: &str, dtype: Dtype, shape: &[usize]) -> Self {
        Self {
            name: name.to_owned(),
            dtype,
            shape: shape.to_vec(),
        }
    }

    /// Bytes of the tensor's body; `None` where the bits do not fit a `usize` or are no whole
    /// bytes.
    pub fn byte_len(&self) -> Option<usize> {
        let bits = self
            .shape
            .iter()
            .try_fold(1_usize, |product, &dim| product.checked_mul(dim))?
            .checked_mul(self.dtype.bitsize())?;
        bits.is_multiple_of(8).then_some(bits / 8)
    }

    pub(crate) fn overflow(&self) -> Error {
        Error::Overflow {
            tensor: clip(&self.name),
            dtype: self.dtype,
            shape: self.shape.clone(),
        }
    }
}

pub(crate) fn find<'a>(tensors: &'a [TensorSpec], name: &str) -> Option<&'a TensorSpec> {
    tensors.iter().find(|tensor| tensor.name == name)
}

pub(crate) fn need<'a>(
    kind: Kind,
    tensors: &'a [TensorSpec],
    name: &'static str,
) -> Result<&'a TensorSpec, Error> {
    find(tensors, name).ok_or_else(|| Error::MissingTensor {
        kind,
        tensor: name,
        found: list(tensors.iter().map(|tensor| tensor.name.as_str())),
    })
}

pub(crate) fn check_float(tensor: &TensorSpec, name: &'static str) -> Result<(), Error> {
    match tensor.dtype {
        Dtype::F32 | Dtype::F16 | Dtype::BF16 => Ok(()),
        found => Err(Error::TensorDtype {
            tensor: name,
            expected: "F32, F16 or BF16",
            found,
        }),
    }
}

/// Rank, fixed dimensions (`None` is any) and emptiness.
pub(crate) fn check_shape(
    tensor: &TensorSpec,
    name: &'static str,
    expected: &'static str,
    dims: &[Option<usize>],
) -> Result<(), Error> {
    let fits = tensor.shape.len() == dims.len()
        && tensor
            .shape
            .iter()
            .zip(dims)
            .all(|(&found, dim)| found >= 1 && dim.is_none_or(|dim| dim == found));
    if fits {
        Ok(())
    } else {
        Err(Error::TensorShape {
            tensor: name,
            expected,
            found: tensor.shape.clone(),
        })
    }
}

/// A negative embedding against its positive one.
pub(crate) fn check_like(
    (tensor, name): (&TensorSpec, &'static str),
    (other, other_name): (&TensorSpec, &'static str),
) -> Result<(), Error> {
    check_float(tensor, name)?;
    if tensor.shape == other.shape {
        Ok(())
    } else {
        Err(Error::ShapeMismatch {
            tensor: name,
            other: other_name,
            expected: other.shape.clone(),
            found: tensor.shape.clone(),
        })
    }
}
