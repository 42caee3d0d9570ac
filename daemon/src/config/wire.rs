//! The `[wire]` section: where the daemon listens, and whom it trusts.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

/// Where the daemon listens, and whom it trusts. Everything is on the loopback unless said
/// otherwise, and nothing leaves it without keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WireConfig {
    /// ROUTER for scanner adapters. Port 0 or `*`: chosen by the system.
    pub adapter: String,
    /// PUB for everybody who watches.
    pub publish: String,
    /// ROUTER that answers late joiners.
    pub query: String,
    /// ROUTER that takes commands.
    pub control: String,
    /// HTTP with `/metrics`, `/healthz`, `/readyz`.
    pub http: SocketAddr,
    /// Frames above this end their connection.
    pub max_message_mib: u32,
    /// CURVE key of the daemon (`corticast keygen`). Needed off the loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Folder of public keys (`*.pub`) that may connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<PathBuf>,
    /// Folder of public keys that may command. Left out: nobody off the loopback may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_allow: Option<PathBuf>,
}

impl Default for WireConfig {
    fn default() -> Self {
        Self {
            adapter: "tcp://127.0.0.1:5560".to_owned(),
            publish: "tcp://127.0.0.1:5561".to_owned(),
            query: "tcp://127.0.0.1:5562".to_owned(),
            control: "tcp://127.0.0.1:5563".to_owned(),
            http: SocketAddr::from(([127, 0, 0, 1], 9464)),
            max_message_mib: 128,
            key: None,
            allow: None,
            control_allow: None,
        }
    }
}
