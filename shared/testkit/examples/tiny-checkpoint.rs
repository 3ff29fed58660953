//! Writes a small checkpoint of random weights in the published layout, complete with tokenizers.
//!
//! ```text
//! cargo run --release -p turbo-testkit --example tiny-checkpoint -- FOLDER
//! ```

fn main() {
    let folder = std::env::args_os()
        .nth(1)
        .expect("usage: tiny-checkpoint FOLDER");
    turbo_testkit::tiny_checkpoint(&folder);
    turbo_testkit::letter_tokenizers(&folder);
}
