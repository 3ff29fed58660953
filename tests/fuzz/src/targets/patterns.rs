//! Names of files by a pattern: the first line is the pattern, each other an id.

use std::collections::HashSet;
use std::path::Component;

use turbo_cli::{Names, Pattern};

/// Names a picture for each id.
pub(super) fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.split('\n');
    let Some(pattern) = lines.next() else { return };
    let Ok(pattern) = Pattern::parse(pattern, "--output") else {
        return;
    };
    // What an id adds is no folder, and leads to none.
    let only_id = Pattern::parse("x/{id}", "--output").expect("a pattern");
    let mut names = Names::new(pattern);
    let mut given = HashSet::new();
    for (number, id) in (1..).zip(lines) {
        if let Ok(name) = only_id.name(number, Some(id)) {
            let path = std::path::Path::new(&name);
            let parts: Vec<_> = path.components().collect();
            assert!(
                parts.len() == 2 && matches!(parts[1], Component::Normal(_)),
                "{name:?}"
            );
            assert!(!name.contains(|c: char| c.is_control()), "{name:?}");
        }
        if let Ok(path) = names.next(number, true, Some(id)) {
            assert!(given.insert(path.clone()), "{} twice", path.display());
        }
    }
}
