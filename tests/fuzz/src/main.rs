//! Mutates seeds at random and tries them, on any toolchain: see README.md.

#![forbid(unsafe_code)]

use std::alloc::System;
use std::fs;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use fuzz::mutate::{Random, mutate};
use fuzz::{TARGETS, Target, target};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Most inputs that are kept beside the seeds: those for which a target allocated more a byte than for any before. An
/// input that gets further does that; a longer one does not, which only takes longer. And unlike time it is the same in
/// each run: equal seeds try equal inputs.
const KEPT: usize = 1000;

/// What the command line asks for.
struct Args {
    targets: Vec<Target>,
    /// For all targets together; of several, each gets an equal part.
    seconds: f64,
    /// For each target; without it, and without seconds, what the target has for a smoke.
    executions: Option<u64>,
    seed: u64,
    input: Option<PathBuf>,
}

fn main() -> ExitCode {
    match args(std::env::args().skip(1)).and_then(|args| run(&args).map_err(|e| e.to_string())) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(text) => {
            eprintln!("fuzz: {text}");
            ExitCode::from(2)
        }
    }
}

fn args(words: impl Iterator<Item = String>) -> Result<Args, String> {
    let mut args = Args {
        targets: Vec::new(),
        seconds: f64::INFINITY,
        executions: None,
        seed: 1,
        input: None,
    };
    let mut words = words.peekable();
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .ok_or_else(|| format!("{word}: expected a value"))
        };
        match &word[..] {
            "--seconds" => args.seconds = number(&value()?)?,
            "--executions" => args.executions = Some(number(&value()?)?),
            "--seed" => args.seed = number(&value()?)?,
            "--input" => args.input = Some(value()?.into()),
            name => {
                let names = TARGETS.map(|target| target.name).join(", ");
                args.targets
                    .push(target(name).ok_or(format!("{name}: expected one of {names}"))?);
            }
        }
    }
    if args.targets.is_empty() {
        args.targets = TARGETS.to_vec();
    }
    Ok(args)
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{text}: expected a number"))
}

/// Whether all promises were kept.
fn run(args: &Args) -> io::Result<bool> {
    let mut well = true;
    for target in &args.targets {
        if let Some(path) = &args.input {
            (target.run)(&fs::read(path)?);
            continue;
        }
        let seconds = args.seconds / args.targets.len() as f64;
        well &= target_run(target, seconds, args)?;
    }
    Ok(well)
}

fn target_run(target: &Target, seconds: f64, args: &Args) -> io::Result<bool> {
    let seeds = seeds(target.name)?;
    let mut inputs = seeds.clone();
    let mut random = Random::new(args.seed);
    // What a failed promise says is shown once, below.
    let silent = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let start = Instant::now();
    let mut count = 0;
    let mut failure = None;
    let mut most_per_byte = 0;
    let mut input = Vec::new();
    let executions = match args.executions {
        Some(executions) => executions,
        None if seconds.is_finite() => u64::MAX,
        None => target.smoke,
    };
    while count < executions && (count % 64 != 0 || start.elapsed().as_secs_f64() < seconds) {
        input.clear();
        if let Some(seed) = seeds.get(count as usize) {
            input.extend_from_slice(seed);
        } else {
            input.extend_from_slice(&inputs[random.below(inputs.len())]);
            let other = random.below(inputs.len());
            mutate(&mut input, &inputs[other], &mut random, target.longest);
        }
        let before = INSTRUMENTED_SYSTEM.stats().bytes_allocated;
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(&input)));
        count += 1;
        if let Err(panic) = outcome {
            failure = Some(panic);
            break;
        }
        let allocated = INSTRUMENTED_SYSTEM.stats().bytes_allocated - before;
        let per_byte = allocated / (input.len() + 64);
        if per_byte > most_per_byte {
            most_per_byte = per_byte;
            if inputs.len() < seeds.len() + KEPT {
                inputs.push(input.clone());
            }
        }
    }
    panic::set_hook(silent);
    let elapsed = start.elapsed().as_secs_f64();
    println!("{}: {count} inputs in {elapsed:.1} s", target.name);
    let Some(failure) = failure else {
        return Ok(true);
    };
    let text = failure.downcast_ref::<String>().map(String::as_str);
    let text = text
        .or(failure.downcast_ref::<&str>().copied())
        .unwrap_or("a panic");
    fs::create_dir_all("failures")?;
    let path = Path::new("failures").join(format!("{}-{}-{count}", target.name, args.seed));
    fs::write(&path, &input)?;
    println!("{}: {text}", target.name);
    println!(
        "once more: cargo run --release -p fuzz -- {} --input {}",
        target.name,
        path.display()
    );
    Ok(false)
}

/// The seeds of a target, in the order of their names.
fn seeds(name: &str) -> io::Result<Vec<Vec<u8>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let mut paths: Vec<_> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()?;
    paths.sort();
    paths.iter().map(fs::read).collect()
}
