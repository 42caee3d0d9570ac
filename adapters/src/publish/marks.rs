//! The events of a run, and the marks that report them to the daemon.

use std::collections::VecDeque;

use corticast_images::events::Event;
use corticast_wire::message::{FromAdapter, Mark};

/// Events not yet sent, sorted by onset.
#[derive(Debug)]
pub(super) struct Events(VecDeque<Event>);

impl Events {
    pub(super) fn new(events: Vec<Event>) -> Self {
        Self(events.into())
    }

    /// Takes the events up to a time, in seconds since the start of index 0.
    pub(super) fn take_until(&mut self, time_s: f64) -> Vec<Event> {
        let n = self.0.iter().take_while(|event| event.onset_s <= time_s).count();
        self.0.drain(..n).collect()
    }

    /// Takes the next event.
    pub(super) fn take_next(&mut self) -> Option<Event> {
        self.0.pop_front()
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
