//! One tensor of a checkpoint.

use super::stored::Stored;
use super::{Bytes, Dtype};
use half::{bf16, f16};
use std::ops::Range;
use std::sync::Arc;

/// One tensor of a checkpoint, used where it lies: in a mapped file, in the program, or, rarely, in memory of its own.
///
/// Cheap to clone; holds on to the file it lies in.
#[derive(Clone)]
pub struct Weight {
    name: Arc<str>,
    stored: Stored,
    shape: Vec<usize>,
    bytes: Bytes,
    range: Range<usize>,
}

impl Weight {
    /// `range` must lie in `bytes` and have the length that `stored` and `shape` say.
    pub(crate) fn new(
        name: &str,
        stored: Stored,
        shape: Vec<usize>,
        bytes: Bytes,
        range: Range<usize>,
    ) -> Self {
        debug_assert_eq!(range.len(), shape.iter().product::<usize>() * stored.size());
        debug_assert!(range.end <= bytes.len());
        Self {
            name: name.into(),
            stored,
            shape,
            bytes,
            range,
        }
    }

    /// A tensor in memory of its own, little-endian and in C order.
    ///
    /// # Panics
    /// If the number of bytes is not what `dtype` and `shape` say.
    pub fn from_bytes(name: &str, dtype: Dtype, shape: &[usize], data: &[u8]) -> Self {
        assert_eq!(
            data.len(),
            shape.iter().product::<usize>() * dtype.size(),
            "bytes of `{name}` {shape:?} {dtype}"
        );
        Self::new(
            name,
            Stored::As(dtype),
            shape.to_vec(),
            Bytes::Owned(data.into()),
            0..data.len(),
        )
    }

    /// An f32 tensor in memory of its own: for layers that are made up, and for tests.
    ///
    /// # Panics
    /// If the number of values is not what `shape` says.
    pub fn from_f32(name: &str, shape: &[usize], data: &[f32]) -> Self {
        let bytes: Vec<u8> = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        Self::from_bytes(name, Dtype::F32, shape, &bytes)
    }

    /// The key, as diffusers and transformers name it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The element type, of a tensor that [`Weights::get`](crate::Weights::get) gives that of its bytes.
    pub fn dtype(&self) -> Dtype {
        self.stored.dtype()
    }

    /// The tensor in a type that networks compute with: itself, or a widened copy.
    #[must_use]
    pub(crate) fn widened(&self) -> Self {
        match self.stored {
            Stored::As(_) => self.clone(),
            stored => Self::from_bytes(
                &self.name,
                stored.dtype(),
                &self.shape,
                &stored.widen(self.bytes()),
            ),
        }
    }

    /// The size of each axis, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements, little-endian and in C order. Not necessarily aligned to the element.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.range.clone()]
    }

    /// The elements as f32, copied: for small tensors such as norms and biases.
    pub fn to_f32(&self) -> Vec<f32> {
        let widened = self.widened();
        let bytes = widened.bytes();
        match widened.dtype() {
            Dtype::F32 => bytes
                .as_chunks()
                .0
                .iter()
                .map(|b| f32::from_le_bytes(*b))
                .collect(),
            Dtype::F16 => bytes
                .as_chunks()
                .0
                .iter()
                .map(|b| f16::from_le_bytes(*b).to_f32())
                .collect(),
            Dtype::BF16 => bytes
                .as_chunks()
                .0
                .iter()
                .map(|b| bf16::from_le_bytes(*b).to_f32())
                .collect(),
        }
    }

    /// Rows `start..end` of the first axis, without a copy.
    ///
    /// # Panics
    /// If there are no such rows, or the tensor has no axis.
    #[must_use]
    pub fn rows(&self, start: usize, end: usize) -> Self {
        let rows = self.shape[0];
        assert!(
            start <= end && end <= rows,
            "rows {start}..{end} of `{}` {:?}",
            self.name,
            self.shape
        );
        let row = self.shape[1..].iter().product::<usize>() * self.stored.size();
        let mut part = self.clone();
        part.shape[0] = end - start;
        part.range = self.range.start + start * row..self.range.start + end * row;
        part
    }

    /// The same elements under another shape.
    ///
    /// # Panics
    /// If the number of elements differs.
    #[must_use]
    pub fn reshape(&self, shape: &[usize]) -> Self {
        let count = |shape: &[usize]| shape.iter().product::<usize>();
        assert_eq!(
            count(shape),
            count(&self.shape),
            "`{}`: {:?} as {shape:?}",
            self.name,
            self.shape
        );
        Self {
            shape: shape.to_vec(),
            ..self.clone()
        }
    }

    /// A 1x1 convolution as the matrix it is; anything else as it is.
    #[must_use]
    pub(crate) fn squeezed(&self) -> Self {
        match *self.shape() {
            [out, input, 1, 1] => self.reshape(&[out, input]),
            _ => self.clone(),
        }
    }

    /// The same elements under another name.
    #[must_use]
    pub fn renamed(&self, name: &str) -> Self {
        Self {
            name: name.into(),
            ..self.clone()
        }
    }

    /// A matrix with rows and columns exchanged, copied.
    pub(crate) fn transposed(&self) -> Self {
        let &[rows, columns] = self.shape() else {
            panic!("`{}` {:?} is no matrix", self.name, self.shape)
        };
        let (size, from) = (self.stored.size(), self.bytes());
        let mut to = Vec::with_capacity(from.len());
        for column in 0..columns {
            for row in 0..rows {
                let at = (row * columns + column) * size;
                to.extend_from_slice(&from[at..at + size]);
            }
        }
        let len = to.len();
        Self::new(
            &self.name,
            self.stored,
            vec![columns, rows],
            Bytes::Owned(to.into()),
            0..len,
        )
    }

    /// Where the elements lie.
    pub(crate) fn place(&self) -> (&Bytes, Range<usize>) {
        (&self.bytes, self.range.clone())
    }
}

impl std::fmt::Debug for Weight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {:?}", self.name, self.dtype(), self.shape)
    }
}
