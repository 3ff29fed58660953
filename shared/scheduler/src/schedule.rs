//! Betas, sigmas and timesteps, in the precision and the order in which torch and numpy compute them.

use crate::config::{BetaSchedule, SchedulerConfig, TimestepSpacing};

/// `sqrt((1 - alphas_cumprod) / alphas_cumprod)` for every training timestep, ascending.
///
/// All but the last operation give torch's bits. torch's square root (MKL's) is off by one unit in the last
/// place for a fifth of all numbers; this one is correctly rounded, so sigmas agree to 1.2e-7.
pub(crate) fn train_sigmas(config: &SchedulerConfig) -> Vec<f32> {
    let mut alpha_cumprod = 1.0_f64;
    betas(config)
        .into_iter()
        .map(|beta| {
            // torch accumulates the product in double and keeps each element in single precision.
            alpha_cumprod *= f64::from(1.0 - beta);
            let alpha = alpha_cumprod as f32;
            ((1.0 - alpha) / alpha).sqrt()
        })
        .collect()
}

fn betas(config: &SchedulerConfig) -> Vec<f32> {
    if let Some(betas) = &config.trained_betas {
        return betas.iter().map(|&beta| beta as f32).collect();
    }
    let (start, end, n) = (
        config.beta_start,
        config.beta_end,
        config.num_train_timesteps,
    );
    match config.beta_schedule {
        BetaSchedule::Linear => linspace(start as f32, end as f32, n),
        BetaSchedule::ScaledLinear => {
            let roots = linspace(start.sqrt() as f32, end.sqrt() as f32, n);
            roots.into_iter().map(|root| root * root).collect()
        }
    }
}

/// `torch.linspace` in `f32`: each half counts from its own end, with fused multiply-adds.
fn linspace(start: f32, end: f32, n: usize) -> Vec<f32> {
    if n == 1 {
        return vec![start];
    }
    let step = (end - start) / (n - 1) as f32;
    let value = |i| {
        if i < n / 2 {
            step.mul_add(i as f32, start)
        } else {
            (-step).mul_add((n - 1 - i) as f32, end)
        }
    };
    (0..n).map(value).collect()
}

/// The timesteps of `n` steps, descending.
pub(crate) fn timesteps(config: &SchedulerConfig, n: usize) -> Vec<f32> {
    let train = config.num_train_timesteps;
    match config.timestep_spacing {
        TimestepSpacing::Linspace => {
            let last = (train - 1) as f64;
            let step = last / (n.max(2) - 1) as f64;
            let value = |i| {
                if i + 1 == n && n > 1 {
                    last
                } else {
                    i as f64 * step
                }
            };
            (0..n).rev().map(|i| value(i) as f32).collect()
        }
        TimestepSpacing::Leading => {
            let ratio = train / n;
            (0..n)
                .rev()
                .map(|i| (i * ratio) as f32 + config.steps_offset as f32)
                .collect()
        }
        TimestepSpacing::Trailing => {
            // numpy.arange(train, 0, -ratio): the length rounds up, and the step is the difference of the first
            // two elements.
            let start = train as f64;
            let ratio = start / n as f64;
            let length = (start / ratio).ceil() as usize;
            let step = (start - ratio) - start;
            (0..length)
                .map(|i| (start + i as f64 * step).round_ties_even() as f32 - 1.0)
                .collect()
        }
    }
}

/// Sigmas at the given timesteps, between the trained ones by `numpy.interp`; then a final 0.
pub(crate) fn sigmas(train_sigmas: &[f32], timesteps: &[f32]) -> Vec<f32> {
    let last = train_sigmas.len() - 1;
    let at = |timestep: &f32| {
        let x = f64::from(*timestep).clamp(0.0, last as f64);
        let below = x as usize;
        let low = f64::from(train_sigmas[below]);
        let high = f64::from(train_sigmas[(below + 1).min(last)]);
        ((high - low) * (x - below as f64) + low) as f32
    };
    timesteps.iter().map(at).chain([0.0]).collect()
}
