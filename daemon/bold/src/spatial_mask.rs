//! Spatial mask: from all voxels of a volume to the ones the model was trained on.
//!
//! Three kinds. A *boolean* mask picks voxels. A *weighted* mask picks voxels and multiplies
//! each by its weight. A *sparse matrix* makes each output a weighted sum of voxels (surface
//! vertices, parcels, ROI means). The order of the outputs is the model's order. It is part of
//! the mask's hash, so the daemon notices when a mask is not the one the model was trained with.
//!
//! The stage reads the mask's voxels out of the stored bytes and scales only these. For the masks
//! of models, which hold a few percent of a volume, this is several times faster than to scale the
//! volume first (`docs/benchmarks.md`).
//!
//! Volumes may have another voxel order than the mask, as long as the grid is the same in mm: see
//! [`SpatialMask::start_run`].
//!
//! A volume with a NaN or infinite voxel inside the mask is dropped: normalisation would carry
//! the value into every later volume.

mod gather;
mod hash;
mod turned;

use ndarray::{Array1, Array3, ArrayView3};

use self::{
    gather::{Gather, Gathering, position},
    hash::{hash_rows, hash_voxels},
    turned::Scan,
};
use crate::{
    decode::{Order, StoredVolume, UseVoxels, WrongSize},
    space::VoxelSpace,
    stage::Stage,
    time::TrIndex,
    volume::{Confounds, MadeFrom, MaskedVolume, Volume},
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

/// Why a mask is invalid.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidMask {
    /// The mask is empty.
    #[error("the mask holds no voxel: every value is 0")]
    Empty,
    /// A weight is NaN or infinite.
    #[error("the weight of voxel {voxel:?} is {weight}, expected a finite number")]
    Weight {
        /// Position along x, y, z.
        voxel: [usize; 3],
        /// The weight found.
        weight: f32,
    },
    /// The shape of the values is not the matrix of the space.
    #[error("the mask has shape {found:?}, expected the matrix of its space, {expected:?}")]
    Shape {
        /// Shape of the values.
        found: Vec<usize>,
        /// Matrix of the space.
        expected: [usize; 3],
    },
    /// The arrays of a sparse matrix contradict each other.
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
    /// The matrix of the volume is not that of the mask.
    #[error("volume {index} has matrix {found:?}, expected the mask's, {expected:?}")]
    Matrix {
        /// Position of the volume.
        index: u32,
        /// Its matrix.
        found: [usize; 3],
        /// The mask's matrix.
        expected: [usize; 3],
    },
    /// The number of bytes does not match matrix and dtype.
    #[error(transparent)]
    Size(#[from] WrongSize),
}

/// Voxels of a volume, in the model's order. See the module docs.
#[derive(Clone, Debug)]
pub struct SpatialMask {
    space: VoxelSpace,
    hash: String,
    gather: Gather,
    /// Where the voxels are in the volumes of the run, if their order is another than the mask's.
    scan: Option<Scan>,
}

impl SpatialMask {
    /// A boolean or weighted mask from an image. The mask holds every voxel that is not 0, in the
    /// order `(x·ny + y)·nz + z`; if all of them are 1, the mask is boolean.
    ///
    /// # Errors
    ///
    /// Fails when every voxel is 0, a weight is not finite, or the shape is not the space's.
    pub fn from_image(space: VoxelSpace, values: ArrayView3<'_, f32>) -> Result<Self, InvalidMask> {
        if values.shape() != space.matrix() {
            return Err(InvalidMask::Shape {
                found: values.shape().to_vec(),
                expected: space.matrix(),
            });
        }
        let mut indices = Vec::new();
        let mut weights = Vec::new();
        // `indexed_iter` walks in logical order for any strides.
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
        let gather = Gather::voxels(&space, &indices, weights);
        Ok(Self { space, hash, gather, scan: None })
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
    /// Fails when the arrays contradict each other, an index lies outside the space, or a weight
    /// is not finite.
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
                "`indptr` must rise from 0 to {n_entry}, the number of entries, got {} to {}",
                indptr[0],
                indptr[indptr.len() - 1]
            )));
        }
        if let Some(&outside) = indices.iter().find(|&&i| i as usize >= space.n_voxel()) {
            return Err(InvalidMask::Rows(format!(
                "voxel index {outside} is outside the {} voxels of matrix {:?}",
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
        let gather = Gather::rows(&space, indptr, indices, weights);
        Ok(Self { space, hash, gather, scan: None })
    }

    /// Matrix and affine of the mask.
    #[must_use]
    pub fn space(&self) -> &VoxelSpace {
        &self.space
    }

    /// Number of outputs: voxels, or rows of a sparse matrix.
    #[must_use]
    pub fn n_voxel(&self) -> usize {
        self.gather.n_output()
    }

    /// BLAKE3 of matrix, affine, voxels and weights, as 64 hexadecimal digits.
    /// `spatial_mask/hash.rs` lists the hashed bytes.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Kind of the mask, for messages to people.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.gather.kind()
    }

    /// The voxels of the mask in a whole volume, which is in the order of the mask.
    ///
    /// # Errors
    ///
    /// Fails when a voxel inside the mask is not finite or the volume has another matrix.
    pub fn apply(&self, volume: &Volume) -> Result<MaskedVolume, MaskError> {
        let Volume { tr, acquisition_time_s, matrix, ref signal } = *volume;
        check_matrix(tr, matrix, self.space.matrix())?;
        let found = signal.len();
        if found != self.space.n_voxel() {
            let expected = self.space.n_voxel();
            return Err(WrongSize { tr, found: 4 * found, expected: 4 * expected }.into());
        }
        let gathering = Gathering { gather: &self.gather, order: Order::F, matrix };
        masked(tr, acquisition_time_s, gathering.use_voxels(signal, |value| value))
    }
}

fn check_matrix(tr: TrIndex, found: [usize; 3], expected: [usize; 3]) -> Result<(), MaskError> {
    if found == expected {
        return Ok(());
    }
    Err(MaskError::Matrix { index: tr.0, found, expected })
}

impl Stage for SpatialMask {
    const NAME: &'static str = "spatial_mask";
    type Input<'a> = StoredVolume<'a>;
    type Output = MaskedVolume;
    type Error = MaskError;

    fn process(&mut self, volume: StoredVolume<'_>) -> Result<Option<MaskedVolume>, MaskError> {
        let StoredVolume { tr, acquisition_time_s, order, matrix, .. } = volume;
        let (gather, expected) = match &self.scan {
            Some(scan) => (&scan.gather, scan.matrix),
            None => (&self.gather, self.space.matrix()),
        };
        check_matrix(tr, matrix, expected)?;
        let bold = volume.voxels_to(Gathering { gather, order, matrix })?;
        Ok(Some(masked(tr, acquisition_time_s, bold)?))
    }
}

/// The outputs of a volume, if all of them are finite.
fn masked(tr: TrIndex, acquisition_time_s: f64, bold: Vec<f32>) -> Result<MaskedVolume, MaskError> {
    // The common case is that all are finite. Checking that without a branch or a count takes
    // a fifth of the time.
    if !bold.iter().fold(true, |all, value| all & value.is_finite()) {
        let n_voxel = bold.iter().filter(|value| !value.is_finite()).count();
        return Err(MaskError::NotFinite { index: tr.0, n_voxel });
    }
    let bold = Array1::from_vec(bold);
    let (made_from, confounds) = (MadeFrom::Measured, Confounds::default());
    Ok(MaskedVolume { tr, acquisition_time_s, bold, made_from, confounds })
}

#[cfg(test)]
mod tests;
