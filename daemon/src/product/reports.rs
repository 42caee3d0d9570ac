//! Reports of the daemon on volumes, runs and itself.

use std::sync::Arc;

use corticast_bold::{run::RunHeader, time::TrIndex};
use serde::{Deserialize, Serialize};

/// Report on one volume.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VolumeReport {
    /// Name of the run.
    pub run: Arc<str>,
    /// Position in the run.
    pub index: TrIndex,
    /// Start of acquisition, seconds since the start of volume index 0.
    pub acquisition_time_s: f64,
    /// How far the adapter's acquisition time was from `index · TR`, in seconds, if it did not fit.
    /// `index · TR` was used instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_off_s: Option<f64>,
    /// Time of the stimulus that the volume responds to, from the delay alone, seconds; negative
    /// before the run.
    pub stimulus_time_s: f64,
    /// When the volume was received.
    pub received_ns: u64,
    /// When the report was handed to the outputs.
    pub published_ns: u64,
    /// DVARS: change of signal since the previous volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dvars: Option<f64>,
    /// Missing volumes directly before this one.
    pub n_missing_before: u32,
    /// Why the volume was dropped, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<String>,
}

/// State of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// No run is open.
    Waiting,
    /// Volumes arrive, but there is no result yet.
    WarmingUp,
    /// Results are published.
    Feedback,
    /// The operator paused the run: volumes are recorded but not decoded.
    Paused,
    /// The run is over.
    Ended,
}

/// Report on one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// Name of the run.
    pub run: Arc<str>,
    /// State of the run.
    pub state: RunState,
    /// Time between volumes, seconds.
    pub repetition_time_s: f64,
    /// Voxels along x, y, z.
    pub matrix: [usize; 3],
    /// The adapter and its source of volumes.
    pub source: String,
    /// Volumes received.
    pub n_received: u32,
    /// Volumes known to be missing.
    pub n_missing: u32,
    /// Volumes that arrived too late to be used.
    pub n_late: u32,
    /// Volumes that arrived but were dropped.
    pub n_dropped: u32,
    /// Volumes whose acquisition time did not fit `index · TR`.
    pub n_time_off: u32,
    /// Results published.
    pub n_results: u32,
    /// Largest DVARS of the run.
    pub max_dvars: f64,
    /// When the report was handed to the outputs.
    pub published_ns: u64,
}

impl RunReport {
    /// The first report of a run.
    #[must_use]
    pub fn start(run: Arc<str>, header: &RunHeader) -> Self {
        Self {
            run,
            state: RunState::WarmingUp,
            repetition_time_s: header.repetition_time.as_secs(),
            matrix: header.space.matrix(),
            source: header.source.clone(),
            n_received: 0,
            n_missing: 0,
            n_late: 0,
            n_dropped: 0,
            n_time_off: 0,
            n_results: 0,
            max_dvars: 0.0,
            published_ns: 0,
        }
    }

    /// Acquired volumes that did not reach the model.
    #[must_use]
    pub fn n_lost(&self) -> u32 {
        self.n_missing.saturating_add(self.n_late).saturating_add(self.n_dropped)
    }
}

/// Something the operator should know.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StatusReport {
    /// `alarm`, `warning` or `info`.
    pub level: &'static str,
    /// What happened, and what to do.
    pub message: String,
    /// When the report was handed to the outputs.
    pub published_ns: u64,
}
