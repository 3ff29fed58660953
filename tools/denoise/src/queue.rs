//! The prompts that are here, and how many of their pictures go through the network at once.

use crate::pipeline::Step;
use crate::prompt::{Drawn, Key, Prompt};
use crate::trace::{Picture, Trace};
use std::collections::VecDeque;
use std::iter::once;
use std::time::{Duration, Instant};
use turbo_cli::{Bar, Error, Result};
use turbo_wire::Metadata;

/// The prompts to draw, in order, or why one cannot be drawn. Behind the first are those that came while it waited.
pub(crate) struct Queue {
    /// Samples that the network sees at once, at most.
    batch: usize,
    prompts: VecDeque<Result<Prompt>>,
}

/// Who sees the steps of a picture.
pub(crate) struct Steps<'a> {
    /// The picture's.
    pub(crate) metadata: &'a Metadata,
    pub(crate) trace: Option<&'a mut Trace>,
    pub(crate) bar: &'a Bar,
}

impl Queue {
    /// Draws up to `batch` samples at once.
    pub(crate) fn new(batch: usize) -> Self {
        Self {
            batch,
            prompts: VecDeque::new(),
        }
    }

    /// Adds a prompt behind the others.
    pub(crate) fn push(&mut self, prompt: Result<Prompt>) {
        self.prompts.push_back(prompt);
    }

    /// Takes the first.
    ///
    /// # Errors
    /// It cannot be drawn.
    pub(crate) fn pop(&mut self) -> Result<Prompt> {
        let none = || Err(Error::new("no prompt was shown"));
        self.prompts.pop_front().unwrap_or_else(none)
    }

    /// Whether one more prompt, of model `key`, has room beside the first one's pictures.
    pub(crate) fn wants(&self, key: &Key) -> bool {
        let Some(Ok(first)) = self.prompts.front() else {
            return false;
        };
        if *key != first.plan.key {
            return false;
        }
        let fits = |prompt: &Prompt| prompt.goes_with(first);
        let all_fit = |prompt: &Result<Prompt>| prompt.as_ref().is_ok_and(fits);
        if !self.prompts.iter().all(all_fit) {
            return false;
        }
        let samples = |prompt: &Prompt| prompt.left().saturating_mul(prompt.samples());
        let here = self.prompts.iter().flatten().map(samples);
        // The first may take several calls of the network, of which the last has room.
        let calls = samples(first).div_ceil(self.batch);
        here.fold(0, usize::saturating_add) < calls.saturating_mul(self.batch)
    }

    /// Draws picture `image` of a prompt that was taken: all its rows, one after the other. Rows of its later pictures, and
    /// of the prompts that wait, are drawn with them as far as there is room.
    pub(crate) fn draw(
        &mut self,
        prompt: &mut Prompt,
        image: usize,
        steps: &mut Steps<'_>,
    ) -> Result<Drawn> {
        let mut picture = Drawn {
            latents: Vec::new(),
            steps: Vec::new(),
        };
        for row in 0..prompt.rows {
            if prompt.done.is_empty() {
                // Also where an earlier picture failed.
                prompt.next = image * prompt.rows + row;
                self.draw_rows(prompt, row, steps)?;
            }
            let drawn = prompt.done.pop_front().expect("a row that was just drawn");
            picture.latents.extend(drawn.latents);
            picture.steps.resize(drawn.steps.len(), Duration::ZERO);
            for (sum, step) in picture.steps.iter_mut().zip(drawn.steps) {
                *sum += step;
            }
        }
        Ok(picture)
    }

    /// Draws as many rows as the network is to see at once, the first of which is row `row` of a picture.
    fn draw_rows(&mut self, prompt: &mut Prompt, row: usize, steps: &mut Steps<'_>) -> Result<()> {
        let waiting = self.prompts.iter().map_while(|prompt| prompt.as_ref().ok());
        let waiting = waiting.take_while(|waiting| waiting.goes_with(prompt));
        let (mut asked, mut counts, mut room) = (Vec::new(), Vec::new(), self.batch);
        for prompt in once(&*prompt).chain(waiting) {
            let least = usize::from(counts.is_empty());
            let count = (room / prompt.samples()).max(least).min(prompt.left());
            room = room.saturating_sub(count * prompt.samples());
            asked.extend((prompt.next..prompt.next + count).map(|number| prompt.ask(number)));
            counts.push(count);
        }
        let plan = &prompt.plan;
        // Only a picture that is drawn alone is traced, so the metadata are its own.
        let traced = Picture {
            metadata: steps.metadata,
            row,
            size: plan.settings.latent_size(),
        };
        let mut times = Vec::new();
        let mut start = Instant::now();
        let watch = |i, step: &Step<'_>| {
            // The first step's time includes the work done once: noise, and the prompt's keys and values.
            if i == 0 {
                times.push(Duration::ZERO);
            }
            times[step.index] += start.elapsed();
            if let Some(trace) = &mut steps.trace {
                trace.step(&traced, step)?;
            }
            if i < counts[0] {
                steps.bar.advance(1);
            }
            start = Instant::now();
            Ok(())
        };
        let drawn = plan
            .pipeline
            .run(&plan.sampling, asked, self.batch, watch)?;
        for time in &mut times {
            *time /= drawn.len() as u32;
        }
        let mut drawn = drawn.into_iter();
        let waiting = self.prompts.iter_mut().flatten();
        for (prompt, count) in once(prompt).chain(waiting).zip(counts) {
            let rows = drawn.by_ref().take(count).map(|latents| Drawn {
                latents,
                steps: times.clone(),
            });
            prompt.done.extend(rows);
            prompt.next += count;
        }
        Ok(())
    }
}
