//! `peek --compare` and `peek --preview` on what the other tools write.

use pipeline_tests::{
    Altered, Stage, bytes, embeddings, frames, metadata, pictures, pipe, progress, tool,
};
use std::fs;
use std::path::Path;
use turbo_testkit::{golden, relative_error, tiny};
use turbo_wire::{Header, f32_bytes, names};

/// The size of the first expected runs.
const FIRST: &str = "--width 128 --height 128";

fn denoise(flags: &str) -> Stage {
    tool("denoise", flags).model(&tiny())
}

/// A file of what diffusers draws for the first two runs, and the relative error of ours.
fn expected(path: &Path) {
    let golden = golden("tiny");
    let stream: Vec<u8> = (0..2)
        .flat_map(|case| {
            let tensor = &golden[&format!("image/{case}/latents")];
            let header = Header::latents(1, tensor.shape[2], tensor.shape[3], metadata(&[]));
            let body = f32_bytes(&tensor.f32());
            bytes(header.expect("a shape"), &[(names::LATENTS, &body)])
        })
        .collect();
    fs::write(path, stream).expect("written");
}

/// In the middle of a pipe, against diffusers' latents.
#[test]
fn a_run_is_compared_as_it_flows() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("expected");
    expected(&path);
    let input = [
        embeddings(&[0], &[("steps", "1"), ("seed", "0")]),
        embeddings(&[0], &[("steps", "2"), ("seed", "42")]),
    ]
    .concat();
    let compare = |tolerance: &str| tool("peek", "--json --compare").arg(&path).words(tolerance);
    let draw = denoise(&format!("{FIRST} --dtype f32"));
    let rest = [tool("decode-latents", ""), tool("to-png", "")];
    let near = [draw.clone(), compare("--tolerance 1e-4")];
    let near = pipe(near.into_iter().chain(rest.clone()))
        .input(&input[..])
        .run();
    assert_eq!(pictures(near.ok()).len(), 2);
    let lines = progress(&near.stages[1].stderr);
    let latents = frames(pipe([draw.clone()]).input(&input[..]).run().ok());
    let golden = golden("tiny");
    for (case, (line, frame)) in lines.iter().zip(&latents).enumerate() {
        assert_eq!(line["within"], true);
        let found = line["tensors"][0]["distance"]["relative"].as_f64();
        let e = relative_error(
            &frame.to_f32(names::LATENTS).expect("f32"),
            &golden[&format!("image/{case}/latents")].f32(),
        );
        let found = found.expect("a number");
        println!("run {case}: e = {found:.1e}");
        assert!((found - e).abs() <= 1e-9 * e, "{found}, here {e}");
    }
    assert_eq!(lines.len(), 2);

    // Too strict a bound: the pictures come all the same, and the exit status tells.
    let strict = [draw, compare("--tolerance 1e-12")];
    let strict = pipe(strict.into_iter().chain(rest)).input(input).run();
    assert_eq!(pictures(&strict.stdout).len(), 2);
    let statuses: Vec<_> = strict.stages.iter().map(|end| end.status.code()).collect();
    assert_eq!(statuses, [Some(0), Some(1), Some(0), Some(0)]);
    let text = &strict.stages[1].stderr;
    assert!(
        text.contains("found 2 of 2 frames further apart; the first: frame 0: tensor \"latents\""),
        "{text}"
    );
}

/// Which step goes wrong, by two traces.
#[test]
fn traces_show_where_two_runs_part() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let trace = |name: &str, model: &Path| {
        let stage = tool(
            "denoise",
            "--width 64 --height 64 --steps 2 --seed 1 --trace",
        )
        .arg(path(name))
        .model(model);
        pipe([stage]).input(embeddings(&[0], &[])).run().ok();
    };
    trace("a", &tiny());
    trace("b", &tiny());
    // A weight that is another.
    let other = Altered::of(&tiny()).with_tensors(
        "unet/diffusion_pytorch_model.fp16.safetensors",
        |header, body| {
            let at = header["conv_out.bias"]["data_offsets"][0].as_u64();
            let at = at.expect("an offset") as usize;
            body[at..at + 2].copy_from_slice(&[0x00, 0x3c]);
        },
    );
    trace("c", other.path());
    let compare = |name: &str| {
        let stage = tool("peek", "--json --compare")
            .arg(path(name))
            .arg(path("a"));
        pipe([stage]).run()
    };
    assert_eq!(compare("b").stages[0].status.code(), Some(0));
    let ended = compare("c");
    assert_eq!(ended.stages[0].status.code(), Some(1));
    let first = ended.stages[0].stderr.lines().next().expect("a line");
    let first: serde_json::Value = serde_json::from_str(first).expect("JSON");
    let within: Vec<_> = first["tensors"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|tensor| (tensor["name"].as_str(), tensor["within"].as_bool()))
        .collect();
    // The noise is the same; what the network makes of it is not.
    assert_eq!(
        within,
        [
            (Some("latents"), Some(false)),
            (Some("noise_pred"), Some(false)),
            (Some("pred_original_sample"), Some(false)),
            (Some("sample"), Some(true)),
        ]
    );
}

/// A preview between two stages: files, and the pipe goes on.
#[test]
fn previews_are_made_in_the_middle_of_a_pipe() {
    let folder = tempfile::tempdir().expect("a folder");
    let pattern = |name: &str| format!("--preview={}", folder.path().join(name).display());
    let stages = [
        denoise("--width 64 --height 96 --seed 1 --images 2"),
        tool("peek", "--quiet").arg(pattern("latents-%d.png")),
        tool("decode-latents", ""),
        tool("peek", "--quiet").arg(pattern("image-%d.png")),
        tool("to-png", ""),
    ];
    let out = pipe(stages).input(embeddings(&[0], &[])).run();
    let drawn = pictures(out.ok());
    assert_eq!(drawn.len(), 2);
    for (index, drawn) in drawn.iter().enumerate() {
        let read = |kind: &str| {
            let name = folder.path().join(format!("{kind}-{}.png", index + 1));
            pictures(&fs::read(name).expect("a file")).remove(0)
        };
        assert!(read("image").pixels == drawn.pixels);
        let latents = read("latents");
        assert_eq!((latents.width, latents.height), (8, 12));
    }
}
