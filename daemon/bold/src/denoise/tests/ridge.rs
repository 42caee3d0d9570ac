//! The fit against ridge regressions over the whole run.

use super::*;

/// Solves `(D + XᵀWX) b = XᵀWy` by elimination with pivots, as no code of the stage does.
fn ridge(rows: &[Vec<f64>], y: &[f64], precisions: &[f64], forget: f64) -> Vec<f64> {
    let k = precisions.len();
    let mut system = vec![vec![0.0; k + 1]; k];
    for i in 0..k {
        system[i][i] = precisions[i];
    }
    let n = rows.len();
    for (t, (row, y)) in rows.iter().zip(y).enumerate() {
        let weight = forget.powi((n - 1 - t) as i32);
        for i in 0..k {
            for j in 0..k {
                system[i][j] += weight * row[i] * row[j];
            }
            system[i][k] += weight * row[i] * y;
        }
    }
    for column in 0..k {
        let best = (column..k)
            .max_by(|&a, &b| system[a][column].abs().total_cmp(&system[b][column].abs()))
            .unwrap();
        system.swap(column, best);
        let pivot = system[column].clone();
        for (i, row) in system.iter_mut().enumerate().filter(|(i, _)| *i != column) {
            let factor = row[column] / pivot[column];
            debug_assert_ne!(i, column);
            row.iter_mut().zip(&pivot).for_each(|(a, b)| *a -= factor * b);
        }
    }
    (0..k).map(|i| system[i][k] / system[i][i]).collect()
}

/// After 150 volumes with gaps, the coefficients of everything at once are those of one ridge
/// regression over the run, to 1e-6 of the largest.
#[test]
fn coefficients_equal_batch_ridge_regression() {
    for forget in [1.0, 0.98] {
        let mut stage = started(DenoiseOptions { forget, ..everything() }, N_VOXEL, 200);
        let mut design = Design::new(&everything(), &inputs(N_VOXEL), &planned(200));
        let (mut rows, mut signals) = (Vec::new(), Vec::new());
        for tr in (3..200).filter(|tr| tr % 7 != 0) {
            let kept_in = [f64::from(u8::from(tr % 20 < 10))];
            rows.push(design.next(TrIndex(tr), &confounds(tr), &kept_in).unwrap().values);
            signals.push(noisy(tr).bold);
            denoised(&mut stage, noisy(tr), &kept_in);
        }
        assert_eq!(rows[0].len(), 1 + 1 + 8 + 24 + 2 + 1);
        for voxel in 0..N_VOXEL {
            let y: Vec<f64> = signals
                .iter()
                .map(|s| f64::from(s[voxel]) - f64::from(signals[0][voxel]))
                .collect();
            let expected = ridge(&rows, &y, &design.precisions(), forget);
            let found = stage.run.as_ref().unwrap().fit.coefficients(voxel);
            let largest = expected.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-6 * largest, "{found} {expected}");
            }
        }
    }
}

/// A run of three periods equals one regression with cosines of their own for each period, which
/// stay at their last value after it.
#[test]
fn a_run_longer_than_its_plan_equals_a_design_with_new_cosines_for_each_period() {
    let options = DenoiseOptions {
        high_pass_s: Some(40.0),
        keep_mean: false,
        drift_size: 2.0,
        ..Default::default()
    };
    let (n_period, n_cosine) = (40, 4);
    let mut stage = started(options.clone(), N_VOXEL, n_period);
    let design = Design::new(&options, &inputs(N_VOXEL), &planned(n_period));
    assert_eq!(design.precisions().len(), 2 + n_cosine);
    let cos = |k: usize, n: u32| {
        let at = |n: f64| (std::f64::consts::PI * k as f64 * (n + 0.5) / f64::from(n_period)).cos();
        at(f64::from(n)) - at(0.0)
    };
    let (mut rows, mut y): (Vec<Vec<f64>>, Vec<f64>) = (Vec::new(), Vec::new());
    let precisions = [vec![0.0], vec![0.25; 1 + 3 * n_cosine]].concat();
    for tr in (0..3 * n_period).filter(|tr| tr % 11 != 5) {
        let mut row = vec![1.0, f64::from(tr) * 2.0 / 300.0];
        for period in 0..3 {
            let n = tr.saturating_sub(period * n_period).min(n_period);
            row.extend((1..=n_cosine).map(|k| cos(k, n)));
        }
        let volume = noisy(tr);
        rows.push(row);
        y.push(f64::from(volume.bold[1]) - f64::from(noisy(0).bold[1]));
        let found = denoised(&mut stage, volume, &[])[1];
        let b = ridge(&rows, &y, &precisions, 1.0);
        let fitted: f64 = b.iter().zip(rows.last().unwrap()).map(|(b, x)| b * x).sum();
        let expected = y.last().unwrap() - fitted;
        assert!((f64::from(found) - expected).abs() < 1e-4, "{tr}: {found} {expected}");
    }
}
