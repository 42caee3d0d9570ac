//! Running mean and sum of squared deviations by Welford's recurrence (Welford 1962,
//! Technometrics 4:419), in f64, so that a long run of large values loses no precision.
//!
//! Divisions limit the speed, so there is one for each volume, 1/n, and none for each voxel. The
//! loops run over slices, which the compiler turns into vector instructions.

use ndarray::Array1;

use crate::state::{Loader, Saver};

/// Voxels that are worked on together.
pub(crate) const LANES: usize = 8;

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

    /// Adds one volume, and lets `of` replace its values as [`Welford::apply`] does.
    pub(crate) fn update_with(
        &mut self,
        bold: &mut [f32],
        of: impl Fn(&mut [f32; LANES], f64, &[f64; LANES], &[f64; LANES]),
    ) {
        let (by_n, mean, squares) = self.next();
        let add_and_replace = |bold: &mut _, mean: &mut _, squares: &mut _| {
            add_lanes(bold, mean, squares, by_n);
            of(bold, by_n, mean, squares);
        };
        let (blocks, last_bold) = bold.as_chunks_mut();
        let (means, last_mean) = mean.as_chunks_mut();
        let (sums, last_squares) = squares.as_chunks_mut();
        for (bold, (mean, squares)) in blocks.iter_mut().zip(means.iter_mut().zip(sums)) {
            add_and_replace(bold, mean, squares);
        }
        let (mut bold, mut mean, mut squares) =
            (filled(last_bold), filled(last_mean), filled(last_squares));
        add_and_replace(&mut bold, &mut mean, &mut squares);
        last_bold.copy_from_slice(&bold[..last_bold.len()]);
        last_mean.copy_from_slice(&mean[..last_mean.len()]);
        last_squares.copy_from_slice(&squares[..last_squares.len()]);
    }

    /// Lets `of` replace the values of a volume. `of` gets some values, 1/n, and their means and
    /// sums of squares; what it makes of a value must not depend on the others.
    pub(crate) fn apply(
        &self,
        bold: &mut [f32],
        of: impl Fn(&mut [f32; LANES], f64, &[f64; LANES], &[f64; LANES]),
    ) {
        let by_n = 1.0 / f64::from(self.n);
        let (blocks, last_bold) = bold.as_chunks_mut();
        let (means, last_mean) = slice(&self.mean).as_chunks();
        let (sums, last_squares) = slice(&self.squares).as_chunks();
        for (bold, (mean, squares)) in blocks.iter_mut().zip(means.iter().zip(sums)) {
            of(bold, by_n, mean, squares);
        }
        let mut bold = filled(last_bold);
        of(&mut bold, by_n, &filled(last_mean), &filled(last_squares));
        last_bold.copy_from_slice(&bold[..last_bold.len()]);
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

/// The last values of an array, filled up with zeros.
fn filled<T: Copy + Default>(last: &[T]) -> [T; LANES] {
    let mut lanes = [T::default(); LANES];
    lanes[..last.len()].copy_from_slice(last);
    lanes
}

fn add_lanes(bold: &[f32; LANES], mean: &mut [f64; LANES], squares: &mut [f64; LANES], by_n: f64) {
    for lane in 0..LANES {
        add(f64::from(bold[lane]), &mut mean[lane], &mut squares[lane], by_n);
    }
}

fn add(value: f64, mean: &mut f64, squares: &mut f64, by_n: f64) {
    let delta = value - *mean;
    *mean += delta * by_n;
    *squares += delta * (value - *mean);
}
