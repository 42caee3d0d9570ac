//! The `[recording]` section: where everything acquired is kept.

use std::path::PathBuf;

use corticast_wire::message::Durability;
use serde::{Deserialize, Serialize};

/// Where everything acquired is kept, and how safe it is before it is acknowledged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecordingConfig {
    /// MCAP file of the session. Left out: nothing is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// JSON lines of results. Left out: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub results: Option<PathBuf>,
    /// Whether the conditions of each result are recorded; a replay makes them anew.
    pub conditions: bool,
    /// Whether clips are recorded; a replay makes them anew.
    pub clips: bool,
    /// `flush` survives the death of the daemon, `fsync` a power cut.
    pub durability: Durability,
    /// What happens when the disk is too small for the session.
    pub disk_check: DiskCheck,
}

/// What happens when the disk is too small for what is planned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskCheck {
    /// The run is refused.
    #[default]
    Refuse,
    /// The run starts, with a warning.
    Warn,
}

impl Default for RecordingConfig {
    fn default() -> Self {
        Self {
            file: None,
            results: None,
            conditions: true,
            clips: true,
            durability: Durability::Flush,
            disk_check: DiskCheck::Refuse,
        }
    }
}
