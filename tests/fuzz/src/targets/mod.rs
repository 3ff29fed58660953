//! What is tried. Each target is a function of bytes that panics where a promise is broken.

mod brackets;
mod checkpoint;
mod http;
mod lines;
mod patterns;
mod png;
mod records;
mod stream;
mod tokenizer;

/// A target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of its folder of seeds.
    pub name: &'static str,
    /// What it does with an input.
    pub run: fn(&[u8]),
    /// Bytes that an input may have at most.
    pub longest: usize,
    /// Inputs of a run that is asked for nothing else: some ten seconds of one core.
    pub smoke: u64,
}

/// All targets.
pub const TARGETS: [Target; 9] = [
    new("stream", stream::run, 2048, 2_000_000),
    new("checkpoint", checkpoint::run, 4096, 250_000),
    new("lines", lines::run, 4096, 250_000),
    new("records", records::run, 2048, 5_000_000),
    new("patterns", patterns::run, 256, 250_000),
    new("png", png::run, 512, 300_000),
    new("brackets", brackets::run, 256, 1_200_000),
    new("tokenizer", tokenizer::run, 2048, 3_000),
    new("http", http::run, 4096, 30_000),
];

const fn new(name: &'static str, run: fn(&[u8]), longest: usize, smoke: u64) -> Target {
    Target {
        name,
        run,
        longest,
        smoke,
    }
}

/// The target of that name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}
