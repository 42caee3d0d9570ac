//! What the daemon publishes: results, feedback, clips, and reports on volumes, runs and the daemon.
//!
//! Products are the lines of a results file, the messages on the PUB socket and the entries of a
//! recording. Keys may be added; an existing key is never renamed. Keys that end in `_ns` are
//! nanoseconds of the daemon's monotonic clock and differ between a session and its replay;
//! everything else is equal to the bit on the CPU.

pub mod clips;
pub mod feedback;
pub mod reports;
pub mod results;
pub mod tensors;

use serde::Serialize;

use self::{
    clips::ClipReport,
    feedback::FeedbackReport,
    reports::{RunReport, StatusReport, VolumeReport},
    results::{ConditionsReport, DecodedResult},
};

/// Anything a session publishes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Product {
    /// What the model decoded for one stimulus.
    Result(DecodedResult),
    /// What the participant is shown.
    Feedback(FeedbackReport),
    /// Input of a picture generator for one result, if the model decodes it.
    Conditions(ConditionsReport),
    /// The clip a generator made from conditions.
    Clip(ClipReport),
    /// Report on one volume.
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
            Self::Feedback(_) => "feedback",
            Self::Conditions(_) => "conditions",
            Self::Clip(_) => "clip",
            Self::Volume(_) => "volume",
            Self::Run(_) => "run",
            Self::Status(_) => "status",
        }
    }

    /// The product as one line of JSON, without a newline and without tensors.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("products hold only plain values")
    }
}
