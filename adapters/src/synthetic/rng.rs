//! A random generator that gives the same numbers on every machine.
//!
//! SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators",
//! figure 17). A normal number is the sum of twelve uniform ones. This avoids logarithm and
//! cosine, whose last bit differs between C libraries. The tails end at ± 6, which does not
//! matter for simulated scans.

/// One stream of random numbers.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A separate stream for each pair of numbers.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut mixed = Self(seed);
        let first = mixed.next_u64();
        Self(first ^ Self(stream).next_u64().rotate_left(32))
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in 0..1.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in 0..n.
    pub fn below(&mut self, n: usize) -> usize {
        ((self.uniform() * n as f64) as usize).min(n.saturating_sub(1))
    }

    /// Mean 0, variance 1.
    pub fn normal(&mut self) -> f32 {
        let sum: u32 = (0..3)
            .flat_map(|_| {
                let bits = self.next_u64();
                [bits, bits >> 16, bits >> 32, bits >> 48].map(|lane| lane as u32 & 0xffff)
            })
            .sum();
        // Twelve lanes of mean 65535 / 2 and variance (2^32 - 1) / 12.
        (sum as f32 - 393_210.0) / 65_536.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_paper() {
        // The first outputs of SplitMix64 from state 0, the same in every implementation.
        let mut rng = Rng(0);
        assert_eq!(rng.next_u64(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(rng.next_u64(), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn normal_numbers_have_mean_zero_and_variance_one() {
        let mut rng = Rng::new(1, 2);
        let n = 100_000;
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..n {
            let value = f64::from(rng.normal());
            sum += value;
            squares += value * value;
        }
        // Standard errors are 0.003 and 0.0045.
        assert!((sum / f64::from(n)).abs() < 0.015, "{sum}");
        assert!((squares / f64::from(n) - 1.0).abs() < 0.02, "{squares}");
    }
}
