//! The smallest tool: copies bytes. Shows how a tool is written; the tests of the manners run it.

#![forbid(unsafe_code)]

use std::alloc::Layout;
use std::io::{Read, Write};
use std::panic::panic_any;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use turbo_cli::{
    Console, Context, Error, FrameReport, InputArgs, OnError, OutputArgs, Result, Unit, set_task,
};

/// Copies its input
#[derive(clap::Parser)]
#[command(name = "copy", version)]
struct Args {
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    output: OutputArgs,

    /// What to do with an input that cannot be read
    #[arg(long, value_enum, default_value_t)]
    on_error: OnError,

    /// Wait so many milliseconds after each input
    #[arg(long, value_name = "MS", default_value_t = 0)]
    wait: u64,

    /// Allocate so many bytes
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    allocate: usize,

    /// Find so many bytes missing, as the kernels tell it
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    map: usize,

    /// Panic, as a bug would
    #[arg(long)]
    panic: bool,
}

#[global_allocator]
static ALLOCATOR: turbo_cli::Allocator = turbo_cli::Allocator;

fn main() -> ExitCode {
    turbo_cli::main(run)
}

#[expect(clippy::needless_pass_by_value, reason = "what turbo_cli::main calls")]
fn run(args: Args, console: &Console) -> Result<()> {
    assert!(!args.panic, "as asked");
    let mut output = args.output.open("bytes")?;
    set_task("64x64");
    std::hint::black_box(vec![1_u8; args.allocate]);
    if args.map > 0 {
        panic_any(Layout::array::<u8>(args.map)?);
    }
    let bar = console.bar("copy", None, Unit::Bytes);
    for (frame, source) in (0..).zip(args.input.sources()) {
        let start = Instant::now();
        let mut bytes = Vec::new();
        let read = source
            .open("bytes", "give it a FILE")
            .and_then(|mut input| {
                turbo_cli::refuse_same_file(&input, &output)?;
                input.read_to_end(&mut bytes)?;
                if bytes.is_empty() {
                    return Err(Error::new("expected bytes, found none"));
                }
                Ok(())
            })
            .in_frame(frame);
        if let Err(error) = read {
            console.stop_or_skip(error, args.on_error)?;
            continue;
        }
        output.write_all(&bytes).context("stdout")?;
        output.flush().context("stdout")?;
        bar.advance(bytes.len() as u64);
        console.frame_done(&FrameReport {
            frame,
            compute: start.elapsed(),
            ..FrameReport::default()
        });
        std::thread::sleep(Duration::from_millis(args.wait));
    }
    output.finish()
}
