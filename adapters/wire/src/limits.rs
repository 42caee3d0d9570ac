//! Limits of a socket. Every queue and every message is bounded, so that a bad peer can ruin only
//! its own connection.

use std::time::Duration;

/// Limits of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A larger message ends its connection. 128 MiB is twice a volume of 256³ `<f4`.
    pub max_message_bytes: usize,
    /// Messages queued for one peer.
    pub send_hwm: u32,
    /// Received messages queued for us.
    pub recv_hwm: u32,
    /// Messages queued for one subscriber before it loses its oldest. With CURVE, `send_hwm`
    /// applies instead, and bytes are not counted.
    pub subscriber_backlog: u32,
    /// Bytes queued for one subscriber before it loses its oldest messages.
    pub subscriber_backlog_bytes: usize,
    /// A send fails if the queue stays full for this long.
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
    /// Limits for sockets that take short commands and queries.
    #[must_use]
    pub fn for_commands() -> Self {
        Self { max_message_bytes: 64 << 10, ..Self::default() }
    }
}
