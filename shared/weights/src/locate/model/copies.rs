//! What a copy of a checkpoint is made of: the files of its weights, and what lies beside them.

use super::{Model, Source, config_file};
use crate::locate::tokenizer::{self, TokenizerFiles};
use crate::locate::tree::{SourceFile, Tree};
use crate::locate::variant;
use crate::{Error, Part, Result};
use serde_json::Value;
use std::path::Path;

impl Model {
    /// The parts that there are weights for, of [`Part::ALL`]. A single file is taken to have all.
    pub fn parts(&self) -> Vec<Part> {
        let is_there = |part: &Part| match &self.source {
            Source::Folder(tree) => !tree.list(part.folder()).is_empty(),
            Source::File { .. } => true,
        };
        Part::ALL.into_iter().filter(is_there).collect()
    }

    /// The files that [`Model::weights`] reads for a part: one, or an index and its shards; of a single file, that.
    pub fn weight_files(&self, part: Part) -> Vec<SourceFile> {
        match &self.source {
            Source::Folder(tree) => {
                let prefer = self.options.variant.unwrap_or_default();
                let files = variant::files(tree, part, prefer);
                files.iter().map(|name| tree.source(name)).collect()
            }
            Source::File { file, .. } => {
                let name = file.path.file_name().unwrap_or_default();
                let name = name.to_string_lossy().into_owned();
                vec![SourceFile::on_disk(name, file.path.clone())]
            }
        }
    }

    /// The files beside the weights, by their names in diffusers' layout: `model_index.json`, the configs of the parts
    /// that there are and of the scheduler, tokenizers, and what is called `LICENSE` or `NOTICE`. As they lie there; what a
    /// single file does not have is derived.
    ///
    /// # Errors
    /// One that is needed is missing or cannot be read; of a single file, widths that are not SDXL's.
    pub fn files_beside(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let mut files = Vec::new();
        let parts = self.parts();
        for part in &parts {
            let config = || self.config(*part);
            files.push(self.copy(&config_file(*part), config)?);
        }
        if parts.contains(&Part::Unet) {
            let config = || self.scheduler_config();
            files.push(self.copy("scheduler/scheduler_config.json", config)?);
        }
        for (n, part) in [(1, Part::TextEncoder), (2, Part::TextEncoder2)] {
            if !parts.contains(&part) {
                continue;
            }
            let tree = self.tokenizer_tree(n)?;
            let folder = tokenizer::folder(n);
            if !TokenizerFiles::are_in(&tree, folder) {
                // What is missing, in the words of whoever would read it.
                self.tokenizer(n)?;
            }
            let names = TokenizerFiles::NAMES.into_iter();
            for file in names.chain([TokenizerFiles::WHOLE, "added_tokens.json"]) {
                let name = format!("{folder}/{file}");
                if tree.has(&name) {
                    files.push((name.clone(), read(&tree, &name)?));
                }
            }
        }
        if let Source::Folder(tree) = &self.source {
            let legal = |name: &String| {
                ["LICENSE", "LICENCE", "NOTICE"]
                    .iter()
                    .any(|w| name.starts_with(w))
            };
            for name in tree.list("").into_iter().filter(legal) {
                if tree.has(&name) {
                    let content = read(tree, &name)?;
                    files.push((name, content));
                }
            }
        }
        // Last: whoever finds it finds all.
        files.push(self.copy("model_index.json", || self.model_index())?);
        Ok(files)
    }

    /// A file as it lies there, or what is derived in its place.
    fn copy(&self, name: &str, derive: impl Fn() -> Result<Value>) -> Result<(String, Vec<u8>)> {
        let tree = match &self.source {
            Source::Folder(tree) => tree,
            Source::File { configs, .. } => configs,
        };
        // Read as what it should be first, so that a damaged one is not handed on.
        let value = derive()?;
        let content = if tree.has(name) {
            read(tree, name)?
        } else {
            format!("{value:#}\n").into_bytes()
        };
        Ok((name.to_owned(), content))
    }

    /// The folder that the checkpoint is, or lies in; none of one that is built into the program.
    pub fn folder_on_disk(&self) -> Option<&Path> {
        match &self.source {
            Source::Folder(Tree::Disk(folder)) => Some(folder),
            Source::Folder(Tree::Embedded(_)) => None,
            Source::File { file, .. } => file.path.parent(),
        }
    }
}

fn read(tree: &Tree, name: &str) -> Result<Vec<u8>> {
    let (file, mut content) = (tree.source(name), Vec::new());
    std::io::Read::read_to_end(&mut file.open()?, &mut content).map_err(|source| Error::Io {
        path: file.path().to_owned(),
        source,
    })?;
    Ok(content)
}
