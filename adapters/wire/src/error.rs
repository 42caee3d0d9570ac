//! Errors of sockets: which endpoint, what went wrong, and what to do about it.

use std::{fmt, time::Duration};

use bytes::Bytes;

/// Why an operation on a socket failed.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The endpoint is invalid.
    #[error("`{endpoint}` is not a valid endpoint: {reason}; write tcp://HOST:PORT or ipc://PATH")]
    Endpoint {
        /// Which endpoint.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The endpoint can be reached from other machines and no keys are configured.
    #[error(
        "`{endpoint}` can be reached from other machines, which requires keys: make a pair with \
         `corticast keygen` and configure it with an allow-list of client keys, or bind 127.0.0.1"
    )]
    NotLocal {
        /// Which endpoint.
        endpoint: String,
    },
    /// CURVE is configured, but no client may connect.
    #[error(
        "`{endpoint}`: the allow-list is empty, so no client could connect; add a client's .pub \
         file"
    )]
    EmptyAllowList {
        /// Which endpoint.
        endpoint: String,
    },
    /// Another process listens at the endpoint.
    #[error(
        "`{endpoint}` is in use: another daemon may be running; stop it or choose another port"
    )]
    InUse {
        /// Which endpoint.
        endpoint: String,
    },
    /// The operating system refuses to listen at the endpoint.
    #[error("cannot listen at `{endpoint}`: {reason}")]
    Bind {
        /// Which endpoint.
        endpoint: String,
        /// The system's error.
        reason: String,
    },
    /// No answer yet. The socket keeps trying to connect.
    #[error(
        "no answer from `{endpoint}` after {} s: check that the daemon runs there and that its \
         public key is the one configured here", after.as_secs_f32()
    )]
    NoAnswer {
        /// Which endpoint.
        endpoint: String,
        /// How long we waited.
        after: Duration,
    },
    /// The server refuses our key. The socket stops trying.
    #[error("`{endpoint}` refuses our key ({reason}): add our .pub file to its allow-list")]
    KeyRefused {
        /// Which endpoint.
        endpoint: String,
        /// The server's reason.
        reason: String,
    },
    /// The peer has disconnected.
    #[error("{peer:?} is no longer connected to `{endpoint}`")]
    PeerGone {
        /// Our endpoint.
        endpoint: String,
        /// Which peer.
        peer: PeerId,
    },
    /// The send queue stayed full until the timeout.
    #[error(
        "`{endpoint}`: the send queue was full for {} s; the peer is stuck or not connected",
        after.as_secs_f32()
    )]
    SendTimeout {
        /// Which endpoint.
        endpoint: String,
        /// How long we waited.
        after: Duration,
    },
    /// The socket failed and is unusable.
    #[error("socket at `{endpoint}` failed: {reason}")]
    Failed {
        /// Which endpoint.
        endpoint: String,
        /// The library's error.
        reason: String,
    },
}

/// Address of the peer that sent a message, for the answer. Valid until the peer reconnects. The
/// default is nobody.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct PeerId {
    pub(crate) route: Bytes,
    /// A REQ sends an empty frame before its question and expects one before the answer.
    pub(crate) delimited: bool,
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peer {}", self.route.iter().map(|b| format!("{b:02x}")).collect::<String>())
    }
}
