//! Reslicing: the signal of a volume where its voxels would be without motion.
//!
//! A B-spline of degree 4, as in SPM. A voxel that comes from outside the field of view takes the
//! signal of the nearest point inside: the edge is held.

use super::{
    InvalidRealign, check_space,
    rigid::Affine,
    spline::{QUARTIC, prefilter, quartic},
};
use crate::{
    separable::{Filtered, Separable},
    space::VoxelSpace,
    volume::Motion,
};

/// Voxels that are worked on together, along x.
const LANES: usize = 4;
/// Coefficients along each axis on which a point depends.
const TAPS: usize = 5;

/// Reslices volumes of one space.
#[derive(Clone, Debug)]
pub struct Reslice {
    space: VoxelSpace,
    coefficients: Separable,
}

/// Where neighbouring voxels come from, for each axis.
struct Places {
    /// Position in the values with the margin, of the first coefficient.
    from: [[usize; LANES]; 3],
    /// Weight of each coefficient.
    weights: [[[f32; LANES]; TAPS]; 3],
}

impl Reslice {
    /// For volumes of this space.
    ///
    /// # Errors
    ///
    /// Fails when an axis has fewer than 4 voxels, or voxels are not of 0.1 to 20 mm.
    pub fn new(space: &VoxelSpace) -> Result<Self, InvalidRealign> {
        check_space(space)?;
        let axes = space.matrix().map(|n| prefilter(n, QUARTIC));
        Ok(Self { space: space.clone(), coefficients: Separable::new(axes, TAPS / 2) })
    }

    /// Replaces the signal of a volume, x fastest, by that at the same voxels of the reference.
    /// `motion` takes the volume to the reference.
    pub fn apply(&mut self, signal: &mut [f32], motion: &Motion) {
        let map = self.map(&motion.affine(), &self.space);
        self.coefficients.apply(signal);
        self.fill(signal, self.space.matrix(), &map);
    }

    /// The signal of a volume, x fastest, at the voxels of another space. `motion` takes the volume
    /// to that space.
    pub(super) fn onto(&mut self, signal: &[f32], motion: &Affine, space: &VoxelSpace) -> Vec<f32> {
        let map = self.map(motion, space);
        self.coefficients.apply(signal);
        let mut resliced = vec![0.0; space.n_voxel()];
        self.fill(&mut resliced, space.matrix(), &map);
        resliced
    }

    /// From voxels of a space to those of the volume.
    pub(super) fn map(&self, motion: &Affine, space: &VoxelSpace) -> Affine {
        let to_mm = Affine::of(space.affine());
        Affine::of(self.space.affine()).inverse().after(&motion.inverse()).after(&to_mm)
    }

    /// Fills a signal of this matrix from the coefficients that were made last.
    fn fill(&self, signal: &mut [f32], [nx, ny, _]: [usize; 3], map: &Affine) {
        let volume = self.coefficients.filtered();
        let last = self.space.matrix().map(|n| (n - 1) as f32);
        let along: [f32; 3] = std::array::from_fn(|axis| map.linear[axis][0] as f32);
        for (index, row) in signal.chunks_exact_mut(nx).enumerate() {
            let start = map.apply([0.0, (index % ny) as f64, (index / ny) as f64]);
            let start = start.map(|v| v as f32);
            for (chunk, out) in row.chunks_mut(LANES).enumerate() {
                let places = Places::new(start, along, last, chunk * LANES);
                if places.are_neighbours(out.len()) {
                    out.copy_from_slice(&places.together(&volume)[..out.len()]);
                } else {
                    let each = out.iter_mut().enumerate();
                    each.for_each(|(lane, out)| *out = places.alone(&volume, lane));
                }
            }
        }
    }
}

impl Places {
    /// Of the voxels from `x` on; a voxel at 0 comes from `start`.
    #[inline]
    fn new(start: [f32; 3], along: [f32; 3], last: [f32; 3], x: usize) -> Self {
        let mut places = Self { from: [[0; LANES]; 3], weights: [[[0.0; LANES]; TAPS]; 3] };
        for axis in 0..3 {
            let at: [f32; LANES] = std::array::from_fn(|lane| {
                let at = start[axis] + along[axis] * (x + lane) as f32;
                at.max(0.0).min(last[axis])
            });
            let nearest = at.map(|at| (at + 0.5) as i32);
            let offset = std::array::from_fn(|lane| at[lane] - nearest[lane] as f32);
            places.from[axis] = nearest.map(|at| at as usize);
            places.weights[axis] = quartic(offset);
        }
        places
    }

    /// Whether the first `n` voxels come from neighbours along x. Most do when a head hardly turns.
    #[inline]
    fn are_neighbours(&self, n: usize) -> bool {
        let [x, y, z] = &self.from;
        (1..n).all(|lane| x[lane] == x[0] + lane && y[lane] == y[0] && z[lane] == z[0])
    }

    /// All voxels, which come from neighbours along x.
    #[inline]
    fn together(&self, volume: &Filtered<'_>) -> [f32; LANES] {
        let [x, y, z] = &self.weights;
        let mut from = self.first(volume, 0);
        let mut sum = [0.0; LANES];
        for weight_z in z {
            let mut plane = [0.0; LANES];
            for (row, weight_y) in y.iter().enumerate() {
                let values = &volume.values[from + row * volume.stride_y..][..LANES + TAPS - 1];
                let mut dot = [0.0; LANES];
                for (tap, weight_x) in x.iter().enumerate() {
                    (0..LANES).for_each(|lane| dot[lane] += weight_x[lane] * values[lane + tap]);
                }
                (0..LANES).for_each(|lane| plane[lane] += weight_y[lane] * dot[lane]);
            }
            (0..LANES).for_each(|lane| sum[lane] += weight_z[lane] * plane[lane]);
            from += volume.stride_z;
        }
        sum
    }

    /// One voxel. The vectors are the coefficients along x.
    fn alone(&self, volume: &Filtered<'_>, lane: usize) -> f32 {
        let [x, y, z] = &self.weights;
        let mut from = self.first(volume, lane);
        let mut sum = [0.0; TAPS + 3];
        for weight_z in z {
            let mut plane = [0.0; TAPS + 3];
            for (row, weight_y) in y.iter().enumerate() {
                let values = &volume.values[from + row * volume.stride_y..][..TAPS + 3];
                (0..TAPS + 3).for_each(|tap| plane[tap] += weight_y[lane] * values[tap]);
            }
            (0..TAPS + 3).for_each(|tap| sum[tap] += weight_z[lane] * plane[tap]);
            from += volume.stride_z;
        }
        x.iter().zip(sum).map(|(weight, sum)| weight[lane] * sum).sum()
    }

    #[inline]
    fn first(&self, volume: &Filtered<'_>, lane: usize) -> usize {
        let [x, y, z] = &self.from;
        x[lane] + y[lane] * volume.stride_y + z[lane] * volume.stride_z
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MATRIX: [usize; 3] = [12, 11, 9];

    fn space() -> VoxelSpace {
        let affine =
            [[-3., 0., 0., 16.5], [0., 3., 0., -15.], [0., 0., 4., -16.], [0., 0., 0., 1.]];
        VoxelSpace::new(MATRIX, affine).unwrap()
    }

    fn signal() -> Vec<f32> {
        let value = |x: usize, y: usize, z: usize| ((7 * x + 13 * y + 29 * z) % 17) as f32;
        (0..12 * 11 * 9).map(|i| value(i % 12, i / 12 % 11, i / 132)).collect()
    }

    fn at(signal: &[f32], [x, y, z]: [usize; 3]) -> f32 {
        signal[x + 12 * (y + 11 * z)]
    }

    /// scipy 1.17: `affine_transform(v, order=4, mode="mirror")` with the matrix
    /// `inv(A)·inv(M)·A`. Rough signal, so the tolerance is 1e-4 of its range.
    #[test]
    fn inside_the_field_of_view_reslicing_equals_scipy() {
        let motion = Motion { translation_mm: [1.2, -0.7, 2.1], rotation_rad: [0.03, -0.02, 0.05] };
        let mut resliced = signal();
        Reslice::new(&space()).unwrap().apply(&mut resliced, &motion);
        for (voxel, expected) in [
            ([5, 5, 4], 3.786_35),
            ([2, 3, 2], 12.817_477),
            ([9, 7, 6], 4.349_449),
            ([4, 8, 5], 6.365_62),
            ([10, 2, 3], 8.304_406),
        ] {
            let found = at(&resliced, voxel);
            assert!((found - expected).abs() < 1.6e-3, "{voxel:?}: {found}, scipy {expected}");
        }
    }

    #[test]
    fn outside_the_field_of_view_the_edge_is_held() {
        // Two slices up: the lowest ones come from outside.
        let motion = Motion { translation_mm: [0.0, 0.0, 8.0], ..Motion::default() };
        let (before, mut resliced) = (signal(), signal());
        Reslice::new(&space()).unwrap().apply(&mut resliced, &motion);
        for z in 0..9 {
            let (found, expected) = (at(&resliced, [3, 4, z]), at(&before, [3, 4, z.max(2) - 2]));
            assert!((found - expected).abs() < 1e-3, "slice {z}: {found}, {expected}");
        }
        // A head that is gone leaves one value, and no NaN.
        let gone = Motion { translation_mm: [1e9; 3], rotation_rad: [3.0; 3] };
        Reslice::new(&space()).unwrap().apply(&mut resliced, &gone);
        assert!(resliced.iter().all(|signal| signal.is_finite()));
    }
}
