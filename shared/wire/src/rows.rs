//! What one picture of several is called, and which seed it has.
//!
//! The pictures of a prompt and the rows of a frame count alike: number 0 has the frame's own id and seed, number n
//! from 1 on has the id with `-n` behind it, and seed + n.

use crate::keys::{self, Metadata};
use crate::metadata::{read, write};

/// The id of number `index` of several.
pub fn id(id: &str, index: u64) -> String {
    match index {
        0 => id.to_owned(),
        index => format!("{id}-{index}"),
    }
}

/// The seed of number `index` of several: modulo 2^64.
pub fn seed(seed: u64, index: u64) -> u64 {
    seed.wrapping_add(index)
}

/// The metadata of number `index` of several, from that of the first. A seed that is no number is left out from number
/// 1 on, as it would be wrong there.
pub fn metadata(first: &Metadata, index: u64) -> Metadata {
    let mut metadata = first.clone();
    if index == 0 {
        return metadata;
    }
    let seed = read(first, keys::SEED).ok().flatten();
    metadata.remove(keys::SEED);
    write(
        &mut metadata,
        [
            (keys::ID, first.get(keys::ID).map(|name| id(name, index))),
            (
                keys::SEED,
                seed.map(|first| self::seed(first, index).to_string()),
            ),
        ],
    );
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata_of(pairs: &[(&str, &str)]) -> Metadata {
        let owned = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn rows_count_on() {
        let frame = metadata_of(&[
            ("seed", "18446744073709551615"),
            ("id", "fox"),
            ("mood", "wild"),
        ]);
        assert_eq!(metadata(&frame, 0), frame);
        assert_eq!(
            metadata(&frame, 2),
            metadata_of(&[("seed", "1"), ("id", "fox-2"), ("mood", "wild")])
        );
        let odd = metadata_of(&[("seed", "lucky")]);
        assert_eq!(metadata(&odd, 0), odd);
        assert_eq!(metadata(&odd, 1), Metadata::new());
    }
}
