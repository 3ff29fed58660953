//! `--progress json`, against its document.

use pipeline_tests::{Stage, pipe, tool};
use turbo_testkit::{ProgressSchema, tiny_lettered};

/// Every tool of a pipe; fetch-model has a test of its own.
#[test]
fn every_tool_says_what_the_document_has() {
    let model = tiny_lettered();
    let records = r#"{"prompt": "fox", "id": "first", "steps": 2}
        {"prompt": "dog"}"#;
    let stages = [
        tool("encode-text", "--jsonl").model(&model),
        tool("denoise", "--width 64 --height 64"),
        tool("peek", "--quiet"),
        tool("decode-latents", ""),
        tool("to-png", ""),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let picture = folder.path().join("grey.pgm");
    let grey = [&b"P5 64 64 255\n"[..], &[128; 64 * 64]].concat();
    std::fs::write(&picture, grey).expect("written");
    let with_picture = [
        stages[0].clone(),
        tool("encode-image", "--join -").arg(picture),
    ];
    let told = |stages: &[Stage]| {
        let stages = stages
            .iter()
            .map(|stage| stage.clone().words("--progress json"));
        let ended = pipe(stages).input(records).run();
        ended.ok();
        ended.stages
    };
    let schema = ProgressSchema::documented();
    for stage in [told(&stages), told(&with_picture)].iter().flatten() {
        let name = &stage.name;
        // peek's tables are no events, and have no brace.
        let lines = stage.stderr.lines();
        let lines: Vec<&str> = lines
            .filter(|line| name != "peek" || line.starts_with('{'))
            .collect();
        let events = schema.check(name, &lines.join("\n"));
        let frames = events
            .iter()
            .map(|event| (event["frame"].as_u64(), event["id"].as_str()));
        let expected = [(Some(0), Some("first")), (Some(1), None)];
        assert_eq!(frames.collect::<Vec<_>>(), expected, "{name}");
        if cfg!(target_os = "linux") {
            let memory = events.iter().all(|event| event["max_rss_bytes"].is_u64());
            assert!(memory, "{name}");
        }
        if name == "denoise" {
            let steps = events
                .iter()
                .map(|event| event["step_s"].as_array().map(Vec::len));
            assert_eq!(steps.collect::<Vec<_>>(), [Some(2), Some(1)]);
        }
    }
}
