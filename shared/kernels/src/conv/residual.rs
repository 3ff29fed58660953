//! What the result of a convolution is added to.

use crate::context::Context;
use crate::math::{Activation, activate};
use crate::value::Planes;

/// What the result of a convolution is added to.
#[derive(Debug)]
pub struct Residual {
    /// What is there; the result takes its place.
    pub planes: Planes,
    /// Applied to it first.
    pub activation: Activation,
}

impl Residual {
    /// With the activation applied.
    pub fn finish(mut self, ctx: &Context) -> Planes {
        if self.activation != Activation::Identity {
            self.planes
                .for_each_channel(|_, row| activate(ctx.isa, row, self.activation));
        }
        self.planes
    }
}

impl From<Planes> for Residual {
    fn from(planes: Planes) -> Self {
        Self {
            planes,
            activation: Activation::Identity,
        }
    }
}
