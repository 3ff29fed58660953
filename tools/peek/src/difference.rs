//! How far two tensors are apart.

use std::collections::HashMap;

use serde::Serialize;
use turbo_wire::{Dtype, Frame, TensorSpec};

use crate::number::{Number, numbers};

/// What two tensors may differ by. A bound that is not given does not bind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bounds {
    /// The greatest norm of the difference, over the norm of the other tensor.
    pub(crate) relative: Option<f64>,
    /// The greatest difference of any value.
    pub(crate) absolute: Option<f64>,
}

/// How far values are apart.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Distance {
    /// Values that differ.
    pub(crate) differing: u64,
    /// The greatest difference. Infinite where one value is NaN or infinite and the other is not the same.
    pub(crate) max_abs: f64,
    /// The mean over all values.
    pub(crate) mean_abs: f64,
    /// The norm of the difference over the norm of the other tensor.
    pub(crate) relative: f64,
    /// The first values that differ.
    pub(crate) first: Option<First>,
}

/// A place where two tensors differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct First {
    pub(crate) index: Vec<usize>,
    pub(crate) value: Number,
    pub(crate) other: Number,
}

impl Distance {
    /// Compares two tensors of this shape by value. `None` for types that peek does not compute with, unless they are
    /// the same byte for byte.
    pub(crate) fn new(
        shape: &[usize],
        (dtype, bytes): (Dtype, &[u8]),
        (other_dtype, other_bytes): (Dtype, &[u8]),
    ) -> Option<Self> {
        let mut distance = Self::default();
        let (Some(values), Some(others)) =
            (numbers(dtype, bytes), numbers(other_dtype, other_bytes))
        else {
            return (dtype == other_dtype && bytes == other_bytes).then_some(distance);
        };
        let (mut count, mut sum, mut squares, mut norm) = (0_u64, 0.0, 0.0, 0.0);
        for (at, (value, other)) in values.zip(others).enumerate() {
            count += 1;
            let apart = match value.minus(other).abs() {
                apart if apart.is_finite() => apart,
                _ if same(value, other) => continue,
                _ => f64::INFINITY,
            };
            if other.to_f64().is_finite() {
                norm += other.to_f64() * other.to_f64();
            }
            if apart > 0.0 {
                distance.differing += 1;
                distance.max_abs = distance.max_abs.max(apart);
                sum += apart;
                squares += apart * apart;
                distance.first.get_or_insert_with(|| First {
                    index: place(shape, at),
                    value,
                    other,
                });
            }
        }
        if distance.differing > 0 {
            distance.mean_abs = sum / count as f64;
            distance.relative = (squares / norm).sqrt();
        }
        Some(distance)
    }

    /// Whether every bound holds.
    pub(crate) fn is_within(&self, bounds: &Bounds) -> bool {
        bounds.relative.is_none_or(|bound| self.relative <= bound)
            && bounds.absolute.is_none_or(|bound| self.max_abs <= bound)
    }
}

/// Whether values that are not both finite are the same. Two NaN are, as equal streams are to be equal.
fn same(a: Number, b: Number) -> bool {
    let (a, b) = (a.to_f64(), b.to_f64());
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

/// The index of element `at`, counted in C order.
fn place(shape: &[usize], mut at: usize) -> Vec<usize> {
    let mut index: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&dim| {
            let i = at % dim;
            at /= dim;
            i
        })
        .collect();
    index.reverse();
    index
}

/// A tensor that is in one frame or in both. The order of fields is that of the JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct TensorDifference {
    pub(crate) name: String,
    /// `None` where the tensor is in the other frame only; so with the shape.
    pub(crate) dtype: Option<String>,
    pub(crate) shape: Option<Vec<usize>>,
    pub(crate) other_dtype: Option<String>,
    pub(crate) other_shape: Option<Vec<usize>>,
    pub(crate) within: bool,
    /// `None` where there is nothing to compare, or no way.
    pub(crate) distance: Option<Distance>,
}

/// A tensor and its little-endian values.
type Tensor<'a> = (&'a TensorSpec, &'a [u8]);

fn by_name(frame: &Frame) -> HashMap<&str, Tensor<'_>> {
    let tensors = frame.tensors();
    tensors.map(|tensor| (&tensor.0.name[..], tensor)).collect()
}

impl TensorDifference {
    fn new(name: &str, here: Option<Tensor>, there: Option<Tensor>, bounds: &Bounds) -> Self {
        let distance = match (here, there) {
            (Some((a, bytes)), Some((b, others))) if a.shape == b.shape => {
                Distance::new(&a.shape, (a.dtype, bytes), (b.dtype, others))
            }
            _ => None,
        };
        let dtype = |tensor: Option<Tensor>| tensor.map(|(spec, _)| spec.dtype.to_string());
        let shape = |tensor: Option<Tensor>| tensor.map(|(spec, _)| spec.shape.clone());
        Self {
            name: name.to_owned(),
            dtype: dtype(here),
            shape: shape(here),
            other_dtype: dtype(there),
            other_shape: shape(there),
            within: distance
                .as_ref()
                .is_some_and(|distance| distance.is_within(bounds)),
            distance,
        }
    }

    /// All tensors of both frames: in this frame's order, then those that only the other has.
    pub(crate) fn all(frame: &Frame, other: &Frame, bounds: &Bounds) -> Vec<Self> {
        let (known, others) = (by_name(frame), by_name(other));
        let here = frame.header.tensors().iter();
        let there = other.header.tensors().iter();
        here.chain(there.filter(|spec| !known.contains_key(&spec.name[..])))
            .map(|TensorSpec { name, .. }| {
                let of = |tensors: &HashMap<_, _>| tensors.get(&name[..]).copied();
                Self::new(name, of(&known), of(&others), bounds)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};

    fn f32s(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    fn distance(a: &[f32], b: &[f32]) -> Distance {
        Distance::new(
            &[2, a.len() / 2],
            (Dtype::F32, &f32s(a)),
            (Dtype::F32, &f32s(b)),
        )
        .unwrap()
    }

    fn bounds(relative: Option<f64>, absolute: Option<f64>) -> Bounds {
        Bounds { relative, absolute }
    }

    #[test]
    fn numbers_of_a_difference() {
        // numpy: a = [1, 2, 3, 4], b = [1, 2.5, 3, 5]: max 1, mean 0.375, norms sqrt(1.25) and sqrt(41.25)
        let found = distance(&[1.0, 2.0, 3.0, 4.0], &[1.0, 2.5, 3.0, 5.0]);
        assert_eq!(
            (found.differing, found.max_abs, found.mean_abs),
            (2, 1.0, 0.375)
        );
        assert!((found.relative - 0.174_077_655_955_697_87).abs() < 1e-15);
        let first = found.first.clone().unwrap();
        assert_eq!(first.index, [0, 1]);
        assert_eq!(
            (first.value, first.other),
            (Number::Single(2.0), Number::Single(2.5))
        );
        assert!(found.is_within(&bounds(Some(0.18), Some(1.0))));
        assert!(!found.is_within(&bounds(Some(0.18), Some(0.9))));
        assert!(!found.is_within(&bounds(Some(0.17), None)));
        assert!(found.is_within(&bounds(None, Some(1.0))));
    }

    #[test]
    fn what_is_no_number_is_the_same_or_infinitely_far() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let equal = distance(&[nan, inf, -inf, 0.0], &[-nan, inf, -inf, -0.0]);
        assert_eq!(equal, Distance::default());
        for (a, b) in [(nan, 1.0), (1.0, nan), (inf, -inf), (inf, 1.0), (nan, inf)] {
            let far = distance(&[1.0, a], &[1.0, b]);
            assert_eq!(far.differing, 1, "{a} {b}");
            assert!(
                far.max_abs.is_infinite() && far.relative.is_infinite(),
                "{a} {b}"
            );
            assert!(!far.is_within(&bounds(Some(1e300), None)));
        }
        // A value that is infinite in both differs by nothing, so that it hides no other.
        let beside = distance(&[inf, 1.0], &[inf, 2.0]);
        assert_eq!((beside.max_abs, beside.relative), (1.0, 0.5));
    }

    #[test]
    fn away_from_zero_is_infinitely_far_by_ratio() {
        let found = distance(&[0.0, 1e-30], &[0.0, 0.0]);
        assert!(found.relative.is_infinite());
        assert!(found.is_within(&bounds(None, Some(1e-29))));
    }

    #[test]
    fn integers_that_are_one_f64_differ() {
        let (a, b) = (9_007_199_254_740_993_i64, 9_007_199_254_740_992_i64);
        let found = Distance::new(
            &[1],
            (Dtype::I64, &a.to_le_bytes()),
            (Dtype::I64, &b.to_le_bytes()),
        )
        .unwrap();
        assert_eq!((found.differing, found.max_abs), (1, 1.0));
        let first = found.first.unwrap();
        assert_eq!(first.value.to_string(), "9007199254740993");
        let ends = Distance::new(
            &[1],
            (Dtype::I64, &i64::MIN.to_le_bytes()),
            (Dtype::U64, &u64::MAX.to_le_bytes()),
        );
        let found = ends.unwrap().max_abs;
        assert_eq!(found.to_bits(), 27_670_116_110_564_327_423_f64.to_bits());
    }

    #[test]
    fn types_are_compared_by_value() {
        let half = f16::from_f32(1.5).to_le_bytes();
        let brain = bf16::from_f32(1.5).to_le_bytes();
        let all: [(Dtype, &[u8]); 4] = [
            (Dtype::F16, &half),
            (Dtype::BF16, &brain),
            (Dtype::F32, &1.5_f32.to_le_bytes()),
            (Dtype::F64, &1.5_f64.to_le_bytes()),
        ];
        for a in all {
            for b in all {
                assert_eq!(Distance::new(&[1], a, b), Some(Distance::default()));
            }
        }
        let two = Distance::new(&[1], (Dtype::U8, &[2]), all[0]).unwrap();
        assert_eq!(
            (two.max_abs, two.first.unwrap().value),
            (0.5, Number::Whole(2))
        );
    }

    #[test]
    fn other_types_are_the_same_bytes_or_not_known() {
        let compare =
            |a: &[u8], b: &[u8], dtype| Distance::new(&[1], (Dtype::F8_E4M3, a), (dtype, b));
        assert_eq!(
            compare(&[1], &[1], Dtype::F8_E4M3),
            Some(Distance::default())
        );
        assert_eq!(compare(&[1], &[2], Dtype::F8_E4M3), None);
        assert_eq!(compare(&[1], &[1], Dtype::U8), None);
    }

    #[test]
    fn places_count_in_c_order() {
        assert_eq!(place(&[2, 3, 4], 23), [1, 2, 3]);
        assert_eq!(place(&[2, 3, 4], 4), [0, 1, 0]);
        assert_eq!(place(&[], 0), [0_usize; 0]);
    }
}
