//! The `[recording]` section: where the session is recorded.

use std::path::PathBuf;

use corticast_wire::message::Durability;
use serde::{Deserialize, Serialize};

/// Where the session is recorded, and how safe a volume must be before it is acknowledged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecordingConfig {
    /// MCAP file of the session. Left out: nothing is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// JSON lines of results. Left out: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub results: Option<PathBuf>,
    /// Whether the conditions of each result are recorded; a replay can compute them again.
    pub conditions: bool,
    /// Whether clips are recorded; a replay can make them again.
    pub clips: bool,
    /// `flush` survives a crash of the daemon, `fsync` also a power failure.
    pub durability: Durability,
    /// Whether a run may start when the disk is too small for the session.
    pub disk_check: DiskCheck,
}

/// Whether a run may start when the disk is too small for the planned session.
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
