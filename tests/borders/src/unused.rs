//! Public names that nobody says: the compiler finds what is dead within a crate, and takes what is public for used.
//!
//! Names are compared, not types: a dead method that is called as some living one is not found.

use crate::source::{attributes, is_test};
use proc_macro2::{TokenStream, TokenTree};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};
use syn::{ImplItemConst, ImplItemFn, Item, Visibility};

/// How often a package's code says each word.
pub struct Said {
    own: BTreeMap<String, usize>,
    /// Its tests, which count for other packages only: what nothing but its own tests use is dead.
    in_tests: BTreeMap<String, usize>,
}

impl Said {
    /// Reads the Rust files of the package in `folder`.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let mut said = Self {
            own: BTreeMap::new(),
            in_tests: BTreeMap::new(),
        };
        for file in files(folder)? {
            let is_test = file.starts_with(folder.join("tests"));
            let words = if is_test {
                &mut said.in_tests
            } else {
                &mut said.own
            };
            count(tokens(&file)?, words);
        }
        Ok(said)
    }

    fn says(&self, word: &str) -> bool {
        self.own.contains_key(word) || self.in_tests.contains_key(word)
    }
}

/// Counts words, but for those of `use` declarations, which say nothing yet.
fn count(tokens: TokenStream, words: &mut BTreeMap<String, usize>) {
    let is_end =
        |token: &TokenTree| matches!(token, TokenTree::Punct(mark) if mark.as_char() == ';');
    let mut tokens = tokens.into_iter();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(word) if word == "use" => {
                tokens.find(is_end);
            }
            TokenTree::Ident(word) => *words.entry(word.to_string()).or_default() += 1,
            TokenTree::Group(group) => count(group.stream(), words),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// Public names of the package in `folder` that its code, `own`, says nowhere but where it defines them, and that none
/// of `others` says.
///
/// # Errors
/// A file cannot be read, or is no Rust.
pub fn unused(folder: &Path, own: &Said, others: &[&Said]) -> Result<Vec<String>, String> {
    let mut defined = Defined(BTreeMap::new());
    for file in files(&folder.join("src"))? {
        let parsed = syn::parse2(tokens(&file)?).map_err(|e| format!("{}: {e}", file.display()))?;
        defined.visit_file(&parsed);
    }
    let unused = defined.0.into_iter().filter(|(name, times)| {
        own.own.get(name).is_none_or(|said| said <= times)
            && !others.iter().any(|other| other.says(name))
    });
    Ok(unused.map(|(name, _)| name).collect())
}

/// How often each public name is defined.
struct Defined(BTreeMap<String, usize>);

impl Defined {
    fn add(&mut self, visibility: &Visibility, name: &syn::Ident) {
        if matches!(visibility, Visibility::Public(_)) {
            *self.0.entry(name.to_string()).or_default() += 1;
        }
    }
}

impl<'a> Visit<'a> for Defined {
    fn visit_item(&mut self, item: &'a Item) {
        if is_test(attributes(item)) {
            return;
        }
        match item {
            Item::Const(item) => self.add(&item.vis, &item.ident),
            Item::Enum(item) => self.add(&item.vis, &item.ident),
            Item::Fn(item) => self.add(&item.vis, &item.sig.ident),
            Item::Static(item) => self.add(&item.vis, &item.ident),
            Item::Struct(item) => self.add(&item.vis, &item.ident),
            Item::Trait(item) => self.add(&item.vis, &item.ident),
            Item::Type(item) => self.add(&item.vis, &item.ident),
            _ => {}
        }
        visit::visit_item(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'a ImplItemFn) {
        self.add(&item.vis, &item.sig.ident);
    }

    fn visit_impl_item_const(&mut self, item: &'a ImplItemConst) {
        self.add(&item.vis, &item.ident);
    }
}

fn tokens(file: &Path) -> Result<TokenStream, String> {
    let at = |e: &dyn std::fmt::Display| format!("{}: {e}", file.display());
    let text = std::fs::read_to_string(file).map_err(|e| at(&e))?;
    text.parse().map_err(|e| at(&e))
}

/// All Rust files below a folder, but those of packages in it.
fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let at = |e: &dyn std::fmt::Display| format!("{}: {e}", folder.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| at(&e))? {
        let path = entry.map_err(|e| at(&e))?.path();
        if path.is_dir() && !path.join("Cargo.toml").is_file() {
            found.extend(files(&path)?);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}
