//! Weights that depend on nothing but a seed and the tensor's name.

use half::f16;

/// How many different numbers a checkpoint is made of.
const POOL: u64 = 1 << 24;

/// Steele, Lea and Flood's generator, one step from state `x`.
fn splitmix64(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// Fowler, Noll and Vo's hash, variant 1a, 64 bits.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

/// Number `index` of the pool: uniform on [-1, 1).
fn number(seed: u64, index: u64) -> f32 {
    let bits = splitmix64(index.wrapping_add(seed.wrapping_mul(POOL)));
    (bits >> 40) as f32 / (1 << 23) as f32 - 1.0
}

/// The tensor `part/key` as f16, little-endian: embeddings uniform on [-1, 1), matrices and convolutions such that
/// the variance of a signal stays what it is, norms around one, biases small.
pub(crate) fn weight(seed: u64, name: &str, shape: &[usize]) -> Vec<u8> {
    let count = shape.iter().product::<usize>() as u64;
    let (scale, shift) = if name.ends_with("_embedding.weight") {
        (1.0, 0.0)
    } else if shape.len() == 1 {
        if name.contains("norm") && name.ends_with("weight") {
            (0.2, 1.0)
        } else {
            (0.1, 0.0)
        }
    } else {
        let fan_in: usize = shape[1..].iter().product();
        ((3.0 / fan_in as f64).sqrt() as f32, 0.0)
    };
    let mut bytes = Vec::with_capacity(count as usize * 2);
    let (mut done, mut chunk) = (0, 0);
    while done < count {
        // Slices of the pool, from places that the name decides.
        let start = fnv1a(&format!("{name}#{chunk}")) % POOL;
        let take = (count - done).min(POOL - start);
        for index in start..start + take {
            let value = number(seed, index) * scale + shift;
            bytes.extend(f16::from_f32(value).to_le_bytes());
        }
        done += take;
        chunk += 1;
    }
    bytes
}
