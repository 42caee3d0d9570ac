//! The volumes in memory: sent or about to be sent, and not yet acknowledged.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use corticast_images::events::Event;
use corticast_wire::message::{FromAdapter, VolumeMessage};

use super::marks::mark;

/// A volume that was not acknowledged for this long is sent again.
pub(super) const RESEND_AFTER: Duration = Duration::from_secs(5);
/// How often a volume that arrives damaged is sent again.
const MAX_DAMAGED: u32 = 3;

/// Whether a message last sent at `sent` is due again.
pub(super) fn is_due(sent: Option<Instant>, after: Duration, now: Instant) -> bool {
    sent.is_none_or(|at| now.saturating_duration_since(at) >= after)
}

/// An unacknowledged volume.
#[derive(Debug)]
struct Waiting {
    /// Marks of the events up to its acquisition.
    marks: Vec<Event>,
    n_marks_sent: usize,
    message: VolumeMessage,
    sent: Option<Instant>,
    n_damaged: u32,
}

/// The oldest unacknowledged volumes, in order. See the module docs.
#[derive(Debug)]
pub(super) struct Window {
    waiting: VecDeque<Waiting>,
    capacity: usize,
}

impl Window {
    /// An empty window that holds `capacity` volumes.
    pub(super) fn new(capacity: usize) -> Self {
        Self { waiting: VecDeque::with_capacity(capacity), capacity }
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

    /// Adds a volume, with the events up to its acquisition.
    pub(super) fn push(&mut self, message: VolumeMessage, marks: Vec<Event>) {
        self.waiting.push_back(Waiting {
            marks,
            n_marks_sent: 0,
            message,
            sent: None,
            n_damaged: 0,
        });
    }

    /// Whether every volume was sent.
    pub(super) fn is_sent(&self) -> bool {
        self.waiting.iter().all(|waiting| waiting.sent.is_some())
    }

    /// Sends all volumes again, because those in flight may not arrive.
    pub(super) fn send_again(&mut self) {
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
        for waiting in &mut self.waiting {
            if let Some(event) = waiting.marks.get(waiting.n_marks_sent) {
                waiting.n_marks_sent += 1;
                return Some(mark(run, event));
            }
            if is_due(waiting.sent, RESEND_AFTER, now) {
                *resent += u64::from(waiting.sent.is_some());
                waiting.sent = Some(now);
                run.clone_into(&mut waiting.message.header.run);
                return Some(FromAdapter::Volume(waiting.message.clone()));
            }
        }
        None
    }

    /// Removes the volumes of an index and returns their number.
    pub(super) fn remove(&mut self, index: u32) -> u64 {
        let before = self.waiting.len();
        self.waiting.retain(|waiting| waiting.message.header.index.0 != index);
        (before - self.waiting.len()) as u64
    }

    /// Sends a volume again that arrived damaged, and counts it in `resent`. Returns false when it
    /// arrived damaged too often.
    pub(super) fn damaged(&mut self, index: u32, resent: &mut u64) -> bool {
        let mut goes_on = true;
        for waiting in self.waiting.iter_mut().filter(|w| w.message.header.index.0 == index) {
            waiting.n_damaged += 1;
            goes_on &= waiting.n_damaged <= MAX_DAMAGED;
            *resent += u64::from(waiting.sent.take().is_some());
        }
        goes_on
    }
}
