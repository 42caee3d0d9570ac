//! A volume of a series, why an image is none, and what becomes of a series.

use bytes::Bytes;
use corticast_bold::time::TrIndex;

use crate::dicom::{clock::Moment, error::DicomError, numbering::NoNumber, parts::Stack};

/// A volume of a series, ready to be delivered.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Position in the series.
    pub index: TrIndex,
    /// When it was acquired.
    pub time: Option<Moment>,
    /// The voxels and where they lie.
    pub stack: Stack,
    /// Its voxels.
    pub voxels: Bytes,
}

/// Why an image is no further volume of its series.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The image came before, or has no number of its own.
    #[error(transparent)]
    Number(#[from] NoNumber),
    /// The matrix of the image differs from that of the series.
    #[error("matrix is {found:?}, expected {expected:?}")]
    Matrix {
        /// Voxels along x, y, z of the image.
        found: [usize; 3],
        /// Voxels along x, y, z of the first image.
        expected: [usize; 3],
    },
    /// The repetition time of the image differs from that of the series.
    #[error("repetition time is {found} s, expected {expected} s")]
    RepetitionTime {
        /// Repetition time of the image, in seconds.
        found: f64,
        /// Repetition time of the first image, in seconds.
        expected: f64,
    },
    /// The slices are no volume.
    #[error(transparent)]
    Slices(#[from] DicomError),
}

/// What became of a series.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Its volumes are held until the run can start.
    Waiting,
    /// It can become a run, when the one before is over.
    Ready,
    /// It is a run.
    Run,
    /// It was a run, and another series has begun, so that its volumes are no longer delivered.
    Over,
    /// It is no run.
    Refused,
    /// It is no run, because it was acquired together with one.
    Beside,
}
