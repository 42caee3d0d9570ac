//! Smooth: a Gaussian over the whole volume, width in mm.
//!
//! The kernel is cut off at 4 standard deviations, rounded to whole voxels, as in scipy. Where it
//! reaches over the border, the weights inside the volume are scaled to the sum 1: a constant
//! volume stays constant, and signal at the border is neither darkened (as with zeros outside: SPM
//! along x and y) nor counted twice (as with a mirrored border: the default of scipy).
//!
//! A volume with a value that is not finite is refused, because smoothing would spread it. Later
//! volumes are unaffected.

use crate::{
    separable::{Axis, Separable},
    space::VoxelSpace,
    stage::Stage,
    volume::{UnusableVolume, Volume},
};

/// Full width at half maximum of a Gaussian over its standard deviation: `sqrt(8 ln 2)`.
pub(crate) const FWHM_PER_SD: f64 = 2.354_820_045_030_949;
/// Where the kernel is cut off, in standard deviations. The default of `scipy.ndimage`.
const CUT_OFF_SD: f64 = 4.0;
/// Widest kernel, in mm: more than a brain's lobe is a typing error.
const MAX_FWHM_MM: f64 = 50.0;

/// Smooths volumes. See the module docs.
#[derive(Clone, Debug)]
pub struct Smooth {
    matrix: [usize; 3],
    filter: Separable,
}

/// An invalid width.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "smoothing needs a full width at half maximum above 0 and up to {MAX_FWHM_MM} mm, got {0} mm"
)]
pub struct InvalidFwhm(pub f64);

impl Smooth {
    /// Smooths volumes of this space with a full width at half maximum in mm.
    ///
    /// # Errors
    ///
    /// Fails unless the width is above 0 and at most 50 mm.
    pub fn new(fwhm_mm: f64, space: &VoxelSpace) -> Result<Self, InvalidFwhm> {
        if !(fwhm_mm > 0.0 && fwhm_mm <= MAX_FWHM_MM) {
            return Err(InvalidFwhm(fwhm_mm));
        }
        let (matrix, size_mm) = (space.matrix(), space.voxel_size_mm());
        let axis = |axis: usize| {
            let sd = fwhm_mm / FWHM_PER_SD / size_mm[axis];
            gaussian(matrix[axis], sd, (CUT_OFF_SD * sd + 0.5).floor())
        };
        Ok(Self { matrix, filter: Separable::new([axis(0), axis(1), axis(2)], 0) })
    }
}

impl Stage for Smooth {
    const NAME: &'static str = "smooth";
    type Input<'a> = Volume;
    type Output = Volume;
    type Error = UnusableVolume;

    fn process(&mut self, mut volume: Volume) -> Result<Option<Volume>, UnusableVolume> {
        volume.check(self.matrix)?;
        let smooth = self.filter.apply(&volume.signal);
        let [nx, ny, _] = self.matrix;
        for (index, row) in volume.signal.chunks_exact_mut(nx).enumerate() {
            let from = index % ny * smooth.stride_y + index / ny * smooth.stride_z;
            row.copy_from_slice(&smooth.values[from..][..nx]);
        }
        Ok(Some(volume))
    }
}

/// A Gaussian along one axis of `n` voxels, in voxels. The weights of each voxel, those inside the
/// volume, have the sum 1.
pub(crate) fn gaussian(n: usize, sd: f64, radius: f64) -> Axis {
    let weight = |distance: f64| libm::exp(-0.5 * (distance / sd) * (distance / sd));
    let row = |i: usize| {
        let distances = (0..n).map(|j| i.abs_diff(j) as f64);
        let mut row: Vec<f64> =
            distances.map(|d| if d <= radius { weight(d) } else { 0.0 }).collect();
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|weight| *weight /= sum);
        row
    };
    Axis::new((0..n).map(row).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::TrIndex;

    fn smooth(matrix: [usize; 3], fwhm_mm: f64) -> Smooth {
        let affine = [[-2., 0., 0., 0.], [0., 3., 0., 0.], [0., 0., 4., 0.], [0., 0., 0., 1.]];
        Smooth::new(fwhm_mm, &VoxelSpace::new(matrix, affine).unwrap()).unwrap()
    }

    fn volume(matrix: [usize; 3], signal: impl Fn([usize; 3]) -> f32) -> Volume {
        let [nx, ny, nz] = matrix;
        let signal = (0..nx * ny * nz).map(|i| signal([i % nx, i / nx % ny, i / nx / ny]));
        let signal = signal.collect();
        Volume { tr: TrIndex(4), acquisition_time_s: 8.0, matrix, signal }
    }

    const EXPECTED: [([usize; 3], f32); 5] = [
        ([0, 0, 0], 6.727_887),
        ([10, 4, 2], 7.850_688),
        ([19, 8, 4], 8.144_624),
        ([19, 0, 2], 7.655_112),
        ([7, 8, 0], 7.074_568),
    ];

    /// scipy 1.17: `gaussian_filter(v, sd, mode="constant") / gaussian_filter(ones, sd, …)`, with
    /// `sd = 6 / sqrt(8 ln 2) / [2, 3, 4]`. Tolerance: the rounding of f32.
    #[test]
    fn smoothing_equals_scipy() {
        let matrix = [20, 9, 5];
        let input = volume(matrix, |[x, y, z]| ((7 * x + 13 * y + 29 * z) % 17) as f32);
        let output = smooth(matrix, 6.0).process(input).unwrap().unwrap();
        let at = |[x, y, z]: [usize; 3]| output.signal[x + 20 * (y + 9 * z)];
        for (voxel, expected) in EXPECTED {
            assert!((at(voxel) - expected).abs() < 1e-5, "{voxel:?}: {} {expected}", at(voxel));
        }
    }

    #[test]
    fn one_slice_is_smoothed_in_its_plane() {
        let point = volume([9, 9, 1], |voxel| f32::from(u8::from(voxel == [4, 4, 0])));
        let output = smooth([9, 9, 1], 2.0).process(point).unwrap().unwrap();
        // Voxels are 2 mm wide along x: the one beside is two half widths away, where 2⁻⁴ is left.
        let (middle, beside) = (output.signal[40], output.signal[41]);
        assert!((beside / middle - 0.0625).abs() < 1e-5, "{middle} {beside}");
    }

    #[test]
    fn widths_and_signal_that_cannot_be_used_are_refused() {
        let affine = [[1., 0., 0., 0.], [0., 1., 0., 0.], [0., 0., 1., 0.], [0., 0., 0., 1.]];
        let space = VoxelSpace::new([4, 4, 4], affine).unwrap();
        for fwhm_mm in [0.0, -1.0, f64::NAN, 51.0] {
            assert!(Smooth::new(fwhm_mm, &space).is_err());
        }
        let mut stage = smooth([4, 4, 4], 6.0);
        let bad = volume([4, 4, 4], |voxel| if voxel == [1, 2, 3] { f32::NAN } else { 1.0 });
        let message = stage.process(bad).unwrap_err().to_string();
        assert!(message.contains("volume 4 has the signal NaN at voxel 57"), "{message}");
        let message = stage.process(volume([4, 4, 5], |_| 1.0)).unwrap_err().to_string();
        assert!(message.contains("[4, 4, 5], expected the matrix [4, 4, 4]"), "{message}");
        assert!(stage.process(volume([4, 4, 4], |_| 1.0)).is_ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// A constant volume of any matrix stays as it is, and the order of volumes is of no matter.
        #[test]
        fn constants_stay(matrix in prop::array::uniform3(1_usize..21), fwhm_mm in 0.1..40.0_f64, c in -9.0_f32..9.0) {
            let mut stage = smooth(matrix, fwhm_mm);
            let first = stage.process(volume(matrix, |_| c)).unwrap().unwrap();
            prop_assert!(first.signal.iter().all(|v| (v - c).abs() <= 1e-5 * c.abs()));
            let other = volume(matrix, |[x, y, z]| (x * y + z) as f32);
            stage.process(other).unwrap();
            let again = stage.process(volume(matrix, |_| c)).unwrap().unwrap();
            prop_assert_eq!(first.signal, again.signal);
        }
    }
}
