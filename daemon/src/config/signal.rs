//! The `[signal]` section: how volumes are prepared for the model.

use std::{num::NonZeroUsize, ops::Deref, path::PathBuf};

use corticast_bold::{gap_fill::MissingVolumes, volume::ShiftInterpolation};
use serde::{Deserialize, Serialize};

/// How volumes are prepared for the model, checked. Keys that are left out are taken from the
/// model; keys that are given have to agree with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct SignalConfig(Written);

/// The section as it is written; within a [`SignalConfig`] its values are in range.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Written {
    /// Image (`.nii`, `.nii.gz`) or sparse matrix (`.safetensors`) that picks the voxels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<PathBuf>,
    /// Seconds from a stimulus to the BOLD that answers it; typically 4 to 6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hrf_delay_s: Option<f64>,
    /// How volumes are brought to the stimulus' time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shift: Option<ShiftInterpolation>,
    /// Volumes per window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_volumes: Option<NonZeroUsize>,
    /// Volumes at the start of a run that are counted but not used (steady state).
    pub discard_volumes: u32,
    /// What stands in for a missing volume.
    pub missing: MissingVolumes,
    /// Longest gap that is filled.
    pub max_fill_volumes: u32,
    /// Later arrivals that a missing volume is waited for before it counts as missing.
    pub resequence_volumes: u32,
    /// What happens to a volume whose bytes equal those of an earlier one.
    pub content_duplicates: ContentDuplicates,
    /// Volumes of the baseline of DVARS.
    pub quality_baseline_volumes: u32,
}

/// What happens to a volume whose bytes equal those of an earlier one of its run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContentDuplicates {
    /// It is dropped: no scanner gives the same noise twice.
    #[default]
    Drop,
    /// It is used, for phantoms and tests.
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

/// A `[signal]` section that cannot be run.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum SignalConfigError {
    /// The delay lies outside what hemodynamics allows.
    #[error("`hrf_delay_s`: the delay must lie in 0..=12 s, got {0} s")]
    HrfDelay(f64),
    /// The window is longer than anybody trains.
    #[error("`window_volumes`: at most 256, got {0}")]
    Window(usize),
    /// More volumes than a run has would be held back or invented.
    #[error("`{key}`: at most {most}, got {found}")]
    TooMany {
        /// Which key.
        key: &'static str,
        /// What it holds.
        found: u32,
        /// Its limit.
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
