//! Why training data cannot be made.

use std::path::{Path, PathBuf};

use crate::{offline::replay::ReplayError, plan::error::PlanError};

/// Why training data cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Configuration and mask do not agree.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A run cannot be read.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The output cannot be written.
    #[error("cannot write {path}: {reason}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// There are too few volumes to learn the statistics from.
    #[error("the runs hold fewer than two volumes after the warm-up; nothing can be learnt")]
    TooFew,
    /// One file of events cannot belong to several runs.
    #[error(
        "{path} holds {n_run} runs, and one events.tsv was named for them; leave it out: the recorded marks are used"
    )]
    Events {
        /// Which recording.
        path: PathBuf,
        /// Its runs.
        n_run: usize,
    },
    /// A run gave no window.
    #[error(
        "`{run}` gave no window: it is shorter than warm-up, delay and window together, or its \
         volumes could not be used"
    )]
    Empty {
        /// Which run.
        run: String,
    },
}

/// Adds the path to an error of writing.
pub(super) fn failed(path: &Path, error: &dyn std::fmt::Display) -> PrepareError {
    PrepareError::Write { path: path.to_owned(), reason: error.to_string() }
}
