//! The `[wire]` section: where the daemon listens, and whom it trusts.

use std::{net::SocketAddr, path::PathBuf};

use corticast_wire::{
    keys::KeyError,
    socket::{ServerSecurity, SocketError},
};
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
    /// HTTP with `/metrics`, `/healthz`, `/readyz`. It knows no keys, so it stays on the
    /// loopback; another machine comes through a tunnel or a proxy that asks who it is.
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

/// Why the sockets may not be bound as they are configured.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A key or the list of those who may connect cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// An endpoint leaves the machine without keys.
    #[error(transparent)]
    Endpoint(#[from] SocketError),
    /// There is a key, and nobody may connect.
    #[error("`key` in [wire] needs `allow`, a folder with the .pub files of those who may connect")]
    NoAllowList,
    /// Metrics would leave the machine, and HTTP knows no keys.
    #[error(
        "`http` in [wire] is {0}, expected an address of the loopback such as 127.0.0.1:9464; \
         let another machine come through a tunnel or a proxy"
    )]
    Http(SocketAddr),
}

impl WireConfig {
    /// Whom the data sockets and the control socket trust, in this order. Who may watch may not
    /// for that reason command.
    ///
    /// # Errors
    ///
    /// Fails when a key cannot be read, or an endpoint leaves the machine without one.
    pub fn security(&self) -> Result<(ServerSecurity, ServerSecurity), TrustError> {
        let of = |allow: &Option<PathBuf>| match (&self.key, allow) {
            (Some(key), Some(allow)) => Ok(ServerSecurity::from_files(key, &[allow])?),
            _ => Ok::<_, TrustError>(ServerSecurity::LoopbackOnly),
        };
        if self.key.is_some() && self.allow.is_none() {
            return Err(TrustError::NoAllowList);
        }
        let (data, control) = (of(&self.allow)?, of(&self.control_allow)?);
        for endpoint in [&self.adapter, &self.publish, &self.query] {
            data.permits(endpoint)?;
        }
        control.permits(&self.control)?;
        if !self.http.ip().is_loopback() {
            return Err(TrustError::Http(self.http));
        }
        Ok((data, control))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_the_machine_without_keys() {
        assert!(WireConfig::default().security().is_ok());
        let wide = |change: fn(&mut WireConfig)| {
            let mut wire = WireConfig::default();
            change(&mut wire);
            wire.security().unwrap_err()
        };
        let endpoint = wide(|wire| wire.adapter = "tcp://0.0.0.0:5560".to_owned());
        assert!(matches!(endpoint, TrustError::Endpoint(_)), "{endpoint}");
        let control = wide(|wire| wire.control = "tcp://10.0.0.1:5563".to_owned());
        assert!(matches!(control, TrustError::Endpoint(_)), "{control}");
        let http = wide(|wire| wire.http = SocketAddr::from(([0, 0, 0, 0], 9464)));
        assert!(matches!(http, TrustError::Http(_)), "{http}");
    }
}
