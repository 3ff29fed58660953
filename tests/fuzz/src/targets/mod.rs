//! What is tried. Each target is a function of bytes that panics where a promise is broken.

mod brackets;
mod checkpoint;
mod lines;
mod patterns;
mod png;
mod records;
mod stream;

/// A target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of its folder of seeds.
    pub name: &'static str,
    /// What it does with an input.
    pub run: fn(&[u8]),
    /// Bytes that an input may have at most.
    pub longest: usize,
}

/// All targets.
pub const TARGETS: [Target; 7] = [
    new("stream", stream::run, 2048),
    new("checkpoint", checkpoint::run, 4096),
    new("lines", lines::run, 4096),
    new("records", records::run, 2048),
    new("patterns", patterns::run, 256),
    new("png", png::run, 512),
    new("brackets", brackets::run, 256),
];

const fn new(name: &'static str, run: fn(&[u8]), longest: usize) -> Target {
    Target { name, run, longest }
}

/// The target of that name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}
