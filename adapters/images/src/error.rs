//! Errors that stop a source of volumes: the file, the found value and the expected value.

use std::path::PathBuf;

use corticast_bold::{
    run::InvalidEntity,
    space::{InvalidSpace, SpaceMismatch},
    time::InvalidRepetitionTime,
};

use crate::nifti::write::WriteError;

/// Why the scanner side cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum AdapterError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// A file has invalid contents.
    #[error("{path}: {reason}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What was found and what was expected.
        reason: String,
    },
    /// A volume has another matrix or affine than its run.
    #[error("{path}: {mismatch}")]
    Space {
        /// Which file.
        path: PathBuf,
        /// What differs.
        mismatch: SpaceMismatch,
    },
    /// The scan's geometry is invalid.
    #[error(transparent)]
    InvalidSpace(#[from] InvalidSpace),
    /// The scan's repetition time is invalid.
    #[error(transparent)]
    InvalidRepetitionTime(#[from] InvalidRepetitionTime),
    /// A label in the run's name is invalid.
    #[error(transparent)]
    InvalidEntity(#[from] InvalidEntity),
    /// Writing the volumes to a file failed.
    #[error(transparent)]
    Write(#[from] WriteError),
}
