//! Made-up crates with and without circles.
#![allow(missing_docs)]

use borders::{Said, Source, circles, imports, rules, unused};
use std::fs;
use tempfile::TempDir;

/// A crate of these files, by their path below `src/`.
fn source(files: &[(&str, &str)]) -> (TempDir, Source) {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let source = Source::read(&folder.path().join("lib.rs")).unwrap();
    (folder, source)
}

fn found(files: &[(&str, &str)]) -> Vec<String> {
    circles(&imports(&source(files).1))
}

fn one(files: &[(&str, &str)]) -> String {
    let mut found = found(files);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn a_circle_of_two_is_told_with_its_imports() {
    assert_eq!(
        one(&[
            ("lib.rs", "mod a; mod b;"),
            (
                "a.rs",
                "use crate::b::{self, C}; pub struct A(C); fn f() { b::g() }"
            ),
            (
                "b.rs",
                "use super::a::A; pub struct C; pub fn g() {} fn h(_: A) {}"
            ),
        ]),
        "a circle: a imports b::g from b; b imports super::a::A from a"
    );
}

#[test]
fn nested_braces_new_names_and_macros_are_seen() {
    for user in [
        "use crate::{b::{inner::{C as D, E}, F}, x::X}; fn f(_: D, _: E, _: F, _: X) {}",
        "fn f() { crate::b::inner::C; }",
        "use super::b as other; fn f(_: other::inner::C) {}",
        "use super::b::*; fn f(_: inner::C) {}",
        "fn f() { println!(\"{}\", crate::b::inner::C); }",
        "fn f() { any! { use crate::{x::X, b::inner::{C}}; } }",
        "fn f() { use crate::b::inner::C; }",
        "mod block { use super::super::b::inner::C; fn f(_: C) {} }",
        "impl From<crate::b::inner::C> for u8 { fn from(_: crate::b::inner::C) -> u8 { 0 } }",
    ] {
        let files = [
            ("lib.rs", "mod a; mod b; mod x;"),
            ("a.rs", &format!("{user} pub fn a() {{}}")),
            ("b/mod.rs", "pub mod inner; pub struct F;"),
            (
                "b/inner.rs",
                "pub struct C; pub struct E; fn f() { self::super::super::a::a() }",
            ),
            ("x.rs", "pub struct X;"),
        ];
        let circle = one(&files);
        assert!(
            circle.contains("super::super::a::a from a"),
            "{user}: {circle}"
        );
    }
}

#[test]
fn a_name_that_is_passed_on_leads_to_who_defines_it() {
    // By the root and by a folder's own file, which name it and use it not.
    let facade = [
        ("lib.rs", "mod a; mod b; pub use a::A; pub use b::B;"),
        ("a.rs", "pub struct A; impl crate::B { }"),
        (
            "b/mod.rs",
            "mod c; mod d; pub use c::B; pub(crate) use d::D;",
        ),
        ("b/c.rs", "use super::D; pub struct B(D);"),
        ("b/d.rs", "pub struct D;"),
    ];
    assert!(found(&facade).is_empty());
    // Through two of them.
    let mut circle = facade;
    circle[4].1 = "pub struct D(crate::A);";
    assert_eq!(
        one(&circle),
        "a circle: a imports crate::B from b::c; b::d imports crate::A from a"
    );
    // A folder's own file that uses what it passes on imports it.
    let mut parent = facade;
    parent[2].1 = "mod c; mod d; pub use c::B; pub(crate) use d::D; pub struct E; fn f(_: B) {}";
    parent[3].1 = "use super::E; pub struct B(E);";
    assert!(one(&parent).contains("b imports c::B from b::c; b::c imports super::E from b"));
}

#[test]
fn folders_count_as_one() {
    let files = [
        ("lib.rs", "mod a; mod b;"),
        ("a/mod.rs", "mod x; mod w; pub use x::X; pub use w::W;"),
        ("a/x.rs", "pub struct X(crate::b::Y);"),
        ("a/w.rs", "pub struct W;"),
        ("b/mod.rs", "mod y; mod z; pub use y::Y;"),
        ("b/y.rs", "pub struct Y;"),
        ("b/z.rs", "fn f(_: crate::a::W) {}"),
    ];
    assert_eq!(
        one(&files),
        "a circle: a::x imports crate::b::Y from b::y; b::z imports crate::a::W from a::w"
    );
}

#[test]
fn tests_methods_and_other_crates_make_no_circle() {
    assert!(
        found(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::B; pub struct A(B); use b::other;"),
            (
                "b.rs",
                "use serde::a::A as _; pub struct B; #[cfg(test)] mod tests { use crate::a::A; fn f(_: A) {} } \
                 #[cfg(test)] use crate::a::A; #[test] fn g(_: crate::a::A) {}",
            ),
        ])
        .is_empty()
    );
}

#[test]
fn floors_go_one_way() {
    let (_folder, source) = source(&[
        ("lib.rs", "mod ground; mod upper; mod new;"),
        ("ground.rs", "pub struct G; fn f(_: crate::upper::U) {}"),
        ("upper.rs", "pub struct U;"),
        ("new.rs", ""),
    ]);
    let faults = rules::floors_crossed(&source, &imports(&source), &[&["ground"], &["upper"]]);
    assert_eq!(
        faults,
        [
            "module new has no floor: give it one in rules.rs",
            "ground imports crate::upper::U from upper, which stands above it"
        ]
    );
    assert_eq!(
        rules::words_in(&source, &["upper::U"]),
        ["module `ground` says upper::U"]
    );
}

#[test]
fn numbers_and_open_modules_are_found() {
    let (_folder, source) = source(&[
        (
            "lib.rs",
            "pub mod shut; pub mod open; mod counts; const SIDE: [u8; 8] = [0; 8];",
        ),
        (
            "shut.rs",
            "fn f(x: &[u8]) { x.chunks(4_usize); } #[cfg(test)] mod tests { fn f() -> u8 { 8 } }",
        ),
        ("open.rs", "fn f() -> usize { vec![84, 0x8].len() }"),
        ("counts.rs", "const STEPS: u8 = 8;"),
    ]);
    let found = rules::numbers_in(&source, &[4, 8], &["counts"]);
    let places: Vec<_> = found
        .iter()
        .map(|fault| fault.split(':').next().unwrap())
        .collect();
    let expected = [
        "module `` writes out 8",
        "module `open` writes out 8",
        "module `shut` writes out 4",
    ];
    assert_eq!(places, expected);
    let found = rules::opened(&source, &["open"]);
    assert_eq!(
        found,
        ["module `shut` is public: pass on the names that others need"]
    );
}

#[test]
fn public_names_that_nobody_says_are_found() {
    let files = [
        (
            "src/lib.rs",
            "mod a; pub use a::{Dead, called}; pub fn own() { Used::of(); }",
        ),
        (
            "src/a.rs",
            "pub struct Used; impl Used { pub fn of() {} pub fn method(&self) {} fn private() {} } \
             pub fn called() {} pub struct Dead; pub(crate) fn inner() {} \
             #[cfg(test)] mod tests { pub fn in_a_test() {} }",
        ),
        (
            "tests/own.rs",
            "use own::Dead; fn f(x: Dead, y: Used) { y.method() }",
        ),
    ];
    let (own, _) = source(&[("lib.rs", "")]);
    let (other, _) = source(&[("lib.rs", "")]);
    let write = |folder: &TempDir, path: &str, text: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    for (path, text) in files {
        write(&own, path, text);
    }
    write(
        &other,
        "tests/other.rs",
        "use own::own; fn f() { called!(); println!(\"{}\", own()) }",
    );
    let dead = |others: &[&Said]| {
        let said = Said::read(own.path()).unwrap();
        unused(own.path(), &said, others).unwrap()
    };
    assert_eq!(dead(&[]), ["Dead", "called", "method", "own"]);
    assert_eq!(
        dead(&[&Said::read(other.path()).unwrap()]),
        ["Dead", "method"]
    );
}

#[test]
fn a_module_without_a_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("lib.rs");
    fs::write(&root, "mod gone;").unwrap();
    let error = Source::read(&root).err().unwrap();
    assert!(error.contains("gone.rs"), "{error}");
}
