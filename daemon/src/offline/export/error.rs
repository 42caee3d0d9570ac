//! Why a recording cannot be exported.

use std::path::{Path, PathBuf};

use corticast_bold::decode::WrongSize;
use corticast_images::nifti::write::WriteError;

use crate::{
    offline::files::FilesError, outputs::json_lines::JsonLinesError,
    recording::reader::RecordingError,
};

/// Why a recording cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The recording cannot be read.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// There is nothing to export.
    #[error("{path} holds no {what}")]
    Nothing {
        /// The recording.
        path: PathBuf,
        /// What the export needs.
        what: &'static str,
    },
    /// A NIfTI file holds one run.
    #[error("the recording holds {} runs; name one with --run: {}", names.len(), names.join(", "))]
    SeveralRuns {
        /// Names of the runs.
        names: Vec<String>,
    },
    /// There is no such run.
    #[error("no run `{asked}` in the recording; it holds {}", list(names))]
    NoSuchRun {
        /// The requested run.
        asked: String,
        /// Names of the runs in the recording.
        names: Vec<String>,
    },
    /// The name has no NIfTI extension.
    #[error("{0}: the name of a NIfTI file must end in .nii or .nii.gz")]
    NotNifti(PathBuf),
    /// An output is the recording.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The file exists already.
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
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        #[source]
        source: std::io::Error,
    },
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Adds the path to an I/O error.
pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> ExportError {
    let path = path.to_owned();
    |source| ExportError::Io { path, source }
}
