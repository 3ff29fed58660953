//! How floats become int8.

use super::stored::Stored;
use super::weight::Int8;
use super::{Bytes, Dtype, Weight};

impl Weight {
    /// The tensor as int8 with a scale for each row of the first axis, in memory of its own: `scale` is a 127th of the
    /// row's largest number, and each number becomes the whole one nearest to `number / scale`, ties to even. What is
    /// int8 already stays as it is.
    ///
    /// # Errors
    /// A row that has a number that is not finite, or nothing to have a row of.
    pub fn to_int8(&self) -> Result<Self, NotQuantized> {
        if self.scales().is_some() {
            return Ok(self.clone());
        }
        quantize(self)
    }
}

/// Why a tensor has no int8.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotQuantized {
    /// It has no rows, or nothing in them.
    #[error("expected rows of numbers, found none")]
    Empty,
    /// A number is infinite or none.
    #[error("row {row}: expected finite numbers, found others")]
    NotFinite {
        /// From 0, of the first axis.
        row: usize,
    },
}

/// The least scale, of rows of zeros: other programs that write the format have the same.
const LEAST: f32 = 1e-30;

/// See [`Weight::to_int8`].
fn quantize(weight: &Weight) -> Result<Weight, NotQuantized> {
    let rows = weight.shape().first().copied().unwrap_or(0);
    let count: usize = weight.shape().iter().product();
    if count == 0 {
        return Err(NotQuantized::Empty);
    }
    let (mut scales, mut bytes) = (Vec::with_capacity(rows), Vec::with_capacity(count));
    for row in 0..rows {
        let numbers = weight.rows(row, row + 1).to_f32();
        if numbers.iter().any(|x| !x.is_finite()) {
            return Err(NotQuantized::NotFinite { row });
        }
        let largest = numbers.iter().fold(0f32, |most, x| most.max(x.abs()));
        let scale = (largest / 127.).max(LEAST);
        scales.push(scale);
        // At most 127, but for a scale that was raised, and then less.
        let whole = |x: &f32| (x / scale).round_ties_even() as i8;
        bytes.extend(numbers.iter().map(|x| whole(x).cast_unsigned()));
    }
    let int8 = Weight::new(
        weight.name(),
        Stored::As(Dtype::I8),
        weight.shape().to_vec(),
        Bytes::Owned(bytes.into()),
        0..count,
    );
    Ok(int8.with_int8(Int8 {
        scales: scales.into(),
        rows: 0..rows,
        full_precision: false,
    }))
}
