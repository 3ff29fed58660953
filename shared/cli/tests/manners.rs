//! The manners of a real process: the example `copy`, which `cargo test` builds beside this.

#![forbid(unsafe_code)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};
use turbo_testkit::manners::{self, Worker};
use turbo_testkit::process::{self, Stage, feed, names_in, pipe, stderr};

fn copy() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    let path = path.join("examples").join("copy");
    assert!(
        path.exists(),
        "{} is missing: build it with `cargo build -p turbo-cli --examples`",
        path.display()
    );
    path
}

fn tool(args: &[&str]) -> Stage {
    Stage::program("copy", copy()).args(args)
}

fn run(args: &[&str], stdin: &[u8]) -> Output {
    feed(tool(args), stdin)
}

/// Runs it by a shell line in which `"$0"` is the tool and `"$1"` is `folder`.
fn shell(line: &str, folder: &Path) -> Output {
    feed(tool(&[]).in_shell(line).arg(folder), b"")
}

#[test]
fn data_goes_to_stdout_and_nothing_else() {
    let output = run(&["-"], b"abc");
    assert_eq!(output.stdout, b"abc");
    assert_eq!(
        (output.status.code(), stderr(&output).as_str()),
        (Some(0), "")
    );
}

#[test]
fn failure_is_status_1_and_one_line_with_the_frame() {
    let output = run(&["-", "no\x1bsuch\nfile"], b"abc");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"abc");
    assert_eq!(
        stderr(&output),
        "copy: no\\u{1b}such\\nfile: frame 1: No such file or directory (os error 2)\n"
    );
}

#[test]
fn a_skipped_record_is_reported_and_turns_the_status() {
    let output = run(&["--on-error", "skip", "missing", "-"], b"abc");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"abc");
    assert!(stderr(&output).starts_with("copy: missing: frame 0: "));
}

#[test]
fn wrong_usage_is_status_2_under_the_tools_name() {
    for args in [
        &["--no-such\x1b[31m-flag"][..],
        &["--quiet", "--verbose"],
        &["--generate", "man", "-o", "x"],
    ] {
        let output = run(args, b"");
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.starts_with("copy: "), "{text}");
        assert!(!text.contains('\x1b'), "{text}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn help_version_and_documents_go_to_stdout() {
    let short = run(&["-h"], b"");
    let long = run(&["--help"], b"");
    assert!(short.status.success() && long.status.success());
    let (short, long) = (
        String::from_utf8(short.stdout).unwrap(),
        String::from_utf8(long.stdout).unwrap(),
    );
    assert!(long.len() > 2 * short.len());
    assert!(short.starts_with("Copies its input\n"), "{short}");
    assert!(long.starts_with("Copies its input\n"), "{long}");
    assert!(!short.contains("--generate") && long.contains("--generate"));
    for flag in [
        "--quiet",
        "--verbose",
        "--progress",
        "--output",
        "--on-error",
    ] {
        assert!(short.contains(flag) && long.contains(flag), "{flag}");
    }
    assert!(long.contains("Exit status: 0 "));

    let version = run(&["--version"], b"");
    let expected = format!("copy {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8(version.stdout).unwrap(), expected);

    for (document, sign) in [
        ("man", ".TH copy 1"),
        ("complete-bash", "complete -F _copy"),
        ("complete-zsh", "#compdef copy"),
        ("complete-fish", "complete -c copy"),
        ("complete-powershell", "Register-ArgumentCompleter"),
    ] {
        let output = run(&["--generate", document], b"");
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(sign), "{document}: {text}");
        assert!(text.contains("progress"), "{document}");
        // Also of the flags that -h leaves out, but completions have only names in some shells.
        if document == "man" {
            assert!(
                text.contains("Print a man page or shell completions"),
                "{text}"
            );
        }
    }
}

#[test]
fn progress_json_is_an_object_a_line() {
    let output = run(&["--progress", "json", "-", "/dev/null"], b"abc");
    let text = stderr(&output);
    let mut lines = text.lines();
    let event: serde_json::Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    let mut keys: Vec<_> = event
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "compute_s",
            "event",
            "frame",
            "id",
            "max_rss_bytes",
            "open_s",
            "tool"
        ]
    );
    assert_eq!(
        (&event["event"], &event["tool"]),
        (&"frame".into(), &"copy".into())
    );
    assert_eq!(
        (&event["frame"], &event["id"]),
        (&0.into(), &serde_json::Value::Null)
    );
    assert!(event["compute_s"].as_f64().unwrap() >= 0.0);
    if cfg!(target_os = "linux") {
        assert!(event["max_rss_bytes"].as_u64().unwrap() > 100_000);
    }
    assert_eq!(
        lines.next().unwrap(),
        "copy: frame 1: expected bytes, found none"
    );
}

#[test]
fn verbose_tells_of_frames_and_quiet_does_not() {
    let text = stderr(&run(&["--verbose"], b"abc"));
    assert!(
        text.starts_with("copy: frame 0: opened 0.000 s, computed "),
        "{text}"
    );
    assert_eq!(stderr(&run(&["--quiet"], b"abc")), "");
}

#[test]
fn a_gone_reader_ends_the_tool_silently_with_141() {
    manners::gone_reader(&Worker::new(tool(&[]), "abc"));

    // Help is data too, and --on-error skip does not swallow it.
    for line in [
        r#"{ "$0" --help; echo $? >&2; } | true"#,
        r#"{ sleep 0.2; echo x | "$0" --on-error skip; echo $? >&2; } | true"#,
    ] {
        let line = line.replacen("{ \"$0\"", "{ sleep 0.2; \"$0\"", 1);
        assert_eq!(stderr(&shell(&line, Path::new("."))), "141\n", "{line}");
    }
}

#[test]
fn a_full_device_is_status_1() {
    if !Path::new("/dev/full").exists() {
        eprintln!("skipped: no /dev/full");
        return;
    }
    for line in [
        r#"echo abc | "$0" > /dev/full"#,
        r#"echo abc | "$0" -o /dev/full"#,
        r#""$0" --help > /dev/full"#,
    ] {
        let output = shell(line, Path::new("."));
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert!(
            stderr(&output).contains("No space left"),
            "{line}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn closed_and_broken_standard_streams_do_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    for (line, status) in [
        // A closed stdin is an empty one, here an error of the tool's own.
        (r#""$0" <&-"#, 1),
        (r#"echo abc | "$0" --verbose 2>&-"#, 0),
        (r#""$0" missing 2>/dev/full"#, 1),
        (r#""$0" --bad-flag 2>/dev/full"#, 2),
        (r#""$0" --panic 2>/dev/full"#, 101),
    ] {
        let output = shell(line, folder.path());
        assert_eq!(
            output.status.code(),
            Some(status),
            "{line}: {}",
            stderr(&output)
        );
        assert!(!stderr(&output).contains("panicked"), "{line}");
    }
}

/// What is written to a closed stdout is lost: that is no success.
#[cfg(unix)]
#[test]
fn a_closed_stdout_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for line in [
        r#"echo abc | "$0" >&-"#,
        r#""$0" --help >&-"#,
        r#"echo abc | "$0" -o - >&-"#,
    ] {
        let output = shell(line, folder.path());
        assert_eq!(output.status.code(), Some(1), "{line}");
        let text = stderr(&output);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            text.contains("stdout: expected it open, found it closed"),
            "{text}"
        );
    }
    for (line, out) in [
        // The null device is no closed stdout, whichever way it was opened.
        (r#"echo abc | "$0" > /dev/null"#, ""),
        (r#"echo abc | "$0" 1<> /dev/null"#, ""),
        // Nothing goes there.
        (r#"echo abc | "$0" -o "$1/a" >&-; cat "$1/a""#, "abc\n"),
        (r#"echo abc | "$0" <&0 2>&-"#, "abc\n"),
    ] {
        let output = shell(line, folder.path());
        assert_eq!(output.status.code(), Some(0), "{line}: {}", stderr(&output));
        assert_eq!(String::from_utf8_lossy(&output.stdout), out, "{line}");
    }
}

/// Whoever shares a pipe with a tool may have made it non-blocking.
#[cfg(unix)]
#[test]
fn non_blocking_pipes_are_waited_for() {
    let Some(python) = process::python("os") else {
        return;
    };
    let script = r#"
import os, subprocess, sys, time
for ends in (0, 1):
    (r, w), (r2, w2) = os.pipe(), os.pipe()
    e, e2 = os.pipe()
    for fd in (r, w2, e2):
        os.set_blocking(fd, False)
    tool = subprocess.Popen([sys.argv[1], "--verbose"], stdin=r, stdout=w2, stderr=e2)
    os.close(r), os.close(w2), os.close(e2)
    time.sleep(0.2)  # it waits for input
    data = bytes(range(256)) * 4096
    if os.fork() == 0:
        os.close(r2)
        with os.fdopen(w, "wb") as out:
            out.write(data)
        os._exit(0)
    os.close(w)
    time.sleep(0.5)  # the pipe behind it is full
    got = b""
    while piece := os.read(r2, 1 << 16):
        got += piece
    assert got == data, len(got)
    assert tool.wait() == 0
    assert os.read(e, 1000).startswith(b"copy: frame 0: ")
print("well")
"#;
    let output = feed(python.args(["-c", script]).arg(copy()), b"");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "well\n",
        "{}",
        stderr(&output)
    );
}

/// Under a limit on memory a tool says what wanted how much, leaves nothing behind, and is no bug.
#[cfg(target_os = "linux")]
#[test]
fn memory_that_ends_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for (flags, wanted) in [
        ("--allocate 3000000000", "3.00 GB"),
        ("--map 3000000000", "3.00 GB"),
    ] {
        let line = format!(r#"ulimit -v 500000; echo abc | "$0" {flags} -o "$1/a""#);
        let output = shell(&line, folder.path());
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            text.starts_with("copy: 64x64: not enough memory: expected at least 3."),
            "{text}"
        );
        assert!(
            text.contains(&format!(
                "{wanted} more refused (`ulimit -v` allows 512.0 MB)"
            )),
            "{text}"
        );
        assert_eq!(names_in(folder.path()), Vec::<String>::new());
    }
}

#[test]
fn hints_help() {
    for (args, text) in [
        (
            &["--wait", "-1"][..],
            "'-1' for '--wait <MS>': expected a whole number from 0",
        ),
        (&["--wait=-1"], "expected a whole number from 0"),
        (&["--wait", "soon"], "expected a whole number from 0"),
        (&["--no-such", "-1"], "unexpected argument '--no-such'"),
        (&["~/none"], "~ is made a home folder by the shell"),
        (
            &["--output=~/none/a"],
            "~ is made a home folder by the shell",
        ),
    ] {
        let output = run(args, b"");
        let found = stderr(&output);
        assert!(found.contains(text), "{args:?}: {found}");
        assert!(!found.contains("mkdir"), "{found}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it's/a");
    let found = stderr(&run(&["-o", path.to_str().unwrap()], b"abc"));
    assert!(
        found.contains(r"mkdir -p '") && found.contains(r"it'\''s"),
        "{found}"
    );
}

#[test]
fn messages_are_of_bounded_length() {
    let long = "x".repeat(100_000);
    let found = stderr(&run(&[&long], b""));
    assert!(
        found.len() < 2100 && found.contains("..."),
        "{}",
        found.len()
    );
}

#[test]
fn a_panic_is_called_a_bug() {
    let output = run(&["--panic"], b"");
    assert_eq!(output.status.code(), Some(101));
    assert!(stderr(&output).contains("copy: this is a bug in copy"));
}

#[test]
fn a_file_is_replaced_only_by_a_run_that_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    fs::write(&path, "old").unwrap();
    let name = path.to_str().unwrap();
    let output = run(&["-o", name, "-", "missing"], b"new");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fs::read(&path).unwrap(), b"old");
    // Reading what is replaced is fine: it is renamed only at the end.
    let output = run(&["-o", name, name], b"");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(names_in(folder.path()), ["a"]);
}

#[test]
fn a_file_is_not_appended_to_itself() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), "old").unwrap();
    for line in [
        r#"cd "$1"; "$0" a >> a"#,
        r#"cd "$1"; "$0" < a >> a"#,
        r#"cd "$1"; ln -s a b; "$0" b >> a"#,
    ] {
        let output = shell(line, folder.path());
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert!(
            stderr(&output).contains("the same file"),
            "{}",
            stderr(&output)
        );
    }
    assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"old");
}

/// Whether this process was started with a signal ignored, as by `cargo test &` in a script. Its children inherit
/// that, and the tools respect it.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask >> (signal - 1) & 1 != 0)
}

/// Starts writing a file in `folder`, and sends a signal when the temporary file is there.
fn signalled(folder: &Path, signal: &str) -> (std::process::ExitStatus, String) {
    let path = folder.join("a");
    let stage = tool(&["-o", path.to_str().unwrap(), "--wait", "60000"]);
    let running = pipe([stage]).input("abc").start();
    let start = Instant::now();
    while names_in(folder).is_empty() {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "no temporary file"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!path.exists());
    let id = running.id(0).to_string();
    pipe([Stage::program("kill", "kill").args([signal, &id])])
        .run()
        .ok();
    let end = running.wait().stages.remove(0);
    (end.status, end.stderr)
}

#[test]
fn an_interruption_is_130_and_leaves_no_temporary_file() {
    if is_ignored(2) {
        eprintln!("skipped: SIGINT is ignored here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (status, text) = signalled(folder.path(), "-INT");
    assert_eq!((status.code(), text.as_str()), (Some(130), ""));
    assert_eq!(names_in(folder.path()), Vec::<String>::new());
}

#[cfg(unix)]
#[test]
fn signals_end_a_tool_as_any_program_and_leave_no_temporary_file() {
    use std::os::unix::process::ExitStatusExt;
    for (name, number) in [
        ("HUP", 1),
        ("TERM", 15),
        ("QUIT", 3),
        ("XCPU", 24),
        ("USR1", 10),
    ] {
        if is_ignored(number) || !cfg!(target_os = "linux") {
            eprintln!("skipped: SIG{name} is ignored here, or has another number");
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let (status, text) = signalled(folder.path(), &format!("-{name}"));
        assert_eq!(
            (status.signal(), text.as_str()),
            (Some(number), ""),
            "{name}"
        );
        assert_eq!(names_in(folder.path()), Vec::<String>::new(), "{name}");
    }
}

/// What `nohup` ignores stays so.
#[cfg(target_os = "linux")]
#[test]
fn an_ignored_signal_stays_ignored() {
    let line =
        r#"trap '' HUP; "$0" --wait 500 "$1/b" -o "$1/a" & sleep 0.2; kill -HUP $!; wait $!"#;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("b"), "abc").unwrap();
    let output = shell(line, folder.path());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(names_in(folder.path()), ["a", "b"]);
}

/// A file that grows beyond `ulimit -f` is an error that leaves nothing behind.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_is_too_large_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let line = r#"ulimit -f 8; head -c 100000 /dev/zero | "$0" -o "$1/a""#;
    let output = shell(line, folder.path());
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("File too large"),
        "{}",
        stderr(&output)
    );
    assert_eq!(names_in(folder.path()), Vec::<String>::new());
}

/// Where nothing could be removed, the next file written there sees to it; one that is being written stays.
#[cfg(unix)]
#[test]
fn what_a_killed_tool_leaves_is_removed_by_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let before = names_in(folder.path());
        let stage = tool(&["-o", folder.path().join("b").to_str().unwrap()]);
        let running = pipe([stage]).held().start();
        let start = Instant::now();
        loop {
            let new = names_in(folder.path());
            if let Some(name) = new.into_iter().find(|name| !before.contains(name)) {
                return (running, name);
            }
            assert!(start.elapsed() < Duration::from_secs(20), "no file");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let (mut living, in_use) = start();
    // Its input stays open, or it would end by itself.
    let (killed, _) = start();
    killed.kill(0);
    killed.wait();
    assert_eq!(names_in(folder.path()).len(), 2);
    let path = folder.path().join("c");
    let output = run(&["-o", path.to_str().unwrap()], b"abc");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(names_in(folder.path()), [in_use, "c".to_owned()]);
    living.stdin.take().unwrap().write_all(b"def").unwrap();
    living.wait().ok();
    assert_eq!(names_in(folder.path()), ["b", "c"]);
    assert_eq!(fs::read(folder.path().join("b")).unwrap(), b"def");
}

/// Runs a shell line under a terminal of its own; none where there is no `script`.
fn on_terminal(line: &str) -> Option<(Option<i32>, String)> {
    let line = line.replace("TOOL", copy().to_str().unwrap());
    let output = feed(process::on_terminal(&line)?, b"");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some((output.status.code(), text))
}

#[test]
fn binary_stays_away_from_terminals() {
    let Some((status, text)) = on_terminal("echo abc | TOOL") else {
        return;
    };
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("insist with -o -"), "{text}");
    assert!(!text.contains("abc"), "{text}");

    let (status, text) = on_terminal("echo abc | TOOL -o -").unwrap();
    assert_eq!((status, text.trim()), (Some(0), "abc"));

    let (status, text) = on_terminal("TOOL > /dev/null").unwrap();
    assert_eq!(status, Some(1));
    assert!(text.contains("found a terminal; give it a FILE"), "{text}");
}

#[test]
fn a_bar_is_drawn_on_a_terminal_and_only_with_auto() {
    let line = "TERM=xterm TOOL FLAGS --wait 600 /etc/passwd /etc/passwd > /dev/null";
    let Some((status, text)) = on_terminal(&line.replace("FLAGS", "")) else {
        return;
    };
    assert_eq!(status, Some(0), "{text}");
    assert!(
        text.contains("\rcopy ") && text.ends_with("\r\x1b[K"),
        "{text:?}"
    );
    for flags in ["--quiet", "--progress never"] {
        assert_eq!(on_terminal(&line.replace("FLAGS", flags)).unwrap().1, "");
    }
    let dumb = line.replace("xterm", "dumb").replace("FLAGS", "");
    assert_eq!(on_terminal(&dumb).unwrap().1, "");
}

/// The tools of a pipe share a terminal: a bar stands until its tool is done with it.
#[test]
fn bars_of_two_tools_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    // Counted in bytes by one and in kilobytes by the other.
    fs::write(folder.path().join("small"), [b'x'; 9]).unwrap();
    fs::write(folder.path().join("large"), [b'x'; 9000]).unwrap();
    let one = |file: &str| {
        let file = folder.path().join(file);
        let inputs = [file.to_str().unwrap(); 5].join(" ");
        format!("TOOL --wait 400 {inputs} > /dev/null")
    };
    let line = format!(
        "export TERM=xterm; {} & {}; wait",
        one("small"),
        one("large")
    );
    let Some((status, text)) = on_terminal(&line) else {
        return;
    };
    assert_eq!(status, Some(0), "{text}");
    // Whose the drawn lines are; none for a line that was cleared.
    let mut owners: Vec<Option<bool>> = text
        .split('\r')
        .skip(1)
        .map(|drawn| drawn.starts_with("copy ").then(|| drawn.contains("kB")))
        .collect();
    assert!(owners.len() >= 3, "{text:?}");
    assert_eq!(owners.pop(), Some(None), "{text:?}");
    for pair in owners.windows(2) {
        let mixed = pair[0].is_some() && pair[1].is_some() && pair[0] != pair[1];
        assert!(!mixed, "{text:?}");
    }
}
