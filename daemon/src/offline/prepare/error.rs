//! Why training data cannot be made.

use std::path::{Path, PathBuf};

use crate::{
    offline::{error::ReplayError, files::FilesError},
    plan::error::PlanError,
};

/// Why training data cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Configuration and mask do not match.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A run cannot be read.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// An output is an input.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The output cannot be written.
    #[error("cannot write {path}: {reason}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        reason: String,
    },
    /// There are too few volumes to learn the statistics from.
    #[error("the runs hold fewer than two volumes after the warm-up; add longer runs")]
    TooFew,
    /// One file of events cannot belong to several runs.
    #[error(
        "{path} holds {n_run} runs but only one events.tsv is given; omit it to use the recorded \
         marks"
    )]
    Events {
        /// The recording.
        path: PathBuf,
        /// Number of its runs.
        n_run: usize,
    },
    /// A run gave no window.
    #[error(
        "`{run}` gave no window: it is shorter than warm-up, delay and window together, or its \
         volumes could not be used"
    )]
    Empty {
        /// The run.
        run: String,
    },
}

/// Adds the path to a write error.
pub(super) fn failed(path: &Path, error: &dyn std::fmt::Display) -> PrepareError {
    PrepareError::Write { path: path.to_owned(), reason: error.to_string() }
}
