//! The events of a run, and the marks that report them to the daemon.

use std::collections::VecDeque;

use corticast_images::events::Event;
use corticast_wire::message::{FromAdapter, Mark};

/// Marks that wait while no volume is sent: a day of triggers, one a second.
const MAX_WAITING: usize = 1 << 17;

/// Events not yet sent, sorted by onset.
#[derive(Debug)]
pub(super) struct Events {
    waiting: VecDeque<Event>,
    /// Those after the last volume that were sent. Kept until the end of the run is acknowledged.
    last: Vec<Event>,
    /// Those that found no room.
    n_lost: u64,
}

impl Events {
    pub(super) fn new(events: Vec<Event>) -> Self {
        Self { waiting: events.into(), last: Vec::new(), n_lost: 0 }
    }

    /// Number of events not yet sent.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Number of events that found no room.
    pub(super) fn n_lost(&self) -> u64 {
        self.n_lost
    }

    /// Adds an event at its place in the order of time. Loses it when too many wait.
    pub(super) fn add(&mut self, event: Event) {
        if self.waiting.len() >= MAX_WAITING {
            self.n_lost += 1;
            return;
        }
        let at = self.waiting.partition_point(|other| other.onset_s <= event.onset_s);
        self.waiting.insert(at, event);
    }

    /// Takes the events up to a time, in seconds since the start of index 0.
    pub(super) fn take_until(&mut self, time_s: f64) -> Vec<Event> {
        let n = self.waiting.iter().take_while(|event| event.onset_s <= time_s).count();
        self.waiting.drain(..n).collect()
    }

    /// Takes the next event, after the last volume.
    pub(super) fn take_next(&mut self) -> Option<Event> {
        let event = self.waiting.pop_front()?;
        self.last.push(event.clone());
        Some(event)
    }

    /// Sends the events after the last volume again, because the daemon may not have received any.
    pub(super) fn repeat_last(&mut self) {
        for event in self.last.drain(..).rev() {
            self.waiting.push_front(event);
        }
    }
}

/// An event as a mark; its value is its duration.
pub(super) fn mark(run: &str, event: &Event) -> FromAdapter {
    FromAdapter::Mark(Mark {
        run: run.to_owned(),
        time_s: event.onset_s,
        name: event.trial_type.clone(),
        value: Some(event.duration_s),
    })
}
