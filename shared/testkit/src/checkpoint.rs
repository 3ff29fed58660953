//! The tiny checkpoint, in both layouts.

use crate::{golden_dir, numbers, shared_dir, write_safetensors};
use serde_json::{Map, Value};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The seed that the expected values belong to.
const SEED: u64 = 1;

/// The tiny checkpoint in a folder that tests share, made when first asked for. Do not write to it.
///
/// It has `tokenizer/` and `tokenizer_2/` only where [`shared_dir`] has the vocabulary.
///
/// # Panics
/// If it cannot be written.
pub fn tiny() -> PathBuf {
    let folder = once("tiny-1", |draft| tiny_checkpoint(draft));
    copy_tokenizers(&folder);
    folder
}

/// The tiny checkpoint with a vocabulary of letters ([`letter_tokenizers`](crate::letter_tokenizers)), complete
/// everywhere, in a folder that tests share. Do not write to it.
///
/// # Panics
/// If it cannot be written.
pub fn tiny_lettered() -> PathBuf {
    once("tiny-lettered-1", |draft| {
        tiny_checkpoint(draft);
        crate::letter_tokenizers(draft);
    })
}

/// The tiny checkpoint in one file that tests share, made when first asked for. Do not write to it, nor beside it.
///
/// # Panics
/// If it cannot be written.
pub fn tiny_single() -> PathBuf {
    once("tiny-1.safetensors", |draft| tiny_single_file(draft))
}

/// An autoencoder of TAESDXL's shapes in a folder that tests share, made when first asked for. Do not write to it.
///
/// # Panics
/// If it cannot be written.
pub fn taesdxl() -> PathBuf {
    once("taesdxl-1", |draft| write_parts("taesdxl", draft)).join("taesdxl")
}

/// Makes a file or folder in the target folder unless it is there already.
fn once(name: &str, make: impl Fn(&Path)) -> PathBuf {
    // One thread at a time; other processes are told apart by their drafts' names.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // The running test is target/PROFILE/deps/NAME.
    let program = std::env::current_exe().expect("the path of the running test");
    let target = program
        .ancestors()
        .nth(2)
        .expect("a test runs in a target folder");
    let folder = target.join("testkit");
    let finished = folder.join(name);
    if !finished.exists() {
        fs::create_dir_all(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let draft = folder.join(format!("draft-{}-{name}", std::process::id()));
        make(&draft);
        // Another process may have been first; then its files have the same bytes.
        if fs::rename(&draft, &finished).is_err() {
            let _ = fs::remove_dir_all(&draft);
            assert!(finished.exists(), "cannot write {}", finished.display());
        }
    }
    finished
}

/// Writes the tiny checkpoint in diffusers layout, 40 MB: see [`tiny`].
///
/// # Panics
/// If it cannot be written.
pub fn tiny_checkpoint(folder: impl AsRef<Path>) {
    write_parts("tiny", folder.as_ref());
    copy_tokenizers(folder.as_ref());
}

/// Writes a checkpoint of the published shapes in diffusers layout, 6.9 GB, and in its folder `taesdxl` a small
/// autoencoder, 5 MB. It has no tokenizers: see [`letter_tokenizers`](crate::letter_tokenizers).
///
/// # Panics
/// If it cannot be written.
pub fn full_checkpoint(folder: impl AsRef<Path>) {
    write_parts("full", folder.as_ref());
    write_parts("taesdxl", folder.as_ref());
}

/// A checkpoint without text encoders and autoencoder whose UNet has fewer blocks than SDXL's: `name` is one of the
/// networks in `tests/golden/fewer_blocks.json`. In a folder that tests share; do not write to it.
///
/// # Panics
/// If it cannot be written, or there is no such network.
pub fn fewer_blocks(name: &str) -> PathBuf {
    once(&format!("fewer-blocks-{name}-1"), |draft| {
        let all = object("fewer_blocks.json");
        let network = &all["networks"][name];
        let tiny = object("tiny_configs.json");
        for (file, config) in [
            ("model_index.json", &tiny["model_index"]),
            ("scheduler/scheduler_config.json", &tiny["scheduler"]),
            ("unet/config.json", &network["config"]),
        ] {
            write(&draft.join(file), &format!("{config:#}\n"));
        }
        write_part(draft, "unet", &network["shapes"]);
    })
}

/// Writes the parts whose configurations and shapes stand in `tests/golden/SIZE_*.json`.
fn write_parts(size: &str, folder: &Path) {
    for (part, config) in &object(&format!("{size}_configs.json")) {
        let file = match part.as_str() {
            "model_index" => "model_index.json".to_owned(),
            "scheduler" => "scheduler/scheduler_config.json".to_owned(),
            part => format!("{part}/config.json"),
        };
        write(&folder.join(file), &format!("{config:#}\n"));
    }
    for (part, shapes) in &object(&format!("{size}_shapes.json")) {
        write_part(folder, part, shapes);
    }
}

/// Writes the weights of a part, whose names and shapes these are.
fn write_part(folder: &Path, part: &str, shapes: &Value) {
    let stem = if part.starts_with("text_encoder") {
        "model"
    } else {
        "diffusion_pytorch_model"
    };
    let shapes: Vec<_> = shapes
        .as_object()
        .expect("an object")
        .iter()
        .map(|(k, s)| (k.as_str(), shape(s)))
        .collect();
    let shapes: Vec<_> = shapes.iter().map(|(k, s)| (*k, s.as_slice())).collect();
    write_tensors(
        folder.join(part).join(format!("{stem}.fp16.safetensors")),
        &shapes,
        |key, shape| numbers::weight(SEED, &format!("{part}/{key}"), shape),
    );
}

/// A safetensors file of f16 tensors, each made when its turn comes.
fn write_tensors(
    path: impl AsRef<Path>,
    shapes: &[(&str, &[usize])],
    make: impl Fn(&str, &[usize]) -> Vec<u8>,
) {
    let path = path.as_ref();
    let write = || -> std::io::Result<()> {
        let sizes = shapes
            .iter()
            .map(|(_, shape)| 2 * shape.iter().product::<usize>());
        let entries: Vec<_> = shapes.iter().copied().zip(sizes).collect();
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(&crate::safetensors_header("F16", &entries))?;
        for (key, shape) in shapes {
            file.write_all(&make(key, shape))?;
        }
        file.flush()
    };
    write().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

/// Writes the tiny checkpoint's weights as one file under LDM's names. It has neither configs nor tokenizers.
///
/// Which names hold which tensors is read off diffusers' own conversion (`single_file_keys.json`).
///
/// # Panics
/// If it cannot be written.
pub fn tiny_single_file(path: impl AsRef<Path>) {
    let keys = object("single_file_keys.json");
    let mut tensors = Vec::new();
    for (key, entry) in &keys {
        let from = entry["from"]
            .as_array()
            .expect("an array")
            .iter()
            .map(|f| f.as_str().expect("a name"));
        let mut bytes: Vec<u8> = from.clone().flat_map(|name| tiny_tensor(name).1).collect();
        let shape = shape(&entry["shape"]);
        if key.ends_with(".text_projection") {
            bytes = transposed(&bytes, shape[1], shape[0]);
        }
        tensors.push((key.as_str(), shape, bytes));
    }
    let tensors: Vec<_> = tensors
        .iter()
        .map(|(key, shape, bytes)| (*key, &shape[..], bytes.clone()))
        .collect();
    write_safetensors(path, "F16", &tensors);
}

/// Shape and f16 bytes of one of the tiny checkpoint's tensors, named `PART/KEY`.
///
/// # Panics
/// If there is no such tensor.
pub fn tiny_tensor(name: &str) -> (Vec<usize>, Vec<u8>) {
    thread_local! {
        static SHAPES: Map<String, Value> = object("tiny_shapes.json");
    }
    let (part, key) = name.split_once('/').expect("PART/KEY");
    let shape = SHAPES.with(|all| all.get(part).and_then(|part| part.get(key)).map(shape));
    let shape = shape.unwrap_or_else(|| panic!("the tiny checkpoint has no tensor {name}"));
    let bytes = numbers::weight(SEED, name, &shape);
    (shape, bytes)
}

fn transposed(bytes: &[u8], rows: usize, columns: usize) -> Vec<u8> {
    let at = |row: usize, column: usize| &bytes[2 * (row * columns + column)..][..2];
    (0..columns)
        .flat_map(|column| (0..rows).flat_map(move |row| at(row, column)).copied())
        .collect()
}

fn shape(value: &Value) -> Vec<usize> {
    value
        .as_array()
        .expect("a shape")
        .iter()
        .map(|n| n.as_u64().expect("a size") as usize)
        .collect()
}

fn object(file: &str) -> Map<String, Value> {
    let path = golden_dir().join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn write(path: &Path, text: &str) {
    let folder = path.parent().expect("a file in a folder");
    fs::create_dir_all(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    fs::write(path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

fn copy_tokenizers(to: &Path) {
    static TURN: Mutex<()> = Mutex::new(());
    let Some(shared) = shared_dir() else { return };
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for folder in ["tokenizer", "tokenizer_2"] {
        let from = shared.join("data/clip-tokenizer").join(folder);
        for entry in fs::read_dir(&from).unwrap_or_else(|e| panic!("{}: {e}", from.display())) {
            let entry = entry.expect("a folder entry");
            let target = to.join(folder).join(entry.file_name());
            if !target.exists() {
                let text = fs::read_to_string(entry.path()).expect("a tokenizer's file is text");
                // Written aside and renamed, for tests that run beside this one.
                let draft = target.with_extension(format!("draft-{}", std::process::id()));
                write(&draft, &text);
                fs::rename(&draft, &target).unwrap_or_else(|e| panic!("{}: {e}", target.display()));
            }
        }
    }
}
