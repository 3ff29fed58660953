//! Streams that are cut, damaged or of the wrong kind.

use pipeline_tests::{bytes, embeddings, frame, metadata, pipe, tool};
use turbo_testkit::tiny;
use turbo_wire::{Dtype, Header, Kind, TensorSpec, f32_bytes, names};

const DENOISE: &str = "--width 64 --height 64 --seed 1";

/// Length of a frame's header, its 8 bytes of length included.
fn header_length(frame: &[u8]) -> usize {
    u64::from_le_bytes(*frame.first_chunk().expect("a frame")) as usize + 8
}

fn latents(height: usize, width: usize, values: &[f32]) -> Vec<u8> {
    let header = Header::latents(1, height, width, metadata(&[])).expect("a header");
    bytes(header, &[(names::LATENTS, &f32_bytes(values))])
}

fn image() -> Vec<u8> {
    let header = Header::image(1, 8, 8, metadata(&[])).expect("a header");
    bytes(header, &[(names::IMAGE, &[7; 192])])
}

/// A frame of any header and body.
fn raw(header: &str, body: &[u8]) -> Vec<u8> {
    [
        &(header.len() as u64).to_le_bytes()[..],
        header.as_bytes(),
        body,
    ]
    .concat()
}

/// Every byte of the header, and the body around its borders.
#[test]
fn a_cut_stream_is_told_with_frame_and_byte() {
    let model = tiny();
    let whole = embeddings(&[0], &[]);
    let header = header_length(&whole);
    let body = [0, 1, 2, 3, 4, 1000, 4096, 32768]
        .into_iter()
        .map(|n| header + n);
    let end = (1..=4).map(|n| whole.len() - n);
    for cut in (1..header).chain(body).chain(end) {
        let ended = pipe([tool("denoise", DENOISE).model(&model)])
            .input(&whole[..cut])
            .run();
        let stdout = ended.expect(1, &[&format!("frame 0, byte {cut}: ")]);
        // The header of the result may be out, never a body.
        assert!(
            stdout.is_empty() || header_length(stdout) == stdout.len(),
            "cut at {cut}"
        );
    }
}

#[test]
fn frames_before_a_cut_stay_whole() {
    let model = tiny();
    let first = embeddings(&[0], &[]);
    let second = embeddings(&[1], &[]);
    let expected = pipe([tool("denoise", DENOISE).model(&model)])
        .input(&first[..])
        .run();
    let header = header_length(&second);
    for cut in [1, 7, 8, 9, header - 1, header, header + 1, second.len() - 1] {
        let stream = [&first[..], &second[..cut]].concat();
        let byte = stream.len();
        for flags in ["", " --on-error skip"] {
            let stage = tool("denoise", &format!("{DENOISE}{flags}")).model(&model);
            let ended = pipe([stage]).input(&stream[..]).run();
            let stdout = ended.expect(1, &[&format!("frame 1, byte {byte}: ")]);
            assert!(stdout.starts_with(expected.ok()), "cut at {cut} of frame 1");
            let rest = &stdout[expected.ok().len()..];
            assert!(
                rest.is_empty() || (flags.is_empty() && header_length(rest) == rest.len()),
                "cut at {cut}"
            );
        }
    }
}

/// The failure of one stage is one of the next, which says so, down to the last.
#[test]
fn a_cut_runs_down_the_pipe() {
    let whole = embeddings(&[0], &[]);
    let stages = [
        tool("denoise", DENOISE).model(&tiny()),
        tool("decode-latents", ""),
        tool("to-png", ""),
    ];
    let ended = pipe(stages).input(&whole[..whole.len() - 1]).run();
    for stage in &ended.stages {
        stage.expect(1, &["frame 0, byte "]);
    }
    assert!(ended.stdout.is_empty());
}

#[test]
fn each_reader_notices_a_cut() {
    let model = tiny();
    for (stage, frame) in [
        (
            tool("decode-latents", "").model(&model),
            latents(8, 8, &[0.5; 256]),
        ),
        (tool("to-png", ""), image()),
        (tool("peek", ""), image()),
    ] {
        let header = header_length(&frame);
        for cut in [1, 8, header / 2, header, frame.len() - 1] {
            let ended = pipe([stage.clone()]).input(&frame[..cut]).run();
            ended.stages[0].expect(1, &[&format!("frame 0, byte {cut}: ")]);
        }
    }
}

#[test]
fn garbage_is_refused_for_what_it_is() {
    let png = pipe([tool("to-png", "")]).input(image()).run();
    let huge = |n: u64| [&n.to_le_bytes()[..], b"{}"].concat();
    let offsets = |end: u64| {
        raw(
            &format!(
                r#"{{"latents":{{"dtype":"F32","shape":[1,4,8,8],"data_offsets":[0,{end}]}}}}"#
            ),
            &[0; 1024],
        )
    };
    let shape = |shape: &str| {
        raw(
            &format!(r#"{{"latents":{{"dtype":"F32","shape":{shape},"data_offsets":[0,1024]}}}}"#),
            &[0; 1024],
        )
    };
    let cases: [(&str, Vec<u8>, &[&str]); 13] = [
        (
            "text",
            b"a red fox, on a log, in the snow\n".to_vec(),
            &["byte 0: ", "header length"],
        ),
        ("a picture", png.ok().to_vec(), &["byte 0: ", "PNG"]),
        ("zeros", vec![0; 4096], &["byte 0: ", "at least 2"]),
        ("ones", vec![0xff; 4096], &["byte 0: ", "at most 1048576"]),
        (
            "a header of 2^64 - 1 bytes",
            huge(u64::MAX),
            &["byte 0: ", "18446744073709551615"],
        ),
        (
            "a header of 1 GiB",
            huge(1 << 30),
            &["byte 0: ", "1073741824"],
        ),
        ("no JSON", raw("{\"latents\":", &[]), &["byte 8: ", "JSON"]),
        (
            "an array",
            raw("[1, 2, 3, 4, 5]", &[]),
            &["byte 8: ", "`{`"],
        ),
        ("offsets beyond the limit", offsets(1 << 62), &["byte 8: "]),
        (
            "offsets that are not the shape's",
            offsets(1020),
            &["byte 8: ", "latents"],
        ),
        (
            "a shape that overflows",
            shape("[1,4,4611686018427387904,4611686018427387904]"),
            &["byte 8: ", "overflow"],
        ),
        ("a shape with a zero", shape("[1,4,0,8]"), &["byte 8: "]),
        (
            "a shape of another rank",
            shape("[4,8,8]"),
            &["byte 8: ", "[4, 8, 8]"],
        ),
    ];
    for (what, input, texts) in cases {
        for stage in [
            tool("decode-latents", "--model /no/such/model"),
            tool("peek", ""),
        ] {
            let ended = pipe([stage]).input(&input[..]).run();
            let end = &ended.stages[0];
            end.expect(1, &["frame 0, "]);
            for text in texts {
                assert!(
                    end.stderr.contains(text),
                    "{what}: expected {text:?} in: {}",
                    end.stderr
                );
            }
            assert!(ended.stdout.is_empty(), "{what}: nothing is passed on");
        }
    }
}

/// A header may promise a gibibyte; memory is taken for what comes.
#[cfg(target_os = "linux")]
#[test]
fn promises_take_no_memory() {
    let model = tiny();
    // [1, 4, 8000, 8000] in f32 is 1,024,000,000 bytes, below the cap of 1 GiB.
    let end = 1_024_000_000_u64;
    let header = format!(
        r#"{{"latents":{{"dtype":"F32","shape":[1,4,8000,8000],"data_offsets":[0,{end}]}}}}"#
    );
    let stage = tool("peek", "");
    let mut running = pipe([stage]).held().start();
    let mut stdin = running.stdin.take().expect("held");
    std::io::Write::write_all(&mut stdin, &raw(&header, &[0; 4096])).expect("peek reads");
    // peek passes the header on once it has been read, and then waits for the body.
    let mut stdout = running.stdout.take().expect("held");
    let mut passed = vec![0; header.len() + 8];
    std::io::Read::read_exact(&mut stdout, &mut passed).expect("the header");
    let peak = running.max_rss_bytes(0);
    drop(stdin);
    running.wait().stages[0].expect(1, &["frame 0, byte "]);
    assert!(peak < 64 << 20, "{peak} bytes for 4 KiB of a gibibyte");
    // With a limit below, nothing but the header is read.
    let stage = tool("decode-latents", "--max-frame-bytes 100MiB").model(&model);
    pipe([stage])
        .input(raw(&header, &[0; 64]))
        .run()
        .expect(1, &["frame 0, byte 8: ", "104857600"]);
}

#[test]
fn the_wrong_kind_is_named_at_each_place() {
    let model = tiny();
    let kinds = [
        ("text-embeddings", embeddings(&[0], &[])),
        ("latents", latents(8, 8, &[0.5; 256])),
        ("image", image()),
    ];
    let stages = [
        ("text-embeddings", tool("denoise", DENOISE).model(&model)),
        ("latents", tool("decode-latents", "").model(&model)),
        ("image", tool("to-png", "")),
    ];
    for (expected, stage) in stages {
        for (found, input) in &kinds {
            if *found != expected {
                let texts = [
                    format!("expected kind \"{expected}\", found \"{found}\""),
                    "frame 0, byte 8: ".to_owned(),
                ];
                let ended = pipe([stage.clone()]).input(&input[..]).run();
                assert!(
                    ended
                        .expect(1, &texts.each_ref().map(|text| &text[..]))
                        .is_empty()
                );
            }
        }
    }
}

#[test]
fn values_that_are_not_finite_are_errors() {
    let model = tiny();
    for value in [f32::NAN, f32::INFINITY] {
        let mut values = [0.5; 256];
        values[100] = value;
        let ended = pipe([tool("decode-latents", "").model(&model)])
            .input(latents(8, 8, &values))
            .run();
        ended.expect(1, &["frame 0: ", "latents", "1 of 256", "NaN or infinite"]);
        let mut text = embeddings(&[0], &[]);
        let end = text.len() - 4;
        text[end..].copy_from_slice(&value.to_le_bytes());
        let ended = pipe([tool("denoise", DENOISE).model(&model)])
            .input(text)
            .run();
        ended.expect(1, &["frame 0: ", "embeds", "NaN or infinite"]);
    }
}

#[test]
fn settings_of_a_frame_are_checked() {
    let model = tiny();
    let cases: [(&str, &str, &[&str]); 7] = [
        ("width", "100", &["width", "100", "96 or 104"]),
        ("height", "4", &["height", "found \"4\"", "give 8"]),
        ("height", "99999999999999999999", &["height"]),
        ("steps", "0", &["steps", "whole number from 1"]),
        ("steps", "1001", &["1001", "1000"]),
        ("seed", "-5", &["seed", "-5"]),
        ("crops_top_left", "1,2", &["crops_top_left", "1,2"]),
    ];
    for (key, value, texts) in cases {
        let ended = pipe([tool("denoise", "--seed 1").model(&model)])
            .input(embeddings(&[0], &[(key, value)]))
            .run();
        assert!(ended.expect(1, &["frame 0: "]).is_empty(), "{key}={value}");
        for text in texts {
            let stderr = &ended.stages[0].stderr;
            assert!(
                stderr.contains(text),
                "{key}={value}: expected {text:?} in: {stderr}"
            );
        }
    }
}

#[test]
fn embeddings_of_another_model_are_refused_by_the_header() {
    // SDXL's widths, which are not the tiny checkpoint's.
    let header =
        Header::text_embeddings(1, 77, 2048, 1280, false, metadata(&[])).expect("a header");
    let ended = pipe([tool("denoise", DENOISE).model(&tiny())])
        .input(header.encoded())
        .run();
    ended.expect(
        1,
        &["frame 0: ", "prompt_embeds", "160", "2048", "same model"],
    );
}

/// Half-precision input and batches are read as they are; extra tensors do not disturb.
#[test]
fn other_types_and_extra_tensors_are_read() {
    let model = tiny();
    let values: Vec<f32> = (0..256).map(|n| n as f32 / 128.0 - 1.0).collect();
    let stage = || tool("decode-latents", "--dtype f32").model(&model);
    let expected = pipe([stage()]).input(latents(8, 8, &values)).run();
    // These values are exact in half precision: sign, then exponent and mantissa, shifted.
    let half: Vec<u8> = values
        .iter()
        .flat_map(|value| f16_bits(*value).to_le_bytes())
        .collect();
    let tensors = vec![
        TensorSpec::new(names::LATENTS, Dtype::F16, &[1, 4, 8, 8]),
        TensorSpec::new("mask", Dtype::U8, &[3]),
    ];
    let header = Header::new(Kind::Latents, tensors, metadata(&[])).expect("a header");
    let input = bytes(header, &[(names::LATENTS, &half), ("mask", &[1, 2, 3])]);
    let ended = pipe([stage()]).input(input).run();
    let (ours, theirs) = (
        frame(ended.ok(), Kind::Image),
        frame(expected.ok(), Kind::Image),
    );
    assert!(ours.bytes(names::IMAGE) == theirs.bytes(names::IMAGE));
}

/// The bits in half precision of a value that has them exactly.
fn f16_bits(value: f32) -> u16 {
    if value == 0.0 {
        return 0;
    }
    let bits = value.to_bits();
    let exponent = (bits >> 23 & 0xff) + 15 - 127;
    (bits >> 16 & 0x8000) as u16 | (exponent << 10) as u16 | (bits >> 13 & 0x3ff) as u16
}
