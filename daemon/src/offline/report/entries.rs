//! The entries of a recording that a report uses, read leniently: another version of the daemon
//! may have written more keys or fewer.

use serde::Deserialize;

use crate::product::reports::MotionReport;

/// An entry of topic `volume`.
#[derive(Debug, Deserialize)]
pub(super) struct VolumeEntry {
    pub(super) run: String,
    pub(super) index: u32,
    #[serde(default)]
    pub(super) acquisition_time_s: Option<f64>,
    #[serde(default)]
    pub(super) time_off_s: Option<f64>,
    #[serde(default)]
    pub(super) dvars: Option<f64>,
    #[serde(default)]
    pub(super) motion: Option<MotionReport>,
    #[serde(default)]
    pub(super) fd_mm: Option<f64>,
    #[serde(default)]
    pub(super) tsnr: Option<f64>,
    #[serde(default)]
    pub(super) is_spike: bool,
    #[serde(default)]
    pub(super) dropped: Option<String>,
}

/// An entry of topic `concepts`.
#[derive(Debug, Deserialize)]
pub(super) struct ResultEntry {
    pub(super) run: String,
    #[serde(default)]
    pub(super) received_ns: u64,
    #[serde(default)]
    pub(super) published_ns: u64,
    #[serde(default)]
    pub(super) stages_ns: std::collections::BTreeMap<String, u64>,
    #[serde(default)]
    pub(super) made_from: String,
    #[serde(default)]
    pub(super) failed_heads: Vec<String>,
    #[serde(default)]
    pub(super) blanked: bool,
}

/// An entry of topic `feedback`.
#[derive(Debug, Deserialize)]
pub(super) struct FeedbackEntry {
    pub(super) run: String,
    #[serde(default)]
    pub(super) stimulus_time_s: f64,
    #[serde(default)]
    pub(super) acquisition_time_s: Option<f64>,
    #[serde(default)]
    pub(super) block: String,
    #[serde(default)]
    pub(super) block_index: Option<u32>,
    #[serde(default)]
    pub(super) condition: String,
    #[serde(default)]
    pub(super) score: Option<f64>,
    #[serde(default)]
    pub(super) state: String,
    #[serde(default)]
    pub(super) blanked: bool,
    #[serde(default)]
    pub(super) is_blind: bool,
    #[serde(default)]
    pub(super) own: Option<OwnEntry>,
}

/// The participant's own score.
#[derive(Debug, Deserialize)]
pub(super) struct OwnEntry {
    #[serde(default)]
    pub(super) score: Option<f64>,
}

/// An entry of topic `status`.
#[derive(Debug, Deserialize)]
pub(super) struct StatusEntry {
    #[serde(default)]
    pub(super) level: String,
    #[serde(default)]
    pub(super) message: String,
}
