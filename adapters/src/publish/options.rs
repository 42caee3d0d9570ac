//! Options of the pump: where to send, how fast, and how much to keep.

use std::time::Duration;

use corticast_wire::socket::{ClientSecurity, Limits};
use indicatif::ProgressBar;

use super::pace::Pace;
use crate::session_state::SessionState;

/// Where to send, how fast, and how much to keep.
#[derive(Clone, Debug)]
pub struct PublishOptions {
    /// The daemon's endpoint.
    pub endpoint: String,
    /// Keys of the adapter and the daemon, when the daemon runs on another machine.
    pub security: ClientSecurity,
    /// Limits of the socket.
    pub limits: Limits,
    /// Who sets the pace.
    pub pace: Pace,
    /// Skip volumes that the daemon already has: for sources that can be read again.
    pub skip_known: bool,
    /// Unacknowledged volumes kept in memory.
    pub window: usize,
    /// Bytes of disk for further unacknowledged volumes.
    pub spill_max_bytes: u64,
    /// How long a finished run waits for a daemon that acknowledges nothing before it gives up
    /// its remaining volumes.
    pub patience: Duration,
    /// Counts acknowledged volumes.
    pub progress: ProgressBar,
    /// Hashes the series before they are sent.
    pub state: SessionState,
}

impl PublishOptions {
    /// The options of the command line without flags.
    #[must_use]
    pub fn new(state: SessionState) -> Self {
        Self {
            endpoint: "tcp://127.0.0.1:5560".to_owned(),
            security: ClientSecurity::None,
            limits: Limits::default(),
            pace: Pace::Clock(1.0),
            skip_known: true,
            window: 64,
            spill_max_bytes: 4 << 30,
            patience: Duration::from_secs(60),
            progress: ProgressBar::hidden(),
            state,
        }
    }
}
