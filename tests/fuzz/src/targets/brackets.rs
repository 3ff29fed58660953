//! Weighted prompts.

use encode_text::weighted::{Piece, pieces};

/// Takes a prompt apart.
pub(super) fn run(input: &[u8]) {
    let prompt = String::from_utf8_lossy(input);
    let mut rest = prompt.chars();
    for piece in pieces(&prompt) {
        if let Piece::Text { text, weight } = piece {
            assert!(!text.is_empty() && !weight.is_nan());
            // Nothing that the prompt has not, and in its order.
            for c in text.chars() {
                assert!(rest.any(|other| other == c), "{c:?} of {text:?}");
            }
        }
    }
}
