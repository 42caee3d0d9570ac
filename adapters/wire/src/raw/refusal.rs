//! Refused connections: why a server refused us, and which peers we refused.

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

use crate::zmq::{DisconnectReason, MonitorEvent, MonitorRecvError, MonitorStream};

/// Shortest time between two log lines about refused connections, so that a flood of them does not
/// fill the disk.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Follows a socket's connections until it is closed: stores the reason when a server refuses us,
/// and logs the peers that we refuse.
pub(super) async fn follow_connections(
    mut events: MonitorStream,
    endpoint: String,
    refused: watch::Sender<Option<String>>,
) {
    let mut logged: Option<Instant> = None;
    let mut unlogged = 0_u64;
    loop {
        match events.recv().await {
            Ok(MonitorEvent::ConnectStopped {
                reason: DisconnectReason::HandshakeRefused(why),
                ..
            }) => {
                refused.send_replace(Some(why.to_string()));
            }
            Ok(MonitorEvent::HandshakeFailed { peer_ident, reason, .. }) => {
                if logged.is_some_and(|at| at.elapsed() < LOG_INTERVAL) {
                    unlogged += 1;
                    continue;
                }
                tracing::warn!(%endpoint, peer = %peer_ident, %reason, unlogged,
                    "connection refused");
                (logged, unlogged) = (Some(Instant::now()), 0);
            }
            Err(MonitorRecvError::Closed) | Ok(MonitorEvent::Closed) => return,
            _ => {}
        }
    }
}
