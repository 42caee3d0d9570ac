//! The outcome of a film: how many clips it shows, and why a clip is missing.

use std::{io, path::PathBuf};

use crate::outputs::frames::WrongPixels;

/// Why a film cannot be created, or a clip is missing from it.
#[derive(Debug, thiserror::Error)]
pub enum FilmError {
    /// A film never overwrites a file.
    #[error("{0} already exists; choose a new file for the film")]
    Exists(PathBuf),
    /// Writing failed.
    #[error("cannot write the film {path}: {source}; the film ends here")]
    Io {
        /// The film.
        path: PathBuf,
        /// Error of the operating system.
        #[source]
        source: io::Error,
    },
    /// Encoding failed.
    #[error("cannot encode the film {path}: {source}; the film ends here")]
    Encoder {
        /// The film.
        path: PathBuf,
        /// Error of the encoder.
        #[source]
        source: openh264::Error,
    },
    /// The pixels of the clip do not match its sizes; the film continues.
    #[error(transparent)]
    Pixels(#[from] WrongPixels),
}

/// How many clips the film shows, skipped and held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilmSummary {
    /// Clips in the film. If there are none, the file is removed.
    pub n_shown: u32,
    /// Clips that arrived after a newer clip of their run, or after their time in the film.
    pub n_skipped: u32,
    /// Gaps filled by holding the previous picture.
    pub n_held: u32,
}
