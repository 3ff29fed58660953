//! What code names: its paths, also in macros, its single words, and its whole numbers.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::BTreeSet;
use syn::visit::{self, Visit};
use syn::{Item, ItemMod, ItemUse, Lit, LitInt, Macro, Path};

/// What the code of one module names, without its `use` declarations and without the modules in it.
#[derive(Default)]
pub(crate) struct Named {
    /// Paths of two words and more.
    pub(crate) paths: BTreeSet<Vec<String>>,
    /// Every word, alone or in a path.
    pub(crate) words: BTreeSet<String>,
    /// Every whole number that is written out.
    pub(crate) numbers: BTreeSet<u64>,
}

pub(crate) fn of<'a>(items: impl Iterator<Item = &'a Item>) -> Named {
    let mut named = Named::default();
    items.for_each(|item| named.visit_item(item));
    named
}

impl<'a> Visit<'a> for Named {
    fn visit_item_mod(&mut self, _: &'a ItemMod) {}

    // A module's own are read by its name; those within a function are paths like others.
    fn visit_item_use(&mut self, _: &'a ItemUse) {}

    fn visit_block(&mut self, block: &'a syn::Block) {
        for statement in &block.stmts {
            if let syn::Stmt::Item(Item::Use(item)) = statement {
                self.tree(&item.tree, &mut Vec::new());
            }
        }
        visit::visit_block(self, block);
    }

    fn visit_path(&mut self, path: &'a Path) {
        self.add(path.segments.iter().map(|s| s.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_ident(&mut self, word: &'a proc_macro2::Ident) {
        self.words.insert(word.to_string());
    }

    fn visit_lit_int(&mut self, number: &'a LitInt) {
        self.numbers.extend(number.base10_parse::<u64>());
    }

    fn visit_macro(&mut self, item: &'a Macro) {
        self.visit_path(&item.path);
        self.tokens(item.tokens.clone(), &[]);
    }
}

impl Named {
    fn add(&mut self, path: Vec<String>) {
        self.words.extend(path.iter().cloned());
        if path.len() > 1 {
            self.paths.insert(path);
        }
    }

    fn tree(&mut self, tree: &syn::UseTree, prefix: &mut Vec<String>) {
        match tree {
            syn::UseTree::Path(tree) => {
                prefix.push(tree.ident.to_string());
                self.tree(&tree.tree, prefix);
                prefix.pop();
            }
            syn::UseTree::Name(tree) => self.add([&prefix[..], &[tree.ident.to_string()]].concat()),
            syn::UseTree::Rename(tree) => {
                self.add([&prefix[..], &[tree.ident.to_string()]].concat());
            }
            syn::UseTree::Glob(_) => self.add([&prefix[..], &["*".to_owned()]].concat()),
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.tree(tree, prefix));
            }
        }
    }

    /// Words joined by `::`, and by braces behind one. `$crate` is `crate`.
    fn tokens(&mut self, tokens: TokenStream, prefix: &[String]) {
        let mut path = prefix.to_vec();
        let mut colons = if prefix.is_empty() { 0 } else { 2 };
        for token in tokens {
            match token {
                TokenTree::Ident(word) => {
                    if colons != 2 {
                        self.add(std::mem::take(&mut path));
                    }
                    path.push(word.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' && !path.is_empty() => colons += 1,
                TokenTree::Group(group) => {
                    let joined = colons == 2 && group.delimiter() == Delimiter::Brace;
                    let prefix = if joined {
                        std::mem::take(&mut path)
                    } else {
                        Vec::new()
                    };
                    self.add(std::mem::take(&mut path));
                    self.tokens(group.stream(), &prefix);
                    colons = 0;
                }
                TokenTree::Punct(mark) => {
                    self.add(std::mem::take(&mut path));
                    // In `use a::{b, c}` each name follows the prefix.
                    if mark.as_char() == ',' && !prefix.is_empty() {
                        path = prefix.to_vec();
                        colons = 2;
                    } else {
                        colons = 0;
                    }
                }
                TokenTree::Literal(literal) => {
                    if let Lit::Int(number) = Lit::new(literal) {
                        self.visit_lit_int(&number);
                    }
                    self.add(std::mem::take(&mut path));
                    colons = 0;
                }
            }
        }
        self.add(path);
    }
}
