//! Writes a checkpoint's copy whose linear and convolution weights are int8, with a scale for each output row.
//!
//! What is written is a folder in diffusers' layout; its safetensors files follow ComfyUI's convention `int8_tensorwise`.
//! A tensor is read, changed and written before the next: memory does not grow with the checkpoint.

#![forbid(unsafe_code)]

mod file;
mod folder;
mod hash;
mod layers;
mod report;

use std::path::PathBuf;

use turbo_cli::{Console, Context, Error, Result};
use turbo_weights::{LocateOptions, Model, Part};

use crate::file::File;
use crate::folder::Folder;
use crate::hash::Hashes;
use crate::layers::{Layers, Name};
use crate::report::Report;

// The text is the help's, where backticks would show.
#[allow(clippy::doc_markdown)]
/// Write a checkpoint's copy with int8 weights, half the size
///
/// The weights of linear layers and convolutions become int8 with a scale for each output row;
/// biases, norms, embeddings and a few small layers that much depends on stay as they are. The
/// folder is in diffusers' layout, and every tool takes it as --model. On CPUs that multiply in
/// int8 (VNNI, AMX, ARM's dot product) linear layers do so, each position of their input with a
/// scale of its own.
///
/// The files follow ComfyUI's convention int8_tensorwise: X.weight in int8, X.weight_scale,
/// X.comfy_quant. Their metadata says what was done and the SHA-256 of what it was done to.
/// A run that was stopped goes on with the file it was at: whole ones stay.
#[derive(clap::Parser, Clone, Debug)]
#[command(version)]
pub struct Args {
    /// Model: demo, a folder, a .safetensors file, or a hub id
    #[arg(value_name = "MODEL", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    model: String,

    /// Folder to write, which is made where it is missing
    #[arg(short, long, value_name = "FOLDER", value_hint = clap::ValueHint::DirPath)]
    output: PathBuf,

    /// Parts whose weights become int8, separated by commas; the others are copied
    ///
    /// The autoencoder is copied unless it is named: it is small, and what it does to a picture
    /// is seen at once.
    #[arg(
        long,
        value_enum,
        value_name = "PART",
        value_delimiter = ',',
        default_value = "unet,text"
    )]
    part: Vec<PartName>,

    /// Layers whose weights stay as they are, beside the few that always do
    ///
    /// A layer's name as diffusers has it ("conv_out"), with * for any characters ("up_blocks.*.conv1").
    /// May be given several times.
    #[arg(long, value_name = "LAYER")]
    keep: Vec<Name>,

    /// Layers whose inputs stay floats though their weights are int8, beside those that always do
    ///
    /// Written as full_precision_matrix_mult into the layer's comfy_quant. Names are as in --keep.
    #[arg(long, value_name = "LAYER")]
    float: Vec<Name>,
}

/// The values of `--part`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum PartName {
    /// The denoising network
    Unet,
    /// Both text encoders
    Text,
    /// The autoencoder
    Vae,
}

impl PartName {
    fn parts(self) -> &'static [Part] {
        match self {
            Self::Unet => &[Part::Unet],
            Self::Text => &[Part::TextEncoder, Part::TextEncoder2],
            Self::Vae => &[Part::Vae],
        }
    }
}

/// Runs the tool.
///
/// # Errors
/// A model that is not there or is damaged, numbers that are not finite, a folder that is not empty or cannot be written.
/// Files that were whole before stay.
#[allow(clippy::needless_pass_by_value)]
pub fn run(args: Args, console: &Console) -> Result<()> {
    turbo_weights::on_cut(turbo_cli::remove_temporary_files);
    let options = LocateOptions::with_builtin(turbo_demo::ALL);
    let model = Model::locate(&args.model, &options)?;
    let there = model.parts();
    let wanted: Vec<Part> = args
        .part
        .iter()
        .flat_map(|part| part.parts())
        .copied()
        .collect();
    if !wanted.iter().any(|part| there.contains(part)) {
        let found: Vec<_> = there.iter().map(|part| part.folder()).collect();
        return Err(Error::new(format_args!(
            "{}: expected a part that --part names, found {}",
            args.model,
            found.join(", ")
        )));
    }
    // All that is small is read before anything large is written.
    let beside = model.files_beside()?;
    expect_layers(&model, args.keep.iter().chain(&args.float))?;
    let folder = Folder::create(&args.output, &model)?;
    let mut hashes = Hashes::default();
    let mut report = Report::new(console);
    let mut layers = 0;
    for part in there {
        folder.expect_ours(part)?;
        let weights = model.weights(part)?;
        let layers_of = wanted.contains(&part).then_some(Layers {
            part,
            keep: &args.keep,
            float: &args.float,
        });
        let sources = hashes.of(&model.weight_files(part), &mut report)?;
        let file = File::plan(&weights, layers_of, &sources)?;
        weights.finish()?;
        layers += file.int8_layers();
        let (path, name) = folder.weights(part);
        let new = !file.is_at(&path);
        if new {
            report.begin(&name, file.source_len());
            file.write(&path, &mut report).context(path.display())?;
        }
        report.written(&name, file.len(), file.int8_layers(), new);
    }
    for (name, content) in &beside {
        folder.put(name, content)?;
    }
    report.done(folder.path(), layers);
    Ok(())
}

/// Refuses the name of a layer that the model does not have.
fn expect_layers<'a>(model: &Model, names: impl Iterator<Item = &'a Name>) -> Result<()> {
    let mut unknown: Vec<&Name> = names.collect();
    for part in model.parts() {
        if !unknown.is_empty() {
            let weights = model.weights(part)?;
            unknown.retain(|name| !weights.names().any(|weight| name.fits_weight(weight)));
        }
    }
    match unknown.first() {
        None => Ok(()),
        Some(name) => Err(Error::usage(format_args!(
            "{name}: expected the name of a layer of the model, found none that is called so"
        ))),
    }
}
