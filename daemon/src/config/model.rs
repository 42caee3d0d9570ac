//! The `[model]` section: the model that decodes, and its device.

use std::{num::NonZeroUsize, path::PathBuf};

use corticast_models::runtime::provider::Device;
use serde::{Deserialize, Serialize};

/// The model that decodes, and its device. Without a folder, volumes are recorded and their quality
/// is published, but nothing is decoded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// Folder with `manifest.toml`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// `cpu`, `cuda` (refuses to start without CUDA) or `auto` (falls back to the CPU and logs it).
    pub device: Device,
    /// Number of the GPU, from 0, as `nvidia-smi` lists them.
    pub gpu: u8,
    /// CPU threads that share one operation. Another number can change the last bits of results.
    pub threads: NonZeroUsize,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self { dir: None, device: Device::default(), gpu: 0, threads: NonZeroUsize::MIN }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_and_gpu_are_counted_and_nothing_else_is_taken() {
        let read = |text| toml::from_str::<ModelConfig>(text).map_err(|e| e.message().to_owned());
        assert_eq!(read("").unwrap(), ModelConfig::default());
        let config = read("gpu = 1\nthreads = 4").unwrap();
        assert_eq!((config.gpu, config.threads.get()), (1, 4));
        for (text, expected) in [
            ("threads = 0", "nonzero"),
            ("gpu = -1", "invalid value"),
            ("gpu = 256", "invalid value"),
            ("cores = 2", "unknown field `cores`"),
        ] {
            let message = read(text).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}
