//! The `[feedback]` section: what the participant sees, and how it is computed.
//!
//! Files are named here and read by the daemon; this crate does no I/O.

use std::{collections::BTreeMap, ops::Deref, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    baseline::MOST_SAMPLES,
    design::EventUse,
    presentation::{BadData, Presentation},
    scaling::{Direction, Scaling},
};

/// How feedback is computed and shown, checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct FeedbackOptions(Written);

/// The written form of the section; within [`FeedbackOptions`] its values are in range.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// Where the score comes from.
    pub source: SourceOptions,
    /// Masks of the regions, by name. [`super::source::Readings::rois`] has the order of the names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rois: BTreeMap<String, PathBuf>,
    /// The BIDS `events.tsv` of the runs.
    pub events: PathBuf,
    /// What a `trial_type` means, besides the four kinds of block that mean themselves.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub blocks: BTreeMap<String, EventUse>,
    /// How the score is compared with the baseline.
    #[serde(default)]
    pub scaling: Scaling,
    /// With `scaling = "z"`: the z that is a score of 0 and the z that is a score of 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub z_range: Option<[f64; 2]>,
    /// Which change the participant is to make.
    #[serde(default)]
    pub direction: Direction,
    /// Time constant of the exponential smoothing, in seconds; 0 for none.
    #[serde(default)]
    pub smoothing_s: f64,
    /// Baseline volumes before the first score.
    #[serde(default = "min_baseline_volumes")]
    pub min_baseline_volumes: u32,
    /// When a score is shown.
    #[serde(default)]
    pub presentation: Presentation,
    /// What is shown where there is no score.
    #[serde(default)]
    pub bad_data: BadData,
    /// Sham or real feedback, by a sealed assignment; without it feedback is real and open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sham: Option<ShamOptions>,
}

fn min_baseline_volumes() -> u32 {
    10
}

/// The z-scores of a score of 0 and 1, unless the section says others.
pub const Z_RANGE: [f64; 2] = [-2.0, 2.0];

/// Where the score comes from. See [`super::source`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum SourceOptions {
    /// Sum of the probabilities of these concepts.
    Concepts {
        /// Names in the model.
        names: Vec<String>,
    },
    /// Cosine similarity of the embedding to a target.
    Cosine {
        /// File of the target embedding.
        target: PathBuf,
    },
    /// Percent signal change of a region.
    RoiChange {
        /// Name in `rois`.
        roi: String,
    },
    /// Percent signal change of one region minus that of another.
    RoiDifference {
        /// Name in `rois`.
        plus: String,
        /// Name in `rois`.
        minus: String,
    },
    /// Output of a linear decoder.
    Linear {
        /// File of its weights and intercept.
        decoder: PathBuf,
    },
}

/// Files of a study with sham. See [`super::seal`] and [`super::sham`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShamOptions {
    /// The sealed assignment of the participant.
    pub assignment: PathBuf,
    /// The study's key.
    pub key: PathBuf,
    /// What another participant saw; needed in every arm, so that its presence tells nothing.
    pub scores: PathBuf,
}

/// Why a `[feedback]` section is invalid.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidOptions {
    /// The range is empty, reversed or not finite.
    #[error("`z_range` is {0:?}, expected two finite numbers, the lower one first")]
    ZRange([f64; 2]),
    /// The range would not be used.
    #[error("`z_range` is set with `scaling = \"percentile\"`, expected it with `z` only")]
    UnusedZRange,
    /// The time constant is out of range.
    #[error("`smoothing_s` is {0} s, expected 0 to 60 s")]
    Smoothing(f64),
    /// The baseline is too short for an s.d., or longer than what is kept.
    #[error("`min_baseline_volumes` is {0}, expected 2 to {MOST_SAMPLES}")]
    MinBaseline(u32),
    /// A region without a mask.
    #[error("source: no region `{name}` in `rois`, expected one of {known:?}")]
    UnknownRoi {
        /// Name found.
        name: String,
        /// Names that exist.
        known: Vec<String>,
    },
    /// The difference of a region to itself.
    #[error("source: `plus` and `minus` are both `{0}`, expected two regions")]
    SameRoi(String),
    /// Nothing to sum.
    #[error("source: `names` is empty, expected at least one concept")]
    NoConcept,
}

impl TryFrom<Written> for FeedbackOptions {
    type Error = InvalidOptions;

    fn try_from(written: Written) -> Result<Self, InvalidOptions> {
        match written.z_range {
            Some(_) if written.scaling == Scaling::Percentile => {
                return Err(InvalidOptions::UnusedZRange);
            }
            Some([low, high]) if !(low < high && (high - low).is_finite()) => {
                return Err(InvalidOptions::ZRange([low, high]));
            }
            _ => {}
        }
        if !(0.0..=60.0).contains(&written.smoothing_s) {
            return Err(InvalidOptions::Smoothing(written.smoothing_s));
        }
        if !(2..=MOST_SAMPLES as u32).contains(&written.min_baseline_volumes) {
            return Err(InvalidOptions::MinBaseline(written.min_baseline_volumes));
        }
        let roi = |name: &String| {
            let known = || written.rois.keys().cloned().collect();
            let unknown = || InvalidOptions::UnknownRoi { name: name.clone(), known: known() };
            written.rois.contains_key(name).then_some(()).ok_or_else(unknown)
        };
        match &written.source {
            SourceOptions::Concepts { names } if names.is_empty() => {
                return Err(InvalidOptions::NoConcept);
            }
            SourceOptions::RoiChange { roi: name } => roi(name)?,
            SourceOptions::RoiDifference { plus, minus } => {
                roi(plus)?;
                roi(minus)?;
                if plus == minus {
                    return Err(InvalidOptions::SameRoi(plus.clone()));
                }
            }
            _ => {}
        }
        Ok(Self(written))
    }
}

impl Deref for FeedbackOptions {
    type Target = Written;

    fn deref(&self) -> &Written {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"
events = "task-nf_events.tsv"
scaling = "z"
z_range = [-1.0, 3.0]
direction = "up"
smoothing_s = 3.0
min_baseline_volumes = 8
presentation = "intermittent"
bad_data = "neutral"

[source]
kind = "roi_difference"
plus = "ffa"
minus = "ppa"

[rois]
ffa = "ffa.nii.gz"
ppa = "ppa.nii.gz"

[blocks]
count = "baseline"
face = "regulate"
key_press = "ignore"

[sham]
assignment = "sub-01.sealed.json"
key = "study.key"
scores = "sub-07.scores.json"
"#;

    fn message(change: &str, to: &str) -> String {
        let text = EXAMPLE.replace(change, to);
        assert_ne!(text, EXAMPLE);
        toml::from_str::<FeedbackOptions>(&text).unwrap_err().to_string()
    }

    #[test]
    fn a_section_is_read_and_short_ones_have_defaults() {
        let options: FeedbackOptions = toml::from_str(EXAMPLE).unwrap();
        assert_eq!(options.blocks["key_press"], EventUse::Ignore);
        assert_eq!(options.presentation, Presentation::Intermittent);
        let short = "events = \"e.tsv\"\nsource = { kind = \"concepts\", names = [\"face\"] }";
        let options: FeedbackOptions = toml::from_str(short).unwrap();
        assert_eq!((options.z_range, options.min_baseline_volumes), (None, 10));
        let written = toml::to_string(&options).unwrap();
        assert_eq!(toml::from_str::<FeedbackOptions>(&written).unwrap(), options);
    }

    #[test]
    fn values_out_of_range_are_named() {
        for (change, to, expected) in [
            ("[-1.0, 3.0]", "[3.0, 3.0]", "`z_range` is [3.0, 3.0], expected two finite numbers"),
            ("\"z\"", "\"percentile\"", "`z_range` is set with `scaling = \"percentile\"`"),
            ("= 3.0", "= -3.0", "`smoothing_s` is -3 s, expected 0 to 60 s"),
            ("= 8", "= 1", "`min_baseline_volumes` is 1, expected 2 to 1024"),
            ("\"ffa\"", "\"fba\"", "no region `fba` in `rois`, expected one of [\"ffa\", \"ppa\"]"),
            ("\"ffa\"", "\"ppa\"", "`plus` and `minus` are both `ppa`"),
            ("direction", "directoin", "unknown field `directoin`"),
            ("minus", "less", "unknown field `less`"),
        ] {
            let found = message(change, to);
            assert!(found.contains(expected), "{found}");
        }
    }
}
