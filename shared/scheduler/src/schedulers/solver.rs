//! What the solvers of DPM-Solver's family (<https://arxiv.org/abs/2206.00927>, <https://arxiv.org/abs/2211.01095>)
//! share: a sample is alpha times the picture and sigma times unit noise, and time is lambda, the logarithm of the
//! ratio of both.

use crate::keys::Keys;
use crate::prediction::{Limit, Prediction, Share, zip};
use crate::schedule::Schedule;
use crate::schedule::betas::{self, Training};
use crate::schedule::sigmas::{FinalSigma, SigmaCurve, SigmaToTimestep, at_timesteps};
use crate::schedule::spacing::linspace;
use crate::{Result, Space};

/// The keys that all of them have, and the schedule that follows.
pub(crate) struct Solver {
    pub(crate) schedule: Schedule,
    /// Relative sigma at each step, with the one behind the last.
    sigmas: Vec<f32>,
    flow: bool,
    prediction: Prediction,
    threshold: Limit,
}

/// Keys of rectified flow, which some of them have.
#[derive(Clone, Copy)]
pub(crate) struct Flow {
    /// Whether sigma is the share of the noise, and the picture has the rest.
    used: bool,
    shift: f64,
}

impl Flow {
    /// Reads `use_flow_sigmas`, `flow_shift`, and the keys of dynamic shifting, which a picture's size would set.
    pub(crate) fn read(keys: &mut Keys<'_>) -> Result<Self> {
        if keys.bool("use_dynamic_shifting", false)? {
            return Err(keys.unsupported("use_dynamic_shifting", "false".to_owned()));
        }
        keys.choice(
            "time_shift_type",
            &[("exponential", ()), ("linear", ())],
            "exponential",
        )?;
        Ok(Self {
            used: keys.bool("use_flow_sigmas", false)?,
            shift: keys.number("flow_shift", 1.0)?,
        })
    }

    fn shifted(self, sigma: f64) -> f64 {
        self.shift * sigma / (1.0 + (self.shift - 1.0) * sigma)
    }

    /// Sigmas of `n` steps out of `train`, descending.
    fn sigmas(self, train: usize, n: usize) -> Vec<f64> {
        let mut sigmas: Vec<_> = linspace(1.0, 1.0 / train as f64, n + 1)
            .into_iter()
            .map(|alpha| self.shifted(1.0 - alpha))
            .rev()
            .collect();
        sigmas.truncate(n);
        sigmas
    }

    /// As [`Self::sigmas`], counted from the other end, as `UniPC` does.
    fn sigmas_from_noise(self, train: usize, n: usize) -> Vec<f64> {
        let mut sigmas = linspace(1.0, 1.0 / train as f64, n + 1);
        sigmas.truncate(n);
        let mut sigmas: Vec<_> = sigmas
            .into_iter()
            .map(|sigma| self.shifted(sigma))
            .collect();
        if (sigmas[0] - 1.0).abs() < 1e-6 {
            sigmas[0] -= 1e-6;
        }
        sigmas
    }
}

/// What the classes do differently with sigmas along a curve.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// DPM-Solver, multistep: a cosine schedule keeps fractions of timesteps until they are cut off.
    Multistep,
    /// DPM-Solver, singlestep.
    Singlestep,
    /// `UniPC`: along a curve, `sigma_min` means the curve's end.
    UniPc,
    /// DEIS: the last sigma is always the least.
    Deis,
}

/// Where a solver's sigmas come from.
pub(crate) struct Course {
    pub(crate) family: Family,
    pub(crate) curve: SigmaCurve,
    /// `use_lu_lambdas`.
    pub(crate) lu: bool,
    pub(crate) flow: Flow,
    pub(crate) final_sigma: FinalSigma,
    /// Where no curve says otherwise.
    pub(crate) timesteps: Vec<f64>,
    /// Steps that were asked for.
    pub(crate) n: usize,
}

impl Solver {
    /// `prediction` and `threshold` are read by the class.
    pub(crate) fn new(
        training: &Training,
        course: Course,
        prediction: Prediction,
        threshold: Limit,
    ) -> Self {
        let Course {
            family, curve, n, ..
        } = course;
        let trained = training.sigmas();
        let train = training.len();
        let least = betas::sigma(training.alphas_cumprod[0]);
        let to_timestep = SigmaToTimestep::new(&trained);
        let ends = (f64::from(trained[train - 1]), f64::from(trained[0]));
        let back = |sigmas: &[f64]| -> Vec<f64> {
            sigmas
                .iter()
                .map(|&sigma| to_timestep.timestep(sigma))
                .collect()
        };
        let keeps_fractions = family == Family::Multistep && training.is_cosine;
        let round = |mut timesteps: Vec<f64>| {
            if !keeps_fractions {
                for timestep in &mut timesteps {
                    *timestep = timestep.round_ties_even();
                }
            }
            timesteps
        };

        let along = curve.sigmas(ends.0, ends.1, n);
        let is_curve = along.is_some() || course.lu || course.flow.used;
        let (timesteps, mut sigmas) = if let Some(sigmas) = along {
            let timesteps = back(&sigmas);
            (
                if curve.is_karras() {
                    round(timesteps)
                } else {
                    timesteps
                },
                sigmas,
            )
        } else if course.lu {
            let logs = (
                f64::from(trained[train - 1].ln()),
                f64::from(trained[0].ln()),
            );
            // numpy has the same sum for a straight line: start + ramp * (end - start).
            let sigma = |ramp: f64| (logs.0 + ramp * (logs.1 - logs.0)).exp();
            let sigmas: Vec<_> = linspace(0.0, 1.0, n).into_iter().map(sigma).collect();
            (round(back(&sigmas)), sigmas)
        } else if course.flow.used {
            let sigmas = match family {
                Family::UniPc => course.flow.sigmas_from_noise(train, n),
                _ => course.flow.sigmas(train, n),
            };
            (
                sigmas.iter().map(|sigma| sigma * train as f64).collect(),
                sigmas,
            )
        } else {
            let sigmas = at_timesteps(&trained, &course.timesteps);
            (course.timesteps, sigmas)
        };
        let last = match family {
            Family::Deis | Family::UniPc if is_curve => sigmas[sigmas.len() - 1] as f32,
            _ => least,
        };
        let last = match family {
            Family::Deis => last,
            _ => course.final_sigma.sigma(last),
        };
        let mut steps: Vec<f32> = sigmas.drain(..).map(|sigma| sigma as f32).collect();
        let schedule = Schedule {
            // Fractions are cut off, as the network was not trained on them.
            timesteps: timesteps.iter().map(|t| t.trunc() as f32).collect(),
            sigmas: steps.clone(),
            num_inference_steps: n,
            num_train_timesteps: train,
            order: 1,
        };
        steps.push(last);
        Self {
            schedule,
            sigmas: steps,
            flow: course.flow.used,
            prediction,
            threshold,
        }
    }

    /// Number of calls.
    pub(crate) fn len(&self) -> usize {
        self.schedule.timesteps.len()
    }

    /// What a sample is made of before step `i`.
    pub(crate) fn share(&self, i: usize) -> Share {
        let sigma = self.sigmas[i];
        if self.flow {
            Share {
                alpha: 1.0 - sigma,
                sigma,
            }
        } else {
            Share::of_sigma(sigma)
        }
    }

    /// The picture that is foreseen at step `i`.
    pub(crate) fn original(&self, output: &[f32], i: usize, sample: &[f32]) -> Vec<f32> {
        let original = match self.prediction {
            Prediction::Flow => zip(output, sample, self.prediction.original_at(self.sigmas[i])),
            prediction => zip(output, sample, prediction.original(self.share(i))),
        };
        self.threshold.apply(original)
    }

    /// The noise that is foreseen at step `i`; where there is a threshold, what is left by the picture within it.
    pub(crate) fn epsilon(
        &self,
        output: &[f32],
        i: usize,
        sample: &[f32],
        original: &[f32],
    ) -> Vec<f32> {
        let share = self.share(i);
        if self.threshold == Limit::None {
            zip(output, sample, self.prediction.epsilon(share))
        } else {
            self.left_by(original, i, sample)
        }
    }

    /// The noise that a picture leaves of a sample.
    pub(crate) fn left_by(&self, original: &[f32], i: usize, sample: &[f32]) -> Vec<f32> {
        let share = self.share(i);
        zip(sample, original, |sample, original| {
            (sample - share.alpha * original) / share.sigma
        })
    }
}

impl Space for Solver {
    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn add_noise(&self, original: &[f32], noise: &[f32], i: usize) -> Vec<f32> {
        self.share(i).mix(original, noise)
    }
}

/// A sum of samples, each with its weight, in this order.
pub(crate) fn weighted(terms: &[(f32, &[f32])]) -> Vec<f32> {
    let (first, others) = terms.split_first().expect("a sum has terms");
    let mut sum: Vec<f32> = first.1.iter().map(|value| first.0 * value).collect();
    for (weight, term) in others {
        for (sum, value) in sum.iter_mut().zip(*term) {
            *sum += weight * value;
        }
    }
    sum
}
