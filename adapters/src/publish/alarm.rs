//! Tells the operator that no daemon answers, or that the daemon is behind, and when that is over.

use std::time::{Duration, Instant};

use corticast_wire::{heartbeat::SILENCE, text::count};

use super::outbox::{Outbox, Trouble};

/// How often the operator is told of the same trouble.
const REMIND_AFTER: Duration = Duration::from_secs(10);

/// See the module docs.
pub(super) struct Alarm {
    since: Instant,
    told: Option<(Trouble, Instant)>,
}

impl Alarm {
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), told: None }
    }

    /// Called with every heartbeat.
    pub(super) fn look(&mut self, outbox: &Outbox, endpoint: &str) {
        let now = Instant::now();
        let trouble = outbox.trouble(now).filter(|_| self.since.elapsed() > SILENCE);
        match (self.told, trouble) {
            (Some((told, at)), Some(trouble))
                if told == trouble && now.saturating_duration_since(at) < REMIND_AFTER => {}
            (_, Some(trouble)) => {
                let n = outbox.n_unacked();
                let waiting = count(n, "volume");
                let (are, wait) = if n == 1 { ("is", "waits") } else { ("are", "wait") };
                match trouble {
                    Trouble::Silent => {
                        tracing::warn!(kept = n, "no daemon answers at {endpoint}; still trying");
                    }
                    Trouble::Behind if outbox.is_ready() => {
                        tracing::warn!("the daemon is behind: {waiting} {are} unacknowledged");
                    }
                    Trouble::Behind => tracing::warn!(
                        "the daemon is behind: it has not answered the announcement of the run; \
                         {waiting} {wait}"
                    ),
                }
                self.told = Some((trouble, now));
            }
            (Some((Trouble::Silent, _)), None) => {
                tracing::info!(endpoint, "the daemon is answering again");
                self.told = None;
            }
            (Some((Trouble::Behind, _)), None) => {
                tracing::info!("the daemon has caught up");
                self.told = None;
            }
            (None, None) => {}
        }
    }
}
