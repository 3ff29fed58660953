//! Checks of one tensor, or of two beside each other.

use safetensors::Dtype;

use crate::quote::list;
use crate::{Error, Kind, TensorSpec};

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
