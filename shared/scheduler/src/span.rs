//! Which part of a schedule is run: `get_timesteps` of diffusers' pipelines.

use crate::{Schedule, Scheduler};
use std::ops::Range;

/// Where a run starts and ends.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Span {
    /// Where it starts.
    pub start: Start,
    /// It ends before the timesteps below this share of the training, counted from pure noise, are reached:
    /// `denoising_end`, between 0 and 1.
    pub denoising_end: Option<f64>,
}

/// Where a run starts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Start {
    /// At pure noise.
    #[default]
    Noise,
    /// At a picture to which noise is added: the last `strength` (0 to 1) of the steps are run.
    Strength(f64),
    /// At a sample whose noise is that of this share of the training, counted from pure noise: `denoising_start`,
    /// between 0 and 1.
    Share(f64),
}

impl Span {
    /// The calls of the network that are made. Empty where no step is left: a strength below one step, or an end
    /// that lies before the start.
    pub fn calls(&self, scheduler: &dyn Scheduler) -> Range<usize> {
        let schedule = scheduler.schedule();
        let len = schedule.timesteps.len();
        let start = match self.start {
            Start::Noise => 0,
            Start::Strength(strength) => {
                let n = schedule.num_inference_steps;
                let run = ((n as f64 * strength) as usize).min(n);
                ((n - run) * schedule.order).min(len)
            }
            Start::Share(share) => {
                let cutoff = cutoff(schedule, share);
                let below = |t: &&f32| f64::from(**t) < cutoff;
                let run = schedule.timesteps.iter().filter(below).count();
                // A step of the second order is not begun in its middle.
                let whole = if schedule.order == 2 && run % 2 == 0 {
                    run + 1
                } else {
                    run
                };
                len.saturating_sub(whole)
            }
        };
        let end = match self.denoising_end {
            None => len,
            Some(share) => {
                let cutoff = cutoff(schedule, share);
                let above = |t: &&f32| f64::from(**t) >= cutoff;
                start + schedule.timesteps[start..].iter().filter(above).count()
            }
        };
        start..end
    }
}

/// The timestep at a share of the training.
fn cutoff(schedule: &Schedule, share: f64) -> f64 {
    let train = schedule.num_train_timesteps as f64;
    (train - share * train).round_ties_even()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SchedulerConfig, Steps, build};

    fn calls(steps: usize, start: Start, denoising_end: Option<f64>) -> Range<usize> {
        let config = serde_json::json!({"timestep_spacing": "trailing"});
        let config = SchedulerConfig::from_json(&config).unwrap();
        let scheduler = build(&config, &Steps::count(steps)).unwrap();
        let span = Span {
            start,
            denoising_end,
        };
        span.calls(&*scheduler)
    }

    #[test]
    fn strength_runs_the_last_steps() {
        assert_eq!(calls(4, Start::Strength(0.5), None), 2..4);
        assert_eq!(calls(4, Start::Strength(1.0), None), 0..4);
        assert_eq!(calls(4, Start::Strength(0.99), None), 1..4);
        assert_eq!(calls(1, Start::Strength(0.5), None), 1..1);
    }

    /// Timesteps of ten trailing steps: 999, 899, ... 99.
    #[test]
    fn an_end_and_a_start_at_the_same_share_meet() {
        assert_eq!(calls(10, Start::Noise, Some(0.8)), 0..8);
        assert_eq!(calls(10, Start::Share(0.8), None), 8..10);
        assert_eq!(calls(10, Start::Share(0.3), Some(0.5)), 3..5);
        assert_eq!(calls(10, Start::Share(0.5), Some(0.3)), 5..5);
    }
}
