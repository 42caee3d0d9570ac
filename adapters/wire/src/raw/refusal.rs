//! Refused connections: why a server refused us, and which peers we refused.

use std::{collections::HashMap, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};

use super::options::HANDSHAKE_TIMEOUT;
use crate::zmq::{DisconnectReason, MonitorEvent, MonitorRecvError, MonitorStream};

/// Shortest time between two log lines about refused connections, so that a flood of them does not
/// fill the disk.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Most connections whose handshake is followed. Further ones are refused without a word in the
/// log.
const MAX_FOLLOWED: usize = 256;

/// Follows a socket's connections until it is closed: stores the reason when a server refuses us,
/// and logs the peers that we refuse.
pub(super) async fn follow_connections(
    mut events: MonitorStream,
    endpoint: String,
    refused: watch::Sender<Option<String>>,
) {
    let mut log = Log { endpoint, logged: None, unlogged: 0 };
    // Peers that have connected and not finished the handshake, by the number of the connection.
    let mut greeting: HashMap<u64, (String, Instant)> = HashMap::new();
    let mut every = interval(LOG_INTERVAL);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            _ = every.tick(), if !greeting.is_empty() => {
                // libzmq closes a connection with the wrong mechanism before we have seen why.
                let patience = HANDSHAKE_TIMEOUT + LOG_INTERVAL;
                greeting.retain(|_, (peer, since)| {
                    let is_late = since.elapsed() > patience;
                    if is_late {
                        log.refused(peer, "it left before the end of the handshake; does it use \
                             a key, and the public key of this side, exactly if this socket does?");
                    }
                    !is_late
                });
                continue;
            }
        };
        match event {
            Ok(MonitorEvent::ConnectStopped {
                reason: DisconnectReason::HandshakeRefused(why),
                ..
            }) => {
                refused.send_replace(Some(why.to_string()));
            }
            Ok(MonitorEvent::Accepted { peer_ident, connection_id, .. })
                if greeting.len() < MAX_FOLLOWED =>
            {
                greeting.insert(connection_id, (peer_ident.to_string(), Instant::now()));
            }
            Ok(MonitorEvent::HandshakeSucceeded { peer, .. }) => {
                greeting.remove(&peer.connection_id);
            }
            Ok(MonitorEvent::HandshakeFailed { peer_ident, reason, .. }) => {
                let peer = peer_ident.to_string();
                greeting.retain(|_, (other, _)| *other != peer);
                log.refused(&peer, &reason);
            }
            // Some events were missed, so it is unknown whose handshake is over.
            Err(MonitorRecvError::Lagged(_)) => greeting.clear(),
            Err(MonitorRecvError::Closed) | Ok(MonitorEvent::Closed) => return,
            _ => {}
        }
    }
}

/// Log lines about refused connections, at most one in [`LOG_INTERVAL`].
struct Log {
    endpoint: String,
    logged: Option<Instant>,
    unlogged: u64,
}

impl Log {
    fn refused(&mut self, peer: &str, reason: &str) {
        if self.logged.is_some_and(|at| at.elapsed() < LOG_INTERVAL) {
            self.unlogged += 1;
            return;
        }
        tracing::warn!(
            endpoint = self.endpoint,
            peer,
            reason,
            unlogged = self.unlogged,
            "connection refused"
        );
        (self.logged, self.unlogged) = (Some(Instant::now()), 0);
    }
}
