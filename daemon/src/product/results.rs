//! Results: what the model decoded from the BOLD response to one stimulus, and the conditions a
//! picture generator gets from it.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use corticast_bold::{
    time::TrIndex,
    volume::{MadeFrom, ShiftInterpolation},
};
use corticast_models::readout::Concepts;
use serde::{Serialize, Serializer, ser::SerializeMap};

/// Class names with their probabilities, in the model's order.
#[derive(Clone, Debug, PartialEq)]
pub struct Probabilities {
    /// Names, shared by all results of a model.
    pub names: Arc<[String]>,
    /// One probability per name, 0 to 1.
    pub values: Vec<f32>,
    /// Whether exactly one class is present, so that the values sum to 1. Otherwise the classes
    /// are independent.
    pub is_exclusive: bool,
}

impl Probabilities {
    /// Neutral probabilities, shown to the participant while feedback is blanked: equal values
    /// that sum to 1 for exclusive classes, otherwise 0.5 for each class.
    #[must_use]
    pub fn neutral(&self) -> Self {
        let n_class = self.names.len();
        let each = if self.is_exclusive { 1.0 / n_class.max(1) as f32 } else { 0.5 };
        let (names, is_exclusive) = (Arc::clone(&self.names), self.is_exclusive);
        Self { names, values: vec![each; n_class], is_exclusive }
    }

    /// No classes: their head is switched off or failed.
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

/// One result: what the model decoded from the BOLD response to one stimulus.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DecodedResult {
    /// Name of the run.
    pub run: Arc<str>,
    /// Newest volume the result is based on.
    pub index: TrIndex,
    /// When the stimulus was shown, seconds since the start of volume index 0.
    pub stimulus_time_s: f64,
    /// Start of acquisition of the newest volume, seconds since the start of volume index 0.
    pub acquisition_time_s: f64,
    /// When that volume was received.
    pub received_ns: u64,
    /// When each stage finished with that volume.
    pub stages_ns: BTreeMap<&'static str, u64>,
    /// When the result was handed to the outputs.
    pub published_ns: u64,
    /// Probability of each class; empty if the model decodes no classes.
    pub concepts: Probabilities,
    /// Caption of what the participant sees, if the model decodes one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
    /// Heads of the model that failed for this result.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed_heads: Vec<&'static str>,
    /// The worst origin among the volumes it is based on.
    pub made_from: MadeFrom,
    /// How the volumes were interpolated to the time of the stimulus.
    pub shift: ShiftInterpolation,
    /// DVARS: change of signal since the previous volume; see [`corticast_bold::quality`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dvars: Option<f64>,
    /// Framewise displacement since the previous volume, in mm, if volumes are realigned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fd_mm: Option<f64>,
    /// FD or DVARS is above its threshold.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_spike: bool,
    /// The participant saw neutral feedback instead.
    pub blanked: bool,
}

/// What tells a result from all others of a session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ResultKey {
    /// Name of the run.
    pub run: Arc<str>,
    /// Newest volume the result is based on.
    pub index: TrIndex,
    /// The bits of the time of the stimulus: several windows can end with one volume.
    pub stimulus_time_bits: u64,
}

impl ResultKey {
    /// The key of a line of JSON. `None` when the line is no result.
    #[must_use]
    pub fn of_line(json: &[u8]) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Line {
            run: String,
            index: u32,
            stimulus_time_s: f64,
        }
        let Line { run, index, stimulus_time_s } = serde_json::from_slice(json).ok()?;
        let stimulus_time_bits = stimulus_time_s.to_bits();
        Some(Self { run: run.into(), index: TrIndex(index), stimulus_time_bits })
    }
}

/// Input of a picture generator for one result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConditionsReport {
    /// Name of the run.
    pub run: Arc<str>,
    /// Newest volume the result is based on.
    pub index: TrIndex,
    /// When the stimulus was shown, seconds since the start of volume index 0.
    pub stimulus_time_s: f64,
    /// When that volume was received.
    pub received_ns: u64,
    /// When the conditions were handed to the outputs.
    pub published_ns: u64,
    /// The participant saw neutral feedback instead.
    pub blanked: bool,
    /// A safetensors file; see [`super::tensors`]. Empty in outgoing messages while feedback is
    /// blanked.
    #[serde(skip)]
    pub tensors: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neutral_probabilities_favour_no_class() {
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
