//! Reports of the daemon on volumes, runs and itself.

use std::sync::Arc;

use corticast_bold::{realign::Fit, run::RunHeader, time::TrIndex, volume::Motion};
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
    /// Motion to the reference volume, if volumes are realigned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub motion: Option<MotionReport>,
    /// Framewise displacement since the previous volume, in mm, if volumes are realigned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fd_mm: Option<f64>,
    /// Median over the mask of the temporal signal-to-noise ratio so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tsnr: Option<f64>,
    /// FD or DVARS is above its threshold, or the volume was not found in the reference.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_spike: bool,
    /// Missing volumes directly before this one.
    pub n_missing_before: u32,
    /// Why the volume was dropped, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<String>,
}

/// The rigid transform that takes a volume to the reference volume; conventions as
/// [`corticast_bold::volume::Motion`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MotionReport {
    /// Translation along x (right), mm.
    pub trans_x: f64,
    /// Translation along y (anterior), mm.
    pub trans_y: f64,
    /// Translation along z (superior), mm.
    pub trans_z: f64,
    /// Rotation about x, radians.
    pub rot_x: f64,
    /// Rotation about y, radians.
    pub rot_y: f64,
    /// Rotation about z, radians.
    pub rot_z: f64,
    /// How the estimate ended, unless it converged: `bound_reached` or `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(default)]
    pub outcome: Option<Outcome>,
}

impl From<(Motion, Fit)> for MotionReport {
    fn from((motion, fit): (Motion, Fit)) -> Self {
        let [trans_x, trans_y, trans_z] = motion.translation_mm;
        let [rot_x, rot_y, rot_z] = motion.rotation_rad;
        let outcome = match fit {
            Fit::Converged => None,
            Fit::BoundReached => Some(Outcome::BoundReached),
            Fit::Failed => Some(Outcome::Failed),
        };
        Self { trans_x, trans_y, trans_z, rot_x, rot_y, rot_z, outcome }
    }
}

/// How an estimate of motion ended, unless it converged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its largest number of iterations came first.
    BoundReached,
    /// No plausible motion was found, so the last one was used.
    Failed,
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
    /// Whether the participant has been shown a score.
    #[serde(default)]
    pub has_shown: bool,
    /// Largest DVARS of the run.
    pub max_dvars: f64,
    /// Largest FD of the run, in mm; 0 without realignment.
    #[serde(default)]
    pub max_fd_mm: f64,
    /// Volumes whose FD or DVARS is above its threshold, or that were not found in the reference.
    #[serde(default)]
    pub n_spikes: u32,
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
            has_shown: false,
            max_dvars: 0.0,
            max_fd_mm: 0.0,
            n_spikes: 0,
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
