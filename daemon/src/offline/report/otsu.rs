//! Brain or air: the threshold between two groups of intensities.
//!
//! A recording holds no mask, only its hash, so the report finds the voxels with signal itself.
//! Otsu 1979, IEEE Trans. Syst. Man Cybern. 9:62: the threshold that makes the variance between
//! the two groups largest, here over a histogram of 256 bins up to the 98th percentile.

/// Bins of the histogram.
const N_BIN: usize = 256;

/// The threshold; voxels that reach it have signal. `None` when fewer than two values differ.
pub(super) fn threshold(values: &[f32]) -> Option<f32> {
    let mut finite: Vec<f32> = values.iter().copied().filter(|value| value.is_finite()).collect();
    if finite.is_empty() {
        return None;
    }
    let low = finite.iter().copied().fold(f32::INFINITY, f32::min);
    let at = (finite.len() * 98 / 100).min(finite.len() - 1);
    let high = *finite.select_nth_unstable_by(at, f32::total_cmp).1;
    // A few bright voxels in a dark volume: there is no 98 % to speak of.
    let high = if high > low { high } else { finite.iter().copied().fold(low, f32::max) };
    if high <= low {
        return None;
    }
    let width = (high - low) / N_BIN as f32;
    let mut counts = [0_u64; N_BIN];
    for value in &finite {
        let bin = ((value - low) / width) as usize;
        counts[bin.min(N_BIN - 1)] += 1;
    }
    let total: u64 = counts.iter().sum();
    let sum: f64 = counts.iter().enumerate().map(|(bin, &n)| bin as f64 * n as f64).sum();
    let (mut below, mut sum_below) = (0_u64, 0.0);
    let (mut best, mut best_bin) = (-1.0, 0);
    for (bin, &n) in counts.iter().enumerate() {
        below += n;
        sum_below += bin as f64 * n as f64;
        let above = total - below;
        if below == 0 || above == 0 {
            continue;
        }
        let difference = sum_below / below as f64 - (sum - sum_below) / above as f64;
        let between = below as f64 * above as f64 * difference * difference;
        if between > best {
            (best, best_bin) = (between, bin);
        }
    }
    Some(low + width * (best_bin + 1) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn air_and_brain_are_told_apart() {
        let air = (0..300).map(|at| (at % 10) as f32);
        let brain = (0..100).map(|at| 900.0 + at as f32);
        let all: Vec<f32> = air.chain(brain).collect();
        let threshold = threshold(&all).unwrap();
        assert!((9.0..900.0).contains(&threshold), "{threshold}");
        assert_eq!(all.iter().filter(|&&value| value >= threshold).count(), 100);
    }

    #[test]
    fn equal_values_have_no_threshold() {
        assert_eq!(threshold(&[]), None);
        assert_eq!(threshold(&[f32::NAN; 3]), None);
        assert_eq!(threshold(&[7.0; 10]), None);
        let one = threshold(&[0.0, 0.0, 0.0, f32::NAN, 5.0]).unwrap();
        assert!((0.0..5.0).contains(&one));
    }
}
