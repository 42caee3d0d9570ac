//! Why a source cannot be replayed.

use std::path::PathBuf;

use corticast_images::error::AdapterError;

use crate::recording::reader::RecordingError;

/// Why a source cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The recording cannot be read.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// The image or its events cannot be read.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// A run or message is refused.
    #[error("{path}: {reason}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why it is refused.
        reason: String,
    },
}
