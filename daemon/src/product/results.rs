//! Results: what the model read out of the BOLD that answers one stimulus, and the conditions
//! that a generator of pictures gets from it.

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
    /// A safetensors file; see [`super::tensors`]. Empty while feedback is blanked, in
    /// what leaves the daemon.
    #[serde(skip)]
    pub tensors: Bytes,
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
