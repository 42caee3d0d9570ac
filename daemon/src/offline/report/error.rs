//! Why there is no report.

use std::path::PathBuf;

use crate::recording::reader::RecordingError;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The recording cannot be read.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// There is nothing to report on.
    #[error(
        "{0} holds no run, so there is nothing to report; expected at least one start of a run"
    )]
    NoRun(PathBuf),
    /// There is no such run.
    #[error("no run `{asked}` in the recording; it holds {}", names.join(", "))]
    NoSuchRun {
        /// The requested run.
        asked: String,
        /// Names of the runs in the recording.
        names: Vec<String>,
    },
    /// The caller gave the work up.
    #[error("the report was given up before it was complete")]
    GivenUp,
    /// A picture cannot be encoded.
    #[error("cannot encode a picture of the report: {0}")]
    Picture(#[from] png::EncodingError),
    /// The file exists already.
    #[error("{0} exists; choose another folder with --out, or replace it with --overwrite")]
    Exists(PathBuf),
    /// A file cannot be written.
    #[error("cannot write the report {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        #[source]
        source: std::io::Error,
    },
}
