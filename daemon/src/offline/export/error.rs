//! Why a recording cannot be exported.

use std::path::{Path, PathBuf};

use corticast_bold::decode::WrongSize;
use corticast_images::nifti::write::WriteError;

use crate::{outputs::json_lines::JsonLinesError, recording::reader::RecordingError};

/// Why a recording cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It cannot be read.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// There is nothing to export.
    #[error("{path} holds no {what}")]
    Nothing {
        /// Which recording.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// A NIfTI file holds one run.
    #[error("the recording holds {} runs, choose one with --run: {}", names.len(), names.join(", "))]
    SeveralRuns {
        /// Their names.
        names: Vec<String>,
    },
    /// There is no such run.
    #[error("no run `{asked}` in the recording, it holds {}", list(names))]
    NoSuchRun {
        /// What was asked for.
        asked: String,
        /// What there is.
        names: Vec<String>,
    },
    /// The name is no NIfTI file's.
    #[error("{0}: a NIfTI file's name ends in .nii or .nii.gz")]
    NotNifti(PathBuf),
    /// Something is there already.
    #[error("{0} exists; choose another name, or overwrite it with --force")]
    Exists(PathBuf),
    /// A volume has the wrong size.
    #[error(transparent)]
    Volume(#[from] WrongSize),
    /// An image cannot be written.
    #[error(transparent)]
    Image(#[from] WriteError),
    /// Lines cannot be written.
    #[error(transparent)]
    Lines(#[from] JsonLinesError),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Adds the path to an error of the system.
pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> ExportError {
    let path = path.to_owned();
    |source| ExportError::Io { path, source }
}
