//! The `[outputs]` section: clips as files that people look at.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where clips go besides subscribers and the recording.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutputsConfig {
    /// Film of the session with what was decoded (`.mp4`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub film: Option<PathBuf>,
    /// New folder of one animated picture for each clip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webp: Option<PathBuf>,
    /// New folder of the pictures of each clip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub png: Option<PathBuf>,
}

impl OutputsConfig {
    /// Whether nothing goes anywhere.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
