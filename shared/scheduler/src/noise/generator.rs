//! torch's CPU generator: the Mersenne twister of <https://doi.org/10.1145/272991.272995>, and `torch.randn` on it.

use super::normal;

const N: usize = 624;
const M: usize = 397;

/// `torch.Generator("cpu")`, seeded: the same numbers, bit for bit, on any CPU.
///
/// Follows `aten/src/ATen/native/cpu/DistributionTemplates.h` and `aten/src/ATen/core/MT19937RNGEngine.h`.
#[derive(Clone, Debug)]
pub struct Generator {
    state: [u32; N],
    next: usize,
    /// Second value of the last pair that [`Generator::randn`] made one by one; it serves the next call.
    cached: Option<f64>,
}

impl Generator {
    /// `manual_seed(seed)`. As in torch only the low 32 bits count, so 0 and 2³² give the same noise; a negative
    /// seed is its two's complement (`-1_i64 as u64`).
    pub fn new(seed: u64) -> Self {
        let mut state = [0; N];
        state[0] = seed as u32;
        for j in 1..N {
            let before = state[j - 1];
            state[j] = 1_812_433_253_u32
                .wrapping_mul(before ^ (before >> 30))
                .wrapping_add(j as u32);
        }
        Self {
            state,
            next: N,
            cached: None,
        }
    }

    /// `torch.randn(n, dtype=torch.float32)`: `n` normal numbers.
    ///
    /// torch draws whole tensors of 16 and more in blocks, and smaller ones number by number in double precision;
    /// the two give different numbers for the same seed.
    pub fn randn(&mut self, n: usize) -> Vec<f32> {
        if n < 16 {
            return (0..n).map(|_| self.normal_f64() as f32).collect();
        }
        let mut data: Vec<f32> = (0..n).map(|_| self.uniform_f32()).collect();
        let (blocks, rest) = data.as_chunks_mut::<16>();
        blocks.iter_mut().for_each(normal::fill_16);
        if !rest.is_empty() {
            // The last 16 are drawn anew, over part of the block before them.
            let mut last = std::array::from_fn(|_| self.uniform_f32());
            normal::fill_16(&mut last);
            data[n - 16..].copy_from_slice(&last);
        }
        data
    }

    fn uniform_f32(&mut self) -> f32 {
        (self.next_u32() & 0x00ff_ffff) as f32 / 16_777_216.0
    }

    fn uniform_f64(&mut self) -> f64 {
        let high = u64::from(self.next_u32()) << 32;
        let word = high | u64::from(self.next_u32());
        (word & ((1 << 53) - 1)) as f64 / (1_u64 << 53) as f64
    }

    /// Box-Muller in double precision, two numbers from two uniforms.
    fn normal_f64(&mut self) -> f64 {
        if let Some(value) = self.cached.take() {
            return value;
        }
        let u1 = self.uniform_f64();
        let u2 = self.uniform_f64();
        let radius = (-2.0 * (-u2).ln_1p()).sqrt();
        let theta = 2.0 * std::f64::consts::PI * u1;
        self.cached = Some(radius * theta.sin());
        radius * theta.cos()
    }

    fn next_u32(&mut self) -> u32 {
        if self.next == N {
            self.twist();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn twist(&mut self) {
        for i in 0..N {
            let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ odd;
        }
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_draws_are_the_mersenne_twister() {
        let mut generator = Generator::new(42);
        let draws: Vec<u32> = (0..4).map(|_| generator.next_u32()).collect();
        assert_eq!(
            draws,
            [1_608_637_542, 3_421_126_067, 4_083_286_876, 787_846_414]
        );
        assert_eq!(Generator::new(0).next_u32(), 2_357_136_044);
    }

    /// The C++ standard fixes the 10,000th draw of `mt19937` with its default seed ([rand.predef]).
    #[test]
    fn ten_thousandth_draw() {
        let mut generator = Generator::new(5489);
        let last = (0..10_000).map(|_| generator.next_u32()).last();
        assert_eq!(last, Some(4_123_659_995));
    }
}
