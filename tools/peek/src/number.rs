//! A tensor's values, one by one and exactly.

use std::fmt;

use half::{bf16, f16};
use serde::Serialize;
use turbo_wire::Dtype;

/// A value of any type that peek computes with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Number {
    /// Integers and booleans.
    Whole(i128),
    /// Floats of up to 32 bits.
    Single(f32),
    Double(f64),
}

impl Number {
    pub(crate) fn to_f64(self) -> f64 {
        match self {
            Self::Whole(n) => n as f64,
            Self::Single(x) => f64::from(x),
            Self::Double(x) => x,
        }
    }

    /// `self - other`; exact for integers, of which neighbours may be one `f64`.
    pub(crate) fn minus(self, other: Self) -> f64 {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => (a - b) as f64,
            (a, b) => a.to_f64() - b.to_f64(),
        }
    }
}

/// Writes the value as short as still tells it from its neighbours.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(n) => n.fmt(f),
            Self::Single(x) => write!(f, "{x:?}"),
            Self::Double(x) => write!(f, "{x:?}"),
        }
    }
}

/// Little-endian values of a type; none for 8-bit floats and smaller, complex numbers and types yet to come.
pub(crate) fn numbers(dtype: Dtype, bytes: &[u8]) -> Option<Box<dyn Iterator<Item = Number> + '_>> {
    use Number::{Double, Single, Whole};
    Some(match dtype {
        Dtype::BOOL | Dtype::U8 => each(bytes, |b: [u8; 1]| Whole(b[0].into())),
        Dtype::I8 => each(bytes, |b| Whole(i8::from_le_bytes(b).into())),
        Dtype::U16 => each(bytes, |b| Whole(u16::from_le_bytes(b).into())),
        Dtype::I16 => each(bytes, |b| Whole(i16::from_le_bytes(b).into())),
        Dtype::U32 => each(bytes, |b| Whole(u32::from_le_bytes(b).into())),
        Dtype::I32 => each(bytes, |b| Whole(i32::from_le_bytes(b).into())),
        Dtype::U64 => each(bytes, |b| Whole(u64::from_le_bytes(b).into())),
        Dtype::I64 => each(bytes, |b| Whole(i64::from_le_bytes(b).into())),
        Dtype::F16 => each(bytes, |b| Single(f16::from_le_bytes(b).to_f32())),
        Dtype::BF16 => each(bytes, |b| Single(bf16::from_le_bytes(b).to_f32())),
        Dtype::F32 => each(bytes, |b| Single(f32::from_le_bytes(b))),
        Dtype::F64 => each(bytes, |b| Double(f64::from_le_bytes(b))),
        _ => return None,
    })
}

fn each<const N: usize>(
    bytes: &[u8],
    read: impl Fn([u8; N]) -> Number + 'static,
) -> Box<dyn Iterator<Item = Number> + '_> {
    let (values, _) = bytes.as_chunks::<N>();
    Box::new(values.iter().map(move |&value| read(value)))
}
