//! What the network's output means, and what is done to the picture that it foresees.

use crate::Result;
use crate::keys::Keys;

/// What the network's output means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prediction {
    /// The noise in the sample.
    Epsilon,
    /// The sample without noise.
    Sample,
    /// The velocity of <https://arxiv.org/abs/2202.00512>, section 2.4.
    Velocity,
    /// The velocity of rectified flow, from the picture to the noise.
    Flow,
}

const EPSILON: (&str, Prediction) = ("epsilon", Prediction::Epsilon);
const SAMPLE: (&str, Prediction) = ("sample", Prediction::Sample);
const VELOCITY: (&str, Prediction) = ("v_prediction", Prediction::Velocity);
const FLOW: (&str, Prediction) = ("flow_prediction", Prediction::Flow);

impl Prediction {
    /// Reads `prediction_type`.
    pub(crate) fn read(keys: &mut Keys<'_>) -> Result<Self> {
        keys.choice("prediction_type", &[EPSILON, SAMPLE, VELOCITY], "epsilon")
    }

    /// As [`Self::read`], for a class that has no `sample`.
    pub(crate) fn read_noise(keys: &mut Keys<'_>) -> Result<Self> {
        keys.choice("prediction_type", &[EPSILON, VELOCITY], "epsilon")
    }

    /// As [`Self::read`], for a class that has flow as well.
    pub(crate) fn read_flow(keys: &mut Keys<'_>) -> Result<Self> {
        let known = [EPSILON, SAMPLE, VELOCITY, FLOW];
        keys.choice("prediction_type", &known, "epsilon")
    }

    /// The sample without noise, where a sample is the picture and `sigma` times unit noise.
    pub(crate) fn original_at(self, sigma: f32) -> impl Fn(f32, f32) -> f32 {
        let sigma2_plus_1 = sigma * sigma + 1.0;
        let v_scale = -sigma / sigma2_plus_1.sqrt();
        move |output, sample| match self {
            Self::Epsilon | Self::Flow => sample - sigma * output,
            Self::Sample => output,
            Self::Velocity => output * v_scale + sample / sigma2_plus_1,
        }
    }

    /// The sample without noise, where a sample is `alpha` times the picture and `sigma` times unit noise.
    pub(crate) fn original(self, Share { alpha, sigma }: Share) -> impl Fn(f32, f32) -> f32 {
        move |output, sample| match self {
            Self::Epsilon => (sample - sigma * output) / alpha,
            Self::Sample => output,
            Self::Velocity => alpha * sample - sigma * output,
            Self::Flow => sample - sigma * output,
        }
    }

    /// The noise, as [`Self::original`].
    pub(crate) fn epsilon(self, Share { alpha, sigma }: Share) -> impl Fn(f32, f32) -> f32 {
        move |output, sample| match self {
            Self::Epsilon => output,
            Self::Sample => (sample - alpha * output) / sigma,
            Self::Velocity => alpha * output + sigma * sample,
            Self::Flow => sample + alpha * output,
        }
    }
}

/// What a sample is made of: so much of the picture, and so much unit noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Share {
    pub(crate) alpha: f32,
    pub(crate) sigma: f32,
}

impl Share {
    /// The shares whose squares add up to 1, `alpha_cumprod` and the rest.
    pub(crate) fn of_variance(alpha_cumprod: f32) -> Self {
        Self {
            alpha: alpha_cumprod.sqrt(),
            sigma: (1.0 - alpha_cumprod).sqrt(),
        }
    }

    /// The shares whose squares add up to 1 and whose ratio is `sigma`: diffusers' `_sigma_to_alpha_sigma_t`.
    pub(crate) fn of_sigma(sigma: f32) -> Self {
        let alpha = 1.0 / (sigma * sigma + 1.0).sqrt();
        Self {
            alpha,
            sigma: sigma * alpha,
        }
    }

    /// Logarithm of the ratio of both.
    pub(crate) fn lambda(self) -> f32 {
        self.alpha.ln() - self.sigma.ln()
    }

    /// A clean sample with noise.
    pub(crate) fn mix(self, original: &[f32], noise: &[f32]) -> Vec<f32> {
        zip(original, noise, |original, noise| {
            self.alpha * original + self.sigma * noise
        })
    }
}

/// What keeps a foreseen picture in its range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Limit {
    None,
    /// To plus or minus so much.
    Clip(f32),
    /// Dynamic thresholding (<https://arxiv.org/abs/2205.11487>, section 2.3): to the quantile `ratio` of all
    /// magnitudes, from 1 to `max`, by which all are divided.
    Threshold {
        ratio: f32,
        max: f32,
    },
}

impl Limit {
    /// Reads the keys about thresholding.
    pub(crate) fn read_threshold(keys: &mut Keys<'_>) -> Result<Self> {
        let used = keys.bool("thresholding", false)?;
        let ratio = keys.number("dynamic_thresholding_ratio", 0.995)?;
        let max = keys.number("sample_max_value", 1.0)?;
        if !(0.0..=1.0).contains(&ratio) {
            return Err(keys.unsupported("dynamic_thresholding_ratio", "0 to 1".to_owned()));
        }
        Ok(if used {
            Self::Threshold {
                ratio: ratio as f32,
                max: max as f32,
            }
        } else {
            Self::None
        })
    }

    /// Reads `clip_sample` and `clip_sample_range`.
    pub(crate) fn read_clip(keys: &mut Keys<'_>, default: bool) -> Result<Self> {
        let used = keys.bool("clip_sample", default)?;
        let range = keys.number("clip_sample_range", 1.0)?;
        Ok(if used {
            Self::Clip(range as f32)
        } else {
            Self::None
        })
    }

    /// Reads both; thresholding wins.
    pub(crate) fn read(keys: &mut Keys<'_>, clip: bool) -> Result<Self> {
        let clip = Self::read_clip(keys, clip)?;
        Ok(match Self::read_threshold(keys)? {
            Self::None => clip,
            threshold => threshold,
        })
    }

    /// Keeps a sample in its range.
    pub(crate) fn apply(self, mut sample: Vec<f32>) -> Vec<f32> {
        match self {
            Self::None => {}
            Self::Clip(range) => {
                for value in &mut sample {
                    *value = value.max(-range).min(range);
                }
            }
            Self::Threshold { ratio, max } => {
                let scale = quantile(&sample, ratio).max(1.0).min(max);
                for value in &mut sample {
                    *value = value.max(-scale).min(scale) / scale;
                }
            }
        }
        sample
    }
}

/// `torch.quantile` of the magnitudes, in single precision.
fn quantile(values: &[f32], ratio: f32) -> f32 {
    let mut magnitudes: Vec<f32> = values.iter().map(|value| value.abs()).collect();
    magnitudes.sort_unstable_by(f32::total_cmp);
    let rank = ratio * (magnitudes.len() - 1) as f32;
    let below = rank as usize;
    let (low, high) = (
        magnitudes[below],
        magnitudes[(below + 1).min(magnitudes.len() - 1)],
    );
    low + (rank - below as f32) * (high - low)
}

/// `f` of the values of two samples, pair by pair.
///
/// # Panics
/// If the lengths differ.
pub(crate) fn zip(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> Vec<f32> {
    assert_eq!(a.len(), b.len(), "samples of one shape");
    a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect()
}
