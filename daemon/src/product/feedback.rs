//! Feedback scores: what the participant was shown, and when.
//!
//! With a sealed assignment, what is published holds what was shown, whether it was the
//! participant's own score or a sham: nobody who watches the session can tell the two apart. The
//! participant's own score ([`OwnScore`]) is then in the recording only.

use std::sync::Arc;

use corticast_bold::time::TrIndex;
use serde::Serialize;

/// What the participant is shown from one volume on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FeedbackReport {
    /// Name of the run.
    pub run: Arc<str>,
    /// Newest volume that the score is based on.
    pub index: TrIndex,
    /// When the stimulus was shown, seconds since the start of volume index 0.
    pub stimulus_time_s: f64,
    /// Start of acquisition of the newest volume, seconds since the start of volume index 0.
    pub acquisition_time_s: f64,
    /// When that volume was received.
    pub received_ns: u64,
    /// When the score was handed to the outputs.
    pub published_ns: u64,
    /// Kind of the block at the stimulus time: `baseline`, `regulate`, `rest` or `transfer`.
    pub block: &'static str,
    /// Position of the block in the design, from 0; absent outside the design.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_index: Option<u32>,
    /// Condition of the block, as in the events file; absent outside the design.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<Arc<str>>,
    /// The score that is shown, 0 to 1; absent when nothing is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Standard error of the score, in the same unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncertainty: Option<f64>,
    /// What the score is: `score`, `block_mean`, `held`, `neutral`, `nothing`, or `blank` while the
    /// operator blanks the feedback; only `shown` or `nothing` with a sealed assignment.
    pub state: &'static str,
    /// The volume was a spike, was filled in, or could not be read.
    pub is_bad_data: bool,
    /// The stimulus is after the last block of the design.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_beyond_design: bool,
    /// The operator blanked the feedback: the participant saw nothing.
    pub blanked: bool,
    /// Whether feedback is real or sham is sealed.
    pub is_blind: bool,
    /// The participant's own score. With a sealed assignment, in the recording only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own: Option<OwnScore>,
}

/// The participant's own score, whatever was shown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct OwnScore {
    /// Value of the source, in its own unit; absent while the source has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<f64>,
    /// The scaled score, 0 to 1; absent until the baseline is long enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Standard error of `score`, in the same unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncertainty: Option<f64>,
    /// Mean age of the values in `score`, in seconds: the delay that smoothing adds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smoothing_lag_s: Option<f64>,
    /// Volumes in the baseline so far.
    pub n_baseline: u32,
}

impl FeedbackReport {
    /// As it is published: without what tells a sham from real feedback.
    #[must_use]
    pub fn published(mut self) -> Self {
        self.own = self.own.filter(|_| !self.is_blind);
        self
    }

    /// As it is published while the feedback is blanked.
    #[must_use]
    pub fn neutral(mut self) -> Self {
        (self.score, self.uncertainty, self.state, self.own) = (None, None, "blank", None);
        self
    }
}
