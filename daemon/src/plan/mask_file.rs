//! Reads a spatial mask from a file.
//!
//! - `.nii`, `.nii.gz`: voxels that are not 0 are in the mask; a value is the voxel's weight.
//! - `.safetensors`: a sparse matrix in compressed rows, with tensors `indptr` `[n_row + 1]`,
//!   `indices` `[n_entry]` (linear index `(x·ny + y)·nz + z`), `weights` `[n_entry]` f32, `matrix`
//!   `[3]` and `affine` `[4, 4]` f64. Integers may be i32, u32 or i64, as scipy gives them. The
//!   metadata `model_mask_hash`, which `corticast-train project --model` writes, names the mask of a
//!   model whose outputs the matrix makes of another scan.

use std::path::{Path, PathBuf};

use corticast_bold::{
    decode::Dtype,
    space::{InvalidSpace, VoxelSpace},
    spatial_mask::{InvalidMask, SparseRows, SpatialMask},
};
use corticast_images::{error::AdapterError, nifti::reader::NiftiReader};
use corticast_wire::files;
use ndarray::{Array3, ShapeBuilder};
use safetensors::{SafeTensors, tensor::TensorView};

/// Largest sparse matrix that is read, in bytes.
const MAX_MATRIX_BYTES: u64 = 2 << 30;

/// Key of the metadata with the hash of the mask that a matrix stands for.
const STANDS_FOR: &str = "model_mask_hash";

/// A mask, and what its file says about it.
#[derive(Debug)]
pub struct MaskFile {
    /// The mask.
    pub mask: SpatialMask,
    /// Hash of the model's mask that this one replaces in today's scan, 64 hexadecimal digits.
    pub stands_for: Option<String>,
}

/// Why a mask cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MaskFileError {
    /// The image cannot be read.
    #[error(transparent)]
    Image(#[from] AdapterError),
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// The file does not have the expected contents.
    #[error("{path}: {reason}")]
    Malformed {
        /// Path of the file.
        path: PathBuf,
        /// What was found and expected.
        reason: String,
    },
    /// The contents of the file are not a valid mask.
    #[error("{path}: {source}")]
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
pub fn read(path: &Path) -> Result<MaskFile, MaskFileError> {
    if path.extension().is_some_and(|extension| extension == "safetensors") {
        return read_matrix(path);
    }
    let Image { space, values } = read_image(path)?;
    let image = Array3::from_shape_vec(space.matrix().f(), values).map_err(|error| {
        MaskFileError::Malformed { path: path.to_owned(), reason: error.to_string() }
    })?;
    let mask = SpatialMask::from_image(space, image.view())
        .map_err(|source| MaskFileError::Invalid { path: path.to_owned(), source })?;
    Ok(MaskFile { mask, stands_for: None })
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
    if let Some(warning) = &header.place_warning {
        tracing::warn!(path = %path.display(), "{warning}");
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

fn read_matrix(path: &Path) -> Result<MaskFile, MaskFileError> {
    let read = |source| MaskFileError::Read { path: path.to_owned(), source };
    let malformed = |reason| MaskFileError::Malformed { path: path.to_owned(), reason };
    let bytes = files::read(path, MAX_MATRIX_BYTES).map_err(read)?;
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
    let mask = SpatialMask::from_rows(space, rows)
        .map_err(|source| MaskFileError::Invalid { path: path.to_owned(), source })?;
    Ok(MaskFile { mask, stands_for: stands_for(&bytes).map_err(malformed)? })
}

fn stands_for(bytes: &[u8]) -> Result<Option<String>, String> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let Some(hash) = metadata.metadata().as_ref().and_then(|all| all.get(STANDS_FOR)) else {
        return Ok(None);
    };
    let is_hash = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    if hash.len() != 64 || !hash.chars().all(is_hash) {
        let n_byte = hash.len();
        return Err(format!(
            "metadata `{STANDS_FOR}` is no hash ({n_byte} bytes), expected 64 digits 0-9 and a-f"
        ));
    }
    Ok(Some(hash.clone()))
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use safetensors::{Dtype as D, serialize};

    use super::*;

    /// A matrix of one output, the mean of two voxels, with this metadata.
    fn file(metadata: &[(&str, &str)]) -> tempfile::TempDir {
        let integers = |values: &[u32]| values.iter().flat_map(|n| n.to_le_bytes()).collect();
        let floats = |values: &[f64]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let (indptr, indices): (Vec<u8>, Vec<u8>) = (integers(&[0, 2]), integers(&[0, 5]));
        let (matrix, weights): (Vec<u8>, Vec<u8>) = (integers(&[2, 3, 1]), floats(&[0.5, 0.5]));
        let identity = std::array::from_fn::<f64, 16, _>(|i| if i % 5 == 0 { 1.0 } else { 0.0 });
        let affine: Vec<u8> = floats(&identity);
        let tensor = |dtype, shape: &[usize], data| {
            TensorView::new(dtype, shape.to_vec(), data).expect("sizes match")
        };
        let tensors = [
            ("indptr", tensor(D::U32, &[2], &indptr)),
            ("indices", tensor(D::U32, &[2], &indices)),
            ("weights", tensor(D::F64, &[2], &weights)),
            ("matrix", tensor(D::U32, &[3], &matrix)),
            ("affine", tensor(D::F64, &[4, 4], &affine)),
        ];
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let metadata: HashMap<_, _> = metadata.iter().map(own).collect();
        let folder = tempfile::tempdir().unwrap();
        let bytes = serialize(tensors, Some(metadata)).unwrap();
        std::fs::write(folder.path().join("m.safetensors"), bytes).unwrap();
        folder
    }

    #[test]
    fn a_matrix_says_which_models_mask_it_stands_for() {
        let hash = "0f".repeat(32);
        let folder = file(&[("tool", "any"), (STANDS_FOR, &hash)]);
        let found = read(&folder.path().join("m.safetensors")).unwrap();
        assert_eq!((found.mask.n_voxel(), found.mask.kind()), (1, "sparse matrix"));
        assert_eq!(found.stands_for, Some(hash));
        let folder = file(&[]);
        assert_eq!(read(&folder.path().join("m.safetensors")).unwrap().stands_for, None);
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        for text in ["", "0F", &"0F".repeat(32), &"é".repeat(32)] {
            let folder = file(&[(STANDS_FOR, text)]);
            let error = read(&folder.path().join("m.safetensors")).unwrap_err().to_string();
            assert!(error.contains("is no hash"), "{error}");
        }
    }
}
