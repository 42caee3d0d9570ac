//! The closest orientation to RAS+ that keeps voxels where they are on the grid: axes are
//! swapped and flipped, nothing is interpolated.
//! [`Turn::to_ras`] says which orientation that is.

use std::borrow::Cow;

use corticast_bold::{
    decode::Order,
    space::{InvalidSpace, VoxelSpace},
    turn::Turn,
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
        let turn = Turn::to_ras(stored);
        let space = turn.space(stored)?;
        let source = turn.sources(order);
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
