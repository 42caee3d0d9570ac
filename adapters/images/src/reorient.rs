//! The closest orientation to RAS+ that keeps voxels where they are on the grid: axes are
//! swapped and flipped, nothing is interpolated.
//!
//! The result equals that of nibabel's `as_closest_canonical`
//! (`nibabel.orientations.io_orientation`) for affines without shear: in turn, each voxel axis goes
//! to the closest of the remaining world axes.

use std::borrow::Cow;

use corticast_bold::{
    decode::Order,
    space::{InvalidSpace, VoxelSpace},
};

/// The mapping from voxels of one space and order to RAS+ voxels, x fastest.
#[derive(Clone, Debug)]
pub struct ToRas {
    space: VoxelSpace,
    /// For each voxel of the result, its position among the stored voxels; `None` when the stored
    /// order is already RAS+.
    source: Option<Vec<u32>>,
}

impl ToRas {
    /// Computes the mapping once for all volumes of a run.
    ///
    /// # Errors
    ///
    /// Never fails for a valid [`VoxelSpace`]; the error type is that of [`VoxelSpace::new`].
    pub fn new(stored: &VoxelSpace, order: Order) -> Result<Self, InvalidSpace> {
        let (from, matrix) = (axes(stored), stored.matrix());
        let affine = stored.affine();
        let mut turned = [[0.0; 4]; 4];
        turned[3][3] = 1.0;
        for row in 0..3 {
            turned[row][3] = affine[row][3];
            for (axis, &(old, flipped)) in from.iter().enumerate() {
                let step = affine[row][old];
                turned[row][axis] = if flipped { -step } else { step };
                if flipped {
                    turned[row][3] += step * (matrix[old] as f64 - 1.0);
                }
            }
        }
        let space = VoxelSpace::new(from.map(|(old, _)| matrix[old]), turned)?;

        let [nx, ny, nz] = matrix;
        let stride = match order {
            Order::C => [ny * nz, nz, 1],
            Order::F => [1, nx, nx * ny],
        };
        let along = |axis: usize, i: usize| {
            let (old, flipped) = from[axis];
            stride[old] * if flipped { matrix[old] - 1 - i } else { i }
        };
        let [nx, ny, nz] = space.matrix();
        let mut source = Vec::with_capacity(space.n_voxel());
        for z in 0..nz {
            for y in 0..ny {
                let line = along(2, z) + along(1, y);
                source.extend((0..nx).map(|x| (line + along(0, x)) as u32));
            }
        }
        let stays = source.iter().enumerate().all(|(i, &at)| i == at as usize);
        Ok(Self { space, source: (!stays).then_some(source) })
    }

    /// Matrix and affine of the result.
    #[must_use]
    pub fn space(&self) -> &VoxelSpace {
        &self.space
    }

    /// Reorders the voxels of one volume, each of `size` bytes.
    #[must_use]
    pub fn apply<'a>(&self, voxels: &'a [u8], size: usize) -> Cow<'a, [u8]> {
        let Some(source) = &self.source else { return Cow::Borrowed(voxels) };
        let mut turned = Vec::with_capacity(voxels.len());
        for &at in source {
            let at = at as usize * size;
            turned.extend_from_slice(&voxels[at..at + size]);
        }
        Cow::Owned(turned)
    }
}

/// For each world axis, the voxel axis mapped to it and whether that axis is reversed.
fn axes(space: &VoxelSpace) -> [(usize, bool); 3] {
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
    taken.map(|place| place.expect("three axes find three places"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_left_handed_c_order_volume_becomes_ras_with_x_fastest() {
        // Voxel x runs to the left; z runs forward and y up.
        let affine = [[-2., 0., 0., 10.], [0., 0., 3., 0.], [0., 4., 0., 5.], [0., 0., 0., 1.]];
        let stored = VoxelSpace::new([2, 1, 3], affine).unwrap();
        let to_ras = ToRas::new(&stored, Order::C).unwrap();
        assert_eq!(to_ras.space().matrix(), [2, 3, 1]);
        let expected = [[2., 0., 0., 8.], [0., 3., 0., 0.], [0., 0., 4., 5.], [0., 0., 0., 1.]];
        assert_eq!(to_ras.space().affine(), &expected);
        // Stored [x][z]: x = 0 is 0 1 2, x = 1 (further left) is 3 4 5.
        assert_eq!(*to_ras.apply(&[0, 1, 2, 3, 4, 5], 1), [3, 0, 4, 1, 5, 2]);
    }

    #[test]
    fn what_is_ras_already_is_not_copied() {
        let affine = [[2., 0.1, 0., 0.], [-0.1, 2., 0., 0.], [0., 0., 2., 0.], [0., 0., 0., 1.]];
        let stored = VoxelSpace::new([2, 2, 1], affine).unwrap();
        let to_ras = ToRas::new(&stored, Order::F).unwrap();
        assert!(matches!(to_ras.apply(&[0, 1, 2, 3], 1), Cow::Borrowed(_)));
        assert_eq!(to_ras.space(), &stored);
    }
}
