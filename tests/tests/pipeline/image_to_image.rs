//! Image to image and inpainting against diffusers, on the tiny checkpoint, in f32: from what diffusers' autoencoder made
//! of the pictures to the latents.

use crate::golden::LATENTS;
use pipeline_tests::{frame, frames, pipe, tool};
use serde_json::Value;
use turbo_testkit::{Tensor, golden, golden_cases, relative_error, shared_dir, tiny};
use turbo_wire::{Dtype, Frame, FrameWriter, Header, Kind, TensorSpec, f32_bytes, names};

/// The checkpoint's.
const SCALING_FACTOR: f32 = 0.13025;

/// A frame of a prompt, with more tensors.
fn pictured(prompt: &[u8], tensors: &[(&str, &[usize], Vec<f32>)]) -> Vec<u8> {
    let mut stream = FrameWriter::new(Vec::new());
    for prompt in frames(prompt) {
        let header = &prompt.header;
        let mut specs = header.tensors().to_vec();
        let mut body: Vec<(&str, Vec<u8>)> = header
            .tensors()
            .iter()
            .map(|tensor| {
                (
                    &*tensor.name,
                    prompt.bytes(&tensor.name).expect("it is there").to_vec(),
                )
            })
            .collect();
        for (name, shape, values) in tensors {
            specs.push(TensorSpec::new(name, Dtype::F32, shape));
            body.push((name, f32_bytes(values)));
        }
        let header = Header::new(Kind::TextEmbeddings, specs, header.metadata().clone());
        let body: Vec<_> = body
            .iter()
            .map(|(name, bytes)| (*name, &bytes[..]))
            .collect();
        let frame = Frame::new(header.expect("tensors that fit"), &body).expect("a body that fits");
        stream.write_frame(&frame).expect("a vector takes it");
    }
    stream.into_inner()
}

/// The tensors that `encode-image` joins to a frame, from diffusers' distribution, or from latents without one.
fn encoding(
    mean: &Tensor,
    logvar: Option<&Tensor>,
    mask: Option<&[u8]>,
) -> Vec<(&'static str, Vec<usize>, Vec<f32>)> {
    let [_, _, height, width] = mean.shape[..] else {
        panic!("latents have four dimensions")
    };
    let shape = vec![1, 4, height, width];
    let mut tensors = Vec::new();
    match logvar {
        None => tensors.push((names::IMAGE_MEAN, shape, mean.f32())),
        Some(logvar) => {
            let mean = mean
                .f32()
                .iter()
                .map(|value| value * SCALING_FACTOR)
                .collect();
            let shift = 2.0 * SCALING_FACTOR.ln();
            let logvar = logvar.f32().iter().map(|value| value + shift).collect();
            tensors.push((names::IMAGE_MEAN, shape.clone(), mean));
            tensors.push((names::IMAGE_LOGVAR, shape, logvar));
        }
    }
    // At full size, 0 or 1.
    if let Some(mask) = mask {
        // The nearest pixel, as torch takes it.
        let wide = width * 8;
        let nearest = (0..height * width)
            .map(|at| f32::from(mask[at / width * 8 * wide + at % width * 8]))
            .collect();
        tensors.push((names::MASK, vec![1, 1, height, width], nearest));
    }
    tensors
}

/// Runs a case from its encoding and compares its latents.
fn compare(
    what: &str,
    case: &Value,
    tensors: &[(&'static str, Vec<usize>, Vec<f32>)],
    expected: &Tensor,
) {
    let model = tiny();
    let text = |key: &str| case.get(key).map(|text| text.as_str().expect("text"));
    let mut encode = tool("encode-text", "--dtype f32").model(&model);
    if let Some(negative) = text("negative_prompt") {
        encode = encode.arg("--negative-prompt").arg(negative);
    }
    let prompt = pipe([encode.arg(text("prompt").expect("a prompt"))]).run();
    let tensors: Vec<_> = tensors
        .iter()
        .map(|(name, shape, values)| (*name, &shape[..], values.clone()))
        .collect();
    let steps = case.get("steps").unwrap_or(&case["num_inference_steps"]);
    let guidance = case
        .get("guidance_scale")
        .map_or(0.0, |scale| scale.as_f64().expect("a number"));
    let flags = format!(
        "--dtype f32 --steps {steps} --strength {} --seed {} --guidance-scale {guidance}",
        case["strength"], case["seed"]
    );
    let ended = pipe([tool("denoise", &flags)])
        .input(pictured(prompt.ok(), &tensors))
        .run();
    let latents = frame(ended.ok(), Kind::Latents);
    assert_eq!(
        latents
            .header
            .tensor(names::LATENTS)
            .expect("latents")
            .shape,
        expected.shape
    );
    let e = relative_error(
        &latents.to_f32(names::LATENTS).expect("latents"),
        &expected.f32(),
    );
    println!("{what}: latents e = {e:.1e}");
    assert!(e <= LATENTS, "{what}: latents: e = {e}");
}

#[test]
fn runs_from_pictures_are_diffusers() {
    if shared_dir().is_none() {
        eprintln!("skipped: no vocabulary");
        return;
    }
    let golden = golden("pictures");
    for (i, case) in list(&golden_cases("pictures")["cases"]).iter().enumerate() {
        let get = |name: &str| golden.get(&format!("{i}/{name}"));
        let mask = get("prepared_mask").map(Tensor::u8);
        let mean = get("mean").or(get("encoded")).expect("an encoding");
        let tensors = encoding(mean, get("logvar"), mask.as_deref());
        compare(
            &format!("pictures {i}"),
            case,
            &tensors,
            get("latents").expect("latents"),
        );
    }
}

/// The runs whose picture is also a case of the encoder.
#[test]
fn runs_from_square_pictures_are_diffusers() {
    if shared_dir().is_none() {
        eprintln!("skipped: no vocabulary");
        return;
    }
    let tiny = golden("tiny");
    let middle = |at: usize| (32..96).contains(&at);
    let mask: Vec<u8> = (0..128 * 128)
        .map(|at| u8::from(middle(at / 128) && middle(at % 128)))
        .collect();
    for (i, case) in list(&golden_cases("tiny")["cases"]["image"])
        .iter()
        .enumerate()
    {
        let mask = match case.get("kind").and_then(Value::as_str) {
            Some("img2img") => None,
            Some("inpaint") => Some(&mask[..]),
            _ => continue,
        };
        if case["width"] == 128 && case["height"] == 128 {
            let tensors = encoding(&tiny["encode/0/mean"], Some(&tiny["encode/0/logvar"]), mask);
            compare(
                &format!("tiny {i}"),
                case,
                &tensors,
                &tiny[&format!("image/{i}/latents")],
            );
        }
    }
}

/// A picture with smooth and sharp parts `[height, width, 3]`, as the program that made the expected values draws it.
fn picture(width: usize, height: usize) -> Vec<u8> {
    let (radius, middle) = ((width.min(height) / 4).pow(2), [width / 2, height / 3]);
    let pixel = |at: usize| {
        let (x, y) = (at % width, at / width);
        let red = (x * 255 / (width - 1)) as u8;
        let is_inside = x.abs_diff(middle[0]).pow(2) + y.abs_diff(middle[1]).pow(2) < radius;
        [
            if is_inside { 255 - red } else { red },
            (y * 255 / (height - 1)) as u8,
            if (x / 16 + y / 16).is_multiple_of(2) {
                224
            } else {
                32
            },
        ]
    };
    (0..width * height).flat_map(pixel).collect()
}

/// From pixels to pixels, through the tools, with the flags and files that a user would give.
#[test]
fn runs_through_the_tools_are_diffusers() {
    if shared_dir().is_none() {
        eprintln!("skipped: no vocabulary");
        return;
    }
    let (model, tiny) = (tiny(), golden("tiny"));
    assert_eq!(picture(128, 128), tiny["encode/0/picture"].u8());
    let folder = tempfile::tempdir().expect("a folder");
    let mut seen = 0;
    for (i, case) in list(&golden_cases("tiny")["cases"]["image"])
        .iter()
        .enumerate()
    {
        let Some(kind) = case.get("kind") else {
            continue;
        };
        let number = |key: &str| case[key].as_u64().expect("a number") as usize;
        let (width, height) = (number("width"), number("height"));
        let write = |name: &str, pixels: &[u8]| {
            let path = folder.path().join(name);
            let header = format!(
                "{} {width} {height} 255\n",
                if name == "mask" { "P5" } else { "P6" }
            );
            std::fs::write(&path, [header.as_bytes(), pixels].concat()).expect("written");
            path
        };
        let photo = write("photo", &picture(width, height));
        let mut encode = tool("encode-image", "--dtype f32 --join -").arg(photo);
        if kind == "inpaint" {
            let middle = |at: usize, side: usize| (side / 4..3 * side / 4).contains(&at);
            let white = |at| middle(at % width, width) && middle(at / width, height);
            let pixels: Vec<u8> = (0..width * height)
                .map(|at| u8::from(white(at)) * 255)
                .collect();
            encode = encode.arg("--mask").arg(write("mask", &pixels));
        }
        let denoise = format!(
            "--dtype f32 --steps {} --strength {} --seed {}",
            case["num_inference_steps"], case["strength"], case["seed"]
        );
        let made = [
            tool("encode-text", "--dtype f32")
                .model(&model)
                .arg(case["prompt"].as_str().expect("a prompt")),
            encode,
            tool("denoise", &denoise),
        ];
        let latents = pipe(made.clone()).run();
        let rest = [tool("decode-latents", "--dtype f32"), tool("to-png", "")];
        let png = pipe(made.into_iter().chain(rest)).run();
        let expected = ["latents", "pixels"].map(|name| &tiny[&format!("image/{i}/{name}")]);
        crate::golden::compare(&format!("tiny {i}"), latents.ok(), png.ok(), expected);
        seen += 1;
    }
    assert_eq!(seen, 4);
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}
