//! Why a socket cannot be used: which one, what was found, and what to do about it.

use std::{fmt, time::Duration};

use bytes::Bytes;

/// Why a socket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The endpoint is invalid.
    #[error("`{endpoint}` is not an endpoint: {reason}; write tcp://HOST:PORT or ipc://PATH")]
    Endpoint {
        /// Which endpoint.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The endpoint can be reached from other machines and there are no keys.
    #[error(
        "`{endpoint}` can be reached from other machines, which takes keys: make a pair with \
         `corticast keygen`, configure it with an allow-list of client keys, or bind 127.0.0.1"
    )]
    NotLocal {
        /// Which endpoint.
        endpoint: String,
    },
    /// CURVE is configured, but nobody may connect.
    #[error("`{endpoint}`: the allow-list is empty, nobody could connect; add a client's .pub")]
    EmptyAllowList {
        /// Which endpoint.
        endpoint: String,
    },
    /// Another process listens there.
    #[error(
        "`{endpoint}` is in use: another daemon may be running; stop it or choose another port"
    )]
    InUse {
        /// Which endpoint.
        endpoint: String,
    },
    /// The system refuses to listen there.
    #[error("cannot listen at `{endpoint}`: {reason}")]
    Bind {
        /// Which endpoint.
        endpoint: String,
        /// What the system said.
        reason: String,
    },
    /// Nobody has answered yet. The socket goes on trying.
    #[error(
        "nobody answers at `{endpoint}` after {} s: is the daemon running there, with the key \
         we know it by?", after.as_secs_f32()
    )]
    NoAnswer {
        /// Which endpoint.
        endpoint: String,
        /// How long was waited.
        after: Duration,
    },
    /// The other side refuses our key. The socket stops trying.
    #[error("`{endpoint}` refuses our key ({reason}): add our .pub file to its allow-list")]
    KeyRefused {
        /// Which endpoint.
        endpoint: String,
        /// What it said.
        reason: String,
    },
    /// The peer is not connected any more.
    #[error("{peer:?} is not connected to `{endpoint}` any more")]
    PeerGone {
        /// Our endpoint.
        endpoint: String,
        /// Which peer.
        peer: PeerId,
    },
    /// There was no room for a message in time.
    #[error("`{endpoint}`: no room for a message for {} s, the peer is stuck", after.as_secs_f32())]
    SendTimeout {
        /// Which endpoint.
        endpoint: String,
        /// How long was waited.
        after: Duration,
    },
    /// The socket cannot go on.
    #[error("socket at `{endpoint}` failed: {reason}")]
    Failed {
        /// Which endpoint.
        endpoint: String,
        /// What the library said.
        reason: String,
    },
}

/// Who sent a message, and whom to answer. Valid until the peer reconnects.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PeerId {
    pub(crate) route: Bytes,
    /// A REQ puts an empty frame before its question and wants it before the answer.
    pub(crate) delimited: bool,
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peer {}", self.route.iter().map(|b| format!("{b:02x}")).collect::<String>())
    }
}
