//! The modules of one crate, as their files are written.

use crate::words::{self, Named};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use syn::{Attribute, Item, UseTree, Visibility};

/// A module: a file, or a block `mod name { ... }` in one.
pub struct Module {
    /// From the crate's root: empty for the root itself.
    pub path: Vec<String>,
    /// The module that has the file; itself, but for blocks.
    pub home: Vec<String>,
    /// Whether it is `pub`.
    pub is_public: bool,
    /// Names of what it defines, but for modules.
    pub(crate) items: BTreeSet<String>,
    /// `use` by the name it gives: the path behind it, and whether it is a mere re-export.
    pub(crate) uses: BTreeMap<String, Use>,
    /// Paths behind `use path::*`.
    pub(crate) globs: Vec<Vec<String>>,
    /// What its code names.
    pub(crate) named: Named,
}

/// One name that a `use` brings in.
pub(crate) struct Use {
    pub(crate) path: Vec<String>,
    /// `pub use`: a name that is passed on, which counts as used here only if the code names it.
    pub(crate) passed_on: bool,
}

/// All modules of a crate but those that are for tests.
pub struct Source {
    /// By path.
    pub modules: BTreeMap<Vec<String>, Module>,
}

impl Source {
    /// Reads a crate from its root file, `src/lib.rs` or `src/main.rs`.
    ///
    /// # Errors
    /// A file is missing or no Rust.
    pub fn read(root: &Path) -> Result<Self, String> {
        let mut source = Self {
            modules: BTreeMap::new(),
        };
        source.file(root, &[], true)?;
        Ok(source)
    }

    fn file(&mut self, file: &Path, path: &[String], is_mod_rs: bool) -> Result<(), String> {
        let at = |e: &dyn std::fmt::Display| format!("{}: {e}", file.display());
        let text = std::fs::read_to_string(file).map_err(|e| at(&e))?;
        let parsed = syn::parse_file(&text).map_err(|e| at(&e))?;
        let folder = file.parent().unwrap_or(Path::new("."));
        let below = if is_mod_rs {
            folder.to_owned()
        } else {
            file.with_extension("")
        };
        self.items(&parsed.items, path.to_vec(), path, &below)
    }

    /// `below`: the folder in which this module's own modules lie.
    fn items(
        &mut self,
        items: &[Item],
        path: Vec<String>,
        home: &[String],
        below: &Path,
    ) -> Result<(), String> {
        let mut module = Module {
            path: path.clone(),
            home: home.to_vec(),
            is_public: false,
            items: BTreeSet::new(),
            uses: BTreeMap::new(),
            globs: Vec::new(),
            named: words::of(items.iter().filter(|item| !is_test(attributes(item)))),
        };
        for item in items.iter().filter(|item| !is_test(attributes(item))) {
            match item {
                Item::Use(item) => {
                    let passed_on = !matches!(item.vis, Visibility::Inherited);
                    module.take_use(&item.tree, &mut Vec::new(), passed_on);
                }
                Item::Mod(item) => {
                    let name = item.ident.to_string();
                    let path = [&path[..], std::slice::from_ref(&name)].concat();
                    if let Some((_, items)) = &item.content {
                        self.items(items, path.clone(), home, &below.join(&name))?;
                    } else {
                        let (file, is_mod_rs) = find(below, &name, &item.attrs)?;
                        self.file(&file, &path, is_mod_rs)?;
                    }
                    if let Some(module) = self.modules.get_mut(&path) {
                        module.is_public = matches!(item.vis, Visibility::Public(_));
                    }
                }
                other => module.items.extend(name_of(other)),
            }
        }
        self.modules.insert(path, module);
        Ok(())
    }
}

impl Module {
    /// Whether its code or its imports have this word, or these words joined by `::`.
    pub fn says(&self, text: &str) -> bool {
        let wanted: Vec<&str> = text.split("::").collect();
        let path = |path: &Vec<String>| path.windows(wanted.len()).any(|words| words == wanted);
        self.named.words.contains(text)
            || self.named.paths.iter().any(path)
            || self.uses.values().any(|brought| path(&brought.path))
            || self.globs.iter().any(path)
    }

    /// Whether its code writes out this number.
    pub fn counts(&self, number: u64) -> bool {
        self.named.numbers.contains(&number)
    }

    fn take_use(&mut self, tree: &UseTree, prefix: &mut Vec<String>, passed_on: bool) {
        let mut add = |name: String, path: Vec<String>| {
            // `use a::{self}` names the module before it.
            let path = match path.split_last() {
                Some((last, before)) if last == "self" && !before.is_empty() => before.to_vec(),
                _ => path,
            };
            let name = if name == "self" {
                path.last().cloned().unwrap_or_default()
            } else {
                name
            };
            self.uses.insert(name, Use { path, passed_on });
        };
        match tree {
            UseTree::Path(tree) => {
                prefix.push(tree.ident.to_string());
                self.take_use(&tree.tree, prefix, passed_on);
                prefix.pop();
            }
            UseTree::Name(tree) => {
                let name = tree.ident.to_string();
                add(name.clone(), [&prefix[..], &[name]].concat());
            }
            UseTree::Rename(tree) => {
                let path = [&prefix[..], &[tree.ident.to_string()]].concat();
                // Brought in for its methods alone: a name that no code can say.
                let name = match tree.rename.to_string() {
                    name if name == "_" => format!("_ {}", path.join("::")),
                    name => name,
                };
                add(name, path);
            }
            UseTree::Glob(_) => self.globs.push(prefix.clone()),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.take_use(tree, prefix, passed_on);
                }
            }
        }
    }
}

fn find(below: &Path, name: &str, attributes: &[Attribute]) -> Result<(PathBuf, bool), String> {
    for attribute in attributes {
        if let syn::Meta::NameValue(meta) = &attribute.meta
            && meta.path.is_ident("path")
            && let syn::Expr::Lit(literal) = &meta.value
            && let syn::Lit::Str(file) = &literal.lit
        {
            return Ok((below.join(file.value()), true));
        }
    }
    let (flat, folder) = (
        below.join(format!("{name}.rs")),
        below.join(name).join("mod.rs"),
    );
    if flat.is_file() {
        Ok((flat, false))
    } else if folder.is_file() {
        Ok((folder, true))
    } else {
        Err(format!("{}: no such module", flat.display()))
    }
}

/// Whether an item is there for tests alone: `#[cfg(test)]`, `#[cfg(all(test, ...))]`, `#[test]`.
pub(crate) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else {
            return attribute.path().is_ident("test");
        };
        let tokens = list.tokens.to_string();
        list.path.is_ident("cfg")
            && (tokens == "test"
                || (tokens.starts_with("all")
                    && tokens
                        .split(['(', ',', ')', ' '])
                        .any(|word| word == "test")))
    })
}

pub(crate) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn name_of(item: &Item) -> Option<String> {
    Some(match item {
        Item::Const(item) => item.ident.to_string(),
        Item::Enum(item) => item.ident.to_string(),
        Item::Fn(item) => item.sig.ident.to_string(),
        Item::Macro(item) => item.ident.as_ref()?.to_string(),
        Item::Static(item) => item.ident.to_string(),
        Item::Struct(item) => item.ident.to_string(),
        Item::Trait(item) => item.ident.to_string(),
        Item::TraitAlias(item) => item.ident.to_string(),
        Item::Type(item) => item.ident.to_string(),
        Item::Union(item) => item.ident.to_string(),
        _ => return None,
    })
}
