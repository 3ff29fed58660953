//! Timesteps and sizes as vectors.
//!
//! diffusers: `models/embeddings.py`.

use crate::Result;
use crate::backend::loader::Loader;
use crate::backend::{Activation, Backend};

/// Sinusoids of `timestep`: `channels` / 2 of each kind, cosines first where `flip_sin_to_cos`.
///
/// Frequency i is exp(-ln(10000) i / (`channels` / 2 - `freq_shift`)). Angles are rounded to f32 as diffusers rounds
/// them, since an angle of 999 carries the rounding into the result.
pub(crate) fn get_timestep_embedding(
    timestep: f32,
    channels: usize,
    flip_sin_to_cos: bool,
    freq_shift: f32,
) -> Vec<f32> {
    let half = channels / 2;
    let angles: Vec<f64> = (0..half)
        .map(|i| {
            let exponent = -(10000f64.ln() as f32) * i as f32 / (half as f32 - freq_shift);
            f64::from(timestep * f64::from(exponent).exp() as f32)
        })
        .collect();
    let cos = angles.iter().map(|a| a.cos() as f32);
    let sin = angles.iter().map(|a| a.sin() as f32);
    if flip_sin_to_cos {
        cos.chain(sin).collect()
    } else {
        sin.chain(cos).collect()
    }
}

/// `linear_1`, SiLU, `linear_2`: the UNet's `time_embedding` and `add_embedding`.
pub(crate) struct TimestepEmbedding<B: Backend> {
    linear_1: B::Linear,
    linear_2: B::Linear,
}

impl<B: Backend> TimestepEmbedding<B> {
    /// Takes `inputs` numbers and gives `outputs`.
    ///
    /// # Errors
    /// As [`Loader::weight`].
    pub(crate) fn load(loader: &Loader<'_, B>, inputs: usize, outputs: usize) -> Result<Self> {
        Ok(Self {
            linear_1: loader.linear("linear_1", inputs, outputs)?,
            linear_2: loader.linear("linear_2", outputs, outputs)?,
        })
    }

    /// `[1, inputs]` to `[1, outputs]`.
    ///
    /// # Errors
    /// The backend's.
    pub(crate) fn forward(&self, b: &B, x: &[f32]) -> Result<B::Tensor> {
        let x = b.tokens(x, 1, x.len())?;
        let x = b.linear(&x, &self.linear_1, Activation::Silu)?;
        b.linear(&x, &self.linear_2, Activation::Identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected: numpy in float64, of angles formed in float32 as diffusers does.
    #[test]
    fn cosines_come_first_and_angles_are_f32() {
        let e = get_timestep_embedding(999., 4, true, 0.);
        // Frequencies 1 and 0.01: angles 999 and 9.99.
        let expected = [
            0.999_649_8,   // cos 999
            -0.844_469_8,  // cos 9.99
            -0.026_460_75, // sin 999
            -0.535_603_1,  // sin 9.99
        ];
        for (e, x) in e.iter().zip(expected) {
            assert!((e - x).abs() < 1e-6, "{e} {x}");
        }
        let flipped = get_timestep_embedding(999., 4, false, 0.);
        assert_eq!(flipped[..2], e[2..]);
        assert_eq!(flipped[2..], e[..2]);
    }
}
