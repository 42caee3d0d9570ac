//! The properties that all volumes of a written NIfTI file share.

use corticast_bold::{decode::Dtype, space::VoxelSpace, time::RepetitionTime};

/// The properties that all volumes of the file share.
#[derive(Clone, Debug, PartialEq)]
pub struct NiftiFormat {
    /// Matrix and affine.
    pub space: VoxelSpace,
    /// Time between volumes.
    pub repetition_time: RepetitionTime,
    /// Data type of one voxel.
    pub dtype: Dtype,
    /// `signal = slope · stored + intercept`. `None` means 1.
    pub slope: Option<f64>,
    /// See `slope`. `None` means 0.
    pub intercept: Option<f64>,
}
