//! A stage on another machine, by a real ssh to a real server.

use pipeline_tests::{Ended, Hosts, Running, Stage, embeddings, frames, pipe, tool};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};
use turbo_testkit::tiny;
use turbo_wire::{FrameReader, Limits};

const BOX: &str = "gpu-box";

/// `ssh gpu-box denoise`.
fn remote_denoise(hosts: &Hosts) -> Stage {
    let command = format!(
        "denoise --width 64 --height 64 --seed 1 --model '{}'",
        tiny().display()
    );
    Stage::program("ssh", hosts.ssh()).arg(BOX).arg(command)
}

/// What `ssh gpu-box denoise` would do, here.
fn denoise() -> Stage {
    tool("denoise", "--width 64 --height 64 --seed 1").model(&tiny())
}

#[test]
fn a_stage_on_another_machine_gives_the_same_bytes() {
    let Some(hosts) = Hosts::start(&[BOX], &[]) else {
        return;
    };
    let input = [embeddings(&[0], &[("id", "a")]), embeddings(&[1], &[])].concat();
    let run = |denoise| {
        pipe([denoise, tool("decode-latents", "")])
            .input(&input[..])
            .run()
    };
    let (there, here) = (run(remote_denoise(&hosts)), run(denoise()));
    assert!(there.ok() == here.ok());
    assert_eq!(frames(there.ok()).len(), 2);
}

/// A frame that is done at once, and one that takes so long that the connection can be cut meanwhile.
fn short_and_long() -> [Vec<u8>; 2] {
    [
        embeddings(&[0], &[]),
        embeddings(&[1], &[("steps", "1000"), ("id", "long")]),
    ]
}

/// Starts `ssh gpu-box denoise | tee FILE | decode-latents` on both frames, and waits until the second one's header has
/// arrived, but not its body.
fn in_a_frame(hosts: &Hosts, file: &Path) -> Running {
    let stages = [
        remote_denoise(hosts),
        Stage::program("tee", "tee").arg(file),
        tool("decode-latents", ""),
    ];
    let mut running = pipe(stages).held().start();
    let mut stdin = running.stdin.take().expect("held");
    stdin.write_all(&short_and_long().concat()).expect("taken");
    running.stdin = Some(stdin);
    let start = Instant::now();
    loop {
        let arrived = fs::read(file).unwrap_or_default();
        let mut reader = FrameReader::new(&arrived[..], Limits::default());
        let first = reader.next_frame();
        if matches!(first, Ok(Some(_))) && matches!(reader.next_header(), Ok(Some(_))) {
            assert!(
                reader.read_body().is_err(),
                "the second frame is done already"
            );
            return running;
        }
        assert!(
            start.elapsed() < Duration::from_secs(150),
            "{} bytes arrived",
            arrived.len()
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Cuts the connection with `cut`, and looks at what is left on this side: one frame, and an error. Gives the exit
/// status of ssh and what it said.
fn cut(hosts: &mut Hosts, cut: impl FnOnce(&Running, &mut Hosts)) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let running = in_a_frame(hosts, &folder.path().join("latents"));
    cut(&running, hosts);
    let ended = running.wait();
    let [ssh, tee, decode] = &ended.stages[..] else {
        panic!("three stages")
    };
    assert!(tee.status.success());
    let cut_body = [
        "frame 1, byte ",
        "ends inside the frame's body",
        "expected 1024 bytes, found 0",
    ];
    decode.expect(1, &cut_body);
    let [short, _] = short_and_long();
    let whole = pipe([denoise(), tool("decode-latents", "")])
        .input(short)
        .run();
    let rest = ended.stdout.strip_prefix(whole.ok());
    let rest = rest.expect("the frame before is whole");
    // Announced to the next tool, before it was known that there is no more.
    let mut reader = FrameReader::new(rest, Limits::default());
    let header = reader.next_header().expect("a header").expect("is there");
    assert_eq!(header.get("id"), Some("long"));
    assert_eq!(rest.len(), header.encoded().len(), "nothing of its body");
    (ssh.status.code(), ssh.stderr.clone())
}

#[test]
fn a_connection_cut_on_this_side_is_an_error_and_ends_the_other_side() {
    let Some(mut hosts) = Hosts::start(&[BOX], &[]) else {
        return;
    };
    let (status, _) = cut(&mut hosts, |running, _| running.kill(0));
    assert_eq!(status, None, "killed");
    // denoise finds its reader gone when it has something to write.
    let start = Instant::now();
    while hosts.running(BOX) > 0 {
        assert!(
            start.elapsed() < Duration::from_secs(150),
            "denoise goes on for nobody"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether ssh says that the connection is gone: which words it takes depends on what it was doing.
pub(crate) fn tells_of_the_cut(stderr: &str) -> bool {
    let words = ["closed by remote host", "reset by peer", "Broken pipe"];
    words.iter().any(|word| stderr.contains(word))
}

#[test]
fn a_host_that_dies_in_a_frame_is_an_error() {
    let Some(mut hosts) = Hosts::start(&[BOX], &[]) else {
        return;
    };
    let (status, stderr) = cut(&mut hosts, |_, hosts| hosts.kill(BOX));
    assert_eq!(status, Some(255), "{stderr}");
    assert!(tells_of_the_cut(&stderr), "{stderr}");
}

fn said(ended: &Ended, status: i32, text: &str) {
    let ssh = &ended.stages[0];
    assert_eq!(ssh.status.code(), Some(status), "{}", ssh.stderr);
    assert!(ssh.stderr.contains(text), "{}", ssh.stderr);
}

/// The shell sees that the stage failed, though an empty stream came out of it.
#[test]
fn a_host_that_is_not_there_fails_the_pipe() {
    let Some(mut hosts) = Hosts::start(&[BOX], &[]) else {
        return;
    };
    hosts.install(BOX, "denoise", "echo out of memory >&2; exit 9");
    let run = |hosts: &Hosts| {
        let pipe_of = [
            remote_denoise(hosts),
            tool("decode-latents", ""),
            tool("to-png", ""),
        ];
        pipe(pipe_of).input(embeddings(&[0], &[])).run()
    };
    let failed = run(&hosts);
    said(&failed, 9, "out of memory");
    hosts.kill(BOX);
    let gone = run(&hosts);
    said(&gone, 255, "refused");
    for ended in [failed, gone] {
        assert!(
            ended.stdout.is_empty() && ended.stages[1..].iter().all(|stage| stage.status.success())
        );
    }
}
