//! Which peers a socket trusts, and whether other machines may reach it.
//!
//! Without keys a socket serves this machine only. To serve other machines it needs CURVE *and* a
//! list of allowed clients: encryption without a list would admit every client.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    path::Path,
};

use crate::{
    error::SocketError,
    keys::{KeyError, KeyPair, PublicKey, allow_list},
};

/// What the binding side requires of its clients.
#[derive(Clone, Debug)]
pub enum ServerSecurity {
    /// No key, so only clients on this machine can connect.
    LoopbackOnly,
    /// A key on the allow-list.
    Curve {
        /// Our own key pair.
        keys: KeyPair,
        /// Keys of the clients that may connect. Must not be empty.
        allowed: Vec<PublicKey>,
    },
}

impl ServerSecurity {
    /// CURVE with our `.key` file and an allow-list of `.pub` files, or folders of them.
    ///
    /// # Errors
    ///
    /// Fails when a file is unreadable or contains no key, or a folder contains no `.pub` file.
    pub fn from_files<P: AsRef<Path>>(own: &Path, allowed: &[P]) -> Result<Self, KeyError> {
        Ok(Self::Curve { keys: KeyPair::read(own)?, allowed: allow_list(allowed)? })
    }

    /// Checks that a socket with this security may be bound at `endpoint`.
    ///
    /// # Errors
    ///
    /// Fails when other machines can reach the endpoint and there are no keys, or when the
    /// allow-list is empty.
    pub fn permits(&self, endpoint: &str) -> Result<(), SocketError> {
        match self {
            Self::LoopbackOnly if !is_local(endpoint) => {
                Err(SocketError::NotLocal { endpoint: endpoint.to_owned() })
            }
            Self::Curve { allowed, .. } if allowed.is_empty() => {
                Err(SocketError::EmptyAllowList { endpoint: endpoint.to_owned() })
            }
            _ => Ok(()),
        }
    }
}

/// What the connecting side presents to the server.
#[derive(Clone, Debug)]
pub enum ClientSecurity {
    /// No key, for a server on this machine.
    None,
    /// Our key, and the public key that the server must have.
    Curve {
        /// Our own key pair.
        keys: KeyPair,
        /// The server's public key.
        server: PublicKey,
    },
}

impl ClientSecurity {
    /// CURVE with our `.key` file and the server's `.pub` file.
    ///
    /// # Errors
    ///
    /// Fails when a file is unreadable or contains no key.
    pub fn from_files(own: &Path, server: &Path) -> Result<Self, KeyError> {
        Ok(Self::Curve { keys: KeyPair::read(own)?, server: PublicKey::read(server)? })
    }
}

/// Whether only this machine can reach the endpoint. A host name other than `localhost` counts as
/// remote: its address can change after the check.
fn is_local(endpoint: &str) -> bool {
    if endpoint.starts_with("ipc://") {
        return true;
    }
    let Some((host, _port)) = endpoint.strip_prefix("tcp://").and_then(|e| e.rsplit_once(':'))
    else {
        return false;
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || bare.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
        || bare.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_are_local() {
        for local in
            ["tcp://127.0.0.1:5560", "tcp://127.9.9.9:*", "tcp://[::1]:1", "tcp://localhost:0"]
        {
            assert!(is_local(local), "{local}");
        }
        assert!(is_local("ipc:///run/corticast/pub"));
        for remote in [
            "tcp://*:5560",
            "tcp://0.0.0.0:5560",
            "tcp://[::]:1",
            "tcp://10.0.0.1:1",
            "tcp://127.0.0.1.example.org:1",
            "tcp://scanner:5560",
            "udp://127.0.0.1:1",
            "",
        ] {
            assert!(!is_local(remote), "{remote}");
        }
    }

    #[test]
    fn leaving_the_machine_takes_a_list_of_who_may_connect() {
        let message = ServerSecurity::LoopbackOnly.permits("tcp://*:5560").unwrap_err().to_string();
        assert!(message.contains("tcp://*:5560") && message.contains("keygen"), "{message}");
        let nobody = ServerSecurity::Curve { keys: KeyPair::generate(), allowed: Vec::new() };
        let message = nobody.permits("tcp://127.0.0.1:1").unwrap_err().to_string();
        assert!(message.contains("allow-list is empty"), "{message}");
        let somebody = ServerSecurity::Curve {
            keys: KeyPair::generate(),
            allowed: vec![KeyPair::generate().public()],
        };
        assert!(somebody.permits("tcp://*:5560").is_ok());
    }
}
