//! What is done to a result.

use super::store::Target;
use crate::context::Context;
use crate::math::Activation;
use crate::memory::Disjoint;
use crate::value::Planes;

/// What is done to a result on its way out: `activation(W x + bias + residual)`.
#[derive(Debug, Default)]
pub struct After<'a> {
    /// One number a channel of the result.
    pub bias: Option<&'a [f32]>,
    /// A value of the result's shape, whose place the result takes.
    pub residual: Option<Planes>,
    /// Last.
    pub activation: Activation,
}

impl<'a> After<'a> {
    /// A bias, and nothing else.
    pub fn bias(bias: Option<&'a [f32]>) -> Self {
        Self {
            bias,
            ..Self::default()
        }
    }

    /// Room for a result, or the residual.
    ///
    /// # Panics
    /// If bias or residual have another shape.
    pub(crate) fn output(self, ctx: &Context, channels: usize, positions: usize) -> Output<'a> {
        let fits = self.bias.is_none_or(|b| b.len() == channels);
        assert!(fits, "bias of a layer");
        let add = self.residual.is_some();
        let planes = self
            .residual
            .unwrap_or_else(|| Planes::take(ctx, channels, positions));
        let shape = (planes.channels, planes.positions);
        assert_eq!(shape, (channels, positions), "residual of a layer");
        Output {
            planes,
            add,
            bias: self.bias,
            activation: self.activation,
        }
    }
}

/// A result on its way out.
pub(crate) struct Output<'a> {
    pub(crate) planes: Planes,
    add: bool,
    bias: Option<&'a [f32]>,
    activation: Activation,
}

impl Output<'_> {
    /// Where sums are stored to.
    pub(crate) fn target(&mut self) -> Target<'_> {
        let pitch = self.planes.pitch;
        Target {
            out: Disjoint::new(self.planes.data_mut()),
            pitch,
            bias: self.bias,
            add: self.add,
            activation: self.activation,
        }
    }
}
