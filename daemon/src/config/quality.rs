//! The `[quality]` section: which volumes are marked, and what the participant then sees.

use std::ops::Deref;

use serde::{Deserialize, Serialize};

/// What happens to the feedback at a spike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnSpike {
    /// The volume, its results and its score are marked.
    #[default]
    Mark,
    /// They are marked, and the participant sees what `[feedback]` shows for bad data.
    HoldFeedback,
}

/// Thresholds of quality control, checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct QualityConfig(Written);

/// The written form of the section; within a [`QualityConfig`] its values are in range.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Written {
    /// FD above which a volume is a spike, in mm; used with `[realign]`.
    pub fd_mm: f64,
    /// DVARS above which a volume is a spike, in tenths of a percent of the signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dvars: Option<f64>,
    /// What happens to the feedback at a spike.
    pub on_spike: OnSpike,
    /// Every how many volumes the tSNR is measured; 0 for never.
    pub tsnr_every_volumes: u32,
}

impl Default for Written {
    fn default() -> Self {
        Self { fd_mm: 0.5, dvars: None, on_spike: OnSpike::Mark, tsnr_every_volumes: 10 }
    }
}

/// A threshold that is no positive number.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("`{key}` is {found}, expected a number above 0")]
pub struct QualityConfigError {
    /// Name of the key.
    key: &'static str,
    /// Value found.
    found: f64,
}

impl TryFrom<Written> for QualityConfig {
    type Error = QualityConfigError;

    fn try_from(written: Written) -> Result<Self, QualityConfigError> {
        for (key, found) in [("fd_mm", Some(written.fd_mm)), ("dvars", written.dvars)] {
            if let Some(found) = found.filter(|found| !(found.is_finite() && *found > 0.0)) {
                return Err(QualityConfigError { key, found });
            }
        }
        Ok(Self(written))
    }
}

impl Deref for QualityConfig {
    type Target = Written;

    fn deref(&self) -> &Written {
        &self.0
    }
}
