//! Why volumes are not realigned.

use super::{MAX_VOXEL_MM, MIN_AXIS_VOXELS, MIN_VOXEL_MM};
use crate::{space::SpaceMismatch, time::TrIndex, volume::UnusableVolume};

/// Why volumes cannot be realigned.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidRealign {
    /// An option is out of range.
    #[error("`{key}` is {found} mm, expected 1 to {most} mm")]
    Range {
        /// Name of the option.
        key: &'static str,
        /// Value found, in mm.
        found: f64,
        /// Largest value allowed, in mm.
        most: f64,
    },
    /// The volumes have too few slices.
    #[error(
        "realignment needs at least {MIN_AXIS_VOXELS} voxels along each axis, the matrix is {0:?}; \
         switch it off for this run"
    )]
    TooSmall([usize; 3]),
    /// The affine is not in mm.
    #[error(
        "realignment needs voxels of {MIN_VOXEL_MM} to {MAX_VOXEL_MM} mm along each axis, the \
         affine gives {0:?} mm"
    )]
    VoxelSize([f64; 3]),
    /// The reference has another space than the run.
    #[error("the reference is not in the space of the run: {0}")]
    ReferenceSpace(#[from] SpaceMismatch),
    /// The number of voxels does not match the matrix.
    #[error("the reference has {found} voxels, expected {expected} for its matrix")]
    ReferenceSize {
        /// Voxels found.
        found: usize,
        /// Voxels expected.
        expected: usize,
    },
    /// The reference has a voxel that is NaN, infinite or absurdly large.
    #[error(
        "the reference has the signal {signal} at voxel {voxel_index}, expected a number of at \
         most 1e30"
    )]
    ReferenceNotFinite {
        /// First such voxel, x fastest.
        voxel_index: usize,
        /// Its signal.
        signal: f32,
    },
    /// The reference has no contrast.
    #[error("the reference is empty or constant, expected an image of a head")]
    FlatReference,
}

/// Why one volume was not realigned.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum NotRealigned {
    /// Its signal cannot be used.
    #[error(transparent)]
    Unusable(#[from] UnusableVolume),
    /// It would be the reference and has no contrast.
    #[error("{0} is empty or constant and cannot be the reference; the next one may be")]
    FlatReference(TrIndex),
    /// It would be the reference, and does not show what the model's image shows.
    #[error(
        "{0} was not found in the model's image, so it cannot be the reference; the next one may \
         be. Expected the same head in the same kind of image"
    )]
    NotInModel(TrIndex),
}
