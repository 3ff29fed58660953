//! What is written is read again; the safetensors crate agrees with both sides.

use std::collections::HashMap;

use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use turbo_wire::{Dtype, Frame, Header, Kind, Metadata, TensorSpec, f32_bytes, keys};

use crate::support::{Pieces, Random, metadata, raw, read_all, write_all};

#[test]
fn random_streams_come_back_whole_however_they_are_cut() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let frames: Vec<Frame> = (0..random.below(5)).map(|_| random.frame()).collect();
        let stream = write_all(&frames);
        let sizes: Vec<usize> = (0..7).map(|_| 1 + random.below(40)).collect();
        let read = read_all(Pieces::new(&stream, sizes)).expect("own frames are read");
        assert_eq!(read, frames, "seed {seed}");
        assert_eq!(write_all(&read), stream, "seed {seed}");
    }
}

#[test]
fn one_byte_at_a_time() {
    let mut random = Random(7);
    let frames: Vec<Frame> = (0..20).map(|_| random.frame()).collect();
    let stream = write_all(&frames);
    assert_eq!(read_all(Pieces::new(&stream, [1])).expect("reads"), frames);
}

/// Each frame is a file for the safetensors crate, with the same tensors and metadata.
#[test]
fn safetensors_reads_each_frame() {
    for seed in 0..300 {
        let frame = Random(seed).frame();
        let bytes = write_all(std::slice::from_ref(&frame));
        assert_eq!(frame.header.encoded().len() % 8, 0);

        let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
        assert_eq!(file.len(), frame.header.tensors().len());
        for spec in frame.header.tensors() {
            let view = file.tensor(&spec.name).expect("the tensor is there");
            assert_eq!(view.dtype(), spec.dtype);
            assert_eq!(view.shape(), spec.shape);
            assert_eq!(Some(view.data()), frame.bytes(&spec.name));
        }
        let (_, header) = SafeTensors::read_metadata(&bytes).expect("a safetensors header");
        let there: Metadata = header
            .metadata()
            .clone()
            .expect("metadata")
            .into_iter()
            .collect();
        assert_eq!(&there, frame.header.metadata());
    }
}

/// And the other way round: what the safetensors crate writes is read.
#[test]
fn reads_what_safetensors_writes() {
    for seed in 0..300 {
        let frame = Random(seed).frame();
        let views: Vec<(&str, TensorView)> = frame
            .header
            .tensors()
            .iter()
            .map(|spec| {
                let bytes = frame.bytes(&spec.name).expect("is there");
                let view = TensorView::new(spec.dtype, spec.shape.clone(), bytes);
                (spec.name.as_str(), view.expect("a view"))
            })
            .collect();
        let pairs: HashMap<String, String> = frame.header.metadata().clone().into_iter().collect();
        let bytes = safetensors::serialize(views, Some(pairs)).expect("serializes");
        let read = read_all(bytes.as_slice()).expect("reads");
        assert_eq!(read.len(), 1);
        // Equal up to the order of the metadata, which safetensors leaves to chance.
        assert_eq!(read[0], frame, "seed {seed}");
    }
}

#[test]
fn the_order_in_which_tensors_are_given_does_not_show() {
    let tensors = [
        TensorSpec::new("prompt_embeds", Dtype::F16, &[1, 2, 3]),
        TensorSpec::new("pooled_prompt_embeds", Dtype::F32, &[1, 5]),
        TensorSpec::new("mask", Dtype::U8, &[3]),
    ];
    let header = |order: [usize; 3]| {
        let tensors = order.map(|index| tensors[index].clone()).to_vec();
        Header::new(Kind::TextEmbeddings, tensors, Metadata::new()).expect("correct")
    };
    let expected = header([0, 1, 2]);
    let names: Vec<&str> = expected.tensors().iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["pooled_prompt_embeds", "prompt_embeds", "mask"]);
    for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        assert_eq!(header(order).encoded(), expected.encoded());
    }
}

#[test]
fn widened_values_are_exact() {
    // Bit patterns from IEEE 754: 1.5, -2, the largest f16, the smallest f16, infinity.
    let halves: [(u16, f32); 5] = [
        (0x3e00, 1.5),
        (0xc000, -2.0),
        (0x7bff, 65504.0),
        (0x0001, 5.960_464_5e-8),
        (0x7c00, f32::INFINITY),
    ];
    // The upper halves of f32 words.
    let brains: [(u16, f32); 5] = [
        (0x3fc0, 1.5),
        (0xc000, -2.0),
        (0x7f7f, 3.389_531_4e38),
        (0x0080, f32::MIN_POSITIVE),
        (0xff80, f32::NEG_INFINITY),
    ];
    for (dtype, pairs) in [(Dtype::F16, halves), (Dtype::BF16, brains)] {
        let prompt = TensorSpec::new("prompt_embeds", dtype, &[1, 1, 5]);
        let pooled = TensorSpec::new("pooled_prompt_embeds", Dtype::F32, &[1, 1]);
        let header = Header::new(Kind::TextEmbeddings, vec![prompt, pooled], Metadata::new());
        let bytes: Vec<u8> = pairs
            .iter()
            .flat_map(|(bits, _)| bits.to_le_bytes())
            .collect();
        let bodies = [
            ("prompt_embeds", bytes.as_slice()),
            ("pooled_prompt_embeds", &[0, 0, 0x20, 0xc1]),
        ];
        let frame = Frame::new(header.expect("correct"), &bodies).expect("fits");
        let expected: Vec<f32> = pairs.iter().map(|&(_, value)| value).collect();
        assert_eq!(frame.to_f32("prompt_embeds"), Some(expected));
        assert_eq!(frame.to_f32("pooled_prompt_embeds"), Some(vec![-10.0]));
        assert_eq!(frame.to_f32("latents"), None);
    }
    assert_eq!(
        f32_bytes(&[1.0, -10.0]),
        [0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc1]
    );
}

#[test]
fn bytes_are_given_for_any_type_and_values_only_for_floats() {
    let header = Header::image(1, 1, 1, Metadata::new()).expect("correct");
    let frame = Frame::new(header, &[("image", &[1, 2, 3])]).expect("fits");
    assert_eq!(frame.bytes("image"), Some([1, 2, 3].as_slice()));
    assert_eq!(frame.to_f32("image"), None);
    assert_eq!(frame.bytes("latents"), None);
}

#[test]
fn the_shorthands_have_the_shapes_of_their_kinds() {
    let header = Header::text_embeddings(2, 77, 2048, 1280, true, Metadata::new()).expect("ok");
    let shape = |name| header.tensor(name).map(|t| (t.dtype, t.shape.as_slice()));
    let (embeds, pooled) = ([2, 77, 2048], [2, 1280]);
    assert_eq!(
        shape("prompt_embeds"),
        Some((Dtype::F32, embeds.as_slice()))
    );
    assert_eq!(shape("negative_prompt_embeds"), shape("prompt_embeds"));
    assert_eq!(
        shape("pooled_prompt_embeds"),
        Some((Dtype::F32, pooled.as_slice()))
    );
    assert_eq!(
        shape("negative_pooled_prompt_embeds"),
        shape("pooled_prompt_embeds")
    );
    assert_eq!(header.batch(), 2);
    assert_eq!(header.body_len(), 2 * 4 * (2 * 77 * 2048 + 2 * 1280));
    let header = Header::text_embeddings(1, 77, 2048, 1280, false, Metadata::new()).expect("ok");
    assert_eq!(header.tensors().len(), 2);

    let header = Header::latents(3, 64, 96, Metadata::new()).expect("ok");
    assert_eq!(header.tensors()[0].shape, [3, 4, 64, 96]);
    assert_eq!((header.kind(), header.batch()), (Kind::Latents, 3));
    let header = Header::image(1, 512, 768, Metadata::new()).expect("ok");
    assert_eq!(header.tensors()[0].shape, [1, 512, 768, 3]);
    assert_eq!(header.body_len(), 512 * 768 * 3);
}

#[test]
fn metadata_passes_on_and_the_reserved_keys_are_set() {
    let given = metadata(&[
        (keys::KIND, "text-embeddings"),
        (keys::VERSION, "1.7"),
        (keys::PROMPT, "a \"red\" fox\n"),
        ("mytool.mood", "glad"),
        ("", ""),
    ]);
    let header = Header::latents(1, 1, 1, given).expect("correct");
    let expected = metadata(&[
        ("format", "pt"),
        ("kind", "latents"),
        ("version", "1"),
        ("prompt", "a \"red\" fox\n"),
        ("mytool.mood", "glad"),
        ("", ""),
    ]);
    assert_eq!(header.metadata(), &expected);
    assert_eq!(header.get("mytool.mood"), Some("glad"));
    assert_eq!(header.get("seed"), None);
}

/// A foreign producer's frame is written as it was: its blanks, its order, its numbers.
#[test]
fn a_frame_passes_through_byte_for_byte() {
    let json = r#"{ "image":{"shape":[1,1,1,3],"data_offsets":[8,11],"dtype":"U8"},
        "x":{"dtype":"F64", "data_offsets":[0,8],"shape":[]},"__metadata__":{"z":"1","a":"\u00df"} }  "#;
    let bytes = raw(json, b"12345678RGB");
    let frames = read_all(bytes.as_slice()).expect("reads");
    assert_eq!(frames[0].bytes("image"), Some(b"RGB".as_slice()));
    assert_eq!(frames[0].bytes("x"), Some(b"12345678".as_slice()));
    assert_eq!(frames[0].header.get("a"), Some("ß"));
    assert_eq!(write_all(&frames), bytes);
}

#[test]
fn streams_concatenate() {
    let mut random = Random(11);
    let (a, b) = (vec![random.frame(), random.frame()], vec![random.frame()]);
    let joined = [write_all(&a), write_all(&b)].concat();
    assert_eq!(read_all(joined.as_slice()).expect("reads"), [a, b].concat());
    assert_eq!(read_all([].as_slice()).expect("an empty stream"), []);
}

#[test]
fn a_kind_is_known_by_its_tensors_and_minor_versions_are_read() {
    for (json, body, kind) in [
        (
            r#"{"latents":{"dtype":"F16","shape":[1,4,1,1],"data_offsets":[0,8]}}"#,
            8,
            Kind::Latents,
        ),
        (
            r#"{"image":{"dtype":"U8","shape":[2,1,1,3],"data_offsets":[0,6]}}"#,
            6,
            Kind::Image,
        ),
        (
            r#"{"__metadata__":{"version":"1.42","kind":"image"},
                "latents":{"dtype":"F16","shape":[1,4,1,1],"data_offsets":[0,8]},
                "image":{"dtype":"U8","shape":[1,1,1,3],"data_offsets":[8,11]}}"#,
            11,
            Kind::Image,
        ),
        (
            r#"{"__metadata__":null,
                "image":{"dtype":"U8","shape":[1,1,1,3],"data_offsets":[0,3]}}"#,
            3,
            Kind::Image,
        ),
    ] {
        let frames = read_all(raw(json, &vec![0; body]).as_slice()).expect("reads");
        assert_eq!(frames[0].header.kind(), kind);
    }
}
