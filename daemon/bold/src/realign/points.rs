//! Where the reference is compared with a volume, and how the reference changes there with motion.
//!
//! The points are a grid with a fixed separation in mm. Each is moved by a fraction of half a voxel
//! (the additive recurrence of Roberts, 2018), because a spline smooths less at the voxels than
//! between them, and a grid that falls on the voxels would prefer not to move. Points that say
//! little about motion are left out as in SPM: those of least leverage, until the determinant of
//! the normal equations has fallen to `QUALITY` of its value.

use super::{
    rigid::{Affine, Matrix, cross, norm, times},
    solve::{Cholesky, Row, add, gram},
    spline::{quadratic, quadratic_slope},
};
use crate::separable::Filtered;

/// Determinant with the chosen points over that with all of them. SPM's default.
const QUALITY: f64 = 0.9;
/// Most points before some are left out; a larger volume is compared at points farther apart. A
/// head has 100,000.
const MAX_POINTS: usize = 400_000;
/// Points are left out in this many steps at most.
const LEFT_OUT: usize = 100;

/// Variance over squared mean below which a volume counts as constant: far below any head's.
pub(super) const MIN_CONTRAST: f64 = 1e-6;

/// Points of the reference.
#[derive(Clone, Debug)]
pub(super) struct Points {
    /// Voxel coordinates in the reference.
    pub voxel: Vec<[f32; 3]>,
    /// The change of the reference's signal with translation along x, y, z (per mm) and rotation
    /// about x, y, z through `centre_mm` (per mm at `radius_mm`), its signal, and 1. The signal is
    /// divided by its mean.
    pub rows: Vec<Row>,
    /// About the middle of the reference.
    pub centre_mm: [f64; 3],
    /// The unit of rotations: one radian moves a point at this distance by this many mm.
    pub radius_mm: f64,
}

impl Points {
    /// Of the reference, smoothed. `None` when it has no contrast that tells all six motions.
    pub(super) fn new(
        smoothed: &Filtered<'_>,
        matrix: [usize; 3],
        to_mm: &Affine,
        separation_mm: f64,
    ) -> Option<Self> {
        let middle = matrix.map(|n| (n - 1) as f64 / 2.0);
        let centre_mm = to_mm.apply(middle);
        let corner = to_mm.apply([0.0; 3]);
        let radius_mm = norm(std::array::from_fn(|axis| corner[axis] - centre_mm[axis])) / 2.0;
        let to_voxel = to_mm.inverse();
        let mut points = Self {
            voxel: grid(matrix, to_mm, separation_mm),
            rows: Vec::new(),
            centre_mm,
            radius_mm,
        };
        let samples: Vec<_> = points.voxel.iter().map(|&at| sample(smoothed, at)).collect();
        let mean = mean_of_contrast(samples.iter().map(|(signal, _)| f64::from(*signal)))?;
        for (&at, (signal, slope)) in points.voxel.iter().zip(samples) {
            let slope = times(&transposed(&to_voxel.linear), slope.map(|s| f64::from(s) / mean));
            let from_centre = {
                let p = to_mm.apply(at.map(f64::from));
                std::array::from_fn(|axis| (p[axis] - centre_mm[axis]) / radius_mm)
            };
            let turn = cross(from_centre, slope);
            let row = [slope[0], slope[1], slope[2], turn[0], turn[1], turn[2]].map(|v| v as f32);
            let [a, b, c, d, e, f] = row;
            points.rows.push([a, b, c, d, e, f, (f64::from(signal) / mean) as f32, 1.0]);
        }
        points.choose()?;
        Some(points)
    }

    /// Leaves out the points that say least. `None` when all of them do not tell the six motions.
    fn choose(&mut self) -> Option<()> {
        let mut sums = gram(&self.rows);
        let all = Cholesky::<7>::new(&sums)?;
        let leverage: Vec<f32> = self.rows.iter().map(|row| all.leverage(row)).collect();
        let mut ranked: Vec<usize> = (0..self.rows.len()).collect();
        ranked.sort_unstable_by(|&a, &b| leverage[a].total_cmp(&leverage[b]).then(a.cmp(&b)));
        let mut is_kept = vec![true; self.rows.len()];
        for some in ranked.chunks(self.rows.len().div_ceil(LEFT_OUT)) {
            some.iter().for_each(|&index| add(&mut sums, &self.rows[index], -1.0));
            let left = Cholesky::<7>::new(&sums).map_or(0.0, |left| left.determinant());
            if left < QUALITY * all.determinant() {
                break;
            }
            some.iter().for_each(|&index| is_kept[index] = false);
        }
        let mut kept = is_kept.iter();
        self.rows.retain(|_| kept.next() == Some(&true));
        let mut kept = is_kept.iter();
        self.voxel.retain(|_| kept.next() == Some(&true));
        Some(())
    }
}

/// The mean of the signal, which must be positive. `None` also when the signal hardly differs from
/// point to point: what is left then is the rounding of f32.
fn mean_of_contrast(signal: impl Iterator<Item = f64> + Clone) -> Option<f64> {
    let n = signal.clone().count() as f64;
    let mean = signal.clone().sum::<f64>() / n;
    let variance = signal.map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
    (mean > 0.0 && variance > MIN_CONTRAST * mean * mean).then_some(mean)
}

/// Voxel coordinates of a grid, x fastest.
fn grid(matrix: [usize; 3], to_mm: &Affine, separation_mm: f64) -> Vec<[f32; 3]> {
    // The real root of x⁴ = x + 1 gives the recurrence for three dimensions.
    const ROOT: f64 = 1.220_744_084_605_759_5;
    let size_mm: [f64; 3] =
        std::array::from_fn(|axis| norm(std::array::from_fn(|row| to_mm.linear[row][axis])));
    let n_along = |step: [f64; 3]| -> [usize; 3] {
        std::array::from_fn(|axis| ((matrix[axis] as f64 - 1.5) / step[axis]) as usize + 1)
    };
    let mut step = size_mm.map(|size_mm| separation_mm / size_mm);
    while n_along(step).iter().product::<usize>() > MAX_POINTS {
        step = step.map(|step| 1.1 * step);
    }
    let n = n_along(step);
    let mut points = Vec::with_capacity(n.iter().product());
    for z in 0..n[2] {
        for y in 0..n[1] {
            for x in 0..n[0] {
                let count = points.len() as f64;
                let moved = [ROOT, ROOT * ROOT, ROOT * ROOT * ROOT]
                    .map(|root| (count / root).fract() / 2.0);
                let at = [x, y, z];
                points.push(std::array::from_fn(|axis| {
                    (at[axis] as f64 * step[axis] + moved[axis]) as f32
                }));
            }
        }
    }
    points
}

/// Signal and slope per voxel of the spline at a point inside the volume. A margin of 1 voxel.
fn sample(volume: &Filtered<'_>, at: [f32; 3]) -> (f32, [f32; 3]) {
    let nearest = at.map(|v| (v + 0.5) as usize);
    let t: [f32; 3] = std::array::from_fn(|axis| at[axis] - nearest[axis] as f32);
    let (weights, slopes) = (t.map(quadratic), t.map(quadratic_slope));
    let mut sums = [0.0; 4];
    for z in 0..3 {
        for y in 0..3 {
            let from = nearest[0]
                + (nearest[1] + y) * volume.stride_y
                + (nearest[2] + z) * volume.stride_z;
            let dot =
                |along: &[f32; 4]| (0..3).map(|x| along[x] * volume.values[from + x]).sum::<f32>();
            let (value, slope) = (dot(&weights[0]), dot(&slopes[0]));
            sums[0] += weights[2][z] * weights[1][y] * value;
            sums[1] += weights[2][z] * weights[1][y] * slope;
            sums[2] += weights[2][z] * slopes[1][y] * value;
            sums[3] += slopes[2][z] * weights[1][y] * value;
        }
    }
    (sums[0], [sums[1], sums[2], sums[3]])
}

fn transposed(m: &Matrix) -> Matrix {
    std::array::from_fn(|row| std::array::from_fn(|column| m[column][row]))
}
