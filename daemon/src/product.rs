//! What the daemon publishes: results, clips, and reports on volumes, runs and the daemon.
//!
//! Products are the lines of a results file, the messages on the PUB socket and the entries of a
//! recording. Keys may be added; an existing key is never renamed. Keys that end in `_ns` are
//! nanoseconds of the daemon's monotonic clock and differ between a session and its replay;
//! everything else is equal to the bit on the CPU.

pub mod clips;
pub mod reports;
pub mod results;
pub mod tensors;

use serde::Serialize;

use self::{
    clips::ClipReport,
    reports::{RunReport, StatusReport, VolumeReport},
    results::{ConditionsReport, DecodedResult},
};

/// Anything that a session publishes.
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

    /// As one line of JSON, without the line's end and without tensors.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("products hold only plain values")
    }
}
