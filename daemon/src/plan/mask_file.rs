//! Reads a spatial mask from a file.
//!
//! - `.nii`, `.nii.gz`: voxels that are not 0 are in the mask; a value is the voxel's weight.
//! - `.safetensors`: a sparse matrix in compressed rows, with tensors `indptr` `[n_row + 1]`,
//!   `indices` `[n_entry]` (linear index `(x·ny + y)·nz + z`), `weights` `[n_entry]` f32, `matrix`
//!   `[3]` and `affine` `[4, 4]` f64. Integers may be i32, u32 or i64, as scipy gives them.

use std::path::{Path, PathBuf};

use corticast_bold::{
    decode::Dtype,
    space::{InvalidSpace, VoxelSpace},
    spatial_mask::{InvalidMask, SparseRows, SpatialMask},
};
use corticast_images::{error::AdapterError, nifti::reader::NiftiReader};
use ndarray::{Array3, ShapeBuilder};
use safetensors::{SafeTensors, tensor::TensorView};

/// Largest sparse matrix that is read, in bytes.
const MAX_MATRIX_BYTES: u64 = 2 << 30;

/// Why a mask cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MaskFileError {
    /// The image cannot be read.
    #[error(transparent)]
    Image(#[from] AdapterError),
    /// The file cannot be read.
    #[error("cannot read the mask {path}: {source}")]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// The file does not have the expected contents.
    #[error("mask {path}: {reason}")]
    Malformed {
        /// Path of the file.
        path: PathBuf,
        /// What was found and expected.
        reason: String,
    },
    /// The contents of the file are not a valid mask.
    #[error("mask {path}: {source}")]
    Invalid {
        /// Path of the file.
        path: PathBuf,
        /// What was found and expected.
        #[source]
        source: InvalidMask,
    },
}

/// Reads the mask in a file. See the module docs.
///
/// # Errors
///
/// Fails when the file cannot be read or does not hold a valid mask.
pub fn read(path: &Path) -> Result<SpatialMask, MaskFileError> {
    if path.extension().is_some_and(|extension| extension == "safetensors") {
        return read_matrix(path);
    }
    let Image { space, values } = read_image(path)?;
    let image = Array3::from_shape_vec(space.matrix().f(), values).map_err(|error| {
        MaskFileError::Malformed { path: path.to_owned(), reason: error.to_string() }
    })?;
    SpatialMask::from_image(space, image.view())
        .map_err(|source| MaskFileError::Invalid { path: path.to_owned(), source })
}

/// An image of one volume.
pub struct Image {
    /// Matrix and affine.
    pub space: VoxelSpace,
    /// Scaled values, x fastest. Shape `[n_voxel]`.
    pub values: Vec<f32>,
}

/// Reads a NIfTI image of one volume.
///
/// # Errors
///
/// Fails when the file cannot be read or holds several volumes.
pub fn read_image(path: &Path) -> Result<Image, MaskFileError> {
    let mut reader = NiftiReader::open(path)?;
    let header = reader.header().clone();
    let malformed = |reason| MaskFileError::Malformed { path: path.to_owned(), reason };
    if header.n_volumes != 1 {
        return Err(malformed(format!("{} volumes, expected 1", header.n_volumes)));
    }
    let voxels = reader.next_voxels()?.unwrap_or_default();
    let (found, n_voxel) = (to_f32(&voxels, header.stored.on_wire()), header.space.n_voxel());
    if found.len() != n_voxel {
        return Err(malformed(format!("{} voxels, expected {n_voxel}", found.len())));
    }
    let (slope, intercept) = (header.slope.unwrap_or(1.0), header.intercept.unwrap_or(0.0));
    let values = found.into_iter().map(|v| (f64::from(v) * slope + intercept) as f32).collect();
    Ok(Image { space: header.space, values })
}

fn read_matrix(path: &Path) -> Result<SpatialMask, MaskFileError> {
    let read = |source| MaskFileError::Read { path: path.to_owned(), source };
    let malformed = |reason| MaskFileError::Malformed { path: path.to_owned(), reason };
    let n_byte = std::fs::metadata(path).map_err(read)?.len();
    if n_byte > MAX_MATRIX_BYTES {
        return Err(malformed(format!("{n_byte} bytes, expected at most {MAX_MATRIX_BYTES}")));
    }
    let bytes = std::fs::read(path).map_err(read)?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| malformed(error.to_string()))?;
    let tensor = |name: &str| {
        tensors.tensor(name).map_err(|_| {
            malformed(format!(
                "no tensor `{name}`; expected indptr, indices, weights, matrix and affine"
            ))
        })
    };
    let integers =
        |name: &str| integers(&tensor(name)?).map_err(|r| malformed(format!("`{name}`: {r}")));
    let floats =
        |name: &str| floats(&tensor(name)?).map_err(|r| malformed(format!("`{name}`: {r}")));
    let matrix: [usize; 3] = integers("matrix")?
        .into_iter()
        .map(|n| n as usize)
        .collect::<Vec<_>>()
        .try_into()
        .map_err(|_| malformed("`matrix` must hold 3 numbers".to_owned()))?;
    let affine = floats("affine")?;
    if affine.len() != 16 {
        return Err(malformed(format!("`affine` holds {} numbers, expected 16", affine.len())));
    }
    let affine = std::array::from_fn(|row| std::array::from_fn(|column| affine[row * 4 + column]));
    let space = VoxelSpace::new(matrix, affine)
        .map_err(|error: InvalidSpace| malformed(error.to_string()))?;
    let rows = SparseRows {
        indptr: integers("indptr")?,
        indices: integers("indices")?,
        weights: floats("weights")?.into_iter().map(|weight| weight as f32).collect(),
    };
    SpatialMask::from_rows(space, rows)
        .map_err(|source| MaskFileError::Invalid { path: path.to_owned(), source })
}

fn integers(tensor: &TensorView<'_>) -> Result<Vec<u32>, String> {
    use safetensors::Dtype as D;
    let data = tensor.data();
    let checked = |n: i64| u32::try_from(n).map_err(|_| format!("{n} is not a valid index"));
    match tensor.dtype() {
        D::U32 => Ok(data.as_chunks::<4>().0.iter().map(|&b| u32::from_le_bytes(b)).collect()),
        D::I32 => {
            let values = data.as_chunks::<4>().0.iter().map(|&b| i32::from_le_bytes(b));
            values.map(|n| checked(n.into())).collect()
        }
        D::I64 => {
            let values = data.as_chunks::<8>().0.iter().map(|&b| i64::from_le_bytes(b));
            values.map(checked).collect()
        }
        other => Err(format!("type {other:?}, expected u32, i32 or i64")),
    }
}

fn floats(tensor: &TensorView<'_>) -> Result<Vec<f64>, String> {
    use safetensors::Dtype as D;
    let data = tensor.data();
    match tensor.dtype() {
        D::F32 => {
            let values = data.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b));
            Ok(values.map(f64::from).collect())
        }
        D::F64 => Ok(data.as_chunks::<8>().0.iter().map(|&b| f64::from_le_bytes(b)).collect()),
        other => Err(format!("type {other:?}, expected f32 or f64")),
    }
}

fn to_f32(voxels: &[u8], dtype: Dtype) -> Vec<f32> {
    match dtype {
        Dtype::Int16 => {
            voxels.as_chunks::<2>().0.iter().map(|&b| i16::from_le_bytes(b).into()).collect()
        }
        Dtype::UInt16 => {
            voxels.as_chunks::<2>().0.iter().map(|&b| u16::from_le_bytes(b).into()).collect()
        }
        Dtype::Float32 => {
            voxels.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
        }
    }
}
