//! What became of a film: how many clips it shows, and why a clip is not in it.

use std::{io, path::PathBuf};

use crate::outputs::frames::WrongPixels;

/// Why a clip is not in the film.
#[derive(Debug, thiserror::Error)]
pub enum FilmError {
    /// A film is never written over another.
    #[error("{0} exists; a film goes into a new file")]
    Exists(PathBuf),
    /// The disk does not take it.
    #[error("cannot write the film {path}: {source}; it ends here, the session goes on")]
    Io {
        /// The film.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The encoder does not take it.
    #[error("cannot encode the film {path}: {source}; it ends here, the session goes on")]
    Encoder {
        /// The film.
        path: PathBuf,
        /// What the encoder said.
        #[source]
        source: openh264::Error,
    },
    /// The clip is not what it says; the next one may be.
    #[error(transparent)]
    Pixels(#[from] WrongPixels),
}

/// What became of the clips.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilmSummary {
    /// Clips that are in the film. Without any there is no file.
    pub n_shown: u32,
    /// Clips that were not newer than what was shown of their run before.
    pub n_skipped: u32,
    /// Gaps in which a clip was held.
    pub n_held: u32,
}
