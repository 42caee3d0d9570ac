//! Frozen statistics of normalisation: mean and standard deviation of each voxel over the
//! training runs.
//!
//! A safetensors file with `mean` and `sd`, both f32 of shape `[n_voxel]`, in scanner units and
//! mask order. A standard deviation of 0 is a voxel that never changed; normalisation sets such a
//! voxel to 0. A value that is not finite is refused, because it would silently spread to every
//! result.

use std::path::Path;

use corticast_bold::normalise::Statistics;
use ndarray::Array1;
use safetensors::{Dtype, SafeTensors};

use crate::manifest::error::ManifestError;

/// Most bytes of header in a file of two tensors.
const MAX_HEADER_BYTES: u64 = 64 * 1024;

/// Reads the statistics of `n_voxel` voxels.
///
/// # Errors
///
/// Fails when the file is not safetensors or lacks a tensor, or when a tensor has another dtype or
/// length or an invalid value.
pub fn read(path: &Path, n_voxel: usize) -> Result<Statistics, ManifestError> {
    let refuse = |reason: String| ManifestError::Tensors { path: path.into(), reason };
    let io = |source| ManifestError::Io { path: path.into(), source };

    let found = std::fs::metadata(path).map_err(io)?.len();
    let at_most = 8 * n_voxel as u64 + MAX_HEADER_BYTES;
    if found > at_most {
        return Err(ManifestError::TooLong { path: path.into(), found, at_most });
    }
    let bytes = std::fs::read(path).map_err(io)?;
    let tensors = SafeTensors::deserialize(&bytes)
        .map_err(|error| refuse(format!("not a safetensors file: {error}")))?;
    let tensor = |name: &str| {
        let view = tensors.tensor(name).map_err(|_| {
            refuse(format!("holds {:?}, expected `mean` and `sd`", tensors.names()))
        })?;
        if view.dtype() != Dtype::F32 || view.shape() != [n_voxel] {
            return Err(refuse(format!(
                "`{name}` is {} {:?}, expected F32 [{n_voxel}]",
                view.dtype(),
                view.shape()
            )));
        }
        let (values, _) = view.data().as_chunks::<4>();
        Ok(values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect::<Array1<f32>>())
    };
    let statistics = Statistics { mean: tensor("mean")?, sd: tensor("sd")? };

    if let Some((voxel, mean)) =
        statistics.mean.iter().enumerate().find(|(_, mean)| !mean.is_finite())
    {
        return Err(refuse(format!("`mean` of voxel {voxel} is {mean}, expected a finite value")));
    }
    if let Some((voxel, sd)) =
        statistics.sd.iter().enumerate().find(|(_, sd)| !(sd.is_finite() && **sd >= 0.0))
    {
        return Err(refuse(format!("`sd` of voxel {voxel} is {sd}, expected 0 or more")));
    }
    Ok(statistics)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use safetensors::tensor::TensorView;

    fn file(mean: &[f32], sd: &[f32]) -> Vec<u8> {
        let bytes =
            |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
        let (mean_bytes, sd_bytes) = (bytes(mean), bytes(sd));
        let view =
            |values: &[f32], bytes| TensorView::new(Dtype::F32, vec![values.len()], bytes).unwrap();
        let tensors = [("mean", view(mean, &mean_bytes)), ("sd", view(sd, &sd_bytes))];
        safetensors::serialize(tensors, None).unwrap()
    }

    fn read(bytes: &[u8], n_voxel: usize) -> Result<Statistics, ManifestError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("normalise.safetensors");
        std::fs::write(&path, bytes).unwrap();
        super::read(&path, n_voxel)
    }

    #[test]
    fn mean_and_sd_are_read_in_mask_order() {
        let statistics = read(&file(&[100.0, 200.0], &[1.5, 0.0]), 2).unwrap();
        assert_eq!(statistics.mean, ndarray::array![100.0, 200.0]);
        assert_eq!(statistics.sd, ndarray::array![1.5, 0.0]);
    }

    #[test]
    fn invalid_lengths_and_values_are_refused_with_what_was_found() {
        let message = |mean: &[f32], sd: &[f32]| read(&file(mean, sd), 2).unwrap_err().to_string();
        assert!(message(&[1.0; 3], &[1.0; 2]).contains("`mean` is F32 [3], expected F32 [2]"));
        assert!(message(&[1.0, f32::NAN], &[1.0; 2]).contains("`mean` of voxel 1 is NaN"));
        assert!(message(&[1.0; 2], &[-1.0, 1.0]).contains("`sd` of voxel 0 is -1"));
    }

    proptest! {
        /// No damage makes reading panic.
        #[test]
        fn a_damaged_file_is_an_error(cut in 0_usize..100, at in 0_usize..100, byte: u8) {
            let mut bytes = file(&[1.0, 2.0], &[1.0, 2.0]);
            let at = at.min(bytes.len() - 1);
            bytes[at] = byte;
            bytes.truncate(bytes.len().saturating_sub(cut));
            if let Ok(statistics) = read(&bytes, 2) {
                prop_assert!(statistics.sd.iter().all(|sd| sd.is_finite()));
            }
        }
    }
}
