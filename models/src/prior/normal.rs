//! Normally distributed numbers from random words, several at once, with fixed bits.
//!
//! Box and Muller (1958) need a logarithm, a sine and a cosine for each pair. `libm` computes one
//! after the other, with branches. The functions here take the same operations in the same order
//! without a branch, so the compiler turns a loop over them into vector instructions. Their bits
//! are those of `libm::logf` and `libm::sincosf` for every value that can occur; a test compares
//! them. Coefficients: FreeBSD's `e_logf.c`, `k_sinf.c` and `k_cosf.c`, on which `libm` rests.

use std::f32::consts::TAU;

/// Pairs that are computed at once.
const LANES: usize = 16;
/// Bytes of the random words of as many pairs.
pub(super) const WORDS: usize = 8 * LANES;
/// As many numbers come from [`WORDS`] bytes.
pub(super) const NUMBERS: usize = 2 * LANES;

/// Two numbers from each 64-bit word, little-endian. [`noise`](super::noise) has the formula.
pub(super) fn numbers(words: &[u8; WORDS]) -> [f32; NUMBERS] {
    let mut radius = [0.0; LANES];
    let mut angle = [0.0; LANES];
    for (lane, word) in words.as_chunks::<8>().0.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let (high, low) = ((word >> 32) as u32, word as u32);
        // In (0, 1], so that the logarithm is finite, and in [0, 1).
        radius[lane] = ((f64::from(high) + 1.0) / 4_294_967_296.0) as f32;
        angle[lane] = TAU * ((low >> 8) as f32 / 16_777_216.0);
    }
    // Separate loops: each is short enough for the compiler to vectorise.
    for value in &mut radius {
        *value = (-2.0 * ln(*value)).sqrt();
    }
    let mut numbers = [0.0; NUMBERS];
    for (lane, pair) in numbers.as_chunks_mut::<2>().0.iter_mut().enumerate() {
        let (sin, cos) = sin_cos(angle[lane]);
        *pair = [radius[lane] * cos, radius[lane] * sin];
    }
    numbers
}

/// The natural logarithm of a positive, normal, finite number.
#[inline(always)]
fn ln(x: f32) -> f32 {
    const ONE: u32 = 0x3f80_0000;
    const ROOT_HALF: u32 = 0x3f35_04f3;
    const LN_2: [f32; 2] = [f32::from_bits(0x3f31_7180), f32::from_bits(0x3717_f7d1)];
    // Of z, z², z³, z⁴.
    const OF_Z: [f32; 4] = [
        f32::from_bits(0x3f2a_aaaa),
        f32::from_bits(0x3ecc_ce13),
        f32::from_bits(0x3e91_e9ee),
        f32::from_bits(0x3e78_9e26),
    ];
    // x = 2^exponent · (1 + f), with 1 + f between √½ and √2.
    let shifted = x.to_bits().wrapping_add(ONE - ROOT_HALF);
    let exponent = ((shifted >> 23) as i32 - 0x7f) as f32;
    let f = f32::from_bits((shifted & 0x007f_ffff) + ROOT_HALF) - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let r = z * (OF_Z[0] + w * OF_Z[2]) + w * (OF_Z[1] + w * OF_Z[3]);
    let half_square = 0.5 * f * f;
    s * (half_square + r) + exponent * LN_2[1] - half_square + f + exponent * LN_2[0]
}

/// Sine and cosine of an angle from 0 to 2π.
#[inline(always)]
fn sin_cos(x: f32) -> (f32, f32) {
    /// Bits of the largest f32 below π/4, 3π/4, 5π/4, 7π/4.
    const QUARTERS: [u32; 4] = [0x3f49_0fda, 0x4016_cbe3, 0x407b_53d1, 0x40af_eddf];
    const OF_SIN: [f64; 4] = [
        -0.166_666_666_416_265_24,
        0.008_333_329_385_889_463,
        -0.000_198_393_348_360_966_32,
        0.000_002_718_311_493_989_822,
    ];
    const OF_COS: [f64; 4] = [
        -0.499_999_997_251_031,
        0.041_666_623_323_739_06,
        -0.001_388_676_377_460_993,
        0.000_024_390_448_796_277_41,
    ];
    // The angle from the nearest quarter turn.
    let quarter: u32 = QUARTERS.iter().map(|&bits| u32::from(x.to_bits() > bits)).sum();
    let y = f64::from(x) - f64::from(quarter as i32) * std::f64::consts::FRAC_PI_2;
    let z = y * y;
    let w = z * z;
    let s = z * y;
    let sin = (y + s * (OF_SIN[0] + z * OF_SIN[1])) + s * w * (OF_SIN[2] + z * OF_SIN[3]);
    let cos = ((1.0 + z * OF_COS[0]) + w * OF_COS[1]) + (w * z) * (OF_COS[2] + z * OF_COS[3]);
    let (sin, cos) = (sin as f32, cos as f32);
    let (sin, cos) = if quarter & 1 == 1 { (cos, sin) } else { (sin, cos) };
    // Sine is negative after two and three quarter turns, cosine after one and two.
    let signed = |value: f32, turns: u32| f32::from_bits(value.to_bits() ^ (turns & 2) << 30);
    (signed(sin, quarter), signed(cos, quarter + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every 61st of the 2²⁴ angles; a prime, so that the low bits differ. All of them were compared
    /// once.
    #[test]
    fn sine_and_cosine_have_the_bits_of_libm() {
        for turn in (0..1_u32 << 24).step_by(61).chain([0, 1, (1 << 24) - 1]) {
            let x = TAU * (turn as f32 / 16_777_216.0);
            let ((sin, cos), expected) = (sin_cos(x), libm::sincosf(x));
            assert_eq!(
                (sin.to_bits(), cos.to_bits()),
                (expected.0.to_bits(), expected.1.to_bits()),
                "{x}"
            );
        }
    }

    /// Every 997th of the 2.8 · 10⁸ numbers from 2⁻³³ to 1. All of them were compared once.
    #[test]
    fn the_logarithm_has_the_bits_of_libm() {
        let (first, last) = (2_f32.powi(-33).to_bits(), 1_f32.to_bits());
        for bits in (first..=last).step_by(997).chain([last]) {
            let x = f32::from_bits(bits);
            assert_eq!(ln(x).to_bits(), libm::logf(x).to_bits(), "{x}");
        }
    }
}
