//! The numbers against numpy's, on frames that Python's safetensors writes.

#![forbid(unsafe_code)]

mod support;

use support::{objects, run};
use turbo_testkit::process::{feed, python};

/// Writes a stream of three frames, in f32, f16 and u8, and numpy's numbers for it, in float64.
const SCRIPT: &str = r#"
import json, numpy as np
from safetensors.numpy import save
rng = np.random.default_rng(3)
latents = rng.normal(0.3, 40, (2, 4, 9, 7)).astype(np.float32)
latents[1, 2, 3, 4] = np.nan
latents[0, 0, 0, :3] = np.inf
frames = [
    {"latents": latents},
    {"prompt_embeds": rng.normal(1000, 1, (1, 77, 64)).astype(np.float16),
     "pooled_prompt_embeds": rng.normal(0, 1e-3, (1, 32)).astype(np.float16)},
    {"image": rng.integers(0, 256, (1, 33, 21, 3), dtype=np.uint8)},
]
expected = []
with open("stream", "wb") as f:
    for tensors in frames:
        f.write(save(tensors, {"prompt": "a red fox"}))
        numbers = {}
        for name, a in tensors.items():
            x = a.astype(np.float64).ravel()
            y = x[np.isfinite(x)]
            numbers[name] = {"shape": list(a.shape), "min": y.min(), "mean": y.mean(),
                "max": y.max(), "std": y.std(), "nan": int(np.isnan(x).sum()),
                "inf": int(np.isinf(x).sum())}
        expected.append(numbers)
print(json.dumps(expected))
"#;

#[test]
fn numbers_are_numpys() {
    let Some(python) = python("numpy, safetensors.numpy") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let script = python.args(["-c", SCRIPT]).folder(folder.path());
    let output = feed(script, b"");
    assert!(output.status.success(), "{}", support::stderr(&output));
    let expected: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();

    let output = run(folder.path(), &["--json", "stream"], b"");
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        support::stderr(&output)
    );
    assert!(output.stdout == std::fs::read(folder.path().join("stream")).unwrap());
    let seen = objects(&output);
    assert_eq!(seen.len(), 3);
    for (frame, expected) in seen.iter().zip(&expected) {
        assert_eq!(frame["metadata"]["prompt"], "a red fox");
        let tensors = frame["tensors"].as_array().unwrap();
        assert_eq!(tensors.len(), expected.as_object().unwrap().len());
        for tensor in tensors {
            let expected = &expected[tensor["name"].as_str().unwrap()];
            for key in ["shape", "nan", "inf", "min", "max"] {
                assert_eq!(tensor[key], expected[key], "{key}: {tensor}");
            }
            for key in ["mean", "std"] {
                let (ours, numpy) = (tensor[key].as_f64(), expected[key].as_f64());
                let (ours, numpy) = (ours.unwrap(), numpy.unwrap());
                let scale = expected["std"].as_f64().unwrap();
                // Both sum in f64, in another order.
                assert!(
                    (ours - numpy).abs() <= 1e-9 * scale,
                    "{key}: {ours}, numpy {numpy}"
                );
            }
        }
    }
}
