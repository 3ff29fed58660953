//! Types of number that files hold and networks do not compute with: each value is widened when it is asked for.

use super::Dtype;
use half::f16;

/// How the elements of a tensor lie in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stored {
    /// A type that networks compute with.
    As(Dtype),
    /// IEEE 754 binary64, rounded to F32.
    F64,
    /// 8 bits with 4 of exponent and no infinities (OCP's "E4M3", torch's `float8_e4m3fn`); each is exact in F16.
    F8E4M3,
    /// 8 bits with 5 of exponent: the upper half of an F16.
    F8E5M2,
}

impl Stored {
    pub(crate) const fn from_safetensors(dtype: safetensors::Dtype) -> Option<Self> {
        Some(match dtype {
            safetensors::Dtype::F32 => Self::As(Dtype::F32),
            safetensors::Dtype::F16 => Self::As(Dtype::F16),
            safetensors::Dtype::BF16 => Self::As(Dtype::BF16),
            safetensors::Dtype::F64 => Self::F64,
            safetensors::Dtype::F8_E4M3 => Self::F8E4M3,
            safetensors::Dtype::F8_E5M2 => Self::F8E5M2,
            _ => return None,
        })
    }

    /// Bytes of one element in the file.
    pub(crate) const fn size(self) -> usize {
        match self {
            Self::As(dtype) => dtype.size(),
            Self::F64 => 8,
            Self::F8E4M3 | Self::F8E5M2 => 1,
        }
    }

    /// The type that they are widened to.
    pub(crate) const fn dtype(self) -> Dtype {
        match self {
            Self::As(dtype) => dtype,
            Self::F64 => Dtype::F32,
            Self::F8E4M3 | Self::F8E5M2 => Dtype::F16,
        }
    }

    /// The elements as [`Self::dtype`], little-endian.
    pub(crate) fn widen(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::As(_) => bytes.to_vec(),
            Self::F64 => {
                let doubles = bytes.as_chunks().0.iter();
                doubles
                    .flat_map(|b| (f64::from_le_bytes(*b) as f32).to_le_bytes())
                    .collect()
            }
            Self::F8E4M3 => bytes.iter().flat_map(|b| e4m3(*b).to_le_bytes()).collect(),
            Self::F8E5M2 => bytes.iter().flat_map(|b| [0, *b]).collect(),
        }
    }
}

/// Bits of the F16 with the value of an E4M3: a sign, four bits of exponent (bias 7), three of fraction. All bits of
/// exponent and fraction set are not a number.
fn e4m3(bits: u8) -> u16 {
    let (sign, exponent, fraction) = (bits >> 7, i32::from(bits >> 3 & 15), bits & 7);
    let magnitude = match (exponent, fraction) {
        (15, 7) => f32::NAN,
        (0, fraction) => f32::from(fraction) * 2f32.powi(-9),
        (exponent, fraction) => (1. + f32::from(fraction) / 8.) * 2f32.powi(exponent - 7),
    };
    f16::from_f32(if sign == 1 { -magnitude } else { magnitude }).to_bits()
}
