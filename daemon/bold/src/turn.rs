//! Turn: the same grid of voxels in another order.
//!
//! Programs store one grid in different orders: the scanner from right to left (LPS), dcm2niix from
//! left to right but back to front (LAS), `--dump` in RAS. A turn swaps and reverses axes, so each
//! voxel keeps its place in mm, and nothing is interpolated. It is found from the two affines.
//! Masks, reference images, regions and scans are all turned by this code.

use crate::{
    decode::Order,
    space::{AFFINE_TOLERANCE_MM, InvalidSpace, SpaceMismatch, VoxelSpace},
    volume::Volume,
};

/// The orders in which three axes can come.
const PERMUTATIONS: [[usize; 3]; 6] =
    [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// From the voxel order of one grid to another order. See the module docs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Voxels along x, y, z before the turn.
    matrix: [usize; 3],
    /// For each axis after the turn: the axis before it, and whether that axis is reversed.
    axes: [(usize, bool); 3],
}

impl Turn {
    /// The turn that leaves everything as it is.
    #[must_use]
    pub fn none(matrix: [usize; 3]) -> Self {
        Self { matrix, axes: [(0, false), (1, false), (2, false)] }
    }

    /// The turn that takes voxels of the space `found` into the order of the space `expected`.
    ///
    /// # Errors
    ///
    /// Fails unless both are one grid: in some order of axes and directions the matrix is the same
    /// and no corner is further than [`AFFINE_TOLERANCE_MM`] away. The distance in the error is
    /// that of the closest order.
    pub fn between(found: &VoxelSpace, expected: &VoxelSpace) -> Result<Self, SpaceMismatch> {
        let mut best: Option<(f64, Self, VoxelSpace)> = None;
        for permutation in PERMUTATIONS {
            for reversed in 0..8_usize {
                let axes =
                    std::array::from_fn(|axis| (permutation[axis], reversed >> axis & 1 == 1));
                let turn = Self { matrix: found.matrix(), axes };
                if turn.turned_matrix() != expected.matrix() {
                    continue;
                }
                let Ok(space) = turn.space(found) else { continue };
                let distance_mm = space.corner_distance_mm(expected);
                // The first of equals, so a grid without a turn stays as it is.
                if best.as_ref().is_none_or(|(least_mm, ..)| distance_mm < *least_mm) {
                    best = Some((distance_mm, turn, space));
                }
            }
        }
        match best {
            Some((distance_mm, turn, _)) if distance_mm <= AFFINE_TOLERANCE_MM => Ok(turn),
            Some((.., closest)) => Err(closest.mismatch(expected)),
            None => Err(found.mismatch(expected)),
        }
    }

    /// The turn to the order that is closest to RAS+.
    ///
    /// Equals nibabel's `as_closest_canonical` (`nibabel.orientations.io_orientation`) for affines
    /// without shear: in turn, each voxel axis goes to the closest of the remaining world axes.
    #[must_use]
    pub fn to_ras(space: &VoxelSpace) -> Self {
        let (affine, size_mm) = (space.affine(), space.voxel_size_mm());
        let mut taken: [Option<(usize, bool)>; 3] = [None; 3];
        for axis in 0..3 {
            let cosine = |world: usize| affine[world][axis] / size_mm[axis];
            let world = (0..3)
                .filter(|&world| taken[world].is_none())
                // The first of equal values, like numpy's argmax.
                .reduce(|a, b| if cosine(b).abs() > cosine(a).abs() { b } else { a })
                .expect("three axes find three places");
            taken[world] = Some((axis, cosine(world) < 0.0));
        }
        let axes = taken.map(|place| place.expect("three axes find three places"));
        Self { matrix: space.matrix(), axes }
    }

    /// For each axis after the turn: the axis before it, and whether that axis is reversed.
    #[must_use]
    pub(crate) fn axes(&self) -> [(usize, bool); 3] {
        self.axes
    }

    /// Whether everything stays as it is.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::none(self.matrix)
    }

    /// Whether the voxels along this axis, counted after the turn, come from another axis or from
    /// the other end.
    #[must_use]
    pub fn moves(&self, axis: usize) -> bool {
        self.axes.get(axis) != Some(&(axis, false))
    }

    /// Values along an axis before the turn, one for each place: the axis after it, and the values in
    /// its order.
    #[must_use]
    pub fn along(&self, axis: usize, values: &[f64]) -> (usize, Vec<f64>) {
        let found = self.axes.iter().position(|(old, _)| *old == axis);
        let new = found.expect("a turn has each of the three axes");
        let mut values = values.to_vec();
        if self.axes[new].1 {
            values.reverse();
        }
        (new, values)
    }

    /// The turn back.
    #[must_use]
    pub fn back(&self) -> Self {
        let mut axes = [(0, false); 3];
        for (new, &(old, reversed)) in self.axes.iter().enumerate() {
            axes[old] = (new, reversed);
        }
        Self { matrix: self.turned_matrix(), axes }
    }

    /// Voxels along x, y, z after the turn.
    #[must_use]
    pub fn turned_matrix(&self) -> [usize; 3] {
        self.axes.map(|(old, _)| self.matrix[old])
    }

    /// Matrix and affine after the turn of a space. Each voxel keeps its place in mm.
    ///
    /// # Errors
    ///
    /// Never fails for a space of this turn; the error type is that of [`VoxelSpace::new`].
    pub fn space(&self, space: &VoxelSpace) -> Result<VoxelSpace, InvalidSpace> {
        let affine = space.affine();
        let mut turned = [[0.0; 4]; 4];
        turned[3][3] = 1.0;
        for row in 0..3 {
            turned[row][3] = affine[row][3];
            for (axis, &(old, reversed)) in self.axes.iter().enumerate() {
                let step = affine[row][old];
                turned[row][axis] = if reversed { -step } else { step };
                if reversed {
                    turned[row][3] += step * (self.matrix[old] as f64 - 1.0);
                }
            }
        }
        VoxelSpace::new(self.turned_matrix(), turned)
    }

    /// For each voxel after the turn, x fastest: its position among the voxels before it, which are
    /// in this order. Shape `[n_voxel]`.
    #[must_use]
    pub fn sources(&self, order: Order) -> Vec<u32> {
        let [nx, ny, nz] = self.matrix;
        let stride = match order {
            Order::C => [ny * nz, nz, 1],
            Order::F => [1, nx, nx * ny],
        };
        let along = |axis: usize, i: usize| {
            let (old, reversed) = self.axes[axis];
            stride[old] * if reversed { self.matrix[old] - 1 - i } else { i }
        };
        let [nx, ny, nz] = self.turned_matrix();
        let mut sources = Vec::with_capacity(nx * ny * nz);
        for z in 0..nz {
            for y in 0..ny {
                let line = along(2, z) + along(1, y);
                sources.extend((0..nx).map(|x| (line + along(0, x)) as u32));
            }
        }
        sources
    }

    /// The linear index before the turn, `(x·ny + y)·nz + z`, of each linear index after it.
    #[must_use]
    pub(crate) fn indices_before(&self, after: &[u32]) -> Vec<u32> {
        let ([_, ny, nz], [_, old_ny, old_nz]) = (self.turned_matrix(), self.matrix);
        let before = |&linear: &u32| {
            let linear = linear as usize;
            let voxel = [linear / (ny * nz), linear / nz % ny, linear % nz];
            let mut old = [0; 3];
            for (&(axis, reversed), at) in self.axes.iter().zip(voxel) {
                old[axis] = if reversed { self.matrix[axis] - 1 - at } else { at };
            }
            ((old[0] * old_ny + old[1]) * old_nz + old[2]) as u32
        };
        after.iter().map(before).collect()
    }

    /// Values of all voxels in the new order. Both are x fastest, of shape `[n_voxel]`.
    #[must_use]
    pub fn values(&self, values: Vec<f32>) -> Vec<f32> {
        if self.is_none() || values.len() != self.matrix.iter().product::<usize>() {
            return values;
        }
        self.sources(Order::F).into_iter().map(|at| values[at as usize]).collect()
    }

    /// A volume in the new order. One of another matrix than the turn's stays as it is; the stages
    /// refuse it.
    #[must_use]
    pub fn volume(&self, volume: Volume) -> Volume {
        if self.is_none() || volume.matrix != self.matrix {
            return volume;
        }
        Volume { matrix: self.turned_matrix(), signal: self.values(volume.signal), ..volume }
    }
}

#[cfg(test)]
impl Turn {
    /// Every turn of a matrix, for property tests.
    pub(crate) fn any(matrix: [usize; 3]) -> impl proptest::strategy::Strategy<Value = Self> {
        use proptest::strategy::Strategy as _;
        (0..PERMUTATIONS.len(), 0..8_usize).prop_map(move |(permutation, reversed)| Self {
            matrix,
            axes: std::array::from_fn(|i| (PERMUTATIONS[permutation][i], reversed >> i & 1 == 1)),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An oblique grid of 3 x 4 x 5 voxels, with sizes that differ.
    fn oblique() -> VoxelSpace {
        let affine = [
            [-2.9, 0.3, 0.1, 90.0],
            [0.3, 2.4, -0.5, -70.0],
            [0.1, 0.4, 3.8, -20.0],
            [0.0, 0.0, 0.0, 1.0],
        ];
        VoxelSpace::new([3, 4, 5], affine).unwrap()
    }

    proptest! {
        /// Every order of a grid is recognised, and each voxel keeps its place and its value.
        #[test]
        fn a_voxel_keeps_its_place_whatever_the_order(turn in Turn::any([3, 4, 5])) {
            let (before, n_voxel) = (oblique(), 60);
            let after = turn.space(&before).unwrap();
            prop_assert_eq!(Turn::between(&before, &after), Ok(turn));
            prop_assert_eq!(Turn::between(&after, &before), Ok(turn.back()));
            let ramp: Vec<f32> = (0..n_voxel).map(|i| i as f32).collect();
            let turned = turn.values(ramp.clone());
            let [nx, ny, nz] = after.matrix();
            for (x, y, z) in (0..nx).flat_map(|x| (0..ny).flat_map(move |y| (0..nz).map(move |z| (x, y, z)))) {
                let there = after.position_mm([x, y, z].map(|i| i as f64));
                let value = turned[x + nx * (y + ny * z)] as usize;
                let here = before.position_mm([value % 3, value / 3 % 4, value / 12].map(|i| i as f64));
                prop_assert!(here.iter().zip(there).all(|(a, b)| (a - b).abs() < 1e-9));
                let linear = ((x * ny + y) * nz + z) as u32;
                let old = turn.indices_before(&[linear])[0] as usize;
                let old = [old / 20, old / 5 % 4, old % 5];
                prop_assert_eq!(old, [value % 3, value / 3 % 4, value / 12]);
                for (axis, place) in old.into_iter().enumerate() {
                    let places: Vec<f64> = (0..before.matrix()[axis]).map(|at| at as f64).collect();
                    let (new, places) = turn.along(axis, &places);
                    prop_assert!((places[[x, y, z][new]] - place as f64).abs() < 0.5);
                }
            }
            prop_assert_eq!(turn.back().values(turned), ramp);
        }
    }

    #[test]
    fn another_grid_is_refused_with_the_distance_of_its_closest_order() {
        let before = oblique();
        let turn = Turn { matrix: [3, 4, 5], axes: [(1, true), (0, true), (2, false)] };
        let mut affine = *turn.space(&before).unwrap().affine();
        affine[2][3] += 1.5;
        let shifted = VoxelSpace::new([4, 3, 5], affine).unwrap();
        let message = Turn::between(&shifted, &before).unwrap_err().to_string();
        assert!(message.contains("1.500 mm"), "{message}");
        let other = VoxelSpace::new([4, 3, 6], affine).unwrap();
        let error = Turn::between(&other, &before).unwrap_err();
        assert!(matches!(error, SpaceMismatch::Matrix { .. }), "{error}");
    }

    #[test]
    fn rounding_of_a_header_is_the_same_grid() {
        let before = oblique();
        let turn = Turn::to_ras(&before);
        let single =
            turn.space(&before).unwrap().affine().map(|row| row.map(|v| f64::from(v as f32)));
        let rounded = VoxelSpace::new(turn.turned_matrix(), single).unwrap();
        assert_eq!(Turn::between(&before, &rounded), Ok(turn));
    }

    #[test]
    fn a_single_slice_is_recognised_from_either_side() {
        let affine = [[3., 0., 0., 0.], [0., 3., 0., 0.], [0., 0., 4., 0.], [0., 0., 0., 1.]];
        let slice = VoxelSpace::new([2, 3, 1], affine).unwrap();
        let turn = Turn { matrix: [2, 3, 1], axes: [(2, true), (0, false), (1, true)] };
        let other = turn.space(&slice).unwrap();
        assert_eq!(Turn::between(&slice, &other), Ok(turn));
    }
}
