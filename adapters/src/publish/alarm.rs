//! Tells the operator that no daemon answers, and when one answers again.

use std::time::{Duration, Instant};

use corticast_wire::heartbeat::SILENCE;

use super::outbox::Outbox;

/// How often the operator is told that no daemon answers.
const REMIND_AFTER: Duration = Duration::from_secs(10);

/// See the module docs.
pub(super) struct Alarm {
    since: Instant,
    told: Option<Instant>,
}

impl Alarm {
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), told: None }
    }

    /// Called with every heartbeat.
    pub(super) fn look(&mut self, outbox: &Outbox, endpoint: &str) {
        let silent = outbox.is_silent(Instant::now()) && self.since.elapsed() > SILENCE;
        match self.told {
            Some(_) if !silent => {
                tracing::info!(endpoint, "the daemon is answering again");
                self.told = None;
            }
            Some(told) if told.elapsed() < REMIND_AFTER => {}
            _ if silent => {
                let kept = outbox.n_unacked();
                tracing::warn!(kept, "no daemon answers at {endpoint}; still trying");
                self.told = Some(Instant::now());
            }
            _ => {}
        }
    }
}
