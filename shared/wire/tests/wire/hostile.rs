//! Input that is cut, random, or lies.

use safetensors::SafeTensors;
use turbo_wire::{Error, Frame, FrameReader, Limits};

use crate::support::{Random, latents_json, raw, read_all, write_all};

#[test]
fn a_stream_cut_at_any_byte_says_where() {
    let mut random = Random(3);
    let frames = [random.frame(), random.frame()];
    let first = write_all(&frames[..1]).len();
    let stream = write_all(&frames);
    for cut in 0..stream.len() {
        let mut reader = FrameReader::new(&stream[..cut], Limits::default());
        let mut read = Vec::new();
        let end = loop {
            match reader.next_frame() {
                Ok(Some(frame)) => read.push(frame),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        // Whole frames before the cut are delivered.
        let whole = usize::from(cut >= first);
        assert_eq!(read, frames[..whole], "cut at {cut}");
        if cut == 0 || cut == first {
            assert!(end.is_none(), "cut at {cut} lies between frames");
            continue;
        }
        let error = end.expect("a cut inside a frame is an error");
        assert_eq!(error.frame(), Some(whole as u64), "{error}");
        assert_eq!(error.byte(), Some(cut as u64), "{error}");

        let begin = if whole == 0 { 0 } else { first };
        let header = frames[whole].header.encoded().len();
        let at = cut - begin;
        let (place, length, had) = if at < 8 {
            ("length", 8, at)
        } else if at < header {
            ("header", header - 8, at - 8)
        } else {
            ("body", frames[whole].body().len(), at - header)
        };
        let Error::Truncated {
            part,
            expected,
            found,
        } = error.rule()
        else {
            panic!("{error}");
        };
        assert_eq!(
            (*part, *expected, *found),
            (place, length as u64, had as u64)
        );
    }
}

/// What this crate takes, the safetensors crate takes; and nothing makes it panic.
fn check_against_safetensors(bytes: &[u8]) -> Option<Frame> {
    let mut reader = FrameReader::new(bytes, Limits::default());
    let frame = reader.next_frame().ok()??;
    let end = reader.offset() as usize;
    let file = SafeTensors::deserialize(&bytes[..end]).expect("safetensors takes it");
    for spec in frame.header.tensors() {
        let view = file.tensor(&spec.name).expect("is there");
        assert_eq!(Some(view.data()), frame.bytes(&spec.name));
    }
    Some(frame)
}

#[test]
fn random_bytes_are_refused() {
    for seed in 0..2000 {
        let mut random = Random(seed);
        let length = random.below(300);
        let mut bytes = random.bytes(length);
        assert!(check_against_safetensors(&bytes).is_none());
        // With a length that fits, so that the JSON parser gets its share.
        if let Some(json) = bytes.len().checked_sub(9) {
            bytes[..8].copy_from_slice(&(json as u64 + 1).to_le_bytes());
            bytes[8] = b'{';
            assert!(check_against_safetensors(&bytes).is_none());
        }
    }
}

/// Correct frames with a few bytes changed, taken out or put in.
#[test]
fn damaged_frames_are_refused_or_right() {
    let (mut taken, mut refused) = (0, 0);
    for seed in 0..6000 {
        let mut random = Random(seed);
        let mut bytes = write_all(&[random.frame()]);
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            match random.below(4) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at] = b"0123456789{}[]\":,-.eE \\u"[random.below(24)],
                2 => drop(bytes.remove(at)),
                _ => bytes.insert(at, random.next() as u8),
            }
        }
        match check_against_safetensors(&bytes) {
            Some(_) => taken += 1,
            None => refused += 1,
        }
    }
    // Both ways were gone.
    assert!(
        taken > 100 && refused > 100,
        "{taken} taken, {refused} refused"
    );
}

fn refusal(bytes: &[u8]) -> String {
    read_all(bytes).expect_err("refused").to_string()
}

/// Lengths from a header's cap to 2^64 - 1, with nothing behind them.
#[test]
fn huge_header_lengths() {
    for length in [
        (1 << 20) + 1,
        1 << 31,
        1 << 32,
        1 << 63,
        u64::MAX - 7,
        u64::MAX,
    ] {
        let bytes = [length.to_le_bytes().as_slice(), b"{}"].concat();
        assert_eq!(
            refusal(&bytes),
            format!(
                "frame 0, byte 0: header length: expected at most 1048576 bytes, found {length}"
            )
        );
    }
    // The largest that is allowed only waits for its bytes.
    let bytes = [(1_u64 << 20).to_le_bytes().as_slice(), b"{}"].concat();
    assert!(refusal(&bytes).contains("expected 1048576 bytes, found 2"));
    // With all caps lifted the input is still what counts.
    let bytes = [u64::MAX.to_le_bytes().as_slice(), b"{}"].concat();
    let open = Limits {
        header_bytes: u64::MAX,
        ..Limits::default()
    };
    let error = FrameReader::new(bytes.as_slice(), open)
        .next_frame()
        .expect_err("cut");
    assert!(matches!(
        error.rule(),
        Error::Truncated {
            expected: u64::MAX,
            found: 2,
            ..
        }
    ));
}

#[test]
fn huge_shapes_and_offsets() {
    let max = u64::MAX;
    for (shape, offsets, expected) in [
        // The product wraps around to 0, or to just the size of the body.
        (
            "[1,4,9223372036854775808,2]".to_owned(),
            "[0,0]".to_owned(),
            "overflows",
        ),
        (format!("[{max},{max}]"), "[0,4]".to_owned(), "overflows"),
        (
            "[1,4,4611686018427387904,1]".to_owned(),
            "[0,16]".to_owned(),
            "overflows",
        ),
        // The product fits in elements but not in bits.
        (
            "[1,4,576460752303423488,1]".to_owned(),
            "[0,16]".to_owned(),
            "overflows",
        ),
        // Zero times huge is zero: safetensors takes it, the kind does not.
        (
            format!("[0,4,{},1]", 1_u64 << 40),
            "[0,0]".to_owned(),
            "each at least 1",
        ),
        // More than 2^64, less than 0, not whole.
        (
            "[18446744073709551616]".to_owned(),
            "[0,4]".to_owned(),
            "expected usize",
        ),
        ("[-1]".to_owned(), "[0,4]".to_owned(), "expected usize"),
        ("[1.5]".to_owned(), "[0,4]".to_owned(), "expected usize"),
        (
            "[1e400]".to_owned(),
            "[0,4]".to_owned(),
            "number out of range",
        ),
        // A size that is right, and too large.
        (
            format!("[1,4,{},1]", 1_u64 << 40),
            format!("[0,{}]", 1_u64 << 44),
            "frame size: expected at most 1073741824 bytes, found 17592186044",
        ),
        (
            "[1,4,1,1]".to_owned(),
            format!("[0,{max}]"),
            "takes 16 bytes, its data_offsets span 18446744073709551615",
        ),
        (
            "[1,4,1,1]".to_owned(),
            format!("[{},{max}]", max - 16),
            "expected to begin at 0",
        ),
    ] {
        let json =
            format!(r#"{{"latents":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#);
        let text = refusal(&raw(&json, &[0; 16]));
        assert!(text.contains(expected), "{json}: {text}");
    }
}

#[test]
fn gaps_overlaps_and_strays() {
    let json = |a: &str, b: &str| {
        format!(
            r#"{{"image":{{"dtype":"U8","shape":[1,1,1,3],"data_offsets":{a}}},
                "x":{{"dtype":"U8","shape":[3],"data_offsets":{b}}}}}"#
        )
    };
    for (a, b, name) in [
        ("[0,3]", "[4,7]", "\"x\""),     // gap
        ("[0,3]", "[2,5]", "\"x\""),     // overlap
        ("[0,3]", "[0,3]", "\"x\""),     // the same bytes twice
        ("[1,4]", "[4,7]", "\"image\""), // gap in front
        ("[3,0]", "[3,6]", "\"image\""), // backwards
        ("[5,8]", "[0,3]", "\"image\""), // gap, entries the other way round
    ] {
        let bytes = raw(&json(a, b), &[0; 8]);
        let text = refusal(&bytes);
        assert!(
            text.contains("data_offsets: expected to begin at"),
            "{a} {b}: {text}"
        );
        assert!(text.contains(&format!("tensor {name}")), "{a} {b}: {text}");
    }
    // Without the gap both orders are right.
    for (a, b) in [("[0,3]", "[3,6]"), ("[3,6]", "[0,3]")] {
        assert!(read_all(raw(&json(a, b), &[0; 6]).as_slice()).is_ok());
    }
}

#[test]
fn nested_json_does_not_exhaust_the_stack() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for prefix in [
            "{\"x\":",
            "{\"__metadata__\":{\"a\":",
            "{\"latents\":{\"dtype\":",
        ] {
            let deep = format!("{prefix}{}{}", open.repeat(150_000), close.repeat(20));
            let text = refusal(&raw(&deep, &[]));
            assert!(
                text.contains("not the JSON of a safetensors header"),
                "{text}"
            );
        }
    }
}

/// Keys beside a tensor's own are dropped, but what safetensors can't read in them is refused here too.
#[test]
fn what_stands_beside_a_tensor_is_read_as_safetensors_reads_it() {
    let nested = format!("{}{}", "[".repeat(300), "]".repeat(300));
    for (value, taken) in [("[1,{}]", true), ("1e400", false), (&nested, false)] {
        let bytes = raw(
            &format!(
                r#"{{"image":{{"dtype":"U8","shape":[1,1,1,3],"data_offsets":[0,3],"x":{value}}}}}"#
            ),
            &[1, 2, 3],
        );
        assert_eq!(SafeTensors::deserialize(&bytes).is_ok(), taken);
        assert_eq!(check_against_safetensors(&bytes).is_some(), taken);
    }
}

/// A header of a megabyte that is all tensors, or all dimensions, or one long name.
#[test]
fn headers_that_are_all_of_one_thing() {
    let entry = |index: usize| {
        format!(
            r#""{index}":{{"dtype":"U8","shape":[],"data_offsets":[{index},{}]}}"#,
            index + 1
        )
    };
    let many: Vec<String> = (0..15_000).map(entry).collect();
    let text = refusal(&raw(&format!("{{{}}}", many.join(",")), &[]));
    assert!(
        text.contains("expected at most 64 tensors, found 15000"),
        "{text}"
    );

    let ones = vec!["1"; 400_000].join(",");
    let json = format!(r#"{{"x":{{"dtype":"U8","shape":[{ones}],"data_offsets":[0,1]}}}}"#);
    let text = refusal(&raw(&json, &[]));
    assert!(
        text.contains("expected at most 8 dimensions, found 400000"),
        "{text}"
    );

    let name = "n".repeat(1_000_000);
    let json = format!(r#"{{"{name}":{{"dtype":"U8","shape":[],"data_offsets":[0,1]}}}}"#);
    let text = refusal(&raw(&json, &[]));
    assert!(
        text.contains("a name of at most 256 bytes, found 1000000"),
        "{text}"
    );
    assert!(text.len() < 300);
}

/// What comes with the stream does not reach a terminal as it is.
#[test]
fn messages_hold_no_control_characters() {
    let nasty = r"\u001b[2J\u0007\u202e";
    for json in [
        format!(r#"{{"{nasty}":{{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}}}"#),
        format!(r#"{{"x":{{"dtype":"{nasty}","shape":[1],"data_offsets":[0,1]}}}}"#),
        format!(r#"{{"__metadata__":{{"kind":"{nasty}"}}}}"#),
        format!(r#"{{"__metadata__":{{"version":"{nasty}"}}}}"#),
        format!(r#"{{"__metadata__":{{"{nasty}":1}}}}"#),
        format!(r#"{{"__metadata__":{{"{nasty}":"a","{nasty}":"b"}}}}"#),
        format!(r#"{{"{nasty}":{{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}}}"#),
        format!(
            r#"{{"__metadata__":{{"kind":"{}"}}}}"#,
            "\\u001b".repeat(10_000)
        ),
    ] {
        let text = refusal(&raw(&json, &[0]));
        assert!(
            !text.chars().any(|c| c.is_control() || c == '\u{202e}'),
            "{text:?}"
        );
        assert!(
            text.contains("\\u{1b}"),
            "the text shows what was there: {text}"
        );
        assert!(text.len() < 1000);
    }
}

#[test]
fn foreign_files_are_named() {
    let png = b"\x89PNG\r\n\x1a\n....";
    for (bytes, name) in [
        (png.as_slice(), "a PNG picture"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "a JPEG picture"),
        (
            b"PK\x03\x04\x14\0\0\0\0\0",
            "a ZIP, .npz or pickled PyTorch file",
        ),
        (b"\x1f\x8b\x08\x08\x5c\x2f\x01\x66\0\x03", "a gzip file"),
        // gzip in a pipe writes no time: its first bytes are a header length that is allowed.
        (b"\x1f\x8b\x08\0\0\0\0\0\0\x03", "a gzip file"),
        (b"\x28\xb5\x2f\xfd\x04\x58\xd1\x05\0", "a zstd file"),
        (b"{\"prompt\": \"a red fox\"}\n", "text"),
        (b"a red fox\n", "text"),
    ] {
        let text = refusal(bytes);
        assert!(text.contains(&format!("looks like {name},")), "{text}");
    }
    // Two good frames, then a line of text that a script printed.
    let frame = raw(latents_json(), &[0; 16]);
    let stream = [&frame[..], &frame[..], b"done in 3 s\n"].concat();
    let text = refusal(&stream);
    assert!(
        text.starts_with(&format!("frame 2, byte {}: ", 2 * frame.len())),
        "{text}"
    );
    assert!(text.contains("looks like text"), "{text}");
}
