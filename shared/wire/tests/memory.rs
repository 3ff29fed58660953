//! Memory grows with the bytes received: not with the length of a stream, and not with a number in
//! a header. One test in a process of its own, since it looks at the whole process.

#![cfg(target_os = "linux")]

use std::io::{self, Read};

use turbo_wire::{
    Error, Frame, FrameReader, FrameWriter, Header, Limits, Metadata, f32_bytes, keys,
};

/// A field of /proc/self/status, in KiB.
fn status(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = text
        .lines()
        .find(|line| line.starts_with(field))
        .expect("the field");
    let number = line.split_whitespace().nth(1).expect("a number");
    number.parse().expect("a number")
}

/// Gives `frame` again and again without holding more than one.
struct Repeat {
    frame: Vec<u8>,
    at: usize,
    left: usize,
}

impl Read for Repeat {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.frame.len() && self.left > 0 {
            self.left -= 1;
            self.at = 0;
        }
        let count = (&self.frame[self.at..]).read(buffer)?;
        self.at += count;
        Ok(count)
    }
}

#[test]
fn memory_follows_the_bytes_received() {
    // 10,000 frames through a reader and a writer; frames of 17 KiB, 170 MB in all.
    let metadata = Metadata::from([(keys::PROMPT.to_owned(), "a fox ".repeat(100))]);
    let header = Header::latents(1, 32, 32, metadata).expect("correct");
    let body = f32_bytes(&vec![0.5; 4 * 32 * 32]);
    let frame = Frame::new(header, &[("latents", &body)]).expect("fits");
    let mut writer = FrameWriter::new(Vec::new());
    writer.write_frame(&frame).expect("a Vec takes everything");
    let mut reader = FrameReader::new(
        Repeat {
            frame: writer.into_inner(),
            at: 0,
            left: 9_999,
        },
        Limits::default(),
    );
    let mut writer = FrameWriter::new(io::sink());
    let mut before = 0;
    let mut frames = 0;
    while let Some(read) = reader.next_frame().expect("reads") {
        writer.write_frame(&read).expect("a sink takes everything");
        frames += 1;
        if frames == 100 {
            before = status("VmHWM:");
        }
    }
    assert_eq!(frames, 10_000);
    let grown = status("VmHWM:") - before;
    assert!(
        grown <= 512,
        "10,000 frames: {grown} KiB more than 100 took"
    );

    // A header that announces 900 MiB and sends 1 MiB; and one of 2^60 bytes with the caps off.
    // Address space tells, since memory that is reserved and never touched does not count as
    // resident.
    for (height, frame_bytes) in [(900 << 16, 1 << 30), (1 << 56, u64::MAX)] {
        let header = Header::latents(1, height, 1, Metadata::new()).expect("correct");
        let input = header.encoded().chain(io::repeat(0).take(1 << 20));
        let limits = Limits {
            frame_bytes,
            ..Limits::default()
        };
        let before = status("VmPeak:");
        let error = FrameReader::new(input, limits)
            .next_frame()
            .expect_err("cut");
        let grown = status("VmPeak:") - before;
        assert!(
            matches!(error.rule(), Error::Truncated { expected, found: 0x10_0000, .. }
                if *expected == 16 * height as u64),
            "{error}"
        );
        assert!(grown <= 8 << 10, "{height}: {grown} KiB for 1 MiB received");
    }
}
