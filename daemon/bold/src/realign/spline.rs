//! B-splines of degree 2 and 4: their weights, and the filter that makes coefficients of voxels.
//!
//! Degree 2 estimates motion and degree 4 reslices, as in SPM. At the borders the volume is
//! mirrored and the edge voxel not repeated. Formulas: Unser (1999), "Splines: a perfect fit for
//! signal and image processing", IEEE Signal Processing Magazine 16(6).

use crate::separable::Axis;

/// Poles of the filter for degree 2.
pub(super) const QUADRATIC: &[f64] = &[-0.171_572_875_253_809_9];
/// Poles of the filter for degree 4.
pub(super) const QUARTIC: &[f64] = &[-0.361_341_225_900_220_2, -0.013_725_429_297_339_12];

/// The filter along one axis of `n` voxels, two at least, that turns voxels into coefficients.
pub(super) fn prefilter(n: usize, poles: &[f64]) -> Axis {
    let columns: Vec<Vec<f64>> = (0..n)
        .map(|at| {
            let mut column = vec![0.0; n];
            column[at] = 1.0;
            poles.iter().for_each(|&pole| recursion(&mut column, pole));
            column
        })
        .collect();
    Axis::new((0..n).map(|row| columns.iter().map(|column| column[row]).collect()).collect())
}

/// Filters with one pole, forwards and backwards.
fn recursion(values: &mut [f64], pole: f64) {
    let n = values.len();
    let (mut power, mut first) = (1.0, 0.0);
    // The first value is the sum over one period of the mirrored signal, which repeats for ever.
    for value in values[..n - 1].iter().chain(values[1..].iter().rev()) {
        first += power * value;
        power *= pole;
    }
    values[0] = first / (1.0 - power);
    for k in 1..n {
        values[k] += pole * values[k - 1];
    }
    values[n - 1] = pole / (pole * pole - 1.0) * (pole * values[n - 2] + values[n - 1]);
    for k in (0..n - 1).rev() {
        values[k] = pole * (values[k + 1] - values[k]);
    }
    let gain = (1.0 - pole) * (1.0 - 1.0 / pole);
    values.iter_mut().for_each(|value| *value *= gain);
}

/// Weights of the coefficients at -1, 0, 1 for a point `t` from the middle one, |t| ≤ ½. The
/// fourth is zero, so that a row is one vector.
#[inline]
pub(super) fn quadratic(t: f32) -> [f32; 4] {
    let (before, after) = (0.5 - t, 0.5 + t);
    [0.5 * before * before, 0.75 - t * t, 0.5 * after * after, 0.0]
}

/// The derivative of [`quadratic`] with respect to the point.
pub(super) fn quadratic_slope(t: f32) -> [f32; 4] {
    [t - 0.5, -2.0 * t, t + 0.5, 0.0]
}

/// Weights of the coefficients at -2 to 2 for points `t` from the middle one, |t| ≤ ½. Shape
/// `[5, N]`.
#[inline]
pub(super) fn quartic<const N: usize>(t: [f32; N]) -> [[f32; N]; 5] {
    let mut weights = [[0.0; N]; 5];
    for (lane, &t) in t.iter().enumerate() {
        let square = t * t;
        let (before, after) = ((0.5 - t) * (0.5 - t), (0.5 + t) * (0.5 + t));
        let even = (19.0 + square * (24.0 - 16.0 * square)) * (1.0 / 96.0);
        let odd = t * (44.0 - 16.0 * square) * (1.0 / 96.0);
        weights[0][lane] = before * before * (1.0 / 24.0);
        weights[1][lane] = even - odd;
        weights[2][lane] = 115.0 / 192.0 + square * (0.25 * square - 0.625);
        weights[3][lane] = even + odd;
        weights[4][lane] = after * after * (1.0 / 24.0);
    }
    weights
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn splines_have_the_published_weights() {
        // Unser (1999), table 1: β²(0) = 6/8, β²(±1) = 1/8; β⁴(0) = 230/384, β⁴(±1) = 76/384, 1/384.
        let close = |found: &[f32], expected: &[f32]| {
            found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6)
        };
        assert!(close(&quadratic(0.0), &[0.125, 0.75, 0.125, 0.0]));
        let flat: Vec<f32> = quartic([0.0]).iter().map(|w| w[0] * 384.0).collect();
        assert!(flat.iter().zip([1.0, 76.0, 230.0, 76.0, 1.0]).all(|(a, b)| (a - b).abs() < 1e-3));
        // The prefilter is the inverse of these weights, mirrored borders included.
        let five = [1.0, 76.0, 230.0, 76.0, 1.0].map(|weight| weight / 384.0);
        for (poles, weights) in [(QUADRATIC, &[0.125, 0.75, 0.125][..]), (QUARTIC, &five)] {
            for n in [4, 5, 9] {
                let rows = prefilter(n, poles);
                let half = weights.len() as isize / 2;
                for at in 0..n {
                    let unit: Vec<f64> = (0..n).map(|k| rows.row(k)[at]).collect();
                    for out in 0..n as isize {
                        let mirror =
                            |k: isize| k.abs().min(2 * (n as isize - 1) - k.abs()).unsigned_abs();
                        let sum: f64 = (-half..=half)
                            .map(|k| weights[(k + half) as usize] * unit[mirror(out + k)])
                            .sum();
                        let expected = f64::from(u8::from(out as usize == at));
                        assert!((sum - expected).abs() < 1e-9, "{n} {at} {out} {sum}");
                    }
                }
            }
        }
    }

    proptest! {
        /// Weights of every point have the sum 1, the slopes 0; the slopes are the change of weights.
        #[test]
        fn weights_are_a_partition_of_one(t in -0.5_f32..0.5) {
            prop_assert!((quadratic(t).iter().sum::<f32>() - 1.0).abs() < 1e-6);
            prop_assert!(quadratic_slope(t).iter().sum::<f32>().abs() < 1e-6);
            prop_assert!((quartic([t]).iter().map(|w| w[0]).sum::<f32>() - 1.0).abs() < 1e-6);
            let change = |k: usize| (quadratic(t + 0.01)[k] - quadratic(t - 0.01)[k]) / 0.02;
            prop_assert!((0..3).all(|k| (change(k) - quadratic_slope(t)[k]).abs() < 1e-3));
        }
    }
}
