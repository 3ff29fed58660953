//! Values on the CPU, in the form in which the layer that made them could write them best.

use super::shared::Shared;
use std::ops::Deref;
use turbo_kernels::{Compute, Context, Left, Panels, Planes};

/// A value: numbers in one of two forms, shared by its clones.
#[derive(Clone, Debug)]
pub(crate) struct CpuTensor {
    pub(super) form: Shared<Form>,
    /// Height and width of a map; tokens are one column.
    pub(super) height: usize,
    pub(super) width: usize,
    /// Tokens, which the host sees row by row, or a map, channel by channel.
    pub(super) tokens: bool,
}

#[derive(Debug)]
pub(crate) enum Form {
    /// What everything can read.
    Planes(Planes),
    /// What linear layers read: norms, activations and attention write it.
    Panels(Panels),
}

/// What a linear layer reads: a form that a value has, or an operand made for the occasion.
pub(super) enum Operand<'a> {
    Held(Left<'a>),
    Made(Panels),
}

impl Operand<'_> {
    pub(super) fn left(&self) -> Left<'_> {
        match self {
            Self::Held(left) => *left,
            Self::Made(panels) => panels.into(),
        }
    }
}

/// A form that a value has, or one made for the occasion.
pub(super) enum Read<'a, T> {
    Held(&'a T),
    Made(T),
}

impl<T> Deref for Read<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        match self {
            Self::Held(t) => t,
            Self::Made(t) => t,
        }
    }
}

impl CpuTensor {
    /// The numbers.
    pub(super) fn planes(&self, ctx: &Context) -> Read<'_, Planes> {
        match &*self.form {
            Form::Planes(p) => Read::Held(p),
            Form::Panels(p) => Read::Made(p.unpack(ctx)),
        }
    }

    /// What a linear layer reads: a float32 value as it is, or an operand.
    pub(super) fn operand(&self, ctx: &Context, compute: Compute) -> Operand<'_> {
        match &*self.form {
            Form::Panels(p) if compute == Compute::Int8 => Operand::Held(Left::int8(ctx, p)),
            Form::Panels(p) => Operand::Held(p.into()),
            // One token is laid out without room for a vector.
            Form::Planes(p) if compute == Compute::F32 && p.positions > 1 => {
                Operand::Held(p.into())
            }
            Form::Planes(p) => Operand::Made(Panels::pack(ctx, p, compute)),
        }
    }

    /// The numbers to change: these where nobody else holds them, else a copy.
    pub(super) fn into_planes(self, ctx: &Context) -> Planes {
        match self.form.try_unwrap() {
            Ok(Form::Planes(p)) => p,
            Ok(Form::Panels(p)) => p.unpack(ctx),
            Err(shared) => match &*shared {
                Form::Planes(p) => p.copy(ctx),
                Form::Panels(p) => p.unpack(ctx),
            },
        }
    }

    /// Another value of this shape.
    pub(super) fn with(&self, form: Form) -> Self {
        Self {
            form: self.form.another(form),
            height: self.height,
            width: self.width,
            tokens: self.tokens,
        }
    }
}
