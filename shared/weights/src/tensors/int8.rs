//! Layers in int8 by ComfyUI's convention `int8_tensorwise`: beside `X.weight` in I8 stand `X.weight_scale`, a number for
//! each output row, and `X.comfy_quant`, bytes of JSON that name the format.

use super::Weight;
use super::weight::Int8;
use crate::{Error, Result};
use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::Value;
use std::path::Path;

/// What stands beside the weight of a layer.
const SCALE: &str = "weight_scale";
const FORMAT: &str = "comfy_quant";

/// Whether a tensor is part of a layer's int8.
pub(super) fn is_beside(name: &str, metadata: &Metadata) -> bool {
    let layer = [SCALE, FORMAT]
        .iter()
        .find_map(|end| name.strip_suffix(end));
    layer.is_some_and(|layer| {
        let weight = metadata.info(&format!("{layer}weight"));
        weight.is_some_and(|info| info.dtype == Dtype::I8)
    })
}

/// `weight`, the I8 tensor `name`, with the scales that `body` has for it; nothing if there are none.
///
/// # Errors
/// The scales do not fit, or the format is another than this reads: its name is in the message.
pub(super) fn attach(
    path: &Path,
    name: &str,
    weight: Weight,
    metadata: &Metadata,
    body: &[u8],
) -> Result<Option<Weight>> {
    let bad = |reason: String| Error::Int8 {
        path: path.to_owned(),
        name: name.to_owned(),
        reason,
    };
    let Some(layer) = name.strip_suffix("weight") else {
        return Ok(None);
    };
    let beside = |end: &str| metadata.info(&format!("{layer}{end}"));
    let bytes = |info: &TensorInfo| &body[info.data_offsets.0..info.data_offsets.1];
    let Some(scale) = beside(SCALE) else {
        return Ok(None);
    };
    let rows = weight.shape().first().copied().unwrap_or(1);
    let scales = floats(scale.dtype, bytes(scale))
        .ok_or_else(|| bad(format!("`{SCALE}` in F32, found {}", scale.dtype)))?;
    let scales = match scales.len() {
        1 => vec![scales[0]; rows],
        count if count == rows => scales,
        count => {
            return Err(bad(format!(
                "`{SCALE}` with one number for each of {rows} rows, found {count}"
            )));
        }
    };
    let mut full_precision = false;
    if let Some(format) = beside(FORMAT) {
        let format: Value = serde_json::from_slice(bytes(format))
            .map_err(|e| bad(format!("JSON in `{FORMAT}`, found {e}")))?;
        let found = format
            .get("format")
            .and_then(Value::as_str)
            .unwrap_or("none");
        if found != "int8_tensorwise" {
            return Err(bad(format!("the format int8_tensorwise, found {found}")));
        }
        if format.get("convrot").and_then(Value::as_bool) == Some(true) {
            return Err(bad(
                "weights as they are, found rotated ones (convrot)".into()
            ));
        }
        let full = format.get("full_precision_matrix_mult");
        full_precision = full.and_then(Value::as_bool).unwrap_or(false);
    }
    Ok(Some(weight.with_int8(Int8 {
        scales: scales.into(),
        rows: 0..rows,
        full_precision,
    })))
}

fn floats(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    let halves = || bytes.as_chunks().0.iter();
    match dtype {
        Dtype::F32 => {
            let words = bytes.as_chunks().0.iter();
            Some(words.map(|b| f32::from_le_bytes(*b)).collect())
        }
        Dtype::F16 => Some(halves().map(|b| f16::from_le_bytes(*b).to_f32()).collect()),
        Dtype::BF16 => Some(halves().map(|b| bf16::from_le_bytes(*b).to_f32()).collect()),
        _ => None,
    }
}
