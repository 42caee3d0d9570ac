//! The score of one volume, and which part of it is published.
//!
//! The recording gets all of [`FeedbackScore`]: the true score, what was shown, and the times of
//! both. Subscribers, the operator's page, the log and the results file get
//! [`FeedbackScore::published`] only.
//!
//! While the assignment to sham or real feedback is sealed, nobody may tell them apart. The true
//! score beside the shown one would tell it at once; so would the true score's error, or a note that
//! a value was held. So [`Details`] are published only if no assignment is sealed, and a sealed
//! *real* arm hides the same as a sham. What stays is equal in both: times, block, condition,
//! whether the data were bad, and the shown value, which the stimulus computer needs.
//!
//! A page for a blinded operator should not draw even the shown values: beside the decoded
//! probabilities, or a region's signal, their course tells whether they belong together. It can say
//! that feedback is shown. The probabilities are not part of the score, and the daemon has to keep
//! them off that page in both arms.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::design::BlockKind;
pub use super::presentation::ShownAs;
use crate::time::TrIndex;

/// What the participant sees after one volume, and why. See the module docs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeedbackScore {
    /// What is published whatever is sealed.
    #[serde(flatten)]
    pub open: OpenScore,
    /// The true score.
    pub details: Details,
    /// Whether an assignment is sealed, of either arm.
    pub is_blind: bool,
}

/// What may be known in both arms of a blinded study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenScore {
    /// Newest volume the score is based on.
    pub index: TrIndex,
    /// When the stimulus was shown, seconds since the start of volume index 0.
    pub stimulus_time_s: f64,
    /// Start of acquisition of the newest volume, seconds since the start of volume index 0.
    pub acquisition_time_s: f64,
    /// The block of the stimulus; rest between blocks.
    pub block: BlockKind,
    /// Position of that block in the design; `None` between blocks.
    pub block_index: Option<usize>,
    /// The `trial_type` of that block.
    pub condition: Option<Arc<str>>,
    /// Whether the stimulus is after the last block of the design.
    pub is_beyond_design: bool,
    /// Whether the volume was a spike, was filled in, or could not be read.
    pub is_bad_data: bool,
    /// The operator blanked feedback.
    pub is_blanked: bool,
    /// What the participant sees, 0 to 1; `None` for nothing.
    pub shown: Option<f64>,
}

/// The true score of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Details {
    /// In the unit of the source; see [`super::source`].
    pub raw: Option<f64>,
    /// 0 to 1, in `regulate` and `transfer` blocks.
    pub scaled: Option<f64>,
    /// Standard error of `scaled`, in its unit; see [`super::scaling`].
    pub uncertainty: Option<f64>,
    /// Mean age of the values in `scaled`, in seconds: the delay that smoothing adds.
    pub smoothing_lag_s: Option<f64>,
    /// Volumes in the baseline so far.
    pub n_baseline: u32,
    /// What the shown value is.
    pub shown_as: ShownAs,
}

/// The part of a score that everyone may see.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PublishedScore<'a> {
    /// What is published whatever is sealed.
    #[serde(flatten)]
    pub open: &'a OpenScore,
    /// The true score, if no assignment is sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<&'a Details>,
}

impl FeedbackScore {
    /// The participant sees nothing, because the operator blanked feedback.
    #[must_use]
    pub fn blanked(mut self) -> Self {
        self.open.is_blanked = true;
        self.open.shown = None;
        self.details.shown_as = ShownAs::Nothing;
        self
    }

    /// The part that everyone may see. While feedback is blanked, nothing that was decoded.
    #[must_use]
    pub fn published(&self) -> PublishedScore<'_> {
        let is_open = !self.is_blind && !self.open.is_blanked;
        PublishedScore { open: &self.open, details: is_open.then_some(&self.details) }
    }
}
