//! How far from diffusers' numbers in float32 a case may be.

use std::collections::{BTreeMap, HashMap};
use turbo_sdxl::{DType, Device};
use turbo_testkit::{Tensor, golden_cases, relative_error};

pub(crate) type Golden = HashMap<String, Tensor>;

/// Compares, prints the error, and fails where it is above `limit`.
pub(crate) fn expect_within(limit: f64, what: &str, ours: &[f32], expected: &[f32]) {
    let e = relative_error(ours, expected);
    eprintln!("{what}: e = {e:.2e}");
    assert!(
        e <= limit,
        "{what}: an error of {e:.2e} is above {limit:.0e}"
    );
}

/// Which errors cases may have.
#[derive(Clone, Copy)]
pub(crate) enum Limit {
    /// Up to this, each case.
    Of(f64),
    /// Over all cases of a network's output, up to this many times the error that PyTorch itself has in that type
    /// (`tests/golden/make_types.py`); and no less than a tenth of it, which would be another type's. Errors of single cases
    /// are a matter of chance, PyTorch's too.
    OfPyTorch(DType, f64),
}

/// Compares cases with a golden file, each by itself or all together.
pub(crate) struct Expected<'a> {
    limit: Limit,
    golden: &'a Golden,
    /// For each output: squares of our errors and of PyTorch's, summed.
    squares: BTreeMap<String, (f64, f64)>,
}

impl<'a> Expected<'a> {
    pub(crate) fn within(limit: Limit, golden: &'a Golden) -> Self {
        Self {
            limit,
            golden,
            squares: BTreeMap::new(),
        }
    }

    /// Case `i` of `network`.
    pub(crate) fn is(&mut self, network: &str, i: usize, output: &str, ours: &[f32]) {
        let what = format!("{network}/{i}/{output}");
        let expected = self.golden[&what].f32();
        match self.limit {
            Limit::Of(limit) => expect_within(limit, &what, ours, &expected),
            Limit::OfPyTorch(dtype, _) => {
                let pytorch = golden_cases("types")[dtype.name()][&what].as_f64();
                let (e, pytorch) = (relative_error(ours, &expected), pytorch.unwrap());
                eprintln!("{what} in {dtype}: e = {e:.2e}, PyTorch has {pytorch:.2e}");
                let sums = self.squares.entry(format!("{network}/{output}"));
                let (of_ours, of_pytorch) = sums.or_default();
                *of_ours += e * e;
                *of_pytorch += pytorch * pytorch;
            }
        }
    }

    /// Fails if all cases together are too far.
    pub(crate) fn all(self) {
        let Limit::OfPyTorch(dtype, times) = self.limit else {
            return;
        };
        for (what, (ours, pytorch)) in &self.squares {
            let ratio = (ours / pytorch).sqrt();
            eprintln!("{what} in {dtype}: {ratio:.2} of PyTorch's error");
            assert!(
                (0.1..=times).contains(&ratio),
                "{what} in {dtype}: expected 0.1 to {times} of PyTorch's error, found {ratio:.2}"
            );
        }
    }
}

/// Whether a device has a type; says that a test skips where it has not.
pub(crate) fn computes_in(device: Device, dtype: DType) -> bool {
    let found = device.describe(dtype).unwrap();
    // A CPU without the instructions computes in f32.
    let has = device != Device::Cpu || found.ends_with(dtype.name());
    if !has {
        eprintln!("skipped: {dtype} is not computed here, found {found}");
    }
    has
}
