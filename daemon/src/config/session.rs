//! The `[session]` section: the planned session, so that its size is known before it starts.

use serde::{Deserialize, Serialize};

/// The planned session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionConfig {
    /// Name of the session in recordings and reports.
    pub name: String,
    /// Number of planned runs.
    pub expected_runs: u32,
    /// Volumes of a run, if its header does not give the number.
    pub expected_volumes: u32,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self { name: "session".to_owned(), expected_runs: 1, expected_volumes: 500 }
    }
}
