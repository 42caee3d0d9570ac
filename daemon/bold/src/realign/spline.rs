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
