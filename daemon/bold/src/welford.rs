//! Running mean and sum of squared deviations by Welford's recurrence (Welford 1962,
//! Technometrics 4:419), in f64, so that a long run of large values loses no precision.
//!
//! Divisions limit the speed, so there is one for each volume, 1/n, and none for each voxel. The
//! loops run over slices, which the compiler turns into vector instructions.

use ndarray::Array1;

use crate::state::{Loader, Saver};

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

    /// Adds the statistics to a checkpoint.
    pub(crate) fn save(&self, to: &mut Saver) {
        to.u32(self.n);
        to.f64s(slice(&self.mean));
        to.f64s(slice(&self.squares));
    }

    /// Takes the statistics from a checkpoint. `None` when they are for other voxels.
    pub(crate) fn load(&mut self, from: &mut Loader<'_>) -> Option<()> {
        let (n, mean, squares) = (from.u32()?, from.f64s()?, from.f64s()?);
        let n_voxel = self.mean.len();
        if mean.len() != n_voxel || squares.len() != n_voxel {
            return None;
        }
        (self.n, self.mean, self.squares) = (n, mean.into(), squares.into());
        Some(())
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
    pub fn update(&mut self, bold: &[f32]) {
        let (by_n, mean, squares) = self.next();
        for ((&value, mean), squares) in bold.iter().zip(mean).zip(squares) {
            add(f64::from(value), mean, squares, by_n);
        }
    }

    /// Adds one volume, and replaces each of its values by what `of` makes of the value, 1/n, and
    /// the new mean and sum of squares.
    pub(crate) fn update_with(&mut self, bold: &mut [f32], of: impl Fn(f64, f64, f64, f64) -> f32) {
        let (by_n, mean, squares) = self.next();
        for ((place, mean), squares) in bold.iter_mut().zip(mean).zip(squares) {
            let value = f64::from(*place);
            add(value, mean, squares, by_n);
            *place = of(value, by_n, *mean, *squares);
        }
    }

    /// 1/n with the next volume, means and sums of squares.
    fn next(&mut self) -> (f64, &mut [f64], &mut [f64]) {
        self.n += 1;
        let standard = "made in standard layout";
        let mean = self.mean.as_slice_mut().expect(standard);
        (1.0 / f64::from(self.n), mean, self.squares.as_slice_mut().expect(standard))
    }
}

/// The values of an array that a stage made.
pub(crate) fn slice<T>(values: &Array1<T>) -> &[T] {
    values.as_slice().expect("stages build their arrays in standard layout")
}

fn add(value: f64, mean: &mut f64, squares: &mut f64, by_n: f64) {
    let delta = value - *mean;
    *mean += delta * by_n;
    *squares += delta * (value - *mean);
}
