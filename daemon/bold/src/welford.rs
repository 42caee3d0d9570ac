//! Running mean and sum of squared deviations by Welford's recurrence (Welford 1962,
//! Technometrics 4:419), in f64, so that a long run of large values loses no precision.

use ndarray::{Array1, Zip};

/// Running mean and sum of squared deviations, per voxel.
#[derive(Clone, Debug)]
pub struct Welford {
    n: u32,
    mean: Array1<f64>,
    squares: Array1<f64>,
}

impl Welford {
    /// Empty statistics for `n_voxel` voxels.
    #[must_use]
    pub fn new(n_voxel: usize) -> Self {
        Self { n: 0, mean: Array1::zeros(n_voxel), squares: Array1::zeros(n_voxel) }
    }

    /// Volumes seen.
    #[must_use]
    pub fn n_volume(&self) -> u32 {
        self.n
    }

    /// Mean so far, scanner units. Shape `[n_voxel]`.
    #[must_use]
    pub fn mean(&self) -> &Array1<f64> {
        &self.mean
    }

    /// Sum of squared deviations from the mean so far. Shape `[n_voxel]`.
    #[must_use]
    pub fn squares(&self) -> &Array1<f64> {
        &self.squares
    }

    /// Adds one volume. Shape `[n_voxel]`, scanner units.
    pub fn update(&mut self, bold: &Array1<f32>) {
        self.n += 1;
        let n = f64::from(self.n);
        Zip::from(&mut self.mean).and(&mut self.squares).and(bold).for_each(
            |mean, squares, &value| {
                let value = f64::from(value);
                let delta = value - *mean;
                *mean += delta / n;
                *squares += delta * (value - *mean);
            },
        );
    }
}
