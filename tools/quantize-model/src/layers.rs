//! Which layers of a part become int8, and how.

use std::fmt;
use std::str::FromStr;

use turbo_weights::{Dtype, Part, Weight, int8_layer, keeps_float_activations};

/// What becomes of a part's layers.
#[derive(Clone, Copy)]
pub(crate) struct Layers<'a> {
    pub(crate) part: Part,
    /// Layers that stay as they are, beside those that always do.
    pub(crate) keep: &'a [Name],
    /// Layers that keep float activations, beside those that always do.
    pub(crate) float: &'a [Name],
}

/// A layer whose weights become int8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Int8 {
    /// Whether its activations stay floats.
    pub(crate) float_activations: bool,
}

impl Layers<'_> {
    /// Decides what a weight becomes: nothing if it stays as it is. A weight that is int8 already keeps what its file says of it.
    pub(crate) fn int8(&self, weight: &Weight) -> Option<Int8> {
        let layer = int8_layer(self.part, weight.name(), weight.shape())?;
        if self.keep.iter().any(|name| name.fits(layer)) {
            return None;
        }
        let uneven = self.part == Part::Unet && keeps_float_activations(layer);
        Some(Int8 {
            float_activations: uneven || self.float.iter().any(|name| name.fits(layer)),
        })
    }
}

/// What stays int8 in a part that is copied.
pub(crate) fn as_it_is(weight: &Weight) -> Option<Int8> {
    (weight.dtype() == Dtype::I8).then(|| Int8 {
        float_activations: weight.wants_full_precision(),
    })
}

/// A layer's name, in which `*` stands for any characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn fits(&self, layer: &str) -> bool {
        let mut pieces = self.0.split('*');
        let first = pieces.next().unwrap_or_default();
        let Some(mut rest) = layer.strip_prefix(first) else {
            return false;
        };
        let mut pieces = pieces.peekable();
        if pieces.peek().is_none() {
            return rest.is_empty();
        }
        while let Some(piece) = pieces.next() {
            if pieces.peek().is_none() {
                return rest.ends_with(piece);
            }
            let Some(at) = rest.find(piece) else {
                return false;
            };
            rest = &rest[at + piece.len()..];
        }
        true
    }

    /// Whether it is the layer of this weight.
    pub(crate) fn fits_weight(&self, weight: &str) -> bool {
        weight
            .strip_suffix(".weight")
            .is_some_and(|layer| self.fits(layer))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let layer = text.strip_suffix(".weight").unwrap_or(text);
        if layer.is_empty() {
            return Err("expected the name of a layer, found none".to_owned());
        }
        Ok(Self(layer.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_characters() {
        let fits = |name: &str, layer: &str| name.parse::<Name>().unwrap().fits(layer);
        assert!(fits("conv_out", "conv_out"));
        assert!(!fits("conv_out", "a.conv_out") && !fits("conv", "conv_out"));
        assert!(fits("*.ff.net.2", "up.0.ff.net.2") && !fits("*.ff.net.2", "up.0.ff.net.20"));
        assert!(fits("up_blocks.*.conv1", "up_blocks.0.resnets.1.conv1"));
        assert!(!fits("up_blocks.*.conv1", "down_blocks.0.resnets.1.conv1"));
        assert!(fits("a*b*b", "abb") && !fits("a*b*b", "ab") && fits("*", "x"));
        assert!(fits("conv_out.weight", "conv_out"));
        assert!("".parse::<Name>().is_err() && ".weight".parse::<Name>().is_err());
    }
}
