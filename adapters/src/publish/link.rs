//! Whether the daemon knows the run, and whether the daemon is alive.
//!
//! ```text
//! Unannounced ──announce──▶ Announced ──`ready`──▶ Ready
//!      ▲                        │ not sent           │ another daemon, or the run is unknown
//!      └────────────────────────┴────────────────────┘
//! ```
//!
//! After the first `ready`, the run is announced with `resume`.

use std::time::{Duration, Instant};

use corticast_wire::{heartbeat::SILENCE, message::Ready};

use super::window::is_due;

/// A run is announced again when the daemon has not answered for this long.
const ANNOUNCE_AGAIN_AFTER: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Unannounced,
    Announced(Instant),
    Ready,
}

/// See the module docs.
#[derive(Debug)]
pub(super) struct Link {
    /// The name by which the daemon knows the run.
    run: String,
    state: State,
    resume: bool,
    instance: Option<String>,
    next_index: u32,
    heard: Option<Instant>,
    progressed: Option<Instant>,
}

impl Link {
    /// A link for a run of this name; nothing sent or heard yet.
    pub(super) fn new(run: String) -> Self {
        Self {
            run,
            state: State::Unannounced,
            resume: false,
            instance: None,
            next_index: 0,
            heard: None,
            progressed: None,
        }
    }

    /// The name by which the daemon knows the run.
    pub(super) fn run(&self) -> &str {
        &self.run
    }

    pub(super) fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// Whether no daemon has ever accepted the run.
    pub(super) fn never_begun(&self) -> bool {
        !self.is_ready() && self.instance.is_none()
    }

    /// First index that the daemon did not have when it first accepted the run.
    pub(super) fn next_index(&self) -> u32 {
        self.next_index
    }

    /// Whether the daemon has sent nothing for a while, or ever.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.heard.is_none_or(|at| now.saturating_duration_since(at) > SILENCE)
    }

    /// When the daemon last sent anything other than a heartbeat.
    pub(super) fn progressed(&self) -> Option<Instant> {
        self.progressed
    }

    /// Records the time of an answer.
    pub(super) fn heard(&mut self, is_heartbeat: bool, now: Instant) {
        self.heard = Some(now);
        if !is_heartbeat {
            self.progressed = Some(now);
        }
    }

    /// Whether the run has to be announced now.
    pub(super) fn is_announcement_due(&self, now: Instant) -> bool {
        match self.state {
            State::Unannounced => true,
            State::Announced(at) => {
                !self.is_silent(now) && is_due(Some(at), ANNOUNCE_AGAIN_AFTER, now)
            }
            State::Ready => false,
        }
    }

    /// Unannounced, Announced => Announced. Returns whether the announcement asks to resume.
    pub(super) fn announce(&mut self, now: Instant) -> bool {
        self.state = State::Announced(now);
        self.resume
    }

    /// Any => Unannounced: the daemon does not know the run, or another daemon answered.
    pub(super) fn announce_again(&mut self) {
        self.resume = true;
        self.state = State::Unannounced;
    }

    /// Announced => Unannounced. The daemon counts as silent until it is heard again.
    pub(super) fn not_sent(&mut self) {
        self.heard = None;
        if let State::Announced(_) = self.state {
            self.state = State::Unannounced;
        }
    }

    /// Unannounced, Announced => Ready. Returns false when this answer changes nothing.
    pub(super) fn ready(&mut self, ready: Ready, run_id: &str) -> bool {
        if self.is_ready() || !ready.run.starts_with(run_id) {
            return false;
        }
        self.state = State::Ready;
        if !self.resume {
            self.next_index = ready.next_index;
        }
        self.resume = true;
        self.run = ready.run;
        self.instance = Some(ready.instance);
        true
    }

    /// Whether this instance differs from the daemon that accepted the run.
    pub(super) fn is_another(&self, instance: &str) -> bool {
        self.is_ready() && self.instance.as_ref().is_some_and(|known| known != instance)
    }
}
