//! The volumes in memory: sent or about to be sent, and not yet acknowledged.
//!
//! ZeroMQ delivers in order and loses nothing while a connection lasts, so an acknowledgement that
//! does not come usually means that the daemon is behind. Sending the same bytes again would keep
//! it there. So a volume is sent again only
//!
//! - when a volume that was sent after it was acknowledged: it was lost on the way;
//! - when nothing at all was acknowledged for [`RESEND_AFTER`], and then for ever longer: the
//!   oldest, and no other until it is answered;
//! - when the connection may have been lost ([`Window::send_again`]).

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use corticast_images::events::Event;
use corticast_wire::message::{FromAdapter, VolumeMessage};

use super::marks::mark;

/// A message that was not acknowledged for this long can be sent again.
pub(super) const RESEND_AFTER: Duration = Duration::from_secs(5);
/// Longest pause before the oldest volume is sent again.
const RESEND_AT_LEAST_EVERY: Duration = Duration::from_secs(60);
/// Pause before the next oldest is sent again, after an answer to one that was sent again.
const NEXT_OLDEST_AFTER: Duration = Duration::from_millis(200);
/// How often a volume that arrives damaged is sent again.
const MAX_DAMAGED: u32 = 3;

/// Whether a message last sent at `sent` is due again.
pub(super) fn is_due(sent: Option<Instant>, after: Duration, now: Instant) -> bool {
    sent.is_none_or(|at| now.saturating_duration_since(at) >= after)
}

/// When a volume was sent last.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Instant,
    /// Position in the order of sending.
    number: u64,
}

/// An unacknowledged volume.
#[derive(Debug)]
struct Waiting {
    /// Marks of the events up to its acquisition.
    marks: Vec<Event>,
    n_marks_sent: usize,
    message: VolumeMessage,
    /// `None`: to be sent now.
    sent: Option<Sent>,
    first_sent: Option<Instant>,
    /// Whether it was sent more than once.
    is_repeat: bool,
    n_damaged: u32,
}

/// The oldest unacknowledged volumes, in order. See the module docs.
#[derive(Debug)]
pub(super) struct Window {
    waiting: VecDeque<Waiting>,
    capacity: usize,
    /// Number of volumes sent so far.
    n_sent: u64,
    /// The volume with this number in the order of sending, or a later one, was acknowledged.
    passed: u64,
    /// When a volume was last acknowledged or refused.
    answered: Option<Instant>,
    /// The oldest volume is sent again after this pause.
    pause: Duration,
}

impl Window {
    /// An empty window that holds `capacity` volumes.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            waiting: VecDeque::with_capacity(capacity),
            capacity,
            n_sent: 0,
            passed: 0,
            answered: None,
            pause: RESEND_AFTER,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.len() < self.capacity
    }

    /// Number of marks that were not sent.
    pub(super) fn n_unsent_marks(&self) -> u64 {
        self.waiting.iter().map(|waiting| (waiting.marks.len() - waiting.n_marks_sent) as u64).sum()
    }

    /// How long the oldest volume has waited for an answer while no other was answered.
    pub(super) fn waited(&self, now: Instant) -> Duration {
        let since = self.waiting.front().and_then(|oldest| oldest.first_sent);
        since.map_or(Duration::ZERO, |since| {
            now.saturating_duration_since(self.answered.map_or(since, |at| at.max(since)))
        })
    }

    /// Adds a volume, with the events up to its acquisition. `sent` tells that the volume was sent
    /// already.
    pub(super) fn push(
        &mut self,
        message: VolumeMessage,
        marks: Vec<Event>,
        sent: Option<Instant>,
    ) {
        let number = self.n_sent;
        self.n_sent += u64::from(sent.is_some());
        self.waiting.push_back(Waiting {
            marks,
            n_marks_sent: 0,
            message,
            sent: sent.map(|at| Sent { at, number }),
            first_sent: sent,
            is_repeat: false,
            n_damaged: 0,
        });
    }

    /// Whether every volume was sent.
    pub(super) fn is_sent(&self) -> bool {
        self.waiting.iter().all(|waiting| waiting.sent.is_some())
    }

    /// Sends all volumes again, because those in flight may not arrive.
    pub(super) fn send_again(&mut self) {
        self.pause = RESEND_AFTER;
        for waiting in &mut self.waiting {
            waiting.sent = None;
        }
    }

    /// Sends all marks again, because the daemon may not have received any.
    pub(super) fn mark_again(&mut self) {
        for waiting in &mut self.waiting {
            waiting.n_marks_sent = 0;
        }
    }

    /// The next mark or volume that is due, for the run of this name. Counts a volume that was
    /// sent before in `resent`.
    pub(super) fn next_due(
        &mut self,
        run: &str,
        now: Instant,
        resent: &mut u64,
    ) -> Option<FromAdapter> {
        let passed = self.passed;
        for waiting in &mut self.waiting {
            if let Some(event) = waiting.marks.get(waiting.n_marks_sent) {
                waiting.n_marks_sent += 1;
                return Some(mark(run, event));
            }
            let is_due = waiting.sent.is_none_or(|sent| {
                sent.number < passed && is_due(Some(sent.at), RESEND_AFTER, now)
            });
            if is_due {
                return Some(waiting.send(run, now, &mut self.n_sent, resent));
            }
        }
        let oldest = self.waiting.front_mut()?;
        let quiet_since = oldest.sent.map(|sent| sent.at).max(self.answered);
        if !is_due(quiet_since, self.pause, now) {
            return None;
        }
        self.pause = self.pause.saturating_mul(2).clamp(RESEND_AFTER, RESEND_AT_LEAST_EVERY);
        Some(oldest.send(run, now, &mut self.n_sent, resent))
    }

    /// Removes the volumes of an index, which were acknowledged or refused. Returns their number.
    pub(super) fn remove(&mut self, index: u32, now: Instant) -> u64 {
        let is_it = |waiting: &&Waiting| waiting.message.header.index.0 == index;
        let Some(removed) = self.waiting.iter().find(is_it) else { return 0 };
        self.pause = if removed.is_repeat { NEXT_OLDEST_AFTER } else { RESEND_AFTER };
        // After a repeat, nobody knows which of the two was answered.
        if let Some(sent) = removed.sent.filter(|_| !removed.is_repeat) {
            self.passed = self.passed.max(sent.number);
        }
        self.answered = Some(now);
        let before = self.waiting.len();
        self.waiting.retain(|waiting| waiting.message.header.index.0 != index);
        (before - self.waiting.len()) as u64
    }

    /// Sends a volume again that arrived damaged. Returns false when it arrived damaged too often.
    pub(super) fn damaged(&mut self, index: u32) -> bool {
        let mut goes_on = true;
        for waiting in self.waiting.iter_mut().filter(|w| w.message.header.index.0 == index) {
            waiting.n_damaged += 1;
            goes_on &= waiting.n_damaged <= MAX_DAMAGED;
            waiting.sent = None;
        }
        goes_on
    }
}

impl Waiting {
    fn send(&mut self, run: &str, now: Instant, n_sent: &mut u64, resent: &mut u64) -> FromAdapter {
        self.is_repeat = self.first_sent.is_some();
        *resent += u64::from(self.is_repeat);
        self.first_sent.get_or_insert(now);
        self.sent = Some(Sent { at: now, number: *n_sent });
        *n_sent += 1;
        run.clone_into(&mut self.message.header.run);
        FromAdapter::Volume(self.message.clone())
    }
}
