//! Spatial mask: from all voxels of a volume to the ones the model was trained on.
//!
//! Three kinds. A *boolean* mask picks voxels. A *weighted* mask picks voxels and multiplies
//! each by its weight. A *sparse matrix* makes each output a weighted sum of voxels (surface
//! vertices, parcels, ROI means). The order of the outputs is the model's order, and it is part
//! of the mask's hash, so a model cannot be fed by a mask it was not trained with.
//!
//! A volume with a voxel inside the mask that is NaN or infinite is dropped: normalisation
//! would carry it into every later volume.

use ndarray::{Array1, Array3, ArrayView3};

use crate::{
    space::VoxelSpace,
    stage::Stage,
    volume::{MadeFrom, MaskedVolume, Volume},
};

/// A sparse matrix in compressed rows: row `v` holds `indices[indptr[v]..indptr[v + 1]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct SparseRows {
    /// Start of each row in `indices`, and the end of the last. Shape `[n_row + 1]`.
    pub indptr: Vec<u32>,
    /// Linear voxel index, `(x·ny + y)·nz + z`. Shape `[n_entry]`.
    pub indices: Vec<u32>,
    /// Weight of that voxel. Shape `[n_entry]`.
    pub weights: Vec<f32>,
}

/// Why a mask cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidMask {
    /// No voxel is in it.
    #[error("the mask holds no voxel: every value is 0")]
    Empty,
    /// A weight is NaN or infinite.
    #[error("the weight of voxel {voxel:?} is {weight}, expected a finite number")]
    Weight {
        /// Where, along x, y, z.
        voxel: [usize; 3],
        /// What was found.
        weight: f32,
    },
    /// The values are not as many as the space has voxels.
    #[error("the mask has shape {found:?}, its space has {expected:?}")]
    Shape {
        /// Shape of the values.
        found: Vec<usize>,
        /// Matrix of the space.
        expected: [usize; 3],
    },
    /// The rows of a sparse matrix contradict themselves.
    #[error("the sparse matrix is damaged: {0}")]
    Rows(String),
}

/// A volume that has to be dropped.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MaskError {
    /// A voxel inside the mask is NaN or infinite.
    #[error("volume {index} has {n_voxel} NaN or infinite voxels inside the mask")]
    NotFinite {
        /// Position of the volume.
        index: u32,
        /// Mask outputs that are not finite.
        n_voxel: usize,
    },
    /// The volume has another matrix than the mask.
    #[error("volume {index} has matrix {found:?}, the mask is drawn on {expected:?}")]
    Matrix {
        /// Position of the volume.
        index: u32,
        /// Its matrix.
        found: [usize; 3],
        /// The mask's matrix.
        expected: [usize; 3],
    },
}

/// Voxels of a volume, in the model's order. See the module docs.
#[derive(Clone, Debug)]
pub struct SpatialMask {
    space: VoxelSpace,
    hash: String,
    gather: Gather,
}

#[derive(Clone, Debug)]
enum Gather {
    /// One voxel each. `weights` is empty for a boolean mask.
    Voxels { n_voxel: usize, runs: Vec<VoxelRun>, weights: Vec<f32> },
    /// A weighted sum each.
    Rows { indptr: Vec<u32>, c: Vec<u32>, f: Vec<u32>, weights: Vec<f32> },
}

/// Voxels of a mask that follow each other along z, and so in the model's order.
#[derive(Clone, Copy, Debug)]
struct VoxelRun {
    /// Where the first goes.
    output: u32,
    length: u32,
    /// Where the first lies when z runs fastest; the others follow.
    c: u32,
    /// Where the first lies when x runs fastest; the others follow, a slice apart.
    f: u32,
}

impl SpatialMask {
    /// A boolean or weighted mask from an image: every voxel that is not 0 is in it, in the
    /// order `(x·ny + y)·nz + z`; if all of them are 1 the mask is boolean.
    ///
    /// # Errors
    ///
    /// Fails when no voxel is in it, a weight is not finite, or the shape is not the space's.
    pub fn from_image(space: VoxelSpace, values: ArrayView3<'_, f32>) -> Result<Self, InvalidMask> {
        if values.shape() != space.matrix() {
            return Err(InvalidMask::Shape {
                found: values.shape().to_vec(),
                expected: space.matrix(),
            });
        }
        let mut indices = Vec::new();
        let mut weights = Vec::new();
        // `indexed_iter` walks in logical order, whatever the strides.
        for (linear, ((x, y, z), &weight)) in (0_u32..).zip(values.indexed_iter()) {
            if !weight.is_finite() {
                return Err(InvalidMask::Weight { voxel: [x, y, z], weight });
            }
            if weight.abs() > 0.0 {
                indices.push(linear);
                weights.push(weight);
            }
        }
        if indices.is_empty() {
            return Err(InvalidMask::Empty);
        }
        let hash = hash_voxels(&space, &indices, &weights);
        if weights.iter().all(|weight| weight.to_bits() == 1.0_f32.to_bits()) {
            weights.clear();
        }
        let (n_voxel, runs) = (indices.len(), voxel_runs(&space, &indices));
        Ok(Self { space, hash, gather: Gather::Voxels { n_voxel, runs, weights } })
    }

    /// Every voxel of a space, in the order `(x·ny + y)·nz + z`.
    #[must_use]
    pub fn whole(space: VoxelSpace) -> Self {
        let ones = Array3::ones(space.matrix());
        Self::from_image(space, ones.view()).expect("a space has at least one voxel")
    }

    /// A sparse matrix over the voxels of a space.
    ///
    /// # Errors
    ///
    /// Fails when the rows contradict themselves, point outside the space, or hold a weight
    /// that is not finite.
    pub fn from_rows(space: VoxelSpace, rows: SparseRows) -> Result<Self, InvalidMask> {
        let SparseRows { indptr, indices, weights } = rows;
        let n_entry = u32::try_from(indices.len())
            .map_err(|_| InvalidMask::Rows(format!("{} entries", indices.len())))?;
        if indptr.len() < 2 {
            return Err(InvalidMask::Empty);
        }
        if indices.len() != weights.len() {
            return Err(InvalidMask::Rows(format!(
                "{} voxel indices but {} weights",
                indices.len(),
                weights.len()
            )));
        }
        let ordered = indptr.windows(2).all(|pair| pair[0] <= pair[1]);
        if indptr[0] != 0 || indptr.last() != Some(&n_entry) || !ordered {
            return Err(InvalidMask::Rows(format!(
                "`indptr` must rise from 0 to the {n_entry} entries, it goes from {} to {}",
                indptr[0],
                indptr[indptr.len() - 1]
            )));
        }
        if let Some(&outside) = indices.iter().find(|&&i| i as usize >= space.n_voxel()) {
            return Err(InvalidMask::Rows(format!(
                "voxel index {outside} lies outside the {} voxels of {:?}",
                space.n_voxel(),
                space.matrix()
            )));
        }
        if let Some(at) = weights.iter().position(|weight| !weight.is_finite()) {
            return Err(InvalidMask::Weight {
                voxel: position(&space, indices[at]),
                weight: weights[at],
            });
        }
        let hash = hash_rows(&space, &indptr, &indices, &weights);
        let f = fortran_offsets(&space, &indices);
        Ok(Self { space, hash, gather: Gather::Rows { indptr, c: indices, f, weights } })
    }

    /// Matrix and affine the mask is drawn on.
    #[must_use]
    pub fn space(&self) -> &VoxelSpace {
        &self.space
    }

    /// Length of what the mask gives: voxels, or rows of a sparse matrix.
    #[must_use]
    pub fn n_voxel(&self) -> usize {
        match &self.gather {
            Gather::Voxels { n_voxel, .. } => *n_voxel,
            Gather::Rows { indptr, .. } => indptr.len() - 1,
        }
    }

    /// BLAKE3 of matrix, affine, voxels and weights, as 64 hexadecimal digits.
    ///
    /// Hashed are: matrix (3 × u32), affine (16 × f64, rounded to 1e-6), then for each voxel in
    /// model order its linear index (u32) and its weight (f32), all little-endian. For a sparse
    /// matrix each row is preceded by its number of entries (u32).
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// What kind of mask it is, for people.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.gather {
            Gather::Voxels { weights, .. } if weights.is_empty() => "boolean",
            Gather::Voxels { .. } => "weighted",
            Gather::Rows { .. } => "sparse matrix",
        }
    }
}

impl Stage for SpatialMask {
    const NAME: &'static str = "spatial_mask";
    type Input = Volume;
    type Output = MaskedVolume;
    type Error = MaskError;

    fn process(&mut self, volume: Volume) -> Result<Option<MaskedVolume>, MaskError> {
        let Volume { tr, acquisition_time_s, voxels } = volume;
        if voxels.shape() != self.space.matrix() {
            let shape = voxels.shape();
            return Err(MaskError::Matrix {
                index: tr.0,
                found: [shape[0], shape[1], shape[2]],
                expected: self.space.matrix(),
            });
        }
        let contiguous;
        let (signal, is_c) = match (voxels.as_slice(), voxels.as_slice_memory_order()) {
            (Some(signal), _) => (signal, true),
            // A contiguous array of this shape that is not C order is F order here: volumes
            // come from the wire, which knows no third.
            (None, Some(signal)) => (signal, false),
            (None, None) => {
                contiguous = voxels.iter().copied().collect::<Vec<_>>();
                (contiguous.as_slice(), true)
            }
        };
        let at = |offset: u32| signal[offset as usize];
        let bold: Vec<f32> = match &self.gather {
            Gather::Voxels { n_voxel, runs, weights } => {
                let mut bold = vec![0.0; *n_voxel];
                let [nx, ny, _] = self.space.matrix();
                for run in runs {
                    let (start, length) = (run.output as usize, run.length as usize);
                    let outputs = &mut bold[start..start + length];
                    if is_c {
                        outputs.copy_from_slice(&signal[run.c as usize..][..length]);
                    } else {
                        let mut voxel = run.f as usize;
                        for output in outputs {
                            *output = signal[voxel];
                            voxel += nx * ny;
                        }
                    }
                }
                // None when the mask is boolean.
                bold.iter_mut().zip(weights).for_each(|(value, weight)| *value *= weight);
                bold
            }
            Gather::Rows { indptr, c, f, weights } => {
                let offsets = if is_c { c } else { f };
                indptr
                    .windows(2)
                    .map(|row| {
                        let row = row[0] as usize..row[1] as usize;
                        // f64: a parcel may sum thousands of voxels.
                        let entries = offsets[row.clone()].iter().zip(&weights[row]);
                        entries.map(|(&o, &w)| f64::from(at(o)) * f64::from(w)).sum::<f64>() as f32
                    })
                    .collect()
            }
        };
        // Without a branch or a count it takes a fifth of the time, and it is nearly always true.
        if !bold.iter().fold(true, |all, value| all & value.is_finite()) {
            let n_voxel = bold.iter().filter(|value| !value.is_finite()).count();
            return Err(MaskError::NotFinite { index: tr.0, n_voxel });
        }
        let bold = Array1::from_vec(bold);
        Ok(Some(MaskedVolume { tr, acquisition_time_s, bold, made_from: MadeFrom::Measured }))
    }
}

/// Where along x, y, z a linear index `(x·ny + y)·nz + z` lies.
fn position(space: &VoxelSpace, linear: u32) -> [usize; 3] {
    let [_, ny, nz] = space.matrix();
    let linear = linear as usize;
    [linear / (ny * nz), linear / nz % ny, linear % nz]
}

/// The same voxels when x runs fastest.
fn fortran_offsets(space: &VoxelSpace, indices: &[u32]) -> Vec<u32> {
    let [nx, ny, _] = space.matrix();
    let offset = |&linear: &u32| {
        let [x, y, z] = position(space, linear);
        (x + nx * (y + ny * z)) as u32
    };
    indices.iter().map(offset).collect()
}

/// Tiles in which voxels are read, in voxels along x and z: a cache line of float32, and no more
/// lines at a time than the first-level cache holds of one residue, on which slices tend to fall.
const TILE: [usize; 2] = [16, 8];

/// The voxels in runs along z, tile by tile along x and z. In the model's order each read of a
/// volume whose x runs fastest would fall on another cache line.
fn voxel_runs(space: &VoxelSpace, indices: &[u32]) -> Vec<VoxelRun> {
    let offsets = fortran_offsets(space, indices);
    let mut runs: Vec<([usize; 4], VoxelRun)> = Vec::new();
    for (output, (&c, &f)) in (0_u32..).zip(indices.iter().zip(&offsets)) {
        let [x, y, z] = position(space, c);
        let place = [x / TILE[0], z / TILE[1], y, x];
        match runs.last_mut() {
            Some((last, run)) if *last == place && run.c + run.length == c => run.length += 1,
            _ => runs.push((place, VoxelRun { output, length: 1, c, f })),
        }
    }
    runs.sort_unstable_by_key(|(place, run)| (*place, run.output));
    runs.into_iter().map(|(_, run)| run).collect()
}

fn hash_space(space: &VoxelSpace) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    for n in space.matrix() {
        hasher.update(&(n as u32).to_le_bytes());
    }
    for value in space.affine().iter().flatten() {
        // `+ 0.0` turns -0 into 0, which is the same place.
        hasher.update(&((value * 1e6).round() / 1e6 + 0.0).to_le_bytes());
    }
    hasher
}

fn hash_voxels(space: &VoxelSpace, indices: &[u32], weights: &[f32]) -> String {
    let mut hasher = hash_space(space);
    for (index, weight) in indices.iter().zip(weights) {
        hasher.update(&index.to_le_bytes());
        hasher.update(&weight.to_le_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

fn hash_rows(space: &VoxelSpace, indptr: &[u32], indices: &[u32], weights: &[f32]) -> String {
    let mut hasher = hash_space(space);
    for row in indptr.windows(2) {
        hasher.update(&(row[1] - row[0]).to_le_bytes());
        for entry in row[0] as usize..row[1] as usize {
            hasher.update(&indices[entry].to_le_bytes());
            hasher.update(&weights[entry].to_le_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use ndarray::ShapeBuilder;

    use super::*;
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
}
