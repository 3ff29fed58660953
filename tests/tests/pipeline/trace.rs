//! `denoise --trace`: every step, against diffusers.

use pipeline_tests::{Altered, Stage, embeddings, frames, metadata, pictures, pipe, tool};
use std::fs;
use std::path::Path;
use turbo_testkit::{golden, relative_error, tiny};
use turbo_wire::{Frame, Header, Kind, names};

/// The size of `make_trace.py`.
const SIZE: &str = "--width 64 --height 96";
const TENSORS: [&str; 4] = ["latents", "noise_pred", "pred_original_sample", "sample"];
/// The largest relative error of a tensor.
const TOLERANCE: f64 = 1e-4;

fn denoise(flags: &str) -> Stage {
    tool("denoise", &format!("{SIZE} {flags}")).model(&tiny())
}

fn traced(path: &Path, flags: &str, input: &[u8]) -> (Vec<Frame>, Vec<Frame>) {
    let stage = denoise(flags).arg("--trace").arg(path);
    let ended = pipe([stage]).input(input).run();
    let latents = frames(ended.ok());
    (latents, frames(&fs::read(path).expect("a trace")))
}

fn get<'a>(frame: &'a Frame, key: &str) -> Option<&'a str> {
    frame.header.get(key)
}

#[test]
fn steps_are_diffusers() {
    let folder = tempfile::tempdir().expect("a folder");
    let golden = golden("trace");
    for (name, steps, flags) in [
        ("plain", 4, "--dtype f32 --steps 4 --seed 42"),
        (
            "guided",
            2,
            "--dtype f32 --steps 2 --seed 7 --guidance-scale 2.5",
        ),
    ] {
        let path = folder.path().join(name);
        let (latents, trace) = traced(&path, flags, &embeddings(&[0], &[("id", "fox")]));
        assert_eq!(trace.len(), steps, "{name}");
        for (step, frame) in trace.iter().enumerate() {
            assert_eq!(frame.header.kind(), Kind::Latents);
            let found: Vec<_> = frame.header.tensors().iter().map(|t| &t.name[..]).collect();
            assert_eq!(found, TENSORS);
            for tensor in TENSORS {
                let expected = &golden[&format!("{name}/{step}/{tensor}")];
                assert_eq!(
                    frame.header.tensor(tensor).expect("is there").shape,
                    expected.shape
                );
                let values = frame.to_f32(tensor).expect("f32");
                let e = relative_error(&values, &expected.f32());
                println!("{name}: step {step}: {tensor}: e = {e:.1e}");
                assert!(e <= TOLERANCE, "{name}: step {step}: {tensor}: e = {e}");
            }
            let number = |key: &str| get(frame, key).expect(key).parse::<f32>().expect(key);
            for key in ["timestep", "sigma"] {
                let expected = golden[&format!("{name}/{step}/{key}")].f32();
                assert!(
                    number(key).to_bits() == expected[0].to_bits(),
                    "{name}: step {step}: {key}: {}, expected {}",
                    number(key),
                    expected[0]
                );
            }
            assert_eq!(get(frame, "step"), Some(&step.to_string()[..]));
            assert_eq!(get(frame, "steps"), Some(&steps.to_string()[..]));
            assert_eq!(get(frame, "id"), Some("fox"));
        }
        // One step's end is the next one's beginning, and the last is what goes on.
        for pair in trace.windows(2) {
            assert!(pair[0].bytes("latents") == pair[1].bytes("sample"));
        }
        assert!(trace[steps - 1].bytes("latents") == latents[0].bytes("latents"));
        // Tracing changes nothing.
        let plain = pipe([denoise(flags)])
            .input(embeddings(&[0], &[("id", "fox")]))
            .run();
        assert!(frames(plain.ok()) == latents);
    }
}

#[test]
fn pictures_and_rows_are_traced_one_after_the_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = [
        embeddings(&[0, 1], &[("id", "a")]),
        embeddings(&[2], &[("id", "b"), ("seed", "70")]),
    ];
    let flags = "--steps 2 --seed 5 --images 2";
    let (_, trace) = traced(&folder.path().join("t"), flags, &input.concat());
    let seen: Vec<[&str; 3]> = trace
        .iter()
        .map(|frame| ["id", "seed", "step"].map(|key| get(frame, key).expect(key)))
        .collect();
    let pictures = [
        ("a", "5"),
        ("a-1", "6"),
        ("a-1", "6"),
        ("a-1-1", "7"),
        ("b", "70"),
        ("b-1", "71"),
    ];
    let expected: Vec<[&str; 3]> = pictures
        .iter()
        .flat_map(|&(id, seed)| [[id, seed, "0"], [id, seed, "1"]])
        .collect();
    assert_eq!(seen, expected);
    assert!(trace.iter().all(|frame| frame.header.batch() == 1));
    // A row's steps are those of a run with its prompt and seed alone.
    let alone = traced(
        &folder.path().join("alone"),
        "--steps 2 --seed 7",
        &embeddings(&[1], &[]),
    );
    for (step, frame) in alone.1.iter().enumerate() {
        assert!(trace[6 + step].body() == frame.body(), "step {step}");
    }
}

#[test]
fn every_step_can_be_seen() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("t");
    let (latents, trace) = traced(&path, "--steps 3 --seed 1", &embeddings(&[0], &[]));
    let decode = |flags: &str| tool("decode-latents", flags).arg(&path);
    let see = |flags: &str| {
        let ended = pipe([decode(flags), tool("to-png", "")]).run();
        pictures(ended.ok())
    };
    let (noisy, foreseen) = (see(""), see("--tensor pred_original_sample"));
    assert_eq!((noisy.len(), foreseen.len()), (3, 3));
    // In the last step nothing is added any more.
    let bytes = pipeline_tests::bytes(
        latents[0].header.clone(),
        &[(names::LATENTS, latents[0].body())],
    );
    let whole = pipe([tool("decode-latents", ""), tool("to-png", "")])
        .input(bytes)
        .run();
    let whole = pictures(whole.ok()).remove(0);
    assert!(noisy[2].pixels == whole.pixels);
    assert!(noisy[0].pixels != foreseen[0].pixels);
    // A tensor decoded by name is that tensor as latents.
    let header = Header::latents(
        1,
        12,
        8,
        metadata(&[("model", get(&trace[0], "model").expect("a model"))]),
    );
    let as_latents = pipeline_tests::bytes(
        header.expect("a shape"),
        &[(
            names::LATENTS,
            trace[0].bytes("pred_original_sample").expect("is there"),
        )],
    );
    let expected = pipe([tool("decode-latents", ""), tool("to-png", "")])
        .input(as_latents)
        .run();
    assert!(foreseen[0].pixels == pictures(expected.ok())[0].pixels);

    pipe([decode("--tensor noise")]).run().expect(
        1,
        &["frame 0: --tensor noise: expected it in the frame, found latents, noise_pred"],
    );
}

#[test]
fn a_trace_may_go_down_a_pipe() {
    let folder = tempfile::tempdir().expect("a folder");
    let latents = folder.path().join("l");
    let stage = denoise("--steps 2 --seed 1 --trace -")
        .arg("-o")
        .arg(&latents);
    let trace = pipe([stage]).input(embeddings(&[0], &[])).run();
    assert_eq!(frames(trace.ok()).len(), 2);
    assert_eq!(frames(&fs::read(&latents).expect("latents")).len(), 1);
    for both in ["--trace -", "--trace x -o x", "--trace - -o -"] {
        pipe([denoise(both)])
            .run()
            .expect(2, &["expected another place than that of the latents"]);
    }
    pipe([denoise("").arg("--trace").arg(folder.path().join("none/t"))])
        .run()
        .expect(1, &["none", "mkdir -p"]);
}

/// What a trace is for: the steps before the one that failed.
#[test]
fn of_a_run_that_fails_the_steps_before_are_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("t");
    // The second record's embeddings are NaN, and the last is cut.
    let good = embeddings(&[0], &[]);
    let bad = frames(&good).remove(0);
    let nan: Vec<u8> = bad
        .body()
        .chunks(4)
        .flat_map(|_| f32::NAN.to_le_bytes())
        .collect();
    let bad = [bad.header.encoded(), &nan[..]].concat();
    let stage = |flags: &str| denoise(flags).arg("--trace").arg(&path);
    pipe([stage("--steps 2 --seed 1")])
        .input([&good[..], &bad].concat())
        .run()
        .expect(1, &["frame 1: prompt_embeds"]);
    assert_eq!(frames(&fs::read(&path).expect("a trace")).len(), 2);
    pipe([stage("--steps 2 --seed 1 --on-error skip")])
        .input([&good[..], &bad, &good].concat())
        .run()
        .expect(1, &["frame 1: prompt_embeds"]);
    assert_eq!(frames(&fs::read(&path).expect("a trace")).len(), 4);

    // A network that blows up: there is no step to show, and the file is a stream all the same.
    let broken = Altered::of(&tiny()).with_tensors(
        "unet/diffusion_pytorch_model.fp16.safetensors",
        |header, body| {
            let offsets = &header["conv_out.bias"]["data_offsets"];
            let at = offsets[0].as_u64().expect("an offset") as usize;
            body[at..at + 2].copy_from_slice(&[0x00, 0x7e]);
        },
    );
    let stage = tool("denoise", &format!("{SIZE} --trace")).arg(&path);
    pipe([stage.model(broken.path())])
        .input(good)
        .run()
        .expect(1, &["frame 0"]);
    assert!(frames(&fs::read(&path).expect("a trace")).is_empty());
}
