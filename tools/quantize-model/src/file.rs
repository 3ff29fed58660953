//! One safetensors file: its header, known before anything is computed, and its tensors, one after the other.
//!
//! A layer's int8 and its `comfy_quant` come first, layer by layer, then all scales and other float32, then numbers of two
//! bytes. `comfy_quant` is JSON, which may end in spaces: as many as bring the next tensor to a multiple of 8 bytes. So
//! every tensor is aligned, and the file is written from front to back.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use rayon::prelude::*;
use serde_json::json;
use turbo_cli::{Error, Output, Result};
use turbo_weights::{Weight, Weights};

use crate::layers::{Int8, Layers, as_it_is};
use crate::report::Report;

/// Bytes of weights that are changed at a time, or one tensor.
const BATCH: usize = 64 << 20;

/// A file to be written.
pub(crate) struct File {
    /// The eight bytes of its length included.
    header: Vec<u8>,
    int8: Vec<Layer>,
    exact: Vec<Weight>,
    len: u64,
}

/// A layer that becomes int8, or is.
struct Layer {
    weight: Weight,
    /// With its spaces.
    format: String,
}

impl File {
    /// Plans the file of a part: layers become int8 by the rules of `layers`, or all stay as they are without it.
    /// `sources` are the files that the weights come from, with their hashes.
    pub(crate) fn plan(
        weights: &Weights,
        layers: Option<Layers<'_>>,
        sources: &BTreeMap<String, String>,
    ) -> Result<Self> {
        let (mut int8, mut exact, mut float) = (Vec::new(), Vec::new(), Vec::new());
        for name in weights.names() {
            let shape = weights.shape(name).unwrap_or_default().to_vec();
            let weight = weights.get(name, &shape)?;
            let becomes =
                as_it_is(&weight).or_else(|| layers.and_then(|layers| layers.int8(&weight)));
            match becomes {
                Some(how) => {
                    if how.float_activations {
                        float.push(name.trim_end_matches(".weight"));
                    }
                    let format = format(how, weight.shape().iter().product());
                    int8.push(Layer { weight, format });
                }
                None => exact.push(weight),
            }
        }
        exact.sort_by_key(|weight| std::cmp::Reverse(weight.dtype().size()));
        let kept: Vec<&str> = exact
            .iter()
            .filter(|weight| weight.shape().len() >= 2)
            .map(|weight| weight.name().trim_end_matches(".weight"))
            .collect();
        let mut metadata = BTreeMap::from([
            ("format", "pt".to_owned()),
            ("quantize-model", env!("CARGO_PKG_VERSION").to_owned()),
            ("source_sha256", json!(sources).to_string()),
        ]);
        if !int8.is_empty() {
            let what = "int8_tensorwise: symmetric, a scale for each output row, largest number 127, nearest, ties to even";
            metadata.insert("quantization", what.to_owned());
            metadata.insert("int8_layers", int8.len().to_string());
            metadata.insert("float_activations", json!(float).to_string());
            metadata.insert("kept_layers", json!(kept).to_string());
        }
        let mut header = Header::new(&metadata);
        for Layer { weight, format } in &int8 {
            let layer = weight.name().trim_end_matches("weight");
            let count = weight.shape().iter().product();
            header.tensor(weight.name(), "I8", weight.shape(), count);
            header.tensor(
                &format!("{layer}comfy_quant"),
                "U8",
                &[format.len()],
                format.len(),
            );
        }
        for Layer { weight, .. } in &int8 {
            let mut shape = vec![1; weight.shape().len()];
            shape[0] = weight.shape()[0];
            let name = format!("{}_scale", weight.name());
            header.tensor(&name, "F32", &shape, 4 * shape[0]);
        }
        for weight in &exact {
            let dtype = weight.dtype().to_string();
            header.tensor(weight.name(), &dtype, weight.shape(), weight.bytes().len());
        }
        let (header, len) = header.finish();
        Ok(Self {
            header,
            int8,
            exact,
            len,
        })
    }

    pub(crate) fn int8_layers(&self) -> usize {
        self.int8.len()
    }

    /// Size of the file.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes of the weights that it is made from.
    pub(crate) fn source_len(&self) -> u64 {
        let int8 = self.int8.iter().map(|layer| &layer.weight);
        int8.chain(&self.exact)
            .map(|weight| weight.bytes().len() as u64)
            .sum()
    }

    /// Whether an earlier run has written this very file: files are renamed when they are whole, and the header has the
    /// hashes of what they were made from.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        let same = || -> std::io::Result<bool> {
            let mut file = fs::File::open(path)?;
            if file.metadata()?.len() != self.len {
                return Ok(false);
            }
            let mut found = vec![0; self.header.len()];
            file.read_exact(&mut found)?;
            Ok(found == self.header)
        };
        same().unwrap_or(false)
    }

    /// Writes it beside `path`, and renames it when it is whole.
    pub(crate) fn write(&self, path: &Path, report: &mut Report<'_>) -> Result<()> {
        let mut output = Output::file(path)?;
        let written = self.write_to(&mut output, report);
        // Of a file that changed meanwhile nothing is to be kept, and an error has its reason there.
        turbo_weights::check_unchanged()?;
        written?;
        output.finish()
    }

    fn write_to(&self, output: &mut Output, report: &mut Report<'_>) -> Result<()> {
        output.write_all(&self.header)?;
        let mut scales = Vec::new();
        let mut rest = &self.int8[..];
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(batch(rest));
            let changed: Vec<_> = batch
                .par_iter()
                .map(|layer| layer.weight.to_int8())
                .collect();
            for (layer, int8) in batch.iter().zip(changed) {
                let int8 = int8.map_err(|e| {
                    Error::new(format_args!("tensor `{}`: {e}", layer.weight.name()))
                })?;
                output.write_all(int8.bytes())?;
                output.write_all(layer.format.as_bytes())?;
                scales.extend(
                    int8.scales()
                        .into_iter()
                        .flatten()
                        .flat_map(|s| s.to_le_bytes()),
                );
                layer.weight.release();
                report.advance(layer.weight.bytes().len() as u64);
            }
            rest = later;
        }
        output.write_all(&scales)?;
        for weight in &self.exact {
            output.write_all(weight.bytes())?;
            weight.release();
            report.advance(weight.bytes().len() as u64);
        }
        Ok(())
    }
}

/// How many of the first layers are changed together.
fn batch(layers: &[Layer]) -> usize {
    let mut bytes = 0;
    let fits = |layer: &&Layer| {
        bytes += layer.weight.bytes().len();
        bytes <= BATCH
    };
    layers.iter().take_while(fits).count().max(1)
}

/// What `comfy_quant` says of a layer of `count` numbers, behind which the next tensor is to be aligned.
fn format(how: Int8, count: usize) -> String {
    let mut format = if how.float_activations {
        r#"{"format": "int8_tensorwise", "full_precision_matrix_mult": true}"#.to_owned()
    } else {
        r#"{"format": "int8_tensorwise"}"#.to_owned()
    };
    while !(count + format.len()).is_multiple_of(8) {
        format.push(' ');
    }
    format
}

/// A header under way.
struct Header {
    json: String,
    at: usize,
}

impl Header {
    fn new(metadata: &BTreeMap<&str, String>) -> Self {
        let json = format!("{{\"__metadata__\":{}", json!(metadata));
        Self { json, at: 0 }
    }

    fn tensor(&mut self, name: &str, dtype: &str, shape: &[usize], bytes: usize) {
        let end = self.at + bytes;
        let tensor = json!({"dtype": dtype, "shape": shape, "data_offsets": [self.at, end]});
        let _ = write!(self.json, ",{}:{tensor}", json!(name));
        self.at = end;
    }

    /// The header with its length in front, and the size of the file.
    fn finish(mut self) -> (Vec<u8>, u64) {
        self.json.push('}');
        while !self.json.len().is_multiple_of(8) {
            self.json.push(' ');
        }
        let mut header = (self.json.len() as u64).to_le_bytes().to_vec();
        header.extend(self.json.into_bytes());
        let len = header.len() + self.at;
        (header, len as u64)
    }
}
