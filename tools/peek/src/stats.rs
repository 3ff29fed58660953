//! A tensor's values in a few numbers.

use half::{bf16, f16};
use serde::Serialize;
use turbo_wire::Dtype;

/// Numbers about a tensor's values, computed in f64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Stats {
    /// Least finite value; none where no value is finite.
    pub(crate) min: Option<f64>,
    /// Mean of the finite values.
    pub(crate) mean: Option<f64>,
    /// Greatest finite value.
    pub(crate) max: Option<f64>,
    /// Standard deviation of the finite values, of the population (numpy's `std`).
    pub(crate) std: Option<f64>,
    /// Values that are NaN; none for a type that is not computed with.
    pub(crate) nan: Option<u64>,
    /// Values that are positive or negative infinity.
    pub(crate) inf: Option<u64>,
}

impl Stats {
    /// The numbers for little-endian values of a type. For 8-bit floats and smaller, complex
    /// numbers and types yet to come there are none.
    pub(crate) fn new(dtype: Dtype, bytes: &[u8]) -> Self {
        match dtype {
            Dtype::BOOL | Dtype::U8 => of(bytes, |b: [u8; 1]| f64::from(b[0])),
            Dtype::I8 => of(bytes, |b| f64::from(i8::from_le_bytes(b))),
            Dtype::U16 => of(bytes, |b| f64::from(u16::from_le_bytes(b))),
            Dtype::I16 => of(bytes, |b| f64::from(i16::from_le_bytes(b))),
            Dtype::F16 => of(bytes, |b| f16::from_le_bytes(b).to_f64()),
            Dtype::BF16 => of(bytes, |b| bf16::from_le_bytes(b).to_f64()),
            Dtype::U32 => of(bytes, |b| f64::from(u32::from_le_bytes(b))),
            Dtype::I32 => of(bytes, |b| f64::from(i32::from_le_bytes(b))),
            Dtype::F32 => of(bytes, |b| f64::from(f32::from_le_bytes(b))),
            Dtype::U64 => of(bytes, |b| u64::from_le_bytes(b) as f64),
            Dtype::I64 => of(bytes, |b| i64::from_le_bytes(b) as f64),
            Dtype::F64 => of(bytes, f64::from_le_bytes),
            _ => Self::default(),
        }
    }
}

/// Two passes, as the one-pass formula loses digits where the mean is large.
fn of<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f64) -> Stats {
    let (values, _) = bytes.as_chunks::<N>();
    let (mut count, mut nan, mut inf) = (0_u64, 0, 0);
    let (mut min, mut max, mut sum) = (f64::INFINITY, f64::NEG_INFINITY, 0.0);
    for &value in values {
        let x = read(value);
        if x.is_finite() {
            count += 1;
            min = min.min(x);
            max = max.max(x);
            sum += x;
        } else if x.is_nan() {
            nan += 1;
        } else {
            inf += 1;
        }
    }
    let mut stats = Stats {
        nan: Some(nan),
        inf: Some(inf),
        ..Stats::default()
    };
    if count > 0 {
        let mean = sum / count as f64;
        let squares: f64 = values
            .iter()
            .map(|&value| read(value))
            .filter(|x| x.is_finite())
            .map(|x| (x - mean) * (x - mean))
            .sum();
        stats.min = Some(min);
        stats.mean = Some(mean);
        stats.max = Some(max);
        stats.std = Some((squares / count as f64).sqrt());
    }
    stats
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    #[test]
    fn finite_values_count_and_others_are_counted() {
        let values = [1.0, f32::NAN, 2.0, f32::INFINITY, 3.0, -f32::INFINITY, 6.0];
        let stats = Stats::new(Dtype::F32, &bytes(&values));
        assert_eq!((stats.nan, stats.inf), (Some(1), Some(2)));
        assert_eq!((stats.min, stats.max), (Some(1.0), Some(6.0)));
        // numpy: np.mean([1, 2, 3, 6]), np.std([1, 2, 3, 6])
        assert_eq!(stats.mean, Some(3.0));
        assert_eq!(stats.std, Some(1.870_828_693_386_970_7));
    }

    #[test]
    fn a_large_mean_costs_no_digits() {
        let values = [16_777_213.0_f32, 16_777_215.0];
        assert_eq!(Stats::new(Dtype::F32, &bytes(&values)).std, Some(1.0));
    }

    #[test]
    fn nothing_finite_and_nothing_known() {
        let stats = Stats::new(Dtype::F32, &bytes(&[f32::NAN]));
        assert_eq!((stats.min, stats.std, stats.nan), (None, None, Some(1)));
        assert_eq!(Stats::new(Dtype::U8, &[]).nan, Some(0));
        assert_eq!(Stats::new(Dtype::F8_E4M3, &[1, 2]), Stats::default());
    }

    #[test]
    fn every_type_is_read_little_endian() {
        let min = |dtype, bytes: &[u8]| Stats::new(dtype, bytes).min;
        assert_eq!(min(Dtype::BOOL, &[1]), Some(1.0));
        assert_eq!(min(Dtype::U8, &[200]), Some(200.0));
        assert_eq!(min(Dtype::I8, &[200]), Some(-56.0));
        assert_eq!(min(Dtype::U16, &[1, 2]), Some(513.0));
        assert_eq!(min(Dtype::I16, &[0xff, 0xff]), Some(-1.0));
        // IEEE 754 half 0x3e00 and bfloat16 0x3fc0 are 1.5.
        assert_eq!(min(Dtype::F16, &[0x00, 0x3e]), Some(1.5));
        assert_eq!(min(Dtype::BF16, &[0xc0, 0x3f]), Some(1.5));
        assert_eq!(min(Dtype::U32, &[0, 0, 0, 0x80]), Some(2_147_483_648.0));
        assert_eq!(min(Dtype::I32, &[0, 0, 0, 0x80]), Some(-2_147_483_648.0));
        assert_eq!(min(Dtype::F32, &[0, 0, 0xc0, 0x3f]), Some(1.5));
        assert_eq!(min(Dtype::I64, &[0xff; 8]), Some(-1.0));
        assert_eq!(min(Dtype::U64, &[2, 0, 0, 0, 0, 0, 0, 0]), Some(2.0));
        assert_eq!(min(Dtype::F64, &1.5_f64.to_le_bytes()), Some(1.5));
    }
}
