//! The kernels that are kept are those of the source.

use sha2::{Digest, Sha256};

fn made_of(source: &[u8], ptx: &str, kernels: &[&str]) {
    let first = ptx.lines().next().expect("a line");
    let hash: Vec<u8> = first
        .split_once("sha256 ")
        .and_then(|(_, rest)| rest.get(..64))
        .and_then(|hash| {
            let byte = |at| u8::from_str_radix(&hash[at..at + 2], 16).ok();
            (0..64).step_by(2).map(byte).collect()
        })
        .expect("a hash in the first line");
    let common = include_bytes!("../src/common.cuh");
    let found = Sha256::new().chain_update(common).chain_update(source);
    assert_eq!(
        found.finalize()[..],
        hash,
        "a kernel has changed: run shared/cuda/ptx"
    );
    for kernel in kernels {
        for name in ["f32", "f16", "bf16"] {
            assert!(ptx.contains(&format!(".entry {kernel}_{name}(")));
        }
    }
}

#[test]
fn the_ptx_was_made_of_the_source() {
    made_of(
        include_bytes!("../src/norms.cu"),
        include_str!("../src/norms.ptx"),
        &["group_moments", "group_norm", "layer_norm"],
    );
    made_of(
        include_bytes!("../src/after.cu"),
        include_str!("../src/after.ptx"),
        &["softmax", "geglu", "add"],
    );
}
