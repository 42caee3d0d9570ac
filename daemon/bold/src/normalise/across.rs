//! z-scores of one volume across its voxels: what is common to all voxels leaves, the pattern stays.
//!
//! Breathing, the scanner's gain and a drift of the whole image move all voxels together. A decoder
//! that looks at patterns loses nothing when each volume gets mean 0 and s.d. 1 (population's). It
//! needs no past, so it is causal. A volume whose voxels are all equal gives 0; one that holds NaN
//! or Inf stays as it is, and the model refuses it.

use crate::welford::LANES;

/// A volume whose s.d. is below this fraction of its mean counts as constant: the rest is rounding.
const CONSTANT: f64 = 1e-7;

/// Replaces values by their z-scores across the volume. Any unit.
pub(super) fn z_score(bold: &mut [f32]) {
    let n = bold.len() as f64;
    let mean = sum(bold, |value| value) / n;
    let squares = sum(bold, |value| (value - mean) * (value - mean));
    let sd = (squares / n).sqrt();
    if !sd.is_finite() {
        return;
    }
    if sd <= CONSTANT * mean.abs() {
        return bold.fill(0.0);
    }
    let by_sd = 1.0 / sd;
    for value in bold {
        *value = ((f64::from(*value) - mean) * by_sd) as f32;
    }
}

/// The sum of `of` over all values, in f64. Some partial sums that do not wait for each other, in an
/// order that depends on the number of values only.
fn sum(bold: &[f32], of: impl Fn(f64) -> f64) -> f64 {
    let mut sums = [0.0; LANES];
    let (blocks, last) = bold.as_chunks::<LANES>();
    for block in blocks {
        for (sum, &value) in sums.iter_mut().zip(block) {
            *sum += of(f64::from(value));
        }
    }
    for (sum, &value) in sums.iter_mut().zip(last) {
        *sum += of(f64::from(value));
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scored(mut bold: Vec<f32>) -> Vec<f32> {
        z_score(&mut bold);
        bold
    }

    #[test]
    fn a_volume_gets_mean_0_and_sd_1() {
        // Mean 5, s.d. 2.
        let found = scored(vec![2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert_eq!(found, [-1.5, -0.5, -0.5, -0.5, 0.0, 0.0, 1.0, 2.0]);
    }

    #[test]
    fn equal_voxels_give_0() {
        for constant in [vec![], vec![3.0], vec![0.0; 9], vec![1e30; 20]] {
            let n = constant.len();
            assert_eq!(scored(constant), vec![0.0; n]);
        }
    }

    #[test]
    fn a_volume_that_is_not_finite_is_left_for_the_model_to_refuse() {
        assert!(scored(vec![1.0, f32::NAN, 3.0])[1].is_nan());
        assert!(scored(vec![1.0, f32::INFINITY])[1].is_infinite());
    }

    proptest! {
        /// Gain and offset of the whole volume do not matter.
        #[test]
        fn gain_and_offset_leave(
            bold in proptest::collection::vec(-4.0_f32..4.0, 3..40),
            gain in 0.25_f32..8.0,
            offset in -8.0_f32..8.0,
        ) {
            let spread = bold.iter().fold(0.0_f32, |most, value| most.max((value - bold[0]).abs()));
            prop_assume!(spread > 0.1);
            let other = bold.iter().map(|value| value * gain + offset).collect();
            for (a, b) in scored(bold).into_iter().zip(scored(other)) {
                // Rounding of f32 in `other`, at most 40 wide, over an s.d. of 0.02 or more.
                prop_assert!((a - b).abs() < 1e-3, "{a} is not {b}");
            }
        }
    }
}
