//! What PROTOCOL.md shows is what the crate does.

use turbo_wire::settings::SETTINGS;
use turbo_wire::{Frame, FrameReader, Header, Kind, Limits, keys};

use crate::support::{metadata, raw, read_all, write_all};

pub(crate) const PROTOCOL: &str = include_str!("../../PROTOCOL.md");

/// The contents of the fenced blocks of a language.
pub(crate) fn blocks(language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    PROTOCOL
        .split(&fence)
        .skip(1)
        .map(|rest| {
            rest.split("```")
                .next()
                .expect("the fence is closed")
                .to_owned()
        })
        .collect()
}

/// The bytes of the hex dump, after its offsets and its right column have been checked.
pub(crate) fn dump() -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in blocks("hexdump")[0].lines() {
        let (offset, rest) = line.split_once("  ").expect("an offset");
        let (hex, rest) = rest.split_once("  |").expect("a right column");
        let (text, _) = rest.split_once('|').expect("the right column ends");
        assert_eq!(usize::from_str_radix(offset, 16), Ok(bytes.len()));
        let row: Vec<u8> = hex
            .split_whitespace()
            .map(|byte| u8::from_str_radix(byte, 16).expect("hex"))
            .collect();
        let shown: String = row
            .iter()
            .map(|&b| {
                if (b' '..=b'~').contains(&b) {
                    char::from(b)
                } else {
                    '.'
                }
            })
            .collect();
        assert_eq!(shown, text);
        bytes.extend(row);
    }
    bytes
}

fn example() -> Frame {
    let header = Header::image(1, 1, 2, metadata(&[(keys::PROMPT, "a fox")])).expect("correct");
    Frame::new(header, &[("image", &[255, 128, 0, 0, 64, 128])]).expect("fits")
}

#[test]
fn the_dump_is_the_frame() {
    let dump = dump();
    assert_eq!(write_all(&[example()]), dump);
    assert_eq!(read_all(dump.as_slice()).expect("reads"), [example()]);
    assert!(PROTOCOL.contains(&format!("a frame of {} bytes", dump.len())));
}

#[test]
fn the_message_is_the_message() {
    // Three frames that fill 4703 bytes, then latents where embeddings are expected.
    let good = r#"{"prompt_embeds":{"dtype":"F32","shape":[1,1,1],"data_offsets":[0,4]},
        "pooled_prompt_embeds":{"dtype":"F32","shape":[1,1],"data_offsets":[4,8]}}"#;
    let short = raw(good, &[0; 8]);
    let padded = format!("{good}{}", " ".repeat(4703 - 3 * short.len()));
    let bad = write_all(&[Frame::new(
        Header::latents(1, 1, 1, metadata(&[])).expect("correct"),
        &[("latents", &[0; 16])],
    )
    .expect("fits")]);
    let stream = [&short[..], &short[..], &raw(&padded, &[0; 8])[..], &bad[..]].concat();
    let mut reader =
        FrameReader::new(stream.as_slice(), Limits::default()).expect(Kind::TextEmbeddings);
    let error = loop {
        match reader.next_frame() {
            Ok(frame) => assert!(frame.is_some(), "the last frame is refused"),
            Err(error) => break error.to_string(),
        }
    };
    assert!(blocks("text").contains(&format!("{error}\n")), "{error}");
}

/// Every kind and tensor the crate names is explained.
#[test]
fn names_are_explained() {
    use turbo_wire::names;
    for name in [
        names::PROMPT_EMBEDS,
        names::POOLED_PROMPT_EMBEDS,
        names::NEGATIVE_PROMPT_EMBEDS,
        names::NEGATIVE_POOLED_PROMPT_EMBEDS,
        names::LATENTS,
        names::IMAGE,
        Kind::TextEmbeddings.as_str(),
        Kind::Latents.as_str(),
        Kind::Image.as_str(),
    ] {
        let quoted = format!("`{name}`");
        let explained = PROTOCOL
            .lines()
            .any(|line| line.starts_with('|') && line.contains(&quoted));
        assert!(explained, "{name} stands in no table");
    }
    // The table of limits, in bytes and pieces.
    let limits = Limits::default();
    assert_eq!(limits.header_bytes, 1 << 20);
    assert_eq!(
        (limits.tensors, limits.rank, limits.name_bytes),
        (64, 8, 256)
    );
    assert_eq!(limits.frame_bytes, 1 << 30);
    for row in [
        "| header (N) | 1 MiB |",
        "| tensors in a frame | 64 |",
        "| dimensions of a tensor | 8 |",
        "| a tensor's name | 256 bytes |",
        "| frame (8 + N + body) | 1 GiB |",
    ] {
        assert!(PROTOCOL.contains(row), "{row}");
    }
}

/// The page's table of settings is the crate's, row by row.
#[test]
fn the_settings_are_the_table() {
    let (_, table) = PROTOCOL
        .split_once("| key | where | value | meaning |\n|---|---|---|---|\n")
        .expect("the table");
    let shown: Vec<&str> = table.lines().take_while(|line| !line.is_empty()).collect();
    let known: Vec<String> = SETTINGS
        .iter()
        .map(|setting| {
            format!(
                "| `{}` | {} | {} | {} |",
                setting.key, setting.place, setting.value, setting.meaning
            )
        })
        .collect();
    assert_eq!(shown, known);
}
