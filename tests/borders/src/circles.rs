//! Modules that import each other.

use crate::resolve::Import;
use std::collections::{BTreeMap, BTreeSet};

type Path = Vec<String>;

/// The circles among a crate's imports, in words, each with an import for every step.
///
/// Looked for in each folder on its own, where a folder below counts as one: `a/x` importing `b/y` and `b/z` importing
/// `a/w` is a circle of `a` and `b`. A folder's own file is a member of the folder.
pub fn circles(imports: &BTreeSet<Import>) -> Vec<String> {
    let folders: BTreeSet<&[String]> = imports
        .iter()
        .flat_map(|import| [&import.from, &import.to])
        .flat_map(|path| (0..=path.len()).map(|n| &path[..n]))
        .collect();
    let mut found = Vec::new();
    for folder in folders {
        let mut edges: BTreeMap<Path, BTreeMap<Path, &Import>> = BTreeMap::new();
        for import in imports {
            let inside = |path: &Path| {
                let member = path.strip_prefix(folder)?;
                Some(path[..folder.len() + member.len().min(1)].to_vec())
            };
            if let (Some(from), Some(to)) = (inside(&import.from), inside(&import.to))
                && from != to
            {
                edges.entry(from).or_default().entry(to).or_insert(import);
            }
        }
        found.extend(shortest(&edges).map(|circle| describe(&circle)));
    }
    found
}

/// The shortest circle, if there is one. One at a time: breaking it often breaks others.
fn shortest<'a>(edges: &BTreeMap<Path, BTreeMap<Path, &'a Import>>) -> Option<Vec<&'a Import>> {
    let back = |start: &Path| {
        let mut reached: BTreeMap<&Path, Vec<&'a Import>> = BTreeMap::new();
        let mut next: Vec<(&Path, Vec<&'a Import>)> =
            vec![(edges.get_key_value(start)?.0, Vec::new())];
        while !next.is_empty() {
            let mut after = Vec::new();
            for (at, way) in next {
                for (to, import) in edges.get(at).into_iter().flatten() {
                    let way = [&way[..], &[*import]].concat();
                    if to == start {
                        return Some(way);
                    }
                    if !reached.contains_key(to) {
                        reached.insert(to, way.clone());
                        after.push((to, way));
                    }
                }
            }
            next = after;
        }
        None
    };
    edges.keys().filter_map(back).min_by_key(Vec::len)
}

fn describe(circle: &[&Import]) -> String {
    let name = |path: &Path| match &path[..] {
        [] => "the crate's root".to_owned(),
        path => path.join("::"),
    };
    let steps = circle.iter().map(|import| {
        format!(
            "{} imports {} from {}",
            name(&import.from),
            import.item,
            name(&import.to)
        )
    });
    format!("a circle: {}", steps.collect::<Vec<_>>().join("; "))
}
