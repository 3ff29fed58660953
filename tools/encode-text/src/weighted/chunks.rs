//! Chunks: as many tokens as a text encoder takes at once.

use super::brackets::{Piece, pieces};

/// A token of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its number in the vocabulary.
    pub id: u32,
    /// Whether a word ends with it, so that the next chunk may begin behind it.
    pub ends_word: bool,
}

/// The tokens of a chunk, without start of text, end of text and padding.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chunk {
    /// The tokens' numbers.
    pub ids: Vec<u32>,
    /// A weight for each of them.
    pub weights: Vec<f32>,
}

/// Fills a prompt's tokens into chunks of at most `room` tokens, one chunk at least. `tokenize` is given each piece
/// of text by itself.
///
/// A word goes to the next chunk where it does not fit any more, unless it is longer than a chunk.
///
/// # Errors
/// `tokenize` fails.
pub fn chunks<E>(
    prompt: &str,
    room: usize,
    mut tokenize: impl FnMut(&str) -> Result<Vec<Token>, E>,
) -> Result<Vec<Chunk>, E> {
    let mut chunks = vec![Chunk::default()];
    for piece in pieces(prompt) {
        let Piece::Text { text, weight } = piece else {
            chunks.push(Chunk::default());
            continue;
        };
        let tokens = tokenize(&text)?;
        for word in tokens.chunk_by(|token, _| !token.ends_word) {
            add(&mut chunks, room, word, weight);
        }
    }
    Ok(chunks)
}

/// Adds a word at the end of the chunks.
fn add(chunks: &mut Vec<Chunk>, room: usize, mut word: &[Token], weight: f32) {
    let filled = |chunks: &Vec<Chunk>| chunks.last().map_or(room, |chunk| chunk.ids.len());
    if filled(chunks) + word.len() > room && word.len() <= room {
        chunks.push(Chunk::default());
    }
    while !word.is_empty() {
        if filled(chunks) >= room {
            chunks.push(Chunk::default());
        }
        let here = word.len().min(room - filled(chunks));
        if let Some(chunk) = chunks.last_mut() {
            chunk.ids.extend(word[..here].iter().map(|token| token.id));
            chunk.weights.resize(chunk.ids.len(), weight);
        }
        word = &word[here..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// A token a letter; words end with the last letter before a space.
    fn letters(text: &str) -> Vec<Token> {
        let words = text.split_whitespace().flat_map(|word| {
            let last = word.len() - 1;
            word.bytes().enumerate().map(move |(n, c)| Token {
                id: u32::from(c),
                ends_word: n == last,
            })
        });
        words.collect()
    }

    fn chunked(prompt: &str, room: usize) -> Vec<Chunk> {
        let Ok(chunks) = chunks(prompt, room, |text| Ok::<_, Infallible>(letters(text)));
        chunks
    }

    fn filled(prompt: &str, room: usize) -> Vec<String> {
        let chunks = chunked(prompt, room);
        let text = |chunk: &Chunk| {
            assert_eq!(chunk.ids.len(), chunk.weights.len());
            chunk.ids.iter().map(|&id| id as u8 as char).collect()
        };
        chunks.iter().map(text).collect()
    }

    #[test]
    fn words_stay_whole_where_they_can() {
        assert_eq!(filled("", 4), [""]);
        assert_eq!(filled("abcd", 4), ["abcd"]);
        assert_eq!(filled("ab cd ef", 4), ["abcd", "ef"]);
        assert_eq!(filled("abc de", 4), ["abc", "de"]);
        assert_eq!(filled("a bcdefghijk l", 4), ["abcd", "efgh", "ijkl"]);
        assert_eq!(filled("abcd efghi", 4), ["abcd", "efgh", "i"]);
    }

    #[test]
    fn a_break_ends_a_chunk_even_an_empty_one() {
        assert_eq!(filled("a BREAK b", 4), ["a", "b"]);
        assert_eq!(filled("BREAK BREAK a", 4), ["", "", "a"]);
        assert_eq!(filled("abcd BREAK", 4), ["abcd", ""]);
    }

    #[test]
    fn a_bracket_ends_a_word() {
        assert_eq!(filled("ab(cd:2)", 3), ["ab", "cd"]);
        let weights: Vec<_> = chunked("ab(cd:2)e", 3)
            .into_iter()
            .map(|chunk| chunk.weights)
            .collect();
        assert_eq!(weights, [vec![1.0, 1.0], vec![2.0, 2.0, 1.0]]);
    }
}
