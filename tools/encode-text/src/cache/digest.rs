//! SHA-256 in hexadecimal.

use sha2::{Digest as _, Sha256};
use std::fmt::Write;

/// 64 hexadecimal digits of the parts, each behind its length, so that no two lists of parts are the same bytes.
pub(crate) fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex(hash)
}

/// The digits of a finished hash.
pub(crate) fn hex(hash: Sha256) -> String {
    let mut text = String::with_capacity(64);
    for byte in hash.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Whether a text is such digits.
pub(crate) fn is_hex(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values by `hashlib.sha256(struct.pack("<Q", 3) + b"abc")` and so on.
    #[test]
    fn digests_are_sha_256_of_lengths_and_parts() {
        assert_eq!(
            hex(Sha256::new_with_prefix("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let one = of_parts([&b"abc"[..]]);
        assert_eq!(
            one,
            "ce91dc5eec0139adf091900d225971d6ad246a845bad791b5693a9d0d55dd391"
        );
        assert!(is_hex(&one) && !is_hex(&one.to_uppercase()) && !is_hex(&one[1..]));
        let two = [of_parts([&b"ab"[..], b"c"]), of_parts([&b"a"[..], b"bc"])];
        assert!(two[0] != two[1] && two[0] != one);
    }
}
