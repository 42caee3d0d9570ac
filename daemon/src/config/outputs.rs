//! The `[outputs]` section: clips as films and pictures, and the report of each run.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Outputs besides subscribers and the recording.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutputsConfig {
    /// Film of the session with its decoded results (`.mp4`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub film: Option<PathBuf>,
    /// New folder for one animated picture per clip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webp: Option<PathBuf>,
    /// New folder for the single pictures of each clip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub png: Option<PathBuf>,
    /// Folder for the report of each run. Needs a recording.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<PathBuf>,
}

impl OutputsConfig {
    /// Whether an output for clips is configured.
    #[must_use]
    pub fn has_clips(&self) -> bool {
        self.film.is_some() || self.webp.is_some() || self.png.is_some()
    }
}
