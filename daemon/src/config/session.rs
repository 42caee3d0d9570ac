//! The `[session]` section: what is planned, so that its size is known before it starts.

use serde::{Deserialize, Serialize};

/// What is planned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionConfig {
    /// Name of the session in recordings and reports.
    pub name: String,
    /// Runs that are planned.
    pub expected_runs: u32,
    /// Volumes of a run, where the scanner does not say.
    pub expected_volumes: u32,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self { name: "session".to_owned(), expected_runs: 1, expected_volumes: 500 }
    }
}
