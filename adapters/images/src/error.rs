//! Why a source of volumes has to stop: the file, what was found and what was expected.

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
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file is not what it should be.
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
    /// The scan's geometry cannot be.
    #[error(transparent)]
    InvalidSpace(#[from] InvalidSpace),
    /// The scan's timing cannot be.
    #[error(transparent)]
    InvalidRepetitionTime(#[from] InvalidRepetitionTime),
    /// The run's name cannot be.
    #[error(transparent)]
    InvalidEntity(#[from] InvalidEntity),
    /// What comes cannot be written down as well.
    #[error(transparent)]
    Write(#[from] WriteError),
}
