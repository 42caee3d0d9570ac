//! The `[model]` section: the model that decodes, and its device.

use std::path::PathBuf;

use corticast_models::runtime::provider::Device;
use serde::{Deserialize, Serialize};

/// The model that decodes, and its device. Without a folder, volumes are recorded and their quality
/// is published, but nothing is decoded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// Folder with `manifest.toml`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// `cpu`, `cuda` (refuses to start without CUDA) or `auto` (falls back to the CPU and logs it).
    pub device: Device,
}
