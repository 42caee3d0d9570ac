//! The `[outputs]` section: clips as films and pictures.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Outputs for clips besides subscribers and the recording.
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
}

impl OutputsConfig {
    /// Whether no output is configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
