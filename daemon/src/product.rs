//! What a session gives out: results, and what is known about volumes, runs and the daemon.
//!
//! These are the lines of a results file, the messages on the PUB socket and the entries of a
//! recording. Keys are only ever added, none is renamed. Keys that end in `_ns` are nanoseconds
//! of the daemon's monotonic clock and differ between a session and its replay; everything else
//! is equal to the bit on the CPU.

mod clip;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use corticast_bold::{
    run::RunHeader,
    time::TrIndex,
    volume::{MadeFrom, ShiftInterpolation},
};
use corticast_models::readout::Concepts;
use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};

use crate::outputs::tensors::clip_to_safetensors;

pub use self::clip::{ClipPictures, ClipReport};

/// Class names with their probabilities, in the model's order.
#[derive(Clone, Debug, PartialEq)]
pub struct Probabilities {
    /// Names, shared by all results of a model.
    pub names: Arc<[String]>,
    /// One for each name, 0 to 1.
    pub values: Vec<f32>,
    /// Whether exactly one class is there, so that they sum to 1. Otherwise each may be there or
    /// not, whatever the others are.
    pub is_exclusive: bool,
}

impl Probabilities {
    /// What says nothing of any class: what a participant sees while the feedback is blanked.
    /// The same for every class where one of them is there, else one half for each.
    #[must_use]
    pub fn neutral(&self) -> Self {
        let n_class = self.names.len();
        let each = if self.is_exclusive { 1.0 / n_class.max(1) as f32 } else { 0.5 };
        let (names, is_exclusive) = (Arc::clone(&self.names), self.is_exclusive);
        Self { names, values: vec![each; n_class], is_exclusive }
    }

    /// No class at all: the head that finds them is switched off, or gave nothing.
    #[must_use]
    pub fn none() -> Self {
        Self { names: Arc::new([]), values: Vec::new(), is_exclusive: false }
    }

    /// The most probable class.
    #[must_use]
    pub fn best(&self) -> Option<(&str, f32)> {
        let pairs = self.names.iter().zip(&self.values);
        let best = pairs.max_by(|a, b| a.1.total_cmp(b.1))?;
        Some((best.0, *best.1))
    }
}

impl From<Concepts> for Probabilities {
    fn from(Concepts { names, probabilities, is_exclusive }: Concepts) -> Self {
        Self { names, values: probabilities, is_exclusive }
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
    /// Probability of each class; empty where they are not decoded.
    pub concepts: Probabilities,
    /// What is seen, in words, where that is decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
    /// Heads of the model that gave nothing this time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed_heads: Vec<&'static str>,
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

/// What a generator of pictures is given of one result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConditionsReport {
    /// Name of the run.
    pub run: Arc<str>,
    /// Newest volume it rests on.
    pub index: TrIndex,
    /// When the stimulus was shown, seconds since the start of volume index 0.
    pub stimulus_time_s: f64,
    /// When that volume was received.
    pub received_ns: u64,
    /// When this was handed to the outputs.
    pub published_ns: u64,
    /// The participant saw neutral feedback instead.
    pub blanked: bool,
    /// A safetensors file; see [`crate::outputs::tensors`]. Empty while feedback is blanked, in
    /// what leaves the daemon.
    #[serde(skip)]
    pub tensors: Bytes,
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
    /// What a generator is given of it, from a model that gives it.
    Conditions(ConditionsReport),
    /// What a generator made of that.
    Clip(ClipReport),
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
            Self::Conditions(_) => "conditions",
            Self::Clip(_) => "clip",
            Self::Volume(_) => "volume",
            Self::Run(_) => "run",
            Self::Status(_) => "status",
        }
    }

    /// As it is in a recording.
    #[must_use]
    pub fn to_recorded(&self) -> Bytes {
        match self {
            Self::Conditions(report) => report.tensors.clone(),
            Self::Clip(report) => clip_to_safetensors(report),
            _ => self.to_json().into(),
        }
    }

    /// As one line of JSON, without the line's end and without tensors.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("products hold only plain values")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neutral_says_nothing_of_any_class() {
        let names: Arc<[String]> = ["a", "b", "c", "d"].map(str::to_owned).into();
        let decoded = |is_exclusive| Probabilities {
            names: Arc::clone(&names),
            values: vec![0.7, 0.1, 0.1, 0.1],
            is_exclusive,
        };
        assert_eq!(decoded(true).neutral().values, [0.25; 4]);
        assert_eq!(decoded(false).neutral().values, [0.5; 4]);
        assert_eq!(Probabilities::none().neutral(), Probabilities::none());
    }
}
