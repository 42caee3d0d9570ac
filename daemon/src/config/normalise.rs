//! The `[normalise]` section: how BOLD becomes z-scores.

use corticast_bold::normalise::{FrozenMean, Mode};
use serde::{Deserialize, Serialize};

/// How BOLD becomes z-scores. Keys that are left out are taken from the model; keys that are
/// set must agree with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NormaliseConfig {
    /// `none`, `growing`, `baseline`, `session` or `frozen`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Measured volumes before the first result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warm_up_volumes: Option<u32>,
    /// Volumes of the baseline, with mode `baseline`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline_volumes: Option<u32>,
    /// Source of the mean with mode `frozen`: `growing` (this run) or `manifest`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frozen_mean: Option<FrozenMean>,
    /// Whether each volume is then z-scored across its voxels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub across_voxels: Option<bool>,
}
