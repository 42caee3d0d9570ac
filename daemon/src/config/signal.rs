//! The `[signal]` section: how volumes are prepared for the model.

use std::{num::NonZeroUsize, ops::Deref, path::PathBuf};

use corticast_bold::{gap_fill::MissingVolumes, volume::ShiftInterpolation};
use serde::{Deserialize, Serialize};

/// How volumes are prepared for the model, checked. Keys that are left out are taken from the
/// model; keys that are set must agree with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct SignalConfig(Written);

/// The written form of the section; within a [`SignalConfig`] its values are in range.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Written {
    /// Image (`.nii`, `.nii.gz`) or sparse matrix (`.safetensors`) that selects the voxels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<PathBuf>,
    /// Seconds from a stimulus to its BOLD response; typically 4 to 6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hrf_delay_s: Option<f64>,
    /// How volumes are shifted to the time of the stimulus.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shift: Option<ShiftInterpolation>,
    /// Volumes per window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_volumes: Option<NonZeroUsize>,
    /// Volumes at the start of a run that are counted but not used (steady state).
    pub discard_volumes: u32,
    /// What replaces a missing volume.
    pub missing: MissingVolumes,
    /// Longest gap that is filled, in volumes.
    pub max_fill_volumes: u32,
    /// How many later volumes are held back for an absent one before it counts as missing.
    pub resequence_volumes: u32,
    /// Whether a volume with the same bytes as an earlier one is dropped or used.
    pub content_duplicates: ContentDuplicates,
    /// Volumes in the baseline of DVARS.
    pub quality_baseline_volumes: u32,
}

/// Whether a volume with the same bytes as an earlier one of its run is dropped or used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContentDuplicates {
    /// The volume is dropped: no scanner measures the same noise twice.
    #[default]
    Drop,
    /// The volume is used, for phantoms and tests.
    Keep,
}

impl Default for Written {
    fn default() -> Self {
        Self {
            mask: None,
            hrf_delay_s: None,
            shift: None,
            window_volumes: None,
            discard_volumes: 0,
            missing: MissingVolumes::Restart,
            max_fill_volumes: 2,
            resequence_volumes: 1,
            content_duplicates: ContentDuplicates::Drop,
            quality_baseline_volumes: 10,
        }
    }
}

/// Why a `[signal]` section is invalid.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum SignalConfigError {
    /// The delay is outside the physiological range.
    #[error("`hrf_delay_s` is {0} s, expected 0 to 12 s")]
    HrfDelay(f64),
    /// The window is longer than that of any model.
    #[error("`window_volumes` is {0}, expected at most 256")]
    Window(usize),
    /// The number of volumes is above its limit.
    #[error("`{key}` is {found}, expected at most {most}")]
    TooMany {
        /// Name of the key.
        key: &'static str,
        /// Value found.
        found: u32,
        /// Largest value allowed.
        most: u32,
    },
}

impl TryFrom<Written> for SignalConfig {
    type Error = SignalConfigError;

    fn try_from(written: Written) -> Result<Self, SignalConfigError> {
        if let Some(delay) = written.hrf_delay_s
            && !(0.0..=12.0).contains(&delay)
        {
            return Err(SignalConfigError::HrfDelay(delay));
        }
        if let Some(window) = written.window_volumes
            && window.get() > 256
        {
            return Err(SignalConfigError::Window(window.get()));
        }
        for (key, found, most) in [
            ("max_fill_volumes", written.max_fill_volumes, 16),
            ("resequence_volumes", written.resequence_volumes, 16),
            ("quality_baseline_volumes", written.quality_baseline_volumes, 1000),
        ] {
            if found > most {
                return Err(SignalConfigError::TooMany { key, found, most });
            }
        }
        Ok(Self(written))
    }
}

impl Deref for SignalConfig {
    type Target = Written;

    fn deref(&self) -> &Written {
        &self.0
    }
}
