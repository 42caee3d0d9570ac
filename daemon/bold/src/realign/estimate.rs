//! Motion of a volume to a reference, by least squares.
//!
//! Both are smoothed. At points of the reference ([`Points`]) the volume's signal times a common
//! factor is compared with the reference's. Gauss and Newton's method finds the motion with the
//! least sum of squares. As in SPM (Friston et al. 1995, Human Brain Mapping 3:165-189) the slopes
//! are those of the reference, so that they and the normal equations are made once. Points that
//! fall outside the volume are taken out of the equations.

use super::{
    points::{MIN_CONTRAST, Points},
    rigid::{Affine, norm},
    solve::{Cholesky, Gram, N_ROW, add, gram},
    spline::{QUADRATIC, prefilter, quadratic},
};
use crate::{
    separable::{Filtered, Separable},
    smooth::{FWHM_PER_SD, gaussian},
    space::VoxelSpace,
};

/// The estimate has settled when a step moves no part of the head by more.
const SETTLED_MM: f64 = 1e-3;
/// Share of the points that must lie inside the volume.
const MIN_OVERLAP: f64 = 0.3;

/// What came of an estimate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// From the volume to the reference, mm.
    pub motion: Affine,
    /// Whether the last step was small enough.
    pub is_settled: bool,
    /// Correlation of the volume with the reference at the points, before the last step.
    pub correlation: f64,
}

/// Estimates at one resolution.
#[derive(Clone, Debug)]
pub(super) struct Level {
    points: Points,
    /// `row·rowᵀ` summed over all points, lower triangle.
    gram: Gram,
    reference_to_mm: Affine,
    mm_to_voxel: Affine,
    matrix: [usize; 3],
    smooth: Separable,
}

/// A Gaussian of this width on the coefficients of a spline of degree 2.
fn smoothing(space: &VoxelSpace, fwhm_mm: f64) -> Separable {
    let axis = |axis: usize| {
        let n = space.matrix()[axis];
        let sd = fwhm_mm / FWHM_PER_SD / space.voxel_size_mm()[axis];
        prefilter(n, QUADRATIC).then(&gaussian(n, sd, (6.0 * sd).round()))
    };
    Separable::new([axis(0), axis(1), axis(2)], 1)
}

impl Level {
    /// For a reference and volumes of another space. `None` when the reference has too little
    /// contrast.
    pub(super) fn new(
        (space, signal): (&VoxelSpace, &[f32]),
        volumes: &VoxelSpace,
        fwhm_mm: f64,
        separation_mm: f64,
    ) -> Option<Self> {
        let reference_to_mm = Affine::of(space.affine());
        let mut reference = smoothing(space, fwhm_mm);
        let points =
            Points::new(&reference.apply(signal), space.matrix(), &reference_to_mm, separation_mm)?;
        Some(Self {
            gram: gram(&points.rows),
            points,
            reference_to_mm,
            mm_to_voxel: Affine::of(volumes.affine()).inverse(),
            matrix: volumes.matrix(),
            smooth: smoothing(volumes, fwhm_mm),
        })
    }

    /// Prepares the volume for the calls of `fit` that follow.
    pub(super) fn take(&mut self, signal: &[f32]) {
        self.smooth.apply(signal);
    }

    /// Improves an estimate for the volume taken last, in at most so many steps. `None` when the
    /// volume has no contrast, or too little of it is left inside.
    pub(super) fn fit(&self, start: Affine, max_steps: usize) -> Option<Found> {
        let mut found = Found { motion: start, is_settled: false, correlation: 0.0 };
        for _ in 0..max_steps {
            let to_voxel =
                self.mm_to_voxel.after(&found.motion.inverse()).after(&self.reference_to_mm);
            let sums = self.compare(&self.smooth.filtered(), &to_voxel);
            if sums.gram[7][7] < MIN_OVERLAP * self.gram[7][7] {
                return None;
            }
            let (scale, correlation) = sums.scale_and_correlation()?;
            found.correlation = correlation;
            let right: [f64; 6] =
                std::array::from_fn(|i| scale * sums.with_volume[i] - sums.gram[6][i]);
            let [x, y, z, a, b, c] = Cholesky::<6>::new(&sums.gram)?.solve(right);
            let length_mm = norm([x, y, z]) + norm([a, b, c]);
            if !length_mm.is_finite() {
                return None;
            }
            let rotation = [a, b, c].map(|turn| turn / self.points.radius_mm);
            let step = Affine::step([x, y, z], rotation, self.points.centre_mm);
            found.motion = step.after(&found.motion);
            if length_mm < SETTLED_MM {
                found.is_settled = true;
                break;
            }
        }
        Some(found)
    }

    /// Size of a motion: translation of the middle of the reference, plus rotation at this radius.
    pub(super) fn distance_mm(&self, motion: &Affine, radius_mm: f64) -> f64 {
        let (from, to) = (self.points.centre_mm, motion.apply(self.points.centre_mm));
        norm(std::array::from_fn(|axis| to[axis] - from[axis])) + radius_mm * motion.angle_rad()
    }

    /// Compares the volume with the reference. `to_voxel`: from voxels of the reference to voxels
    /// of the volume.
    fn compare(&self, volume: &Filtered<'_>, to_voxel: &Affine) -> Sums {
        let linear = to_voxel.linear.map(|row| row.map(|v| v as f32));
        let shift = to_voxel.shift.map(|v| v as f32);
        let last = self.matrix.map(|n| (n - 1) as f32);
        let mut sums = Sums { gram: self.gram, with_volume: [0.0; N_ROW], square: 0.0 };
        for (at, row) in self.points.voxel.iter().zip(&self.points.rows) {
            let p: [f32; 3] = std::array::from_fn(|i| {
                linear[i][0] * at[0] + linear[i][1] * at[1] + linear[i][2] * at[2] + shift[i]
            });
            if !(0..3).all(|axis| p[axis] >= 0.0 && p[axis] <= last[axis]) {
                add(&mut sums.gram, row, -1.0);
                continue;
            }
            let signal = sample(volume, p);
            for (sum, value) in sums.with_volume.iter_mut().zip(row) {
                *sum += f64::from(signal * value);
            }
            sums.square += f64::from(signal) * f64::from(signal);
        }
        sums
    }
}

/// Sums over the points inside the volume.
struct Sums {
    /// Of `row·rowᵀ`, lower triangle.
    gram: Gram,
    /// Of the row times the volume's signal.
    with_volume: [f64; N_ROW],
    /// Of the volume's signal, squared.
    square: f64,
}

impl Sums {
    /// The factor of the volume's signal, and the correlation with the reference. `None` when the
    /// volume has no signal.
    fn scale_and_correlation(&self) -> Option<(f64, f64)> {
        let n = self.gram[7][7];
        let (volume, reference) = (self.with_volume[7] / n, self.gram[7][6] / n);
        let scale = reference / volume;
        let of_volume = self.square / n - volume * volume;
        let of_reference = self.gram[6][6] / n - reference * reference;
        let both = self.with_volume[6] / n - volume * reference;
        let has_contrast = of_volume > MIN_CONTRAST * volume * volume && volume > 0.0;
        has_contrast.then(|| (scale, both / (of_volume * of_reference).sqrt()))
    }
}

/// The spline of degree 2 at a point inside the volume. A margin of 1 voxel.
#[inline]
fn sample(volume: &Filtered<'_>, at: [f32; 3]) -> f32 {
    let nearest = at.map(|v| (v + 0.5) as i32);
    let [x, y, z]: [[f32; 4]; 3] =
        std::array::from_fn(|axis| quadratic(at[axis] - nearest[axis] as f32));
    let [from_x, from_y, from_z] = nearest.map(|v| v as usize);
    let mut from = from_x + from_y * volume.stride_y + from_z * volume.stride_z;
    let mut sum = [0.0; 4];
    for weight_z in &z[..3] {
        for (row, weight_y) in y[..3].iter().enumerate() {
            let weight = weight_z * weight_y;
            let values = &volume.values[from + row * volume.stride_y..][..4];
            (0..4).for_each(|lane| sum[lane] += weight * values[lane]);
        }
        from += volume.stride_z;
    }
    (sum[0] * x[0] + sum[1] * x[1]) + sum[2] * x[2]
}
