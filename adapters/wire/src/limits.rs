//! What a socket puts up with. Every queue and every message has a bound, so that a peer can
//! cost its own connection and nothing else.

use std::time::Duration;

/// What a socket puts up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A larger message ends its connection. 128 MiB holds a volume of 256³ `<f4`, twice.
    pub max_message_bytes: usize,
    /// Messages that wait for one peer.
    pub send_hwm: u32,
    /// Messages that wait for us.
    pub recv_hwm: u32,
    /// Messages that wait for one subscriber, before it loses its oldest. Behind CURVE, where
    /// they are not counted by bytes, it is `send_hwm`.
    pub subscriber_backlog: u32,
    /// Bytes that wait for one subscriber, before it loses its oldest messages.
    pub subscriber_backlog_bytes: usize,
    /// A send that waits longer for room has failed.
    pub send_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message_bytes: 128 << 20,
            send_hwm: 64,
            recv_hwm: 64,
            subscriber_backlog: 1024,
            subscriber_backlog_bytes: 32 << 20,
            send_timeout: Duration::from_secs(1),
        }
    }
}

impl Limits {
    /// For sockets that take short commands and questions.
    #[must_use]
    pub fn for_commands() -> Self {
        Self { max_message_bytes: 64 << 10, ..Self::default() }
    }
}
