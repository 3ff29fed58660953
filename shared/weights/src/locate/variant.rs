//! Which of a part's weight files to read.

use super::tree::Tree;
use crate::tensors::{TensorFile, is_pickle};
use crate::{Error, Part, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// A checkpoint's two sets of weights. The one asked for is a preference: where only the other is there, it is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub enum Variant {
    /// `NAME.fp16.safetensors`: half the pages to read, rounded to f16. What is read unless something else is said.
    #[default]
    Fp16,
    /// `NAME.safetensors`: what diffusers reads without `variant=`; f32 in the published checkpoints.
    Plain,
}

impl Variant {
    const fn other(self) -> Self {
        match self {
            Self::Fp16 => Self::Plain,
            Self::Plain => Self::Fp16,
        }
    }

    /// What stands behind the stem of a file's name.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Fp16 => ".fp16",
            Self::Plain => "",
        }
    }

    /// The name of a part's weight file, by its stem ([`Part::stem`]).
    pub fn file(self, stem: &str) -> String {
        format!("{stem}{}.safetensors", self.suffix())
    }

    /// The names under which an index of shards is published; the first is what diffusers and transformers write.
    pub fn indexes(self, stem: &str) -> Vec<String> {
        match self {
            Self::Fp16 => {
                vec![
                    format!("{stem}.safetensors.index.fp16.json"),
                    format!("{stem}.fp16.safetensors.index.json"),
                ]
            }
            Self::Plain => vec![format!("{stem}.safetensors.index.json")],
        }
    }
}

/// Opens the weights of `part`: one file, or all shards of an index. `fix` is what to do when there are none.
pub(crate) fn open(tree: &Tree, part: Part, prefer: Variant, fix: &str) -> Result<TensorFile> {
    open_stem(tree, part.folder(), part.stem(), prefer, fix)
}

/// The same for any folder (empty: the top) and stem.
pub(crate) fn open_stem(
    tree: &Tree,
    folder: &str,
    stem: &str,
    prefer: Variant,
    fix: &str,
) -> Result<TensorFile> {
    match choose(tree, folder, stem, prefer) {
        Some(Chosen::Whole(file)) => return tree.tensors(&file),
        Some(Chosen::Sharded(index)) => return open_shards(tree, folder, &index, fix),
        None => {}
    }
    if let Some(pickle) = tree
        .list(folder)
        .iter()
        .find(|name| is_pickle(Path::new(name)))
    {
        return Err(Error::Pickle {
            path: tree.path(&inside(folder, pickle)),
        });
    }
    let (fp16, plain) = (Variant::Fp16.file(stem), Variant::Plain.file(stem));
    let mut expected = format!("{plain}, {fp16} or {plain}.index.json");
    let others = others(tree, folder, stem);
    if !others.is_empty() {
        expected = format!(
            "{expected}; found the variants {}: leave one of them there",
            others.join(", ")
        );
    }
    Err(Error::NoWeights {
        folder: tree.path(folder),
        expected,
        fix: fix.to_owned(),
    })
}

/// The files that [`open`] reads, named from the top of the checkpoint; none where it would fail. Of an index, with all
/// shards that lie beside it, even one that it does not name.
pub(crate) fn files(tree: &Tree, part: Part, prefer: Variant) -> Vec<String> {
    let folder = part.folder();
    match choose(tree, folder, part.stem(), prefer) {
        None => Vec::new(),
        Some(Chosen::Whole(file)) => vec![file],
        Some(Chosen::Sharded(index)) => {
            let shards = tree.list(folder).into_iter();
            let shards = shards.filter(|name| name.ends_with(".safetensors"));
            let shards = shards.map(|name| inside(folder, &name));
            shards.chain([index]).collect()
        }
    }
}

/// Which of the possible files are there.
enum Chosen {
    Whole(String),
    /// The index.
    Sharded(String),
}

/// Files of other variants (`NAME.bf16.safetensors`, `NAME.non_ema.safetensors`).
fn others(tree: &Tree, folder: &str, stem: &str) -> Vec<String> {
    let is_variant = |name: &String| {
        let middle = name
            .strip_prefix(stem)
            .and_then(|rest| rest.strip_prefix('.')?.strip_suffix(".safetensors"));
        middle.is_some_and(|middle| !middle.contains("-of-"))
    };
    // A link whose file is gone is none.
    let is_there = |name: &String| tree.has(&inside(folder, name));
    let names = tree.list(folder).into_iter();
    names.filter(is_variant).filter(is_there).collect()
}

fn choose(tree: &Tree, folder: &str, stem: &str, prefer: Variant) -> Option<Chosen> {
    for variant in [prefer, prefer.other()] {
        let file = inside(folder, &variant.file(stem));
        if tree.has(&file) {
            return Some(Chosen::Whole(file));
        }
        let mut indexes = variant.indexes(stem).into_iter();
        if let Some(index) = indexes.find(|index| tree.has(&inside(folder, index))) {
            return Some(Chosen::Sharded(inside(folder, &index)));
        }
    }
    // The only one there is, whatever it is called.
    match &others(tree, folder, stem)[..] {
        [one] => Some(Chosen::Whole(inside(folder, one))),
        _ => None,
    }
}

/// A file's name from the top of the checkpoint.
fn inside(folder: &str, file: &str) -> String {
    if folder.is_empty() {
        file.to_owned()
    } else {
        format!("{folder}/{file}")
    }
}

/// Opens every shard that `weight_map` names, whatever its spelling, and checks that each holds what it should.
fn open_shards(tree: &Tree, folder: &str, index: &str, fix: &str) -> Result<TensorFile> {
    let path = tree.path(index);
    let bad = |reason: String| Error::BadIndex {
        path: path.clone(),
        reason,
    };
    let value = tree.json(index, fix)?;
    let Some(map) = value.get("weight_map").and_then(Value::as_object) else {
        return Err(bad("expected an object `weight_map`".to_owned()));
    };
    let mut shards: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (tensor, file) in map {
        let plain = |f: &&str| f.ends_with(".safetensors") && !f.contains(['/', '\\']);
        let Some(file) = file.as_str().filter(plain) else {
            return Err(bad(format!(
                "`{tensor}`: expected the name of a .safetensors file beside it, found {file}"
            )));
        };
        shards.entry(file).or_default().insert(tensor);
    }
    let mut all = TensorFile {
        path: path.clone(),
        weights: Vec::new(),
        foreign: Vec::new(),
        metadata: HashMap::new(),
    };
    for (file, tensors) in shards {
        let shard = if folder.is_empty() {
            file.to_owned()
        } else {
            format!("{folder}/{file}")
        };
        if !tree.has(&shard) {
            return Err(bad(format!(
                "names the shard {file}, which is not there; {fix}"
            )));
        }
        let shard = tree.tensors(&shard)?;
        if let Some(tensor) = tensors.iter().find(|t| !shard.contains(t)) {
            return Err(bad(format!(
                "says that {file} holds `{tensor}`, which it does not"
            )));
        }
        all.weights.extend(shard.weights);
        all.foreign.extend(shard.foreign);
    }
    all.weights.sort_by(|a, b| a.name().cmp(b.name()));
    Ok(all)
}
