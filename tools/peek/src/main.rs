//! Placeholder until the tool is written.
fn main() {}
