//! The two hashes the hub names content by, computed while bytes arrive.

use crate::id::ContentHash;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// A hash under way.
#[derive(Clone)]
pub enum Hasher {
    /// Git's blob hash.
    Git(Sha1),
    /// Plain SHA-256.
    Sha256(Sha256),
}

impl Hasher {
    /// Starts the kind of hash that `expected` is, for a file of `size` bytes.
    pub fn like(expected: &ContentHash, size: u64) -> Self {
        match expected {
            ContentHash::Git(_) => {
                let mut sha = Sha1::new();
                sha.update(format!("blob {size}\0"));
                Self::Git(sha)
            }
            ContentHash::Sha256(_) => Self::Sha256(Sha256::new()),
        }
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Git(sha) => sha.update(bytes),
            Self::Sha256(sha) => sha.update(bytes),
        }
    }

    /// The hash of all that was taken in.
    pub fn finish(self) -> ContentHash {
        match self {
            Self::Git(sha) => ContentHash::Git(hex(&sha.finalize())),
            Self::Sha256(sha) => ContentHash::Sha256(hex(&sha.finalize())),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(kind: &str, content: &[u8]) -> String {
        let kind = ContentHash::parse(kind).unwrap();
        let mut hasher = Hasher::like(&kind, content.len() as u64);
        for part in content.chunks(5) {
            hasher.update(part);
        }
        hasher.finish().as_str().to_owned()
    }

    /// Values printed by `git hash-object` and `sha256sum`.
    #[test]
    fn agrees_with_git_and_sha256sum() {
        let (git, sha) = ("0".repeat(40), "0".repeat(64));
        assert_eq!(
            hash(&git, b"hello world\n"),
            "3b18e512dba79e4c8300dd08aeb37f8e728b8dad"
        );
        assert_eq!(hash(&git, b""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert_eq!(
            hash(&sha, b"hello world\n"),
            "a948904f2f0f479b8f8197694b30184b0d2ed1c1cd2a1ec0fb85d299a192a447"
        );
    }
}
