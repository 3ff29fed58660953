//! What the network was trained on: betas, and the share of the picture that they leave.

use crate::Result;
use crate::keys::Keys;

/// More training steps than any model has; keeps a garbled config from asking for all memory.
const MAX_TRAIN_TIMESTEPS: usize = 1_000_000;

/// How the betas run from `beta_start` to `beta_end`.
#[derive(Clone, Copy, Debug)]
enum BetaSchedule {
    /// Betas grow by equal steps.
    Linear,
    /// Their square roots grow by equal steps, as in all of Stable Diffusion.
    ScaledLinear,
    /// A function says which share of the picture is left at each time, and betas follow from it.
    AlphaBar(fn(f64) -> f64),
    /// Betas follow the logistic function from -6 to 6.
    Sigmoid,
}

const LINEAR: (&str, BetaSchedule) = ("linear", BetaSchedule::Linear);
const SCALED_LINEAR: (&str, BetaSchedule) = ("scaled_linear", BetaSchedule::ScaledLinear);
const COSINE: (&str, BetaSchedule) = ("squaredcos_cap_v2", BetaSchedule::AlphaBar(cosine));
const EXP: (&str, BetaSchedule) = ("exp", BetaSchedule::AlphaBar(exp));
const LAPLACE: (&str, BetaSchedule) = ("laplace", BetaSchedule::AlphaBar(laplace));
const SIGMOID: (&str, BetaSchedule) = ("sigmoid", BetaSchedule::Sigmoid);

/// What a class does with `rescale_betas_zero_snr` (algorithm 1 of <https://arxiv.org/abs/2305.08891>).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ZeroSnr {
    /// It has no such key.
    NotThere,
    /// Nothing of the picture is left at the last timestep.
    Rescaled,
    /// 2^-24 of it is left, which keeps the last sigma finite.
    Floored,
}

/// What a class assumes where the configuration is silent, and what it has beside the three usual schedules.
pub(crate) struct Defaults {
    pub(crate) beta: (f64, f64),
    pub(crate) schedule: &'static str,
    pub(crate) zero_snr: ZeroSnr,
}

impl Defaults {
    /// Most classes'.
    pub(crate) const fn usual(zero_snr: ZeroSnr) -> Self {
        Self {
            beta: (0.0001, 0.02),
            schedule: "linear",
            zero_snr,
        }
    }

    /// Stable Diffusion's betas, on a schedule of this name.
    pub(crate) const fn stable_diffusion(schedule: &'static str, zero_snr: ZeroSnr) -> Self {
        Self {
            beta: (0.00085, 0.012),
            schedule,
            zero_snr,
        }
    }
}

/// The noise that the network was trained on.
#[derive(Clone, Debug)]
pub(crate) struct Training {
    /// The picture's share of the variance at every timestep, descending.
    pub(crate) alphas_cumprod: Vec<f32>,
    /// Whether the betas are those of `squaredcos_cap_v2`.
    pub(crate) is_cosine: bool,
}

impl Training {
    /// Reads the keys about betas.
    pub(crate) fn read(keys: &mut Keys<'_>, defaults: &Defaults) -> Result<Self> {
        let n = keys.count_in("num_train_timesteps", 1..=MAX_TRAIN_TIMESTEPS, 1000)?;
        let start = keys.number("beta_start", defaults.beta.0)?;
        let end = keys.number("beta_end", defaults.beta.1)?;
        let schedules: &[_] = match keys.class() {
            "HeunDiscreteScheduler" => &[LINEAR, SCALED_LINEAR, COSINE, EXP],
            "DDPMScheduler" => &[LINEAR, SCALED_LINEAR, COSINE, LAPLACE, SIGMOID],
            _ => &[LINEAR, SCALED_LINEAR, COSINE],
        };
        let schedule = keys.choice("beta_schedule", schedules, defaults.schedule)?;
        let trained = keys.numbers("trained_betas")?;
        if trained.as_ref().is_some_and(|betas| betas.len() != n) {
            let expected = format!("{n} values (num_train_timesteps)");
            return Err(keys.unsupported("trained_betas", expected));
        }
        let mut betas = match trained {
            Some(betas) => betas.iter().map(|&beta| beta as f32).collect(),
            None => betas(schedule, start, end, n),
        };
        let zero_snr =
            defaults.zero_snr != ZeroSnr::NotThere && keys.bool("rescale_betas_zero_snr", false)?;
        if zero_snr {
            betas = rescale_zero_terminal_snr(&betas);
        }
        let mut alphas_cumprod = cumulative(betas.into_iter().map(|beta| 1.0 - beta));
        if zero_snr && defaults.zero_snr == ZeroSnr::Floored {
            alphas_cumprod[n - 1] = 2.0_f32.powi(-24);
        }
        Ok(Self {
            alphas_cumprod,
            is_cosine: keys.text("beta_schedule") == Some(COSINE.0),
        })
    }

    /// Number of training timesteps.
    pub(crate) fn len(&self) -> usize {
        self.alphas_cumprod.len()
    }

    /// `sqrt((1 - alphas_cumprod) / alphas_cumprod)` for every training timestep, ascending.
    ///
    /// All but the last operation give torch's bits. torch's square root (MKL's) is off by one unit in the last
    /// place for a fifth of all numbers; this one is correctly rounded, so sigmas agree to 1.2e-7.
    pub(crate) fn sigmas(&self) -> Vec<f32> {
        self.alphas_cumprod
            .iter()
            .map(|&alpha| sigma(alpha))
            .collect()
    }

    /// Reads `lambda_min_clipped`: how many of the last timesteps are left out, as less of the picture is left there.
    pub(crate) fn clipped(&self, keys: &mut Keys<'_>) -> Result<usize> {
        let least = keys.number("lambda_min_clipped", f64::NEG_INFINITY)? as f32;
        let lambda = |&alpha: &f32| alpha.sqrt().ln() - (1.0 - alpha).sqrt().ln();
        let clipped = (self.alphas_cumprod.iter().map(lambda))
            .filter(|&lambda| lambda < least)
            .count();
        if clipped == self.len() {
            return Err(keys.unsupported(
                "lambda_min_clipped",
                "less than every lambda of the training".to_owned(),
            ));
        }
        Ok(clipped)
    }

    /// The picture's share at a timestep. As in Python, -1 is the last: rounding makes it the 62nd of 61 trailing
    /// steps.
    pub(crate) fn alpha(&self, timestep: i64) -> f32 {
        let n = self.len() as i64;
        let index = if timestep < 0 { timestep + n } else { timestep };
        self.alphas_cumprod[index.clamp(0, n - 1) as usize]
    }
}

/// The standard deviation of the noise relative to the picture's share.
pub(crate) fn sigma(alpha_cumprod: f32) -> f32 {
    ((1.0 - alpha_cumprod) / alpha_cumprod).sqrt()
}

fn betas(schedule: BetaSchedule, start: f64, end: f64, n: usize) -> Vec<f32> {
    match schedule {
        BetaSchedule::Linear => linspace(start as f32, end as f32, n),
        BetaSchedule::ScaledLinear => {
            let roots = linspace(start.sqrt() as f32, end.sqrt() as f32, n);
            roots.into_iter().map(|root| root * root).collect()
        }
        BetaSchedule::AlphaBar(alpha_bar) => {
            let at = |i: usize| alpha_bar(i as f64 / n as f64);
            let beta = |i| (1.0 - at(i + 1) / at(i)).min(0.999);
            (0..n).map(|i| beta(i) as f32).collect()
        }
        BetaSchedule::Sigmoid => {
            let beta = |x: f32| 1.0 / (1.0 + (-x).exp()) * (end - start) as f32 + start as f32;
            linspace(-6.0, 6.0, n).into_iter().map(beta).collect()
        }
    }
}

fn cosine(t: f64) -> f64 {
    ((t + 0.008) / 1.008 * std::f64::consts::PI / 2.0)
        .cos()
        .powi(2)
}

fn exp(t: f64) -> f64 {
    (t * -12.0).exp()
}

fn laplace(t: f64) -> f64 {
    let lambda = -0.5 * 1.0_f64.copysign(0.5 - t) * (1.0 - 2.0 * (0.5 - t).abs() + 1e-6).ln();
    let snr = lambda.exp();
    (snr / (1.0 + snr)).sqrt()
}

/// torch accumulates the product in double and keeps each element in single precision.
fn cumulative(alphas: impl Iterator<Item = f32>) -> Vec<f32> {
    let mut product = 1.0_f64;
    let next = |alpha| {
        product *= f64::from(alpha);
        product as f32
    };
    alphas.map(next).collect()
}

fn rescale_zero_terminal_snr(betas: &[f32]) -> Vec<f32> {
    let mut roots = cumulative(betas.iter().map(|beta| 1.0 - beta));
    for alpha in &mut roots {
        *alpha = alpha.sqrt();
    }
    let (first, last) = (roots[0], roots[roots.len() - 1]);
    let scale = first / (first - last);
    let alphas: Vec<f32> = roots
        .iter()
        .map(|root| {
            let root = (root - last) * scale;
            root * root
        })
        .collect();
    let ratios = alphas.windows(2).map(|pair| pair[1] / pair[0]);
    std::iter::once(alphas[0])
        .chain(ratios)
        .map(|alpha| 1.0 - alpha)
        .collect()
}

/// `torch.linspace` in `f32`: each half counts from its own end, with fused multiply-adds.
pub(crate) fn linspace(start: f32, end: f32, n: usize) -> Vec<f32> {
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
