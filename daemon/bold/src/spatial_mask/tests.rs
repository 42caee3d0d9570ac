//! Masks against values computed by hand: order, weights, rows, hash, and refused values.

use ndarray::ShapeBuilder;
use proptest::prelude::*;

use super::{gather::TILE, *};
use crate::{
    decode::{Dtype, Order},
    time::TrIndex,
};

fn space() -> VoxelSpace {
    let affine = [[2., 0., 0., 0.], [0., 2., 0., 0.], [0., 0., 2., 0.], [0., 0., 0., 1.]];
    VoxelSpace::new([2, 3, 2], affine).unwrap()
}

/// A volume whose voxel holds its own linear index.
fn ramp() -> Array3<f32> {
    Array3::from_shape_vec([2, 3, 2], (0..12).map(|i| i as f32).collect()).unwrap()
}

/// The voxels as float32, in C order or F order.
fn float32(voxels: &Array3<f32>, order: Order) -> Vec<u8> {
    let bytes = |value: &f32| value.to_le_bytes();
    match order {
        Order::C => voxels.iter().flat_map(bytes).collect(),
        // The transpose iterates with x fastest.
        Order::F => voxels.t().iter().flat_map(bytes).collect(),
    }
}

fn stored(matrix: [usize; 3], order: Order, voxels: &[u8]) -> StoredVolume<'_> {
    StoredVolume {
        tr: TrIndex(0),
        acquisition_time_s: 0.0,
        matrix,
        dtype: Dtype::Float32,
        order,
        slope: None,
        intercept: None,
        voxels,
    }
}

fn process_in(
    order: Order,
    mask: &mut SpatialMask,
    voxels: &Array3<f32>,
) -> Result<Vec<f32>, MaskError> {
    let matrix = voxels.dim().into();
    let volume = mask.process(stored(matrix, order, &float32(voxels, order)))?;
    Ok(volume.unwrap().bold.to_vec())
}

fn process(mask: &mut SpatialMask, voxels: Array3<f32>) -> Result<Vec<f32>, MaskError> {
    process_in(Order::C, mask, &voxels)
}

#[test]
fn voxels_come_in_model_order_whatever_the_stored_order() {
    let mut image = Array3::zeros([2, 3, 2]);
    image[[0, 1, 1]] = 1.0;
    image[[1, 2, 0]] = 1.0;
    let mut mask = SpatialMask::from_image(space(), image.view()).unwrap();
    assert_eq!(mask.kind(), "boolean");
    // (x·3 + y)·2 + z
    assert_eq!(process(&mut mask, ramp()).unwrap(), [3.0, 10.0]);
    assert_eq!(process_in(Order::F, &mut mask, &ramp()).unwrap(), [3.0, 10.0]);
}

#[test]
fn a_volume_of_many_tiles_comes_in_model_order_too() {
    let matrix = [2 * TILE[0] + 1, 3, TILE[1] + 1];
    let space = VoxelSpace::new(matrix, *space().affine()).unwrap();
    let values: Vec<f32> = (0..space.n_voxel()).map(|i| i as f32).collect();
    let ramp = Array3::from_shape_vec(matrix, values.clone()).unwrap();
    let mut mask = SpatialMask::whole(space);
    assert_eq!(process_in(Order::F, &mut mask, &ramp).unwrap(), values);
    assert_eq!(process(&mut mask, ramp).unwrap(), values);
}

#[test]
fn whole_blocks_and_the_voxels_beside_them_come_in_model_order() {
    let matrix = [TILE[0] + 9, 2, 3 * TILE[1]];
    let space = VoxelSpace::new(matrix, *space().affine()).unwrap();
    let values: Vec<f32> = (0..space.n_voxel()).map(|i| i as f32).collect();
    let ramp = Array3::from_shape_vec(matrix, values.clone()).unwrap();
    // Every 97th voxel is not in the mask: some blocks are whole, others have holes.
    let holes = ramp.mapv(|value| if value as usize % 97 == 5 { 0.0 } else { 1.0 });
    let expected: Vec<f32> = values.into_iter().filter(|value| *value as usize % 97 != 5).collect();
    let mut mask = SpatialMask::from_image(space, holes.view()).unwrap();
    assert_eq!(process_in(Order::F, &mut mask, &ramp).unwrap(), expected);
    assert_eq!(process(&mut mask, ramp).unwrap(), expected);
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
    assert_eq!(process_in(Order::F, &mut parcels, &ramp()).unwrap(), [7.0, 0.0, 11.0]);
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

#[test]
fn a_volume_of_another_size_or_matrix_is_dropped() {
    let mut mask = SpatialMask::whole(space());
    let short = mask.process(stored([2, 3, 2], Order::C, &[0; 47])).unwrap_err();
    assert_eq!(
        short.to_string(),
        "volume 0 has 47 bytes of voxels, expected 48 for its matrix and dtype"
    );
    let turned = mask.process(stored([3, 2, 2], Order::C, &[0; 48])).unwrap_err();
    assert!(matches!(turned, MaskError::Matrix { .. }), "{turned}");
}

/// Converts the whole volume and then masks it: what the stage did before it read the voxels out
/// of the stored bytes. `entries` has the voxels and weights of each output; no weights for a
/// boolean mask.
fn by_the_whole_volume(
    volume: &StoredVolume<'_>,
    entries: &[Vec<([usize; 3], Option<f32>)>],
    is_matrix: bool,
) -> Vec<f32> {
    let slope = volume.slope.filter(|&s| s.abs() > 0.0).unwrap_or(1.0) as f32;
    let intercept = volume.intercept.unwrap_or(0.0) as f32;
    let size = volume.dtype.size_bytes();
    let signal = volume.voxels.chunks_exact(size).map(|voxel| {
        let stored = match volume.dtype {
            Dtype::Int16 => f32::from(i16::from_le_bytes(voxel.try_into().unwrap())),
            Dtype::UInt16 => f32::from(u16::from_le_bytes(voxel.try_into().unwrap())),
            Dtype::Float32 => f32::from_le_bytes(voxel.try_into().unwrap()),
        };
        slope * stored + intercept
    });
    let signal = signal.collect();
    let whole = match volume.order {
        Order::C => Array3::from_shape_vec(volume.matrix, signal),
        Order::F => Array3::from_shape_vec(volume.matrix.f(), signal),
    };
    let whole = whole.unwrap();
    let output = |entries: &Vec<([usize; 3], Option<f32>)>| {
        if is_matrix {
            let product = |&(at, weight): &(_, Option<f32>)| {
                f64::from(whole[at]) * f64::from(weight.unwrap())
            };
            return entries.iter().map(product).sum::<f64>() as f32;
        }
        let (at, weight) = entries[0];
        weight.map_or(whole[at], |weight| whole[at] * weight)
    };
    entries.iter().map(output).collect()
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Boolean,
    Weighted,
    Matrix,
}

/// A few bytes repeated give every pattern of small and large values, NaN and infinity included.
fn any_scaling() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        Just(None),
        Just(Some(0.0)),
        Just(Some(f64::NAN)),
        Just(Some(f64::INFINITY)),
        (-1e3_f64..1e3).prop_map(Some),
        any::<f64>().prop_map(Some),
    ]
}

proptest! {
    /// Reading the mask's voxels out of the stored bytes gives the bits that converting the whole
    /// volume and then masking it gives, for every dtype, order, scaling, kind of mask and size.
    #[test]
    fn gathering_stored_bytes_gives_the_bits_of_converting_the_whole_volume(
        matrix in [1_usize..40, 1_usize..6, 1_usize..20],
        dtype in prop_oneof![Just(Dtype::Int16), Just(Dtype::UInt16), Just(Dtype::Float32)],
        order in prop_oneof![Just(Order::C), Just(Order::F)],
        slope in any_scaling(),
        intercept in any_scaling(),
        kind in prop_oneof![Just(Kind::Boolean), Just(Kind::Weighted), Just(Kind::Matrix)],
        share in 1_u64..=64,
        seed in any::<u64>(),
        is_wild in any::<bool>(),
    ) {
        let space = VoxelSpace::new(matrix, *space().affine()).unwrap();
        // xorshift: one seed gives bytes, mask and weights.
        let mut state = seed | 1;
        let mut draw = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state >> 11
        };
        let voxels: Vec<u8> = (0..space.n_voxel())
            .flat_map(|_| match (dtype, is_wild) {
                (Dtype::Float32, false) => ((draw() % 5000) as f32 - 2500.0).to_le_bytes().to_vec(),
                // Any bits: NaN, infinite and subnormal values too.
                (Dtype::Float32, true) => (draw() as u32).to_le_bytes().to_vec(),
                _ => (draw() as u16).to_le_bytes().to_vec(),
            })
            .collect();
        let volume = StoredVolume { dtype, slope, intercept, ..stored(matrix, order, &voxels) };

        let mut image = Array3::zeros(matrix);
        for value in &mut image {
            if draw() % 64 < share {
                *value = if matches!(kind, Kind::Boolean) { 1.0 } else { draw() as f32 / 1e15 - 3.0 };
            }
        }
        image[[matrix[0] - 1, 0, matrix[2] - 1]] = if matches!(kind, Kind::Boolean) { 1.0 } else { 0.5 };
        let inside = image.indexed_iter().filter(|(_, weight)| weight.abs() > 0.0);
        let mut entries: Vec<Vec<([usize; 3], Option<f32>)>> = inside
            .map(|((x, y, z), &weight)| {
                vec![([x, y, z], (!matches!(kind, Kind::Boolean)).then_some(weight))]
            })
            .collect();
        let mut mask = if matches!(kind, Kind::Matrix) {
            // Rows of 0 to 2 voxels.
            entries.push(Vec::new());
            if entries.len() > 2 {
                let first = entries.remove(0);
                entries[0].extend(first);
            }
            let linear = |&([x, y, z], _): &([usize; 3], Option<f32>)| {
                ((x * matrix[1] + y) * matrix[2] + z) as u32
            };
            let flat = || entries.iter().flatten();
            let ends = entries.iter().scan(0, |end, row| {
                *end += row.len() as u32;
                Some(*end)
            });
            let rows = SparseRows {
                indptr: std::iter::once(0).chain(ends).collect(),
                indices: flat().map(linear).collect(),
                weights: flat().map(|(_, weight)| weight.unwrap()).collect(),
            };
            SpatialMask::from_rows(space, rows).unwrap()
        } else {
            SpatialMask::from_image(space, image.view()).unwrap()
        };

        let expected = by_the_whole_volume(&volume, &entries, matches!(kind, Kind::Matrix));
        let n_odd = expected.iter().filter(|value| !value.is_finite()).count();
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let whole = mask.apply(&volume.to_volume().unwrap());
        for found in [mask.process(volume).map(Option::unwrap), whole] {
            match found {
                Ok(found) => prop_assert_eq!(bits(&found.bold.to_vec()), bits(&expected)),
                Err(error) => {
                    prop_assert_eq!(error, MaskError::NotFinite { index: 0, n_voxel: n_odd });
                }
            }
        }
    }
}
