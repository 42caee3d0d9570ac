//! The options of each kind of socket. All limits are set here.

use std::time::Duration;

use crate::{
    heartbeat::{HEARTBEAT, SILENCE},
    limits::Limits,
    zmq::{OnMute, Options, SocketType},
};

/// A peer that does not finish its handshake in this time is dropped.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);
/// The kernel drops a peer that reads nothing for this long. Heartbeats do not detect such a peer,
/// because it still sends its own.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a closing socket keeps sending queued messages.
const LINGER: Duration = Duration::from_millis(500);

/// Kind of a socket.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Router,
    Dealer,
    Publisher,
    Subscriber,
    Pair,
}

/// ZeroMQ's socket type and options for a kind of socket.
pub(super) fn options(kind: Kind, limits: &Limits) -> (SocketType, Options) {
    let options = Options::default()
        .max_message_size(limits.max_message_bytes)
        .send_hwm(limits.send_hwm)
        .recv_hwm(limits.recv_hwm)
        .transmit_slot_cap(limits.subscriber_backlog_bytes)
        .handshake_timeout(HANDSHAKE_TIMEOUT)
        .heartbeat_interval(HEARTBEAT)
        .heartbeat_ttl(SILENCE)
        .heartbeat_timeout(SILENCE)
        .tcp_user_timeout(TCP_USER_TIMEOUT)
        .linger(LINGER);
    match kind {
        // Without `router_mandatory`, a message to a peer that is gone is dropped silently.
        Kind::Router => (SocketType::Router, options.router_mandatory(true)),
        Kind::Dealer => (SocketType::Dealer, options),
        Kind::Publisher => (SocketType::Pub, options.on_mute(OnMute::DropOldest)),
        Kind::Subscriber => (SocketType::Sub, options),
        Kind::Pair => (SocketType::Pair, options),
    }
}
