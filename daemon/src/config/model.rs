//! The `[model]` section: which model decodes, and on what.

use std::path::PathBuf;

use corticast_models::runtime::provider::Device;
use serde::{Deserialize, Serialize};

/// Which model decodes, and on what. Without a folder, volumes are recorded and their quality
/// is published, and nothing is decoded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// Folder with `manifest.toml`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// `cpu`, `cuda` (refuses to start without it) or `auto` (falls back, and says so).
    pub device: Device,
}
