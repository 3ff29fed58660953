//! Breaks whole pipes at random: `cargo run --release -p pipeline-tests --bin break -- [ROUNDS [FIRST_SEED]]`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map(|word| word.parse::<u64>());
    let mut next = |default| numbers.next().unwrap_or(Ok(default));
    let (Ok(rounds), Ok(first)) = (next(1000), next(1)) else {
        eprintln!("break: expected numbers: [ROUNDS [FIRST_SEED]]");
        return ExitCode::from(2);
    };
    let breaker = pipeline_tests::Breaker::new();
    let mut failures = 0;
    for seed in first..first + rounds {
        if let Err(failure) = breaker.round(seed) {
            eprintln!("{failure}");
            failures += 1;
        }
    }
    println!("{rounds} rounds, {failures} of them wrong");
    ExitCode::from(u8::from(failures > 0))
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("break: expected Linux");
    ExitCode::from(2)
}
