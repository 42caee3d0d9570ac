//! Masks against values computed by hand: order, weights, rows, hash, and refused values.

use ndarray::ShapeBuilder;

use super::{gather::TILE, *};
use crate::time::TrIndex;

fn space() -> VoxelSpace {
    let affine = [[2., 0., 0., 0.], [0., 2., 0., 0.], [0., 0., 2., 0.], [0., 0., 0., 1.]];
    VoxelSpace::new([2, 3, 2], affine).unwrap()
}

/// A volume whose voxel holds its own linear index.
fn ramp() -> Array3<f32> {
    Array3::from_shape_vec([2, 3, 2], (0..12).map(|i| i as f32).collect()).unwrap()
}

fn process(mask: &mut SpatialMask, voxels: Array3<f32>) -> Result<Vec<f32>, MaskError> {
    let volume = Volume { tr: TrIndex(0), acquisition_time_s: 0.0, voxels };
    Ok(mask.process(volume)?.unwrap().bold.to_vec())
}

fn in_fortran_order(c: &Array3<f32>) -> Array3<f32> {
    let mut f = Array3::zeros(c.raw_dim().f());
    f.assign(c);
    f
}

#[test]
fn voxels_come_in_model_order_whatever_the_strides() {
    let mut image = Array3::zeros([2, 3, 2]);
    image[[0, 1, 1]] = 1.0;
    image[[1, 2, 0]] = 1.0;
    let mut mask = SpatialMask::from_image(space(), image.view()).unwrap();
    assert_eq!(mask.kind(), "boolean");
    // (x·3 + y)·2 + z
    assert_eq!(process(&mut mask, ramp()).unwrap(), [3.0, 10.0]);
    assert_eq!(process(&mut mask, in_fortran_order(&ramp())).unwrap(), [3.0, 10.0]);
}

#[test]
fn a_volume_of_many_tiles_comes_in_model_order_too() {
    let matrix = [2 * TILE[0] + 1, 3, TILE[1] + 1];
    let space = VoxelSpace::new(matrix, *space().affine()).unwrap();
    let values: Vec<f32> = (0..space.n_voxel()).map(|i| i as f32).collect();
    let ramp = Array3::from_shape_vec(matrix, values.clone()).unwrap();
    let mut mask = SpatialMask::whole(space);
    assert_eq!(process(&mut mask, in_fortran_order(&ramp)).unwrap(), values);
    assert_eq!(process(&mut mask, ramp).unwrap(), values);
}

#[test]
fn weights_and_rows_multiply_and_sum() {
    let mut image = Array3::zeros([2, 3, 2]);
    image[[0, 0, 1]] = 0.5;
    image[[0, 1, 0]] = -2.0;
    let mut weighted = SpatialMask::from_image(space(), image.view()).unwrap();
    assert_eq!(process(&mut weighted, ramp()).unwrap(), [0.5, -4.0]);

    let rows = SparseRows {
        indptr: vec![0, 2, 2, 3],
        indices: vec![1, 3, 11],
        weights: vec![1.0, 2.0, 1.0],
    };
    let mut parcels = SpatialMask::from_rows(space(), rows).unwrap();
    assert_eq!(process(&mut parcels, ramp()).unwrap(), [7.0, 0.0, 11.0]);
    assert_eq!(process(&mut parcels, in_fortran_order(&ramp())).unwrap(), [7.0, 0.0, 11.0]);
}

#[test]
fn a_nan_inside_the_mask_drops_the_volume_and_outside_does_not() {
    let mut image = Array3::zeros([2, 3, 2]);
    image[[0, 0, 0]] = 1.0;
    let mut mask = SpatialMask::from_image(space(), image.view()).unwrap();
    let mut outside = ramp();
    outside[[1, 1, 1]] = f32::NAN;
    assert!(process(&mut mask, outside).is_ok());
    let mut inside = ramp();
    inside[[0, 0, 0]] = f32::INFINITY;
    let error = process(&mut mask, inside).unwrap_err();
    assert_eq!(error, MaskError::NotFinite { index: 0, n_voxel: 1 });
}

#[test]
fn the_hash_depends_on_voxels_weights_and_place() {
    let mut image = Array3::zeros([2, 3, 2]);
    image[[0, 0, 0]] = 1.0;
    let hash = |image: &Array3<f32>, space| {
        SpatialMask::from_image(space, image.view()).unwrap().hash().to_owned()
    };
    let first = hash(&image, space());
    image[[0, 0, 0]] = 2.0;
    assert_ne!(hash(&image, space()), first, "weight");
    image[[0, 0, 0]] = 1.0;
    let mut affine = *space().affine();
    affine[0][3] = 1e-9;
    let rounded = VoxelSpace::new([2, 3, 2], affine).unwrap();
    assert_eq!(hash(&image, rounded), first, "rounded to 1e-6");
    affine[0][3] = 1.0;
    let elsewhere = VoxelSpace::new([2, 3, 2], affine).unwrap();
    assert_ne!(hash(&image, elsewhere), first, "place");
}

#[test]
fn masks_that_contradict_themselves_are_refused() {
    let empty = Array3::zeros([2, 3, 2]);
    let refused = SpatialMask::from_image(space(), empty.view()).unwrap_err();
    assert_eq!(refused, InvalidMask::Empty);
    let outside = SparseRows { indptr: vec![0, 1], indices: vec![12], weights: vec![1.0] };
    assert!(SpatialMask::from_rows(space(), outside).is_err());
    let falling = SparseRows { indptr: vec![0, 2, 1], indices: vec![0], weights: vec![1.0] };
    assert!(SpatialMask::from_rows(space(), falling).is_err());
}
