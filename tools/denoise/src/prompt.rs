//! A prompt whose pictures are being drawn.

use crate::conditions::Conditions;
use crate::pipeline::{Asked, Pipeline};
use crate::sampling::Sampling;
use crate::settings::Settings;
use crate::start::Starts;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;
use turbo_cli::Result;
use turbo_weights::LoraSpec;
use turbo_wire::Frame;

/// What the user calls a model, and the LoRAs that are added to it.
pub(crate) type Key = (String, Vec<LoraSpec>);

/// What a prompt becomes: its pictures, and the model that draws them.
pub(crate) struct Plan {
    pub(crate) pipeline: Rc<Pipeline>,
    pub(crate) key: Key,
    pub(crate) settings: Settings,
    pub(crate) sampling: Sampling,
}

/// A frame of embeddings, and what of its pictures is drawn. They follow each other, each with its rows.
pub(crate) struct Prompt {
    pub(crate) plan: Rc<Plan>,
    conditions: Conditions,
    starts: Option<Starts>,
    /// Rows of the frame.
    pub(crate) rows: usize,
    /// The rows that were drawn and not taken, in order.
    pub(crate) done: VecDeque<Drawn>,
    /// The number of the next row that is not drawn.
    pub(crate) next: usize,
}

/// A picture, or one row of it, and the time of each of its steps: its share, where several were drawn together.
pub(crate) struct Drawn {
    pub(crate) latents: Vec<f32>,
    pub(crate) steps: Vec<Duration>,
}

impl Prompt {
    /// Reads a frame, and the latents beside it.
    pub(crate) fn read(plan: &Rc<Plan>, frame: &Frame, init: Option<&Frame>) -> Result<Self> {
        Ok(Self {
            plan: Rc::clone(plan),
            conditions: Conditions::read(frame, plan.settings.guides())?,
            starts: Starts::read(frame, init)?,
            rows: frame.header.batch(),
            done: VecDeque::new(),
            next: 0,
        })
    }

    /// Rows of all its pictures.
    pub(crate) fn all(&self) -> usize {
        self.plan.settings.images.saturating_mul(self.rows)
    }

    /// Rows that are still to be drawn.
    pub(crate) fn left(&self) -> usize {
        self.all() - self.next
    }

    /// Samples that the network sees for a row.
    pub(crate) fn samples(&self) -> usize {
        if self.plan.settings.guides() { 2 } else { 1 }
    }

    /// Whether the rows of both can go through the network together, step by step.
    pub(crate) fn goes_with(&self, other: &Self) -> bool {
        let (one, two) = (&self.plan, &other.plan);
        Rc::ptr_eq(&one.pipeline, &two.pipeline)
            && one.settings.latent_size() == two.settings.latent_size()
            && one.sampling == two.sampling
    }

    /// What is to be drawn for row `number` of all.
    pub(crate) fn ask(&self, number: usize) -> Asked<'_> {
        let (image, row) = (number / self.rows, number % self.rows);
        Asked {
            settings: &self.plan.settings,
            seed: self.plan.settings.seed_of(image, row),
            row: self.conditions.row(row),
            starts: self.starts.as_ref().map(|starts| (starts, row)),
        }
    }
}
