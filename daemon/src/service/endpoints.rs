//! The endpoints of the daemon.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context;
use serde::Serialize;

/// The endpoints of the daemon, with the ports that the system chose.
#[derive(Clone, Debug, Serialize)]
pub struct Endpoints {
    /// For scanner adapters.
    pub adapter: String,
    /// For subscribers.
    pub publish: String,
    /// For clients that join late.
    pub query: String,
    /// For operators.
    pub control: String,
    /// For Prometheus.
    pub http: String,
    /// For workers, if workers make the clips.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<String>,
    /// For the clients of each sink that listens, by the name of its table.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sinks: BTreeMap<&'static str, String>,
}

impl Endpoints {
    /// Logs that the daemon is ready, and writes the endpoints to `file` if there is one.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be written.
    pub(super) fn announce(&self, file: Option<&Path>) -> anyhow::Result<()> {
        tracing::info!(
            adapter = self.adapter,
            publish = self.publish,
            query = self.query,
            control = self.control,
            http = self.http,
            "ready"
        );
        let Some(path) = file else { return Ok(()) };
        // Renamed when complete, so that a waiting script never reads half a file.
        let aside = path.with_extension("part");
        std::fs::write(&aside, serde_json::to_vec_pretty(self)?)
            .and_then(|()| std::fs::rename(&aside, path))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}
