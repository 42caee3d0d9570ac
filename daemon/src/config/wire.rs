//! The `[wire]` section: where the daemon listens, and which peers it trusts.

use std::{net::SocketAddr, path::PathBuf};

use corticast_wire::{
    keys::KeyError,
    socket::{ServerSecurity, SocketError},
};
use serde::{Deserialize, Serialize};

/// Where the daemon listens, and which peers it trusts. All sockets are on the loopback by default,
/// and a socket elsewhere needs keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WireConfig {
    /// ROUTER for scanner adapters. Port 0 or `*`: chosen by the system.
    pub adapter: String,
    /// PUB for subscribers.
    pub publish: String,
    /// ROUTER that answers queries, for clients that join late.
    pub query: String,
    /// ROUTER that takes commands from operators.
    pub control: String,
    /// HTTP with `/metrics`, `/healthz`, `/readyz`. HTTP has no keys, so it stays on the
    /// loopback; other machines connect through a tunnel or an authenticating proxy.
    pub http: SocketAddr,
    /// Private folder for `ipc://` sockets. If it is set, the sockets whose endpoints are left at
    /// their defaults are `ipc://RUNTIME_DIR/adapter` and so on, which other local users cannot
    /// reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_dir: Option<PathBuf>,
    /// Largest frame; a larger one ends its connection.
    pub max_message_mib: u32,
    /// CURVE key of the daemon (`corticast keygen`). Required off the loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Folder of the public keys (`*.pub`) of the adapters that may send runs. A socket whose list
    /// is left out has no keys and stays on this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter_allow: Option<PathBuf>,
    /// Folder of the public keys of subscribers, which may also query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<PathBuf>,
    /// Folder of the public keys of workers that may make clips.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_allow: Option<PathBuf>,
    /// Folder of the public keys of operators, which may send commands.
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
            runtime_dir: None,
            max_message_mib: 128,
            key: None,
            adapter_allow: None,
            allow: None,
            worker_allow: None,
            control_allow: None,
        }
    }
}

/// Why the sockets cannot be bound as configured.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A key, or the folder of allowed keys, cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// An endpoint is off the loopback and has no keys.
    #[error(transparent)]
    Endpoint(#[from] SocketError),
    /// There is a key, but no folder of allowed keys.
    #[error(
        "`key` in [wire] needs at least one of `adapter_allow`, `allow`, `worker_allow` and \
         `control_allow`, folders with the .pub files of allowed peers"
    )]
    NoAllowList,
    /// There is a list, but no key of the daemon.
    #[error("`{0}` in [wire] needs `key`, the daemon's own key; make one with `corticast keygen`")]
    NoKey(&'static str),
    /// An endpoint is off the loopback, and the list of its role is missing.
    #[error(
        "`{endpoint}` can be reached from other machines, and `{list}` in [wire] is not set, so \
         nobody may connect there; set it to a folder with the .pub files of allowed peers \
         (`corticast keygen`)"
    )]
    NoList {
        /// The endpoint.
        endpoint: String,
        /// Key of the missing list.
        list: &'static str,
    },
    /// The address of HTTP, which has no keys, is off the loopback.
    #[error(
        "`http` in [wire] is {0}, expected a loopback address such as 127.0.0.1:9464; connect \
         other machines through a tunnel or a proxy"
    )]
    Http(SocketAddr),
}

/// The peers that each socket trusts. A key on one list opens no other socket.
#[derive(Clone, Debug)]
pub struct WireSecurity {
    /// Adapters.
    pub adapter: ServerSecurity,
    /// Subscribers, and clients that query.
    pub subscriber: ServerSecurity,
    /// Workers that make clips.
    pub worker: ServerSecurity,
    /// Operators.
    pub control: ServerSecurity,
}

impl WireConfig {
    /// The endpoints, with those in `runtime_dir` in place of the defaults.
    #[must_use]
    pub fn in_runtime_dir(mut self) -> Self {
        let default = Self::default();
        if let Some(folder) = &self.runtime_dir {
            for (name, endpoint, default) in [
                ("adapter", &mut self.adapter, default.adapter),
                ("publish", &mut self.publish, default.publish),
                ("query", &mut self.query, default.query),
                ("control", &mut self.control, default.control),
            ] {
                if *endpoint == default {
                    *endpoint = format!("ipc://{}", folder.join(name).display());
                }
            }
        }
        self
    }

    /// The peers that each socket trusts.
    ///
    /// # Errors
    ///
    /// Fails when a key cannot be read, or an endpoint off the loopback has no list of keys.
    pub fn security(&self) -> Result<WireSecurity, TrustError> {
        let of = |list: &'static str, allow: &Option<PathBuf>, endpoints: &[&String]| {
            let trusted = match (&self.key, allow) {
                (Some(key), Some(allow)) => ServerSecurity::from_files(key, &[allow])?,
                (None, Some(_)) => return Err(TrustError::NoKey(list)),
                (_, None) => ServerSecurity::LoopbackOnly,
            };
            for endpoint in endpoints {
                match trusted.permits(endpoint) {
                    Err(SocketError::NotLocal { endpoint }) if self.key.is_some() => {
                        return Err(TrustError::NoList { endpoint, list });
                    }
                    permitted => permitted?,
                }
            }
            Ok(trusted)
        };
        let lists = [&self.adapter_allow, &self.allow, &self.worker_allow, &self.control_allow];
        if self.key.is_some() && lists.iter().all(|list| list.is_none()) {
            return Err(TrustError::NoAllowList);
        }
        let security = WireSecurity {
            adapter: of("adapter_allow", &self.adapter_allow, &[&self.adapter])?,
            subscriber: of("allow", &self.allow, &[&self.publish, &self.query])?,
            worker: of("worker_allow", &self.worker_allow, &[])?,
            control: of("control_allow", &self.control_allow, &[&self.control])?,
        };
        if !self.http.ip().is_loopback() {
            return Err(TrustError::Http(self.http));
        }
        Ok(security)
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
