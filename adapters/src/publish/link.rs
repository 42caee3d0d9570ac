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

/// A run is announced again when a daemon that is alive has not answered for this long, and then
/// for twice as long, up to [`ANNOUNCE_AT_LEAST_EVERY`]: a daemon that is behind answers late.
const ANNOUNCE_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// See [`ANNOUNCE_AGAIN_AFTER`].
const ANNOUNCE_AT_LEAST_EVERY: Duration = Duration::from_secs(30);

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
    /// Pause before the next announcement.
    announce_after: Duration,
    /// When the daemon last sent anything.
    heard: Option<Instant>,
    /// When the daemon last sent anything other than a heartbeat.
    progressed: Option<Instant>,
    /// A message did not fit into the socket's queue; nothing is sent until the daemon is heard.
    is_blocked: bool,
    /// When the run was announced first since it was last accepted.
    announced_since: Option<Instant>,
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
            announce_after: ANNOUNCE_AGAIN_AFTER,
            heard: None,
            progressed: None,
            is_blocked: false,
            announced_since: None,
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

    /// Whether volumes may be sent now.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.is_ready() && !self.is_blocked && !self.is_silent(now)
    }

    /// How long the daemon has not answered the announcement of the run.
    pub(super) fn announced_for(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Announced(_) => {
                let since = self.progressed.max(self.announced_since)?;
                Some(now.saturating_duration_since(since))
            }
            State::Unannounced | State::Ready => None,
        }
    }

    /// When the daemon last sent anything.
    pub(super) fn heard_at(&self) -> Option<Instant> {
        self.heard
    }

    /// When the daemon last sent anything other than a heartbeat.
    pub(super) fn progressed(&self) -> Option<Instant> {
        self.progressed
    }

    /// Records the time of an answer.
    pub(super) fn heard(&mut self, is_heartbeat: bool, now: Instant) {
        self.heard = Some(now);
        self.is_blocked = false;
        if !is_heartbeat {
            self.progressed = Some(now);
        }
    }

    /// Whether the run has to be announced now.
    pub(super) fn is_announcement_due(&self, now: Instant) -> bool {
        match self.state {
            State::Unannounced => true,
            State::Announced(at) => {
                !self.is_silent(now) && is_due(Some(at), self.announce_after, now)
            }
            State::Ready => false,
        }
    }

    /// Unannounced, Announced => Announced. Returns whether the announcement asks to resume.
    pub(super) fn announce(&mut self, now: Instant) -> bool {
        if let State::Announced(_) = self.state {
            self.announce_after =
                self.announce_after.saturating_mul(2).min(ANNOUNCE_AT_LEAST_EVERY);
        }
        self.announced_since.get_or_insert(now);
        self.state = State::Announced(now);
        self.resume
    }

    /// Any => Unannounced: the daemon does not know the run, or another daemon answered.
    pub(super) fn announce_again(&mut self) {
        self.resume = true;
        self.announce_after = ANNOUNCE_AGAIN_AFTER;
        self.announced_since = None;
        self.state = State::Unannounced;
    }

    /// Announced => Unannounced. Nothing but the announcement is sent until the daemon is heard
    /// again. It does not count as silent for that: it can be alive, and behind.
    pub(super) fn not_sent(&mut self) {
        self.is_blocked = true;
        if let State::Announced(_) = self.state {
            self.state = State::Unannounced;
        }
    }

    /// Unannounced, Announced => Ready. Returns false when this answer changes nothing.
    pub(super) fn ready(&mut self, ready: Ready, run_id: &str) -> bool {
        if self.is_ready() || !is_name_of(&ready.run, run_id) {
            return false;
        }
        self.state = State::Ready;
        self.announced_since = None;
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

/// Whether a daemon gives this name to a run with these entities: the entities, or for a repeated
/// run the entities and `+2`, `+3`, …
fn is_name_of(name: &str, run_id: &str) -> bool {
    let Some(rest) = name.strip_prefix(run_id) else { return false };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    rest.is_empty() || rest.strip_prefix('+').is_some_and(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_label_is_another_run() {
        assert!(is_name_of("sub-1", "sub-1"));
        assert!(is_name_of("sub-1+2", "sub-1"));
        for other in ["sub-10", "sub-1_run-1", "sub-1+", "sub-1+x", "sub-"] {
            assert!(!is_name_of(other, "sub-1"), "{other}");
        }
    }

    #[test]
    fn a_daemon_that_is_alive_and_does_not_answer_is_asked_ever_more_rarely() {
        let start = Instant::now();
        let mut link = Link::new("sub-1".to_owned());
        let mut n_announced = 0;
        for second in 0..120 {
            let now = start + Duration::from_secs(second);
            link.heard(true, now);
            if link.is_announcement_due(now) {
                link.announce(now);
                n_announced += 1;
            }
        }
        assert!((3..9).contains(&n_announced), "{n_announced}");
        let now = start + Duration::from_secs(120);
        assert!(link.announced_for(now) >= Some(Duration::from_secs(100)));
    }
}
