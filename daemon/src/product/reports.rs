//! Reports: what the daemon says about volumes, runs and itself.

use std::sync::Arc;

use corticast_bold::{run::RunHeader, time::TrIndex};
use serde::{Deserialize, Serialize};

/// What is known about one volume.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VolumeReport {
    /// Name of the run.
    pub run: Arc<str>,
    /// Position in the run.
    pub index: TrIndex,
    /// Start of acquisition, seconds since the start of volume index 0.
    pub acquisition_time_s: f64,
    /// Stimulus that the volume answers by the delay alone, seconds; negative before the run.
    pub stimulus_time_s: f64,
    /// When it was received.
    pub received_ns: u64,
    /// When this was handed to the outputs.
    pub published_ns: u64,
    /// Change of signal against the volume before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dvars: Option<f64>,
    /// Volumes that were found missing just before this one.
    pub n_missing_before: u32,
    /// Why the volume was not used, if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<String>,
}

/// Where a run is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// No run is open.
    Waiting,
    /// Volumes come, and no result yet.
    WarmingUp,
    /// Results come.
    Feedback,
    /// The operator paused: volumes are recorded, nothing is decoded.
    Paused,
    /// The run is over.
    Ended,
}

/// What is known about one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunReport {
    /// Name of the run.
    pub run: Arc<str>,
    /// Where it is in its life.
    pub state: RunState,
    /// Time between volumes, seconds.
    pub repetition_time_s: f64,
    /// Voxels along x, y, z.
    pub matrix: [usize; 3],
    /// Which adapter, and from what.
    pub source: String,
    /// Volumes that came.
    pub n_received: u32,
    /// Volumes that never came, as far as is known.
    pub n_missing: u32,
    /// Volumes that came too late to be used.
    pub n_late: u32,
    /// Volumes that came and could not be used.
    pub n_dropped: u32,
    /// Results that were given out.
    pub n_results: u32,
    /// Largest DVARS.
    pub max_dvars: f64,
    /// When this was handed to the outputs.
    pub published_ns: u64,
}

impl RunReport {
    /// Of a run that starts.
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
            n_results: 0,
            max_dvars: 0.0,
            published_ns: 0,
        }
    }

    /// Volumes that gave the model nothing although they were acquired.
    #[must_use]
    pub fn n_lost(&self) -> u32 {
        self.n_missing + self.n_late + self.n_dropped
    }
}

/// Something the operator should know.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StatusReport {
    /// `alarm`, `warning` or `info`.
    pub level: &'static str,
    /// What is the matter, and what to do.
    pub message: String,
    /// When this was handed to the outputs.
    pub published_ns: u64,
}
