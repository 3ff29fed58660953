//! Layers in int8 by ComfyUI's convention: read where they lie, or refused by name.
#![allow(missing_docs)]

use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use turbo_weights::{Dtype, Weights, open_file};

/// Writes a safetensors file of tensors of several types.
fn write(file: &Path, tensors: &[(&str, &str, &[usize], Vec<u8>)]) {
    let mut header = Map::new();
    let mut body = Vec::new();
    for (name, dtype, shape, data) in tensors {
        let start = body.len();
        body.extend_from_slice(data);
        let offsets = [start, body.len()];
        let info = json!({"dtype": dtype, "shape": shape, "data_offsets": offsets});
        header.insert((*name).to_owned(), info);
    }
    let header = Value::Object(header).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(&body);
    fs::write(file, bytes).unwrap();
}

/// A layer of two rows of three, with these scales and this format.
fn layer(scales: &[f32], format: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.safetensors");
    let numbers = [1i8, -2, 127, -128, 0, 5].map(i8::cast_unsigned).to_vec();
    let scale = scales.iter().flat_map(|s| s.to_le_bytes()).collect();
    write(
        &file,
        &[
            ("a.weight", "I8", &[2, 3], numbers),
            ("a.weight_scale", "F32", &[scales.len(), 1], scale),
            ("a.comfy_quant", "U8", &[format.len()], format.into()),
            ("a.bias", "F32", &[1], 1f32.to_le_bytes().to_vec()),
        ],
    );
    (folder, file)
}

const FORMAT: &str = r#"{"format": "int8_tensorwise"}"#;

#[test]
fn a_layer_has_its_scales() {
    let (_folder, file) = layer(&[0.5, 2.0], FORMAT);
    let weights = open_file(&file).unwrap();
    let a = weights.get("a.weight", &[2, 3]).unwrap();
    assert_eq!(a.dtype(), Dtype::I8);
    assert_eq!(a.scales(), Some(&[0.5, 2.0][..]));
    assert_eq!(a.bytes(), [1, 254, 127, 128, 0, 5]);
    assert_eq!(a.to_f32(), [0.5, -1.0, 63.5, -256.0, 0.0, 10.0]);
    assert_eq!(a.rows(1, 2).scales(), Some(&[2.0][..]));
    assert_eq!(a.rows(1, 2).to_f32(), [-256.0, 0.0, 10.0]);
    assert!(!a.wants_full_precision());
    // What stands beside it belongs to it: nothing is left over.
    assert_eq!(weights.names().collect::<Vec<_>>(), ["a.bias", "a.weight"]);
    weights.get("a.bias", &[1]).unwrap();
    weights.finish().unwrap();
}

#[test]
fn one_scale_is_every_row_s() {
    let (_folder, file) = layer(&[0.25], FORMAT);
    let a = open_file(&file).unwrap();
    let a = a.get("a.weight", &[2, 3]).unwrap();
    assert_eq!(a.scales(), Some(&[0.25, 0.25][..]));
}

#[test]
fn a_layer_may_ask_for_floats() {
    let format = r#"{"format": "int8_tensorwise", "full_precision_matrix_mult": true}"#;
    let (_folder, file) = layer(&[1.0, 1.0], format);
    let a = open_file(&file).unwrap();
    assert!(a.get("a.weight", &[2, 3]).unwrap().wants_full_precision());
}

#[test]
fn others_are_refused_by_name() {
    for (scales, format, found) in [
        (
            &[1.0, 1.0][..],
            r#"{"format": "int4"}"#,
            "expected the format int8_tensorwise, found int4",
        ),
        (
            &[1.0, 1.0],
            "{}",
            "expected the format int8_tensorwise, found none",
        ),
        (&[1.0, 1.0], "no JSON", "expected JSON in `comfy_quant`"),
        (
            &[1.0, 1.0],
            r#"{"format": "int8_tensorwise", "convrot": true, "convrot_groupsize": 64}"#,
            "found rotated ones (convrot)",
        ),
        (
            &[1.0, 1.0, 1.0],
            FORMAT,
            "one number for each of 2 rows, found 3",
        ),
    ] {
        let (_folder, file) = layer(scales, format);
        let error = open_file(&file)
            .map(drop::<Weights>)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("x.safetensors: tensor `a.weight`: expected "),
            "{error}"
        );
        assert!(error.contains(found), "{error}");
    }
}

#[test]
fn int8_without_scales_is_refused_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.safetensors");
    write(&file, &[("a.weight", "I8", &[2], vec![1, 2])]);
    let error = open_file(&file).unwrap().get("a.weight", &[2]).unwrap_err();
    let error = error.to_string();
    assert!(
        error.ends_with("or I8 with a `weight_scale` beside it, found I8"),
        "{error}"
    );
}
