//! Pipes that are broken at random, for a while. `--bin break` does it for longer.

use pipeline_tests::Breaker;
use std::time::{Duration, Instant};

#[test]
fn whatever_happens_a_picture_that_is_there_is_right() {
    const ROUNDS: u64 = 300;
    let breaker = Breaker::new();
    let start = Instant::now();
    for seed in 1..=ROUNDS {
        if start.elapsed() > Duration::from_secs(60) {
            eprintln!("{seed} rounds of {ROUNDS}, as time was up");
            return;
        }
        breaker
            .round(seed)
            .unwrap_or_else(|failure| panic!("{failure}"));
    }
}
