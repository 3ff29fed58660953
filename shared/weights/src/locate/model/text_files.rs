//! Which files make the embeddings of a prompt.

use super::{Model, Source, config_file};
use crate::locate::tokenizer::{self, TokenizerFiles};
use crate::locate::tree::Tree;
use crate::locate::variant;
use crate::{Part, Result};
use std::path::PathBuf;

impl Model {
    /// The files from which the text encoders and their tokenizers are read, each with a name that does not depend on
    /// where the checkpoint lies: as long as none of them changes, nor the program, a prompt has the same embeddings.
    /// None for a checkpoint that is built into the program. Nothing is opened.
    ///
    /// # Errors
    /// A single file has no tokenizer.
    pub fn text_files(&self) -> Result<Vec<(String, PathBuf)>> {
        let mut files = Vec::new();
        let mut add = |tree: &Tree, name: String| {
            if matches!(tree, Tree::Disk(_)) && tree.has(&name) {
                let path = tree.path(&name);
                files.push((name, path));
            }
        };
        for part in [Part::TextEncoder, Part::TextEncoder2] {
            match &self.source {
                Source::Folder(tree) => {
                    add(tree, config_file(part));
                    let prefer = self.options.variant.unwrap_or_default();
                    for file in variant::files(tree, part, prefer) {
                        add(tree, file);
                    }
                }
                Source::File { configs, .. } => add(configs, config_file(part)),
            }
        }
        for n in [1, 2] {
            let tree = self.tokenizer_tree(n)?;
            for file in TokenizerFiles::NAMES
                .into_iter()
                .chain([TokenizerFiles::WHOLE])
            {
                add(&tree, format!("{}/{file}", tokenizer::folder(n)));
            }
        }
        if let Source::File { file, .. } = &self.source {
            files.push(("checkpoint".to_owned(), file.path.clone()));
        }
        Ok(files)
    }
}
