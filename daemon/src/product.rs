//! What a session gives out: results, and what is known about volumes, runs and the daemon.
//!
//! These are the lines of a results file, the messages on the PUB socket and the entries of a
//! recording. Keys are only ever added, none is renamed. Keys that end in `_ns` are nanoseconds
//! of the daemon's monotonic clock and differ between a session and its replay; everything else
//! is equal to the bit on the CPU.

use std::{collections::BTreeMap, sync::Arc};

use corticast_bold::{
    run::RunHeader,
    time::TrIndex,
    volume::{MadeFrom, ShiftInterpolation},
};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};

/// Class names with their probabilities, in the model's order.
#[derive(Clone, Debug, PartialEq)]
pub struct Probabilities {
    /// Names, shared by all results of a model.
    pub names: Arc<[String]>,
    /// One for each name; they sum to 1.
    pub values: Vec<f32>,
}

impl Probabilities {
    /// The same for every class: what a participant sees while the feedback is blanked.
    #[must_use]
    pub fn neutral(names: Arc<[String]>) -> Self {
        let each = 1.0 / names.len().max(1) as f32;
        Self { values: vec![each; names.len()], names }
    }

    /// The most probable class.
    #[must_use]
    pub fn best(&self) -> Option<(&str, f32)> {
        let pairs = self.names.iter().zip(&self.values);
        let best = pairs.max_by(|a, b| a.1.total_cmp(b.1))?;
        Some((best.0, *best.1))
    }
}

impl Serialize for Probabilities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.names.len()))?;
        for (name, value) in self.names.iter().zip(&self.values) {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// One result: what was read out of the BOLD that answers one stimulus.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DecodedResult {
    /// Name of the run.
    pub run: Arc<str>,
    /// Newest volume it rests on.
    pub index: TrIndex,
    /// When the stimulus was shown, seconds since the start of volume index 0.
    pub stimulus_time_s: f64,
    /// Start of acquisition of the newest volume, seconds since the start of volume index 0.
    pub acquisition_time_s: f64,
    /// When that volume was received.
    pub received_ns: u64,
    /// When each stage was done with it.
    pub stages_ns: BTreeMap<&'static str, u64>,
    /// When the result was handed to the outputs.
    pub published_ns: u64,
    /// Probability of each class.
    pub concepts: Probabilities,
    /// The worst of the volumes it rests on.
    pub made_from: MadeFrom,
    /// How the volumes were brought to the stimulus' time.
    pub shift: ShiftInterpolation,
    /// Change of signal against the volume before; see [`corticast_bold::quality`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dvars: Option<f64>,
    /// The participant saw neutral feedback instead.
    pub blanked: bool,
}

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

/// Whatever a session gives out.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Product {
    /// A result.
    Result(DecodedResult),
    /// A volume.
    Volume(VolumeReport),
    /// A run started, changed state, or ended.
    Run(RunReport),
    /// Something the operator should know.
    Status(StatusReport),
}

impl Product {
    /// Topic on the PUB socket and in recordings.
    #[must_use]
    pub fn topic(&self) -> &'static str {
        match self {
            Self::Result(_) => "concepts",
            Self::Volume(_) => "volume",
            Self::Run(_) => "run",
            Self::Status(_) => "status",
        }
    }

    /// As one line of JSON, without the line's end.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("products hold only plain values")
    }
}
