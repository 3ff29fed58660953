//! Every variant of the error, provoked, with its text.

use std::collections::BTreeSet;
use std::io;

use turbo_wire::{
    Dtype, Error, Frame, FrameReader, FrameWriter, Header, Kind, Limits, Metadata, TensorSpec,
    metadata,
};

use crate::support::{latents_json, raw, read_all};

/// The number of variants, and a number for each. No wildcard: a new variant does not compile
/// until it is named here, and the test fails until it is provoked.
const VARIANTS: usize = 37;

fn number(error: &Error) -> usize {
    match error {
        Error::At { .. } => 0,
        Error::Read(_) => 1,
        Error::Write(_) => 2,
        Error::Truncated { .. } => 3,
        Error::HeaderTooLarge { .. } => 4,
        Error::HeaderTooSmall { .. } => 5,
        Error::HeaderStart { .. } => 6,
        Error::HeaderUtf8(_) => 7,
        Error::HeaderJson { .. } => 8,
        Error::DuplicateTensor { .. } => 9,
        Error::DuplicateKey { .. } => 10,
        Error::MetadataType { .. } => 11,
        Error::Offsets { .. } => 12,
        Error::TensorSize { .. } => 13,
        Error::Overflow { .. } => 14,
        Error::ReservedName => 15,
        Error::TooManyTensors { .. } => 16,
        Error::NameTooLong { .. } => 17,
        Error::RankTooLarge { .. } => 18,
        Error::FrameTooLarge { .. } => 19,
        Error::Version { .. } => 20,
        Error::UnknownKind { .. } => 21,
        Error::NoKind { .. } => 22,
        Error::WrongKind { .. } => 23,
        Error::MissingTensor { .. } => 24,
        Error::TensorDtype { .. } => 25,
        Error::TensorShape { .. } => 26,
        Error::BatchMismatch { .. } => 27,
        Error::ShapeMismatch { .. } => 28,
        Error::NegativePair { .. } => 29,
        Error::BodyMissing { .. } => 30,
        Error::BodyExtra { .. } => 31,
        Error::BodySize { .. } => 32,
        Error::Order(_) => 33,
        Error::Companion { .. } => 34,
        Error::PictureShape { .. } => 35,
        Error::Setting { .. } => 36,
    }
}

/// An error of reading these bytes.
fn read(bytes: &[u8]) -> Error {
    read_all(bytes).expect_err("a rule is broken")
}

fn json(text: &str) -> Error {
    read(&raw(text, &[0; 64]))
}

/// An error of a `text-embeddings` header with these tensors.
fn embeddings(tensors: &[(&str, Dtype, &[usize])]) -> Error {
    header(Kind::TextEmbeddings, tensors)
}

fn header(kind: Kind, tensors: &[(&str, Dtype, &[usize])]) -> Error {
    let tensors = tensors
        .iter()
        .map(|&(name, dtype, shape)| TensorSpec::new(name, dtype, shape))
        .collect();
    Header::new(kind, tensors, Metadata::new()).expect_err("a rule is broken")
}

fn cases() -> Vec<(Error, &'static str)> {
    const F: Dtype = Dtype::F32;
    let embeds: (&str, Dtype, &[usize]) = ("prompt_embeds", F, &[2, 3, 4]);
    let pooled: (&str, Dtype, &[usize]) = ("pooled_prompt_embeds", F, &[2, 5]);
    let frame = raw(latents_json(), &[0; 16]);
    let latents = Header::latents(1, 1, 1, Metadata::new()).expect("correct");
    let wrong_kind = |expected| {
        FrameReader::new(frame.as_slice(), Limits::default())
            .expect(expected)
            .next_header()
            .expect_err("another kind")
    };
    let odd = Metadata::from([("steps".to_owned(), "two".to_owned())]);
    vec![
        (
            metadata::read::<u64>(&odd, "steps").expect_err("no number"),
            "metadata: steps: expected a whole number from 1, found \"two\"",
        ),
        (
            Error::Read(io::Error::other("no luck")),
            "cannot read: no luck",
        ),
        (
            Error::Write(io::Error::other("no luck")),
            "cannot write: no luck",
        ),
        (
            read(&frame[..80]),
            "frame 0, byte 80: the input ends inside the frame's body: expected 16 bytes, found 5 \
             (did the program that wrote it fail?)",
        ),
        (
            read(&[0, 0, 0, 0, 1, 0, 0, 0]),
            "frame 0, byte 0: header length: expected at most 1048576 bytes, found 4294967296",
        ),
        (
            read(b"a red fox"),
            "frame 0, byte 0: header length: expected at most 1048576 bytes, found \
             8027139001405284449 (the input looks like text, not like a safetensors frame)",
        ),
        (
            read(&[1, 0, 0, 0, 0, 0, 0, 0, b'{']),
            "frame 0, byte 0: header length: expected at least 2 bytes, found 1",
        ),
        (
            json(" {}"),
            "frame 0, byte 8: header: expected `{` as its first byte, found 0x20",
        ),
        (
            read(&[3, 0, 0, 0, 0, 0, 0, 0, b'{', 0xff, b'}']),
            "frame 0, byte 8: header: expected UTF-8: invalid utf-8 sequence of 1 bytes from \
             index 1",
        ),
        (
            json(r#"{"latents":}"#),
            "frame 0, byte 8: header: not the JSON of a safetensors header: tensor \"latents\": \
             expected value at line 1 column 12",
        ),
        (
            json(&format!("{}{{}}", latents_json())),
            "frame 0, byte 8: header: not the JSON of a safetensors header: trailing characters \
             at line 1 column 68",
        ),
        (
            json(
                r#"{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},
                    "x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#,
            ),
            "frame 0, byte 8: header: \"x\" stands there twice",
        ),
        (
            json(r#"{"__metadata__":{},"__metadata__":{}}"#),
            "frame 0, byte 8: header: \"__metadata__\" stands there twice",
        ),
        (
            header(Kind::Image, &[("x", F, &[]), ("x", F, &[])]),
            "header: \"x\" stands there twice",
        ),
        (
            json(r#"{"__metadata__":{"seed":"1","seed":"1"}}"#),
            "frame 0, byte 8: metadata: key \"seed\" stands there twice",
        ),
        (
            json(r#"{"__metadata__":{"seed":1}}"#),
            "frame 0, byte 8: metadata: key \"seed\": expected a string, found a number",
        ),
        (
            json(r#"{"latents":{"dtype":"F32","shape":[1,4,1,1],"data_offsets":[4,20]}}"#),
            "frame 0, byte 8: tensor \"latents\": data_offsets: expected to begin at 0 and to end \
             no earlier, found [4, 20] (tensors lie without gap or overlap)",
        ),
        (
            json(r#"{"latents":{"dtype":"F16","shape":[1,4,1,1],"data_offsets":[0,16]}}"#),
            "frame 0, byte 8: tensor \"latents\": F16 [1, 4, 1, 1] takes 8 bytes, its \
             data_offsets span 16",
        ),
        (
            json(r#"{"x":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}"#),
            "frame 0, byte 8: tensor \"x\": the size of F4 [3] overflows, or is not in whole bytes",
        ),
        (
            header(Kind::Latents, &[("latents", F, &[1, 4, 1 << 62, 1])]),
            "tensor \"latents\": the size of F32 [1, 4, 4611686018427387904, 1] overflows, or is \
             not in whole bytes",
        ),
        (
            header(Kind::Image, &[("__metadata__", F, &[])]),
            "tensor \"__metadata__\": the name is reserved by safetensors",
        ),
        (
            limited(Limits {
                tensors: 0,
                ..Limits::default()
            }),
            "frame 0, byte 8: header: expected at most 0 tensors, found 1 (--max-tensors raises the limit)",
        ),
        (
            limited(Limits {
                name_bytes: 6,
                ..Limits::default()
            }),
            "frame 0, byte 8: tensor \"latents\": expected a name of at most 6 bytes, found 7",
        ),
        (
            limited(Limits {
                rank: 3,
                ..Limits::default()
            }),
            "frame 0, byte 8: tensor \"latents\": expected at most 3 dimensions, found 4 (--max-rank raises the limit)",
        ),
        (
            limited(Limits {
                frame_bytes: 90,
                ..Limits::default()
            }),
            "frame 0, byte 8: frame size: expected at most 90 bytes, found 91 (--max-frame-bytes raises the limit)",
        ),
        (
            json(r#"{"__metadata__":{"version":"2"}}"#),
            "frame 0, byte 8: metadata: version: expected \"1\", found \"2\" (a newer version is \
             needed to read it)",
        ),
        (
            json(r#"{"__metadata__":{"kind":"sound"}}"#),
            "frame 0, byte 8: expected kind \"text-embeddings\", \"latents\" or \"image\", found \
             \"sound\"",
        ),
        (
            json("{}"),
            "frame 0, byte 8: no kind in the metadata, and not just one of the tensors \
             \"prompt_embeds\", \"latents\" and \"image\" that would tell it; found none (is this \
             a checkpoint, not a stream?)",
        ),
        (
            json(
                r#"{"image":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},
                    "latents":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#,
            ),
            "frame 0, byte 8: no kind in the metadata, and not just one of the tensors \
             \"prompt_embeds\", \"latents\" and \"image\" that would tell it; found \"image\", \
             \"latents\" (is this a checkpoint, not a stream?)",
        ),
        (
            wrong_kind(Kind::TextEmbeddings),
            "frame 0, byte 8: expected kind \"text-embeddings\", found \"latents\" (is denoise in \
             the pipe twice?)",
        ),
        (
            embeddings(&[embeds, ("x", F, &[])]),
            "kind \"text-embeddings\": tensor \"pooled_prompt_embeds\" is missing; found \
             \"prompt_embeds\", \"x\"",
        ),
        (
            header(Kind::Latents, &[]),
            "kind \"latents\": tensor \"latents\" is missing; found none",
        ),
        (
            embeddings(&[embeds, ("pooled_prompt_embeds", Dtype::F64, &[2, 5])]),
            "tensor \"pooled_prompt_embeds\": expected F32, F16 or BF16, found F64",
        ),
        (
            header(Kind::Image, &[("image", F, &[1, 1, 1, 3])]),
            "tensor \"image\": expected U8, found F32",
        ),
        (
            embeddings(&[("prompt_embeds", F, &[2, 3]), pooled]),
            "tensor \"prompt_embeds\": expected shape [B,T,D], each at least 1, found [2, 3]",
        ),
        (
            embeddings(&[embeds, ("pooled_prompt_embeds", F, &[2, 0])]),
            "tensor \"pooled_prompt_embeds\": expected shape [B,P], each at least 1, found [2, 0]",
        ),
        (
            header(Kind::Latents, &[("latents", F, &[1, 16, 8, 8])]),
            "tensor \"latents\": expected shape [B,4,h,w], each at least 1, found [1, 16, 8, 8]",
        ),
        (
            header(Kind::Image, &[("image", Dtype::U8, &[1, 8, 8, 4])]),
            "tensor \"image\": expected shape [B,H,W,3], each at least 1, found [1, 8, 8, 4]",
        ),
        (
            embeddings(&[embeds, ("pooled_prompt_embeds", F, &[1, 5])]),
            "tensor \"pooled_prompt_embeds\": expected batch size 2 as in \"prompt_embeds\", \
             found 1",
        ),
        (
            embeddings(&[
                embeds,
                pooled,
                ("negative_prompt_embeds", F, &[2, 4, 4]),
                ("negative_pooled_prompt_embeds", F, &[2, 5]),
            ]),
            "tensor \"negative_prompt_embeds\": expected shape [2, 3, 4] as \"prompt_embeds\" \
             has, found [2, 4, 4]",
        ),
        (
            embeddings(&[
                embeds,
                pooled,
                ("negative_prompt_embeds", F, &[2, 3, 4]),
                ("negative_pooled_prompt_embeds", F, &[2, 6]),
            ]),
            "tensor \"negative_pooled_prompt_embeds\": expected shape [2, 5] as \
             \"pooled_prompt_embeds\" has, found [2, 6]",
        ),
        (
            embeddings(&[embeds, pooled, ("negative_prompt_embeds", F, &[2, 3, 4])]),
            "tensor \"negative_prompt_embeds\" is there without \"negative_pooled_prompt_embeds\" \
             (give both or none)",
        ),
        (
            embeddings(&[
                embeds,
                pooled,
                ("negative_pooled_prompt_embeds", F, &[2, 5]),
            ]),
            "tensor \"negative_pooled_prompt_embeds\" is there without \"negative_prompt_embeds\" \
             (give both or none)",
        ),
        (
            embeddings(&[embeds, pooled, ("image_logvar", F, &[2, 4, 8, 8])]),
            "tensor \"image_logvar\" is there without \"image_mean\", which it goes with",
        ),
        (
            embeddings(&[
                embeds,
                pooled,
                ("image_mean", F, &[2, 4, 8, 8]),
                ("masked_image_mean", F, &[2, 4, 8, 8]),
            ]),
            "tensor \"masked_image_mean\" is there without \"mask\", which it goes with",
        ),
        (
            embeddings(&[embeds, pooled, ("image_mean", F, &[1, 4, 8, 8])]),
            "tensor \"image_mean\": expected batch size 2 as in \"prompt_embeds\", found 1",
        ),
        (
            embeddings(&[embeds, pooled, ("image_mean", F, &[2, 3, 8, 8])]),
            "tensor \"image_mean\": expected shape [B,4,h,w], each at least 1, found [2, 3, 8, 8]",
        ),
        (
            embeddings(&[
                embeds,
                pooled,
                ("image_mean", F, &[2, 4, 8, 6]),
                ("mask", F, &[2, 1, 64, 48]),
            ]),
            "tensor \"mask\": expected shape [2, 1, 8, 6] to go with \"image_mean\", found \
             [2, 1, 64, 48]",
        ),
        (
            embeddings(&[
                embeds,
                pooled,
                ("image_mean", F, &[2, 4, 8, 8]),
                ("image_logvar", Dtype::U8, &[2, 4, 8, 8]),
            ]),
            "tensor \"image_logvar\": expected F32, F16 or BF16, found U8",
        ),
        (
            Frame::new(latents.clone(), &[]).expect_err("empty"),
            "body: tensor \"latents\" of the header is missing",
        ),
        (
            Frame::new(latents.clone(), &[("image", &[])]).expect_err("another"),
            "body: tensor \"image\" is not in the header, or given twice",
        ),
        (
            Frame::new(latents, &[("latents", &[0; 15])]).expect_err("short"),
            "body: tensor \"latents\": expected 16 bytes, found 15",
        ),
        (
            FrameWriter::new(Vec::new())
                .write_body(&[])
                .expect_err("no header"),
            "frame 0, byte 0: write_body was called without a header from write_header",
        ),
    ]
}

/// An error of reading a correct frame of 91 bytes within these limits.
fn limited(limits: Limits) -> Error {
    let frame = raw(latents_json(), &[0; 16]);
    assert_eq!(frame.len(), 91);
    FrameReader::new(frame.as_slice(), limits)
        .next_header()
        .expect_err("a limit is broken")
}

#[test]
fn every_rule_has_its_error_and_text() {
    let mut seen = BTreeSet::new();
    for (error, text) in cases() {
        assert_eq!(error.to_string(), text);
        seen.insert(number(&error));
        seen.insert(number(error.rule()));
    }
    let missing: Vec<usize> = (0..VARIANTS).filter(|n| !seen.contains(n)).collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}

#[test]
fn limits_are_inclusive() {
    let frame = raw(latents_json(), &[0; 16]);
    let tight = Limits {
        header_bytes: 67,
        tensors: 1,
        rank: 4,
        name_bytes: 7,
        frame_bytes: 91,
    };
    let mut reader = FrameReader::new(frame.as_slice(), tight);
    assert!(reader.next_frame().expect("just fits").is_some());
}

#[test]
fn every_pair_of_kinds_has_a_hint() {
    for found in Kind::ALL {
        for expected in Kind::ALL.into_iter().filter(|&kind| kind != found) {
            let text = Error::WrongKind { expected, found }.to_string();
            assert!(text.ends_with("?)"), "{text}");
        }
        assert_eq!(found.as_str().parse::<Kind>().ok(), Some(found));
    }
}

#[test]
fn versions() {
    for (version, good) in [
        ("1", true),
        ("1.0", true),
        ("1.99", true),
        ("2", false),
        ("10", false),
        ("0", false),
        ("", false),
        ("01", false),
    ] {
        let json = format!(
            r#"{{"__metadata__":{{"version":"{version}"}},
                "latents":{{"dtype":"F32","shape":[1,4,1,1],"data_offsets":[0,16]}}}}"#
        );
        let result = read_all(raw(&json, &[0; 16]).as_slice());
        assert_eq!(result.is_ok(), good, "{version}");
    }
}

/// The place: frames are counted from 0, bytes over the whole stream.
#[test]
fn the_place_is_where_the_frame_is() {
    let good = raw(latents_json(), &[0; 16]);
    let bad = raw(r#"{"__metadata__":{"kind":"sound"}}"#, &[]);
    let error = read(&[&good[..], &good[..], &good[..], &bad[..]].concat());
    assert_eq!(error.frame(), Some(3));
    assert_eq!(error.byte(), Some(3 * 91 + 8));
    let text = error.to_string();
    assert!(
        text.starts_with("frame 3, byte 281: expected kind "),
        "{text}"
    );
}
