//! The noise for sampling: a fixed function of seed and volume.
//!
//! A session that is replayed, continued after a restart, or computed on another machine must
//! draw the same numbers, whatever was drawn before. So there is no generator state: the numbers
//! come from ChaCha with 8 rounds (Bernstein 2008), keyed with the session's seed. The stream
//! number is the index of the window's newest volume, and reading starts at the beginning of the
//! stream.
//!
//! - Key: the seed as 8 bytes, little-endian; a byte for the purpose (0 prior, 1 clip, 2 key
//!   frame); 23 zero bytes. Stream (nonce): the index, or 0 for a key frame, so that the same
//!   picture has the same latents in every clip.
//! - Each 64-bit word `w` of the stream gives two numbers by Box and Muller (1958): with
//!   `u = (⌊w / 2³²⌋ + 1) / 2³²` and `v = ⌊(w mod 2³²) / 2⁸⌋ / 2²⁴`, in f32,
//!   `√(-2 ln u) · cos 2πv` and `√(-2 ln u) · sin 2πv`.
//! - Order: the tokens to start from, then the noise of each step that needs noise. A block of odd
//!   length leaves the second number of its last pair unused.
//!
//! Logarithm, sine and cosine have the bits of `libm` on every machine (`normal.rs`);
//! the system's functions do not. The noise is not meant for cryptography.

use corticast_bold::time::TrIndex;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

use super::normal::{NUMBERS, WORDS, numbers};

/// The noise of one window. See the module docs.
#[derive(Clone, Debug)]
pub struct Noise(ChaCha8Rng);

impl Noise {
    /// The prior's noise for the window whose newest volume has this index.
    #[must_use]
    pub fn new(seed: u64, tr: TrIndex) -> Self {
        Self::keyed(seed, 0, tr)
    }

    /// The generator's noise for the clip of that window.
    #[must_use]
    pub fn of_clip(seed: u64, tr: TrIndex) -> Self {
        Self::keyed(seed, 1, tr)
    }

    /// The noise of every key frame.
    #[must_use]
    pub fn of_keyframe(seed: u64) -> Self {
        Self::keyed(seed, 2, TrIndex(0))
    }

    fn keyed(seed: u64, purpose: u8, tr: TrIndex) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8] = purpose;
        let mut stream = ChaCha8Rng::from_seed(key);
        stream.set_stream(u64::from(tr.0));
        Self(stream)
    }

    /// Fills a block with normally distributed numbers, mean 0, variance 1.
    pub fn fill(&mut self, block: &mut [f32]) {
        let mut words = [0; WORDS];
        for block in block.chunks_mut(NUMBERS) {
            // Only the words that the block needs: the next block starts at the next word.
            self.0.fill_bytes(&mut words[..8 * block.len().div_ceil(2)]);
            block.copy_from_slice(&numbers(&words)[..block.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(seed: u64, tr: u32, n: usize) -> Vec<f32> {
        let mut block = vec![0.0; n];
        Noise::new(seed, TrIndex(tr)).fill(&mut block);
        block
    }

    /// The key stream of a key and a nonce of zeros with 8 rounds, test vector 1 of
    /// draft-strombergson-chacha-test-vectors-01.
    #[test]
    fn the_stream_is_that_of_the_published_test_vector() {
        let Noise(mut stream) = Noise::new(0, TrIndex(0));
        let mut bytes = [0; 16];
        stream.fill_bytes(&mut bytes);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "3e00ef2f895f40d67f5bb8e81f09a5a1");
    }

    /// From the words of the test vector: 0xd6405f892fef003e and 0xa1a5091fe8b85b7f.
    #[test]
    fn the_numbers_are_those_worked_out_from_the_stream() {
        let expected = |high: f64, low: f64| {
            let (u, v) = ((high + 1.0) / 2_f64.powi(32), (low / 256.0).floor() / 2_f64.powi(24));
            let radius = (-2.0 * u.ln()).sqrt();
            let angle = std::f64::consts::TAU * v;
            [radius * angle.cos(), radius * angle.sin()]
        };
        let first = expected(f64::from(0xd640_5f89_u32), f64::from(0x2fef_003e_u32));
        let second = expected(f64::from(0xa1a5_091f_u32), f64::from(0xe8b8_5b7f_u32));
        for (found, expected) in drawn(0, 0, 4).into_iter().zip([first, second].concat()) {
            assert!((f64::from(found) - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    /// Replays of old recordings depend on these bits: they must never change.
    #[test]
    fn the_bits_are_pinned() {
        let bits: Vec<u32> = drawn(7, 42, 4).iter().map(|value| value.to_bits()).collect();
        assert_eq!(bits, [1_060_638_945, 3_197_454_430, 3_195_824_116, 1_058_362_784]);
    }

    /// Blocks of any length, against `libm` word by word.
    #[test]
    fn every_number_has_the_bits_that_libm_gives() {
        let Noise(mut words) = Noise::new(11, TrIndex(5));
        let mut noise = Noise::new(11, TrIndex(5));
        for n in (0..70).chain([1000, 4097]) {
            let mut block = vec![0.0; n];
            noise.fill(&mut block);
            for pair in block.chunks(2) {
                let word = words.next_u64();
                let u = (((word >> 32) as f64 + 1.0) / 2_f64.powi(32)) as f32;
                let v = ((word as u32) >> 8) as f32 / 2_f32.powi(24);
                let radius = (-2.0 * libm::logf(u)).sqrt();
                let (sin, cos) = libm::sincosf(std::f32::consts::TAU * v);
                for (found, expected) in pair.iter().zip([radius * cos, radius * sin]) {
                    assert_eq!(found.to_bits(), expected.to_bits());
                }
            }
        }
    }

    #[test]
    fn seed_and_volume_each_give_other_noise_and_the_same_ones_the_same() {
        assert_eq!(drawn(1, 2, 9), drawn(1, 2, 9));
        assert_ne!(drawn(1, 2, 9), drawn(2, 2, 9));
        assert_ne!(drawn(1, 2, 9), drawn(1, 3, 9));
    }

    /// 100,000 draws: mean within 5 standard errors of 0, variance within 5 of 1, and as many
    /// beyond ±2 as the normal distribution has (4.550 %), within 5.
    #[test]
    fn the_numbers_are_normally_distributed() {
        let values = drawn(3, 0, 100_000);
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let variance = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / n;
        let beyond = values.iter().filter(|v| v.abs() > 2.0).count() as f64 / n;
        assert!(mean.abs() < 5.0 / n.sqrt(), "{mean}");
        assert!((variance - 1.0).abs() < 5.0 * (2.0 / n).sqrt(), "{variance}");
        assert!((beyond - 0.0455).abs() < 5.0 * (0.0455 * 0.9545 / n).sqrt(), "{beyond}");
    }
}
