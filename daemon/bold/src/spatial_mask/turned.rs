//! A mask and volumes on one grid in different voxel orders.
//!
//! The outputs keep the order of the mask, so the model gets what it was trained on. Only the places
//! change at which voxels are read.

use super::{
    SpatialMask,
    gather::Gather,
    hash::{hash_rows, hash_voxels},
};
use crate::{
    space::{SpaceMismatch, VoxelSpace},
    turn::Turn,
};

/// Where the voxels of a mask are in volumes of another order.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    /// Matrix of the volumes.
    pub(super) matrix: [usize; 3],
    pub(super) gather: Gather,
}

impl SpatialMask {
    /// Prepares for stored volumes of this space, in whatever voxel order they are.
    ///
    /// # Errors
    ///
    /// Fails when the scan is not on the mask's grid; the mask is then as before.
    pub fn start_run(&mut self, scan: &VoxelSpace) -> Result<(), SpaceMismatch> {
        let turn = Turn::between(scan, &self.space)?;
        self.scan = (!turn.is_none()).then(|| Scan {
            matrix: scan.matrix(),
            gather: self.gather.moved(scan, |indices| turn.indices_before(indices)),
        });
        Ok(())
    }

    /// The same mask in the voxel order of another space. The outputs of an image are in the new
    /// order then; those of a sparse matrix keep theirs.
    ///
    /// # Errors
    ///
    /// Fails when the space is not the mask's grid.
    pub fn in_space(&self, space: &VoxelSpace) -> Result<Self, SpaceMismatch> {
        let turn = Turn::between(&self.space, space)?.back();
        let space = space.clone();
        let moved = |indices: &[u32]| turn.indices_before(indices);
        Ok(match &self.gather {
            Gather::Voxels { weights, .. } => {
                let boolean = weights.is_empty();
                let weight = |at: usize| if boolean { 1.0 } else { weights[at] };
                let voxels = moved(&self.gather.indices()).into_iter().enumerate();
                let mut voxels: Vec<(u32, f32)> =
                    voxels.map(|(at, index)| (index, weight(at))).collect();
                voxels.sort_unstable_by_key(|&(index, _)| index);
                let (indices, weights): (Vec<u32>, Vec<f32>) = voxels.into_iter().unzip();
                let hash = hash_voxels(&space, &indices, &weights);
                let weights = if boolean { Vec::new() } else { weights };
                let gather = Gather::voxels(&space, &indices, weights);
                Self { space, hash, gather, scan: None }
            }
            Gather::Rows { indptr, c, weights, .. } => {
                let mut entries: Vec<(u32, f32)> =
                    moved(c).into_iter().zip(weights.iter().copied()).collect();
                for row in indptr.windows(2) {
                    // As programs write them: ascending in each row.
                    entries[row[0] as usize..row[1] as usize].sort_by_key(|&(index, _)| index);
                }
                let (indices, weights): (Vec<u32>, Vec<f32>) = entries.into_iter().unzip();
                let hash = hash_rows(&space, indptr, &indices, &weights);
                let gather = Gather::rows(&space, indptr.clone(), indices, weights);
                Self { space, hash, gather, scan: None }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, ShapeBuilder};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        decode::{Dtype, Order, StoredVolume},
        spatial_mask::SparseRows,
        stage::Stage,
        time::TrIndex,
    };

    const MATRIX: [usize; 3] = [3, 4, 5];

    fn grid() -> VoxelSpace {
        let affine = [[-3., 0., 0.2, 9.], [0., 2.5, 0., -4.], [0.1, 0., 4., 1.], [0., 0., 0., 1.]];
        VoxelSpace::new(MATRIX, affine).unwrap()
    }

    /// The grid in the order that is some swaps and reversals away.
    fn any_order() -> impl Strategy<Value = (Turn, VoxelSpace)> {
        Turn::any(MATRIX).prop_map(|turn| (turn, turn.space(&grid()).unwrap()))
    }

    /// Values x fastest, by place in mm: independent of the order.
    fn by_place(space: &VoxelSpace, value: impl Fn(f64) -> f32) -> Vec<f32> {
        let [nx, ny, nz] = space.matrix();
        let mut values = Vec::new();
        for (z, y, x) in
            (0..nz).flat_map(|z| (0..ny).flat_map(move |y| (0..nx).map(move |x| (z, y, x))))
        {
            let [a, b, c] = space.position_mm([x, y, z].map(|i| i as f64));
            values.push(value(a + 31.0 * b + 977.0 * c));
        }
        values
    }

    fn image(space: &VoxelSpace, value: impl Fn(f64) -> f32) -> SpatialMask {
        let values = Array3::from_shape_vec(space.matrix().f(), by_place(space, value)).unwrap();
        SpatialMask::from_image(space.clone(), values.view()).unwrap()
    }

    fn signals(mask: &mut SpatialMask, scan: &VoxelSpace, order: Order) -> Vec<f32> {
        let signal = by_place(scan, |place| place as f32);
        let volume = Array3::from_shape_vec(scan.matrix().f(), signal).unwrap();
        let bytes = |value: &f32| value.to_le_bytes();
        let voxels: Vec<u8> = match order {
            Order::C => volume.iter().flat_map(bytes).collect(),
            Order::F => volume.t().iter().flat_map(bytes).collect(),
        };
        mask.start_run(scan).unwrap();
        let stored = StoredVolume {
            tr: TrIndex(0),
            acquisition_time_s: 0.0,
            matrix: scan.matrix(),
            dtype: Dtype::Float32,
            order,
            slope: None,
            intercept: None,
            voxels: &voxels,
        };
        mask.process(stored).unwrap().unwrap().bold.to_vec()
    }

    fn near(a: &[f32], b: &[f32]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 0.05)
    }

    proptest! {
        /// The scan's order does not change what a mask gives, nor does the order of its file.
        #[test]
        fn signals_are_the_same_whatever_the_orders(
            (_, scan) in any_order(),
            (_, drawn) in any_order(),
            order in prop_oneof![Just(Order::C), Just(Order::F)],
            weighted in any::<bool>(),
        ) {
            let value = |place: f64| {
                let inside = ((place * 10.0).round() as i64).rem_euclid(7) < 3;
                let weight = if weighted { 0.5 + (place as f32).abs() / 1e4 } else { 1.0 };
                if inside { weight } else { 0.0 }
            };
            let expected = signals(&mut image(&grid(), value), &grid(), Order::F);
            let mut mask = image(&drawn, value).in_space(&grid()).unwrap();
            prop_assert!(near(&signals(&mut mask, &scan, order), &expected));
            if !weighted {
                let model = image(&grid(), value);
                prop_assert_eq!(mask.hash(), model.hash());
            }
        }

        /// The rows of a sparse matrix keep their order.
        #[test]
        fn rows_keep_their_order((_, scan) in any_order(), (_, drawn) in any_order()) {
            let rows = SparseRows {
                indptr: vec![0, 2, 3],
                indices: vec![7, 41, 12],
                weights: vec![0.5, 0.5, -2.0],
            };
            let mut mask = SpatialMask::from_rows(grid(), rows).unwrap();
            let expected = signals(&mut mask, &grid(), Order::F);
            prop_assert!(near(&signals(&mut mask, &scan, Order::C), &expected));
            let there = mask.in_space(&drawn).unwrap();
            prop_assert!(near(&signals(&mut there.clone(), &scan, Order::F), &expected));
            let back = there.in_space(&grid()).unwrap();
            prop_assert_eq!(back.hash(), mask.hash());
        }
    }

    #[test]
    fn a_scan_on_another_grid_is_refused() {
        let mut affine = *grid().affine();
        affine[1][3] += 2.0;
        let shifted = VoxelSpace::new(MATRIX, affine).unwrap();
        let error = image(&grid(), |_| 1.0).start_run(&shifted).unwrap_err();
        assert!(error.to_string().contains("2.000 mm"), "{error}");
    }
}
