//! A frame in memory.

use std::collections::{BTreeMap, BTreeSet};

use half::{bf16, f16};
use safetensors::Dtype;

use crate::{Error, Header, Result, TensorSpec};

/// A whole frame: a header and the bodies of its tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// The checked header.
    pub header: Header,
    /// The bodies, one behind the other in the header's order. Always `header.body_len()` long.
    body: Vec<u8>,
}

impl Frame {
    /// A frame of the header and its tensors' little-endian bytes, in any order.
    ///
    /// # Errors
    /// [`Error::BodyMissing`], [`Error::BodyExtra`] or [`Error::BodySize`].
    pub fn new(header: Header, tensors: &[(&str, &[u8])]) -> Result<Self> {
        let body = arrange(&header, tensors)?.concat();
        Ok(Self { header, body })
    }

    pub(crate) fn from_parts(header: Header, body: Vec<u8>) -> Self {
        debug_assert_eq!(body.len() as u64, header.body_len());
        Self { header, body }
    }

    /// All tensors in the header's order, each with its little-endian body in C order. For whoever
    /// looks at all of them: [`bytes`](Self::bytes) searches for each one.
    pub fn tensors(&self) -> impl Iterator<Item = (&TensorSpec, &[u8])> {
        self.header
            .tensors()
            .iter()
            .scan(self.body(), |rest, tensor| {
                let (bytes, after) = rest.split_at_checked(tensor.byte_len()?)?;
                *rest = after;
                Some((tensor, bytes))
            })
    }

    /// The little-endian body of one tensor, in C order; `None` if there is no such tensor.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.tensors()
            .find_map(|(tensor, bytes)| (tensor.name == name).then_some(bytes))
    }

    /// One tensor's values, widened from f32, f16 or bf16; `None` if there is no such tensor, or
    /// if it is of another type.
    pub fn to_f32(&self, name: &str) -> Option<Vec<f32>> {
        let bytes = self.bytes(name)?;
        let (halves, _) = bytes.as_chunks::<2>();
        let (words, _) = bytes.as_chunks::<4>();
        match self.header.tensor(name)?.dtype {
            Dtype::F32 => Some(words.iter().map(|&b| f32::from_le_bytes(b)).collect()),
            Dtype::F16 => Some(
                halves
                    .iter()
                    .map(|&b| f16::from_le_bytes(b).to_f32())
                    .collect(),
            ),
            Dtype::BF16 => Some(
                halves
                    .iter()
                    .map(|&b| bf16::from_le_bytes(b).to_f32())
                    .collect(),
            ),
            _ => None,
        }
    }

    /// All bodies, one behind the other in the header's order.
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

/// Puts a body's parts in the header's order, and checks that they are all there and of the right
/// size.
pub(crate) fn arrange<'a>(header: &Header, tensors: &[(&str, &'a [u8])]) -> Result<Vec<&'a [u8]>> {
    // By name, as a search for each tensor would take the square of their number.
    let extra = |name: &str| Error::BodyExtra {
        tensor: name.to_owned(),
    };
    let mut given = BTreeMap::new();
    for (name, bytes) in tensors {
        if given.insert(*name, *bytes).is_some() {
            return Err(extra(name));
        }
    }
    let known: BTreeSet<&str> = header.tensors().iter().map(|t| &t.name[..]).collect();
    if let Some(name) = given.keys().find(|name| !known.contains(*name)) {
        return Err(extra(name));
    }
    let mut parts = Vec::with_capacity(tensors.len());
    for tensor in header.tensors() {
        let Some(&bytes) = given.get(&tensor.name[..]) else {
            return Err(Error::BodyMissing {
                tensor: tensor.name.clone(),
            });
        };
        if tensor.byte_len() != Some(bytes.len()) {
            return Err(Error::BodySize {
                tensor: tensor.name.clone(),
                expected: tensor.byte_len().unwrap_or_default() as u64,
                found: bytes.len() as u64,
            });
        }
        parts.push(bytes);
    }
    Ok(parts)
}

/// The little-endian bytes of f32 values, as a frame's body holds them.
pub fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}
