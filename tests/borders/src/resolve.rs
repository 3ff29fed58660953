//! From names to the modules that define them.

use crate::source::{Module, Source};
use std::collections::BTreeSet;

/// `from` names `item`, which `to` defines. Both are modules that have a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    /// The module that names it.
    pub from: Vec<String>,
    /// The module that defines it.
    pub to: Vec<String>,
    /// How it is named there.
    pub item: String,
}

/// Names may lead through this many `use` at most; Rust allows circles of them.
const DEPTH: usize = 16;

/// All imports of a crate, from its own modules. A `pub use` that the code does not name itself is none: it passes a
/// name on. Nor is a module that is named: what is named of it counts.
pub fn imports(source: &Source) -> BTreeSet<Import> {
    let mut found = BTreeSet::new();
    for module in source.modules.values() {
        let mut add = |path: &[String]| {
            if let Some(to) = source.definer(module, path, DEPTH)
                && to != module.home
            {
                found.insert(Import {
                    from: module.home.clone(),
                    to,
                    item: path.join("::"),
                });
            }
        };
        for (name, brought) in &module.uses {
            if !brought.passed_on || module.named.words.contains(name) {
                add(&brought.path);
            }
        }
        module.named.paths.iter().for_each(|path| add(path));
    }
    found
}

/// Where a name leads.
enum Place {
    Module(Vec<String>),
    /// An item of this module.
    Item(Vec<String>),
}

impl Source {
    /// The file's module that defines what `path` leads to, seen from `module`; none for a module itself, and for what
    /// is not of this crate.
    fn definer(&self, module: &Module, path: &[String], depth: usize) -> Option<Vec<String>> {
        match self.follow(&module.path, path, depth)? {
            Place::Module(_) => None,
            Place::Item(path) => Some(self.modules.get(&path)?.home.clone()),
        }
    }

    fn follow(&self, from: &[String], path: &[String], depth: usize) -> Option<Place> {
        let depth = depth.checked_sub(1)?;
        let mut at = from.to_vec();
        let mut words = path.iter().peekable();
        match words.peek()?.as_str() {
            "crate" => {
                at.clear();
                words.next();
            }
            "self" => {
                words.next();
            }
            _ => {}
        }
        while words.peek().is_some_and(|word| *word == "super") {
            at.pop()?;
            words.next();
        }
        for word in words {
            match self.lookup(&at, word, depth)? {
                Place::Module(path) => at = path,
                item @ Place::Item(_) => return Some(item), // a variant, or what a type has
            }
        }
        Some(Place::Module(at))
    }

    /// What `word` is in module `at`.
    fn lookup(&self, at: &[String], word: &str, depth: usize) -> Option<Place> {
        let module = self.modules.get(at)?;
        let child = [at, &[word.to_owned()]].concat();
        if module.items.contains(word) {
            return Some(Place::Item(at.to_vec()));
        }
        if self.modules.contains_key(&child) {
            return Some(Place::Module(child));
        }
        if let Some(brought) = module.uses.get(word) {
            // `use serde::Serialize` must not be looked for among this crate's own names for ever.
            return self.follow(at, &brought.path, depth);
        }
        module.globs.iter().find_map(|glob| {
            let Place::Module(path) = self.follow(at, glob, depth)? else {
                return None;
            };
            if path == at {
                return None;
            }
            self.lookup(&path, word, depth.checked_sub(1)?)
        })
    }
}
