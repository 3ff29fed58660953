//! Quantiles of the beta distribution that has 0.6 for both parameters: `scipy.stats.beta.ppf(p, 0.6, 0.6)`.

/// Both parameters.
const A: f64 = 0.6;
/// Logarithm of the beta function at (0.6, 0.6).
const LN_BETA: f64 = 0.881_841_806_141_785_8;

/// The number below which the share `p` (0 to 1) lies.
pub(crate) fn quantile(p: f64) -> f64 {
    if p <= 0.0 {
        return 0.0;
    }
    if p > 0.5 {
        return 1.0 - quantile(1.0 - p);
    }
    // The distribution grows, so halving finds it to the last bit or so.
    let (mut low, mut high) = (0.0, 0.5);
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if share_below(middle) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// The regularised incomplete beta function at `x` (0 to 1/2), by its continued fraction
/// (<https://dlmf.nist.gov/8.17#v>), with Lentz's method.
fn share_below(x: f64) -> f64 {
    let tiny = |value: f64| if value.abs() < 1e-300 { 1e-300 } else { value };
    let (mut c, mut d) = (1.0, 1.0 / tiny(1.0 - 2.0 * A * x / (A + 1.0)));
    let mut fraction = d;
    for m in 1..200 {
        let m = f64::from(m);
        let even = m * (A - m) * x / ((A + 2.0 * m - 1.0) * (A + 2.0 * m));
        let odd = -(A + m) * (2.0 * A + m) * x / ((A + 2.0 * m) * (A + 2.0 * m + 1.0));
        let before = fraction;
        for term in [even, odd] {
            d = 1.0 / tiny(1.0 + term * d);
            c = tiny(1.0 + term / c);
            fraction *= c * d;
        }
        if (fraction - before).abs() < 1e-16 * fraction.abs() {
            break;
        }
    }
    (A * (x.ln() + (-x).ln_1p()) - LN_BETA).exp() * fraction / A
}
