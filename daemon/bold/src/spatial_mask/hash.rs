//! The hash that identifies a mask: a model is bound to the mask it was trained with.
//!
//! The hashed bytes are the matrix (3 × u32), the affine (16 × f64, rounded to 1e-6), then for each
//! voxel in model order its linear index (u32) and its weight (f32), all little-endian. For a
//! sparse matrix, the number of entries (u32) precedes each row.

use crate::space::VoxelSpace;

fn hash_space(space: &VoxelSpace) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    for n in space.matrix() {
        hasher.update(&(n as u32).to_le_bytes());
    }
    for value in space.affine().iter().flatten() {
        // `+ 0.0` turns -0 into 0, so that both hash alike.
        hasher.update(&((value * 1e6).round() / 1e6 + 0.0).to_le_bytes());
    }
    hasher
}

/// BLAKE3 of a boolean or weighted mask, as 64 hexadecimal digits.
pub(super) fn hash_voxels(space: &VoxelSpace, indices: &[u32], weights: &[f32]) -> String {
    let mut hasher = hash_space(space);
    for (index, weight) in indices.iter().zip(weights) {
        hasher.update(&index.to_le_bytes());
        hasher.update(&weight.to_le_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// BLAKE3 of a sparse matrix, as 64 hexadecimal digits.
pub(super) fn hash_rows(
    space: &VoxelSpace,
    indptr: &[u32],
    indices: &[u32],
    weights: &[f32],
) -> String {
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
