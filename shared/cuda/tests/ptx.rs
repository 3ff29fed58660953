//! The kernels that are kept are those of the source.

use sha2::{Digest, Sha256};

#[test]
fn the_ptx_was_made_of_the_source() {
    let source = include_bytes!("../src/norms.cu");
    let ptx = include_str!("../src/norms.ptx");
    let first = ptx.lines().next().expect("a line");
    let hash: Vec<u8> = first
        .split_once("sha256 ")
        .and_then(|(_, rest)| rest.get(..64))
        .and_then(|hash| {
            let byte = |at| u8::from_str_radix(&hash[at..at + 2], 16).ok();
            (0..64).step_by(2).map(byte).collect()
        })
        .expect("a hash in the first line");
    assert_eq!(
        Sha256::digest(source)[..],
        hash,
        "norms.cu has changed: run shared/cuda/ptx"
    );
    for kernel in ["group_moments", "group_norm", "layer_norm"] {
        for name in ["f32", "f16", "bf16"] {
            assert!(ptx.contains(&format!(".entry {kernel}_{name}(")));
        }
    }
}
