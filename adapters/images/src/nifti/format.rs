//! What every volume of a written NIfTI file has in common.

use corticast_bold::{decode::Dtype, space::VoxelSpace, time::RepetitionTime};

/// What every volume of the file has in common.
#[derive(Clone, Debug, PartialEq)]
pub struct NiftiFormat {
    /// Matrix and affine.
    pub space: VoxelSpace,
    /// Time between volumes.
    pub repetition_time: RepetitionTime,
    /// How one voxel is stored.
    pub dtype: Dtype,
    /// `signal = slope · stored + intercept`. Absent: 1.
    pub slope: Option<f64>,
    /// See `slope`. Absent: 0.
    pub intercept: Option<f64>,
}
