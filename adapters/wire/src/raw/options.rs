//! The options of each kind of socket. Every limit is set here, for every socket.

use std::time::Duration;

use crate::{
    heartbeat::{HEARTBEAT, SILENCE},
    limits::Limits,
    zmq::{OnMute, Options, SocketType},
};

/// A peer that does not finish its greeting in this time is dropped.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);
/// A peer that reads nothing for so long is dropped by the kernel: its heartbeats go on.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a closing socket goes on sending.
const LINGER: Duration = Duration::from_millis(500);

/// What a socket is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Router,
    Dealer,
    Publisher,
    Subscriber,
}

/// Every limit, for every socket.
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
        // Without it, a message to a peer that is gone vanishes silently.
        Kind::Router => (SocketType::Router, options.router_mandatory(true)),
        Kind::Dealer => (SocketType::Dealer, options),
        Kind::Publisher => (SocketType::Pub, options.on_mute(OnMute::DropOldest)),
        Kind::Subscriber => (SocketType::Sub, options),
    }
}
