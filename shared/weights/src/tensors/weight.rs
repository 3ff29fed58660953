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
    int8: Option<Int8>,
}

/// What int8 needs beside its bytes.
#[derive(Clone)]
pub(crate) struct Int8 {
    /// One for each row.
    pub(crate) scales: Arc<[f32]>,
    /// The rows of the tensor that these are.
    pub(crate) rows: Range<usize>,
    /// Whether the file wants the activations to stay floats.
    pub(crate) full_precision: bool,
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
            int8: None,
        }
    }

    /// The same bytes as int8.
    pub(crate) fn with_int8(self, int8: Int8) -> Self {
        Self {
            int8: Some(int8),
            ..self
        }
    }

    /// Of int8, the scale of each row: what its bytes, which are signed, have to be multiplied by.
    pub fn scales(&self) -> Option<&[f32]> {
        let int8 = self.int8.as_ref()?;
        Some(&int8.scales[int8.rows.clone()])
    }

    /// Whether the file wants this layer's activations to stay floats, though its weights are int8.
    pub fn wants_full_precision(&self) -> bool {
        self.int8.as_ref().is_some_and(|int8| int8.full_precision)
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
        // A clone would allocate its shape once more, for each row of an embedding.
        let made;
        let weight = if matches!(self.stored, Stored::As(_)) {
            self
        } else {
            made = self.widened();
            &made
        };
        let bytes = weight.bytes();
        match weight.dtype() {
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
            Dtype::I8 => {
                let scales = self.scales().unwrap_or_default();
                let row = bytes.len() / scales.len().max(1);
                let rows = bytes.chunks_exact(row.max(1)).zip(scales);
                rows.flat_map(|(row, scale)| {
                    row.iter().map(move |b| f32::from(b.cast_signed()) * scale)
                })
                .collect()
            }
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
        if let Some(int8) = &mut part.int8 {
            int8.rows = int8.rows.start + start..int8.rows.start + end;
        }
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

    /// A matrix with rows and columns exchanged, copied; int8, which has its scales by rows, as f32.
    pub(crate) fn transposed(&self) -> Self {
        if self.int8.is_some() {
            return Self::from_f32(&self.name, &self.shape, &self.to_f32()).transposed();
        }
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

    /// Says that the tensor will not be read soon: its pages, which are in the file, need not stay in the process.
    /// Nothing else changes.
    pub fn release(&self) {
        self.bytes.release(self.range.clone());
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
