//! One file: what is read, and what is said of files that are wrong.
#![allow(missing_docs)]

use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;
use turbo_testkit::write_safetensors;
use turbo_weights::{Dtype, Error, Weight, Weights, open_file};

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.safetensors");
    (folder, file)
}

/// A tensor `a` [2, 3] of F16 with the values 0, 1, 2, -1, 0.5 and 65504, and `b` [1].
fn small(file: &PathBuf) {
    let a: Vec<u8> = [0x0000u16, 0x3C00, 0x4000, 0xBC00, 0x3800, 0x7BFF]
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    write_safetensors(
        file,
        "F16",
        &[("a", &[2, 3], a), ("b", &[1], vec![0x00, 0x3C])],
    );
}

#[test]
fn tensors_are_read_where_they_lie() {
    let (_folder, file) = folder();
    small(&file);
    let weights = open_file(&file).unwrap();
    let a = weights.get("a", &[2, 3]).unwrap();
    assert_eq!(
        (a.name(), a.dtype(), a.shape()),
        ("a", Dtype::F16, &[2, 3][..])
    );
    assert_eq!(a.to_f32(), [0.0, 1.0, 2.0, -1.0, 0.5, 65504.0]);
    assert_eq!(a.rows(1, 2).to_f32(), [-1.0, 0.5, 65504.0]);
    assert_eq!(a.rows(1, 2).shape(), [1, 3]);
    assert_eq!(a.rows(1, 2).rows(0, 1).bytes(), &a.bytes()[6..]);
    assert_eq!(a.rows(1, 1).bytes(), b"");
    assert_eq!(a.reshape(&[3, 2]).rows(2, 3).to_f32(), [0.5, 65504.0]);
    assert!(
        std::ptr::eq(
            a.clone().bytes(),
            weights.get("a", &[2, 3]).unwrap().bytes()
        ),
        "copied"
    );
    let b = weights.get("b", &[1]).unwrap();
    assert!(std::ptr::eq(
        &raw const a.bytes()[a.bytes().len() - 1],
        b.bytes().as_ptr().wrapping_sub(1)
    ));
    weights.pages().prefetch();
    let pages = weights.pages();
    drop(weights);
    fs::remove_file(&file).unwrap();
    std::thread::spawn(move || pages.prefetch()).join().unwrap();
    let values = a.to_f32(); // a weight keeps its file mapped
    assert_eq!(values, [0.0, 1.0, 2.0, -1.0, 0.5, 65504.0]);
}

#[test]
fn every_type_widens_to_f32() {
    let bf16 = Weight::from_bytes("x", Dtype::BF16, &[2], &[0x80, 0x3F, 0x20, 0xC1]);
    assert_eq!(bf16.to_f32(), [1.0, -10.0]);
    let f32 = Weight::from_f32("x", &[3], &[0.1, -0.0, f32::MAX]);
    assert_eq!(
        (f32.dtype(), f32.to_f32()),
        (Dtype::F32, vec![0.1, -0.0, f32::MAX])
    );
    assert_eq!(f32.bytes()[..4], 0.1f32.to_le_bytes());
}

#[test]
fn weights_know_what_was_asked_for() {
    let one = |name: &str| Weight::from_f32(name, &[1], &[1.0]);
    let names = [
        "a.0.weight",
        "b",
        "encoder.x",
        "encoder.y",
        "l.0.position_ids",
    ];
    let weights = Weights::from_tensors("some/file", names.map(one).to_vec());
    assert!(weights.contains("b") && !weights.contains("c"));
    assert_eq!(weights.path().to_str(), Some("some/file"));
    let error = weights.finish().unwrap_err();
    assert!(
        matches!(&error, Error::LeftOver { count: 5, .. }),
        "{error}"
    );
    weights.get("b", &[1]).unwrap();
    weights.get("a.0.weight", &[1]).unwrap();
    weights.ignore("encoder.");
    weights.ignore("l.");
    weights.finish().unwrap();

    let many: Vec<_> = (0..9).map(|i| one(&format!("w{i}"))).collect();
    let weights = Weights::from_tensors("some/file", many);
    weights.get("w0", &[1]).unwrap();
    let error = weights.finish().unwrap_err().to_string();
    assert_eq!(
        error,
        "some/file: 8 tensors are left over: w1, w2, w3, w4, w5 and 3 more; does the config belong to these weights?"
    );
}

#[test]
fn what_no_network_needs_is_not_left_over() {
    let (_folder, file) = folder();
    write_safetensors(
        &file,
        "I64",
        &[
            ("text_model.embeddings.position_ids", &[1], vec![0; 8]),
            ("position_ids", &[1], vec![0; 8]),
            ("model_ema.decay", &[1], vec![0; 8]),
        ],
    );
    open_file(&file).unwrap().finish().unwrap();
    let names = [
        "logit_scale",
        "conditioner.embedders.1.model.logit_scale",
        "denoiser.sigmas",
        "alphas_cumprod",
    ];
    let tensors: Vec<_> = names
        .iter()
        .map(|name| (*name, &[1][..], vec![0; 4]))
        .collect();
    write_safetensors(&file, "F32", &tensors);
    let weights = open_file(&file).unwrap();
    weights.finish().unwrap();
    assert!(!weights.contains("logit_scale"));
}

#[test]
fn a_missing_tensor_is_named_with_the_nearest_there_is() {
    let one = |name: &str| Weight::from_f32(name, &[1], &[1.0]);
    let weights = Weights::from_tensors(
        "w.safetensors",
        ["vae.decoder.conv_in.weight", "x.bias"].map(one).to_vec(),
    );
    let error = weights
        .get("decoder.conv_in.weight", &[1])
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "w.safetensors: no tensor `decoder.conv_in.weight`; the nearest is `vae.decoder.conv_in.weight`"
    );
    let error = weights.get("y.bias", &[1]).unwrap_err().to_string();
    assert_eq!(error, "w.safetensors: no tensor `y.bias` among 2");
}

#[test]
fn a_wrong_shape_is_told_with_the_right_one() {
    let (_folder, file) = folder();
    small(&file);
    let error = open_file(&file).unwrap().get("a", &[3, 2]).unwrap_err();
    assert!(matches!(&error, Error::WrongShape { .. }));
    let text = error.to_string();
    assert!(
        text.contains("x.safetensors: tensor `a`: expected shape [3, 2], found [2, 3]"),
        "{text}"
    );
}

#[test]
fn a_type_that_is_not_computed_with_is_refused_when_asked_for_and_counted_when_not() {
    let (_folder, file) = folder();
    write_safetensors(&file, "I16", &[("a", &[2], vec![0; 4])]);
    let weights = open_file(&file).unwrap();
    let error = weights.get("a", &[2]).unwrap_err().to_string();
    assert!(
        error.ends_with("tensor `a`: expected F32, F16, BF16, F64, F8_E4M3, F8_E5M2, or I8 with a `weight_scale` beside it, found I16"),
        "{error}"
    );
    assert!(matches!(
        weights.finish().unwrap_err(),
        Error::LeftOver { count: 1, .. }
    ));
    weights.ignore("a");
    weights.finish().unwrap();
}

#[test]
fn a_file_cut_at_any_byte_is_told_with_both_sizes() {
    let (_folder, file) = folder();
    small(&file);
    let whole = fs::read(&file).unwrap();
    let header = whole.len() - 14;
    for len in 0..whole.len() {
        fs::write(&file, &whole[..len]).unwrap();
        let error = open_file(&file)
            .err()
            .unwrap_or_else(|| panic!("{len} bytes were accepted"));
        assert!(error.to_string().contains("x.safetensors"), "{error}");
        match error {
            Error::BadHeader { reason, .. } if len < 8 => {
                assert_eq!(
                    reason,
                    format!("expected a header of at least 8 bytes, found {len}")
                );
            }
            Error::WrongSize {
                expected, found, ..
            } => {
                let known = if len < header { header } else { whole.len() };
                assert_eq!((expected, found), (known as u64, len as u64));
            }
            other => panic!("{len} bytes: {other}"),
        }
    }
    fs::write(&file, [&whole[..], b"more"].concat()).unwrap();
    let error = open_file(&file).err().unwrap();
    assert!(matches!(error, Error::WrongSize { expected, found, .. } if found == expected + 4));
}

#[test]
fn garbage_is_refused() {
    let (_folder, file) = folder();
    let header = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let cases: [(Vec<u8>, &str); 9] = [
        (
            b"<!DOCTYPE html><html>Not found</html>".to_vec(),
            "not a safetensors file",
        ),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0".to_vec(),
            "git lfs pull",
        ),
        (vec![0xFF; 64], "not a safetensors file"),
        (vec![0; 64], "not a safetensors file"),
        (
            [&40u64.to_le_bytes()[..], b"binary"].concat(),
            "not a safetensors file",
        ),
        (header("{"), "not a safetensors file"),
        (
            header(r#"{"a":{"dtype":"F16","shape":[1],"data_offsets":[0,4]}}"#),
            "not a safetensors file",
        ),
        (
            header(r#"{"a":{"dtype":"F99","shape":[1],"data_offsets":[0,2]}}"#),
            "not a safetensors file",
        ),
        (
            header(
                r#"{"a":{"dtype":"F16","shape":[4294967296,4294967296,8],"data_offsets":[0,0]}}"#,
            ),
            "not a safetensors file",
        ),
    ];
    for (bytes, expected) in cases {
        fs::write(&file, &bytes).unwrap();
        let error = open_file(&file)
            .err()
            .unwrap_or_else(|| panic!("accepted {bytes:?}"))
            .to_string();
        assert!(
            error.contains("x.safetensors") && error.contains(expected),
            "{error}"
        );
    }
}

#[test]
fn what_is_no_file_is_told() {
    let (folder, file) = folder();
    let error = open_file(&file).err().unwrap().to_string();
    assert!(error.contains("x.safetensors: cannot read: "), "{error}");
    assert!(matches!(
        open_file(folder.path()).err().unwrap(),
        Error::NotAFile { .. }
    ));
    #[cfg(unix)]
    {
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap();
        assert!(made.success());
        assert!(matches!(
            open_file(&pipe).err().unwrap(),
            Error::NotAFile { .. }
        ));
    }
    for name in ["model.bin", "model.CKPT", "model.pt"] {
        let pickle = folder.path().join(name);
        fs::write(&pickle, b"\x80\x02.").unwrap();
        let error = open_file(&pickle).err().unwrap();
        assert!(matches!(&error, Error::Pickle { .. }), "{error}");
    }
}

/// Values of torch's `float8_e4m3fn` and `float8_e5m2`, and of float64.
#[test]
fn types_that_networks_do_not_compute_with_are_widened() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.safetensors");
    let get = |dtype: &str, n: usize, bytes: Vec<u8>| {
        write_safetensors(&file, dtype, &[("x", &[n], bytes)]);
        open_file(&file).unwrap().get("x", &[n]).unwrap()
    };
    let bits = vec![0x00, 0x80, 0x38, 0xB8, 0x7E, 0x01, 0x07, 0x08, 0x48, 0x33];
    let x = get("F8_E4M3", 10, bits);
    assert_eq!(x.dtype(), Dtype::F16);
    let (least, least_normal) = (1. / 512., 1. / 64.);
    let expected = [
        0.,
        -0.,
        1.,
        -1.,
        448.,
        least,
        7. * least,
        least_normal,
        4.,
        0.6875,
    ];
    assert_eq!(x.to_f32(), expected);
    assert!(x.to_f32()[1].is_sign_negative());
    assert!(
        get("F8_E4M3", 2, vec![0x7F, 0xFF])
            .to_f32()
            .iter()
            .all(|x| x.is_nan())
    );
    let x = get("F8_E5M2", 5, vec![0x00, 0x3C, 0xC0, 0x7B, 0x01]);
    assert_eq!(x.dtype(), Dtype::F16);
    assert_eq!(x.to_f32(), [0., 1., -2., 57344., 2f32.powi(-16)]);
    let doubles = [0.1f64, -1e300, 3.]
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    let x = get("F64", 3, doubles);
    assert_eq!(x.dtype(), Dtype::F32);
    assert_eq!(x.to_f32(), [0.1, f32::NEG_INFINITY, 3.]);
}

#[test]
fn files_of_other_kinds_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.safetensors");
    for (content, what) in [
        (&b"GGUF\x03\0\0\0............"[..], "GGUF"),
        (b"PK\x03\x04...............", "ZIP"),
        (b"\x80\x02}q\x00............", "pickle"),
        (b"\x93NUMPY\x01\x00..........", "numpy"),
        (b"\n <!DOCTYPE html><html>...", "web page"),
        (b"<html>.....................", "web page"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
            "git lfs pull",
        ),
    ] {
        fs::write(&file, content).unwrap();
        let error = open_file(&file).err().unwrap().to_string();
        assert!(error.contains(what), "{error}");
    }
}
