//! Writes a checkpoint with made-up weights in diffusers layout, the same bytes on every machine.
//!
//!     cargo run --release -p turbo-testkit --example make-checkpoint -- {tiny,full} FOLDER
//!
//! tiny: every part of the architecture at a few per cent of its width, 40 MB. full: the published shapes, 6.9 GB, and
//! an autoencoder of TAESDXL's shapes in FOLDER/taesdxl. Prompts are spelled letter by letter: both tokenizers have
//! CLIP's form and special tokens, and a vocabulary of letters.

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let folder = match args[..] {
        ["tiny", folder] => {
            turbo_testkit::tiny_checkpoint(folder);
            folder
        }
        ["full", folder] => {
            turbo_testkit::full_checkpoint(folder);
            folder
        }
        _ => {
            eprintln!("usage: make-checkpoint {{tiny,full}} FOLDER");
            std::process::exit(2);
        }
    };
    turbo_testkit::letter_tokenizers(folder);
}
