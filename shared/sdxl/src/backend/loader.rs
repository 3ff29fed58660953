//! Takes weights by their names and hands them to a backend.

use crate::Result;
use crate::backend::{Affine, Backend, Window};
use turbo_weights::{Lora, LoraPair, Part, Weight, Weights};

/// A place in a checkpoint: the weights, a prefix of their names, and the backend that takes them.
pub struct Loader<'a, B> {
    /// Where the layers will run.
    pub backend: &'a B,
    weights: &'a Weights,
    /// The part of the checkpoint, and the LoRAs with their scales.
    loras: Option<(Part, &'a [(&'a Lora, f32)])>,
    prefix: String,
}

impl<B> Clone for Loader<'_, B> {
    fn clone(&self) -> Self {
        Self {
            prefix: self.prefix.clone(),
            ..*self
        }
    }
}

impl<'a, B: Backend> Loader<'a, B> {
    /// The top of a component.
    pub fn new(backend: &'a B, weights: &'a Weights) -> Self {
        Self {
            backend,
            weights,
            loras: None,
            prefix: String::new(),
        }
    }

    /// Attaches to each layer what these LoRAs, times their scales, have for it as a layer of `part`.
    #[must_use]
    pub(crate) fn with_loras(self, part: Part, loras: &'a [(&'a Lora, f32)]) -> Self {
        Self {
            loras: Some((part, loras)),
            ..self
        }
    }

    /// One level down: `name` and a dot are put in front of every name.
    #[must_use]
    pub fn pp(&self, name: impl std::fmt::Display) -> Self {
        Self {
            prefix: format!("{}{name}.", self.prefix),
            ..*self
        }
    }

    /// The tensor `name`, which must have this shape.
    ///
    /// # Errors
    /// It is missing, or has another shape.
    pub fn weight(&self, name: &str, shape: &[usize]) -> Result<Weight> {
        Ok(self.weights.get(&format!("{}{name}", self.prefix), shape)?)
    }

    /// Says that tensors whose names begin with `name` are knowingly not read.
    pub fn ignore(&self, name: &str) {
        let prefix = format!("{}{name}", self.prefix);
        self.weights.ignore(&prefix);
        if let Some((part, loras)) = self.loras {
            for (lora, _) in loras {
                lora.ignore(part, &prefix);
            }
        }
    }

    fn affine(&self, name: &str, shape: &[usize], bias: bool) -> Result<Affine> {
        let layer = self.pp(name);
        let weight = layer.weight("weight", shape)?;
        let bias = bias
            .then(|| layer.weight("bias", &shape[..1]))
            .transpose()?;
        let adapters = self.adapters(name, shape)?;
        Ok(Affine {
            weight,
            bias,
            adapters,
        })
    }

    fn adapters(&self, name: &str, shape: &[usize]) -> Result<Vec<LoraPair>> {
        let Some((part, loras)) = self.loras else {
            return Ok(Vec::new());
        };
        let layer = format!("{}{name}", self.prefix);
        let mut adapters = Vec::new();
        for (lora, scale) in loras {
            if let Some(pair) = lora.pair(part, &layer, shape)? {
                let scale = pair.scale * scale;
                adapters.push(LoraPair { scale, ..pair });
            }
        }
        Ok(adapters)
    }

    /// A linear layer with a bias.
    ///
    /// # Errors
    /// As [`Loader::weight`]; so for all that follow.
    pub fn linear(&self, name: &str, inputs: usize, outputs: usize) -> Result<B::Linear> {
        self.backend
            .load_linear(self.affine(name, &[outputs, inputs], true)?)
    }

    /// A linear layer without a bias.
    ///
    /// # Errors
    /// As [`Loader::weight`].
    pub fn linear_no_bias(&self, name: &str, inputs: usize, outputs: usize) -> Result<B::Linear> {
        self.backend
            .load_linear(self.affine(name, &[outputs, inputs], false)?)
    }

    /// A `k` x `k` convolution with a bias.
    ///
    /// # Errors
    /// As [`Loader::weight`].
    pub fn conv2d(
        &self,
        name: &str,
        inputs: usize,
        outputs: usize,
        k: usize,
        window: Window,
    ) -> Result<B::Conv2d> {
        let affine = self.affine(name, &[outputs, inputs, k, k], true)?;
        self.backend.load_conv2d(affine, window)
    }

    /// A `k` x `k` convolution without a bias.
    ///
    /// # Errors
    /// As [`Loader::weight`].
    pub fn conv2d_no_bias(
        &self,
        name: &str,
        inputs: usize,
        outputs: usize,
        k: usize,
        window: Window,
    ) -> Result<B::Conv2d> {
        let affine = self.affine(name, &[outputs, inputs, k, k], false)?;
        self.backend.load_conv2d(affine, window)
    }

    /// A group norm.
    ///
    /// # Errors
    /// As [`Loader::weight`].
    pub fn group_norm(
        &self,
        name: &str,
        channels: usize,
        groups: usize,
        eps: f32,
    ) -> Result<B::Norm> {
        let norm = self.pp(name);
        let weight = norm.weight("weight", &[channels])?;
        let bias = norm.weight("bias", &[channels])?;
        self.backend.load_norm(weight, bias, groups, eps)
    }

    /// A layer norm.
    ///
    /// # Errors
    /// As [`Loader::weight`].
    pub fn layer_norm(&self, name: &str, channels: usize, eps: f32) -> Result<B::Norm> {
        self.group_norm(name, channels, 1, eps)
    }
}
