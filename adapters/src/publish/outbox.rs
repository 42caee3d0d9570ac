//! Decides which message of a run is sent next, and when: the adapter's side of the protocol,
//! without sockets and without a clock of its own.
//!
//! ```text
//! push ──▶ window (≤ 64, sent, not acknowledged) ──ack──▶ done
//!   └────▶ spill (disk) ──▶ window, as space becomes free
//! ```
//!
//! A daemon that answers but acknowledges nothing (its disk is full, or it is behind) still decodes.
//! So a volume that goes to the spill is also sent once right away, as long as every earlier volume
//! was sent.
//!
//! The run is announced first ([`link`](super::link)). Volumes are sent once the daemon is
//! `ready`. [`window`](super::window) decides which are sent again. When another daemon answers,
//! when the daemon does not know the run, or after a silence, all of them are sent again in order.
//! Nothing is sent while the daemon is silent. A volume is given up only when the daemon cannot use
//! it, when it arrived damaged too often, or when disk and window are full.
//!
//! A mark has no acknowledgement. One that finds no room in the socket's queue is sent first once
//! there is room; marks that were not sent when the run is given up are counted as lost.

mod answers;

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use corticast_bold::{run::RunHeader, time::TrIndex};
use corticast_images::{acquired::AcquiredVolume, events::Event};
use corticast_wire::message::{End, FromAdapter, TriggerCounts, VolumeMessage};

use super::{
    link::Link,
    marks::{Events, mark},
    overflow::{Overflow, Popped},
    report::{RunRefused, Tally},
    spill::Spill,
    window::{RESEND_AFTER, Window, is_due},
};

/// A daemon that is alive but leaves a message without an answer for this long is behind.
const BEHIND_AFTER: Duration = Duration::from_secs(5);

/// What is wrong with the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It sends nothing, not even heartbeats.
    Silent,
    /// It is alive, but late with its acknowledgements.
    Behind,
}

/// See the module docs.
#[derive(Debug)]
pub(super) struct Outbox {
    header: RunHeader,
    link: Link,
    events: Events,
    window: Window,
    overflow: Overflow,
    /// The message that found no room in the socket's queue.
    returned: Option<FromAdapter>,
    /// Indices of the acquired volumes; a duplicate counts once.
    acquired: HashSet<u32>,
    /// What was found of the triggers, for the run's end.
    triggers: Option<TriggerCounts>,
    ending: bool,
    end_sent: Option<Instant>,
    ended: bool,
    tally: Tally,
}

impl Outbox {
    /// An outbox that has sent nothing yet. It keeps `capacity` volumes in memory and further ones
    /// in `spill`.
    pub(super) fn new(
        header: RunHeader,
        events: Vec<Event>,
        capacity: usize,
        spill: Spill,
    ) -> Self {
        Self {
            link: Link::new(header.run_id()),
            header,
            events: Events::new(events),
            window: Window::new(capacity),
            overflow: Overflow::new(spill),
            returned: None,
            acquired: HashSet::new(),
            triggers: None,
            ending: false,
            end_sent: None,
            ended: false,
            tally: Tally::default(),
        }
    }

    /// Counts for the volumes so far.
    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// Volumes on disk.
    pub(super) fn n_on_disk(&self) -> u32 {
        self.overflow.len()
    }

    /// Volumes that are neither acknowledged nor lost.
    pub(super) fn n_unacked(&self) -> u64 {
        self.window.len() as u64 + u64::from(self.overflow.len())
    }

    /// Whether the daemon has accepted the run.
    pub(super) fn is_ready(&self) -> bool {
        self.link.is_ready()
    }

    /// Whether one more volume fits into the window.
    pub(super) fn has_room(&self) -> bool {
        self.window.has_room() && self.overflow.is_empty()
    }

    /// First index that the daemon did not have when it first accepted the run.
    pub(super) fn next_index(&self) -> u32 {
        self.link.next_index()
    }

    /// Whether the daemon has sent nothing for a while, or ever.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.link.is_silent(now)
    }

    /// When the daemon last sent anything other than a heartbeat.
    pub(super) fn progressed(&self) -> Option<Instant> {
        self.link.progressed()
    }

    /// When the daemon last sent anything.
    pub(super) fn heard_at(&self) -> Option<Instant> {
        self.link.heard_at()
    }

    /// What is wrong with the daemon.
    pub(super) fn trouble(&self, now: Instant) -> Option<Trouble> {
        if self.is_silent(now) {
            return Some(Trouble::Silent);
        }
        let unanswered = self.link.announced_for(now).unwrap_or_else(|| self.window.waited(now));
        // With room in the window, the daemon keeps up.
        let is_behind = unanswered > BEHIND_AFTER || (self.is_ready() && !self.overflow.is_empty());
        is_behind.then_some(Trouble::Behind)
    }

    /// Number of marks that were not sent.
    pub(super) fn n_unsent_marks(&self) -> u64 {
        // A run without a daemon and without a volume has nothing to mark.
        if self.link.never_begun() && self.acquired.is_empty() {
            return 0;
        }
        let returned = matches!(self.returned, Some(FromAdapter::Mark(_)));
        self.events.len() as u64
            + self.events.n_lost()
            + self.window.n_unsent_marks()
            + u64::from(returned)
    }

    /// Counts an acquired volume that the daemon already has.
    pub(super) fn skip(&mut self, volume: &AcquiredVolume) {
        self.acquired.insert(volume.index.0);
        let start_s = self.start_of(volume.index, volume.acquisition_time_s);
        self.events.take_until(start_s);
    }

    /// Takes a volume.
    pub(super) fn push(&mut self, volume: AcquiredVolume) {
        self.acquired.insert(volume.index.0);
        let message = volume.into_message(self.link.run());
        if self.has_room() {
            self.admit(message, None);
            return;
        }
        let in_order = self.is_ready() && self.returned.is_none() && self.window.is_sent();
        let index = message.header.index.0;
        if let Err(error) = self.overflow.push(message, in_order) {
            tracing::warn!(index, %error, "volume lost: it cannot be kept on disk");
            self.tally.lost += 1;
        }
    }

    /// Takes marks that came while the run goes on. They are sent with the volumes, in order of
    /// time: before the first one that starts later, and the rest before the end.
    pub(super) fn add_marks(&mut self, marks: Vec<Event>) {
        marks.into_iter().for_each(|mark| self.events.add(mark));
    }

    /// Takes what was found of the triggers, for the run's end.
    pub(super) fn add_triggers(&mut self, triggers: TriggerCounts) {
        self.triggers = Some(triggers);
    }

    /// Tells the outbox that no further volume will come. Once all are acknowledged, it sends the
    /// run's end.
    pub(super) fn finish(&mut self) {
        self.ending = true;
    }

    /// Whether everything was sent and acknowledged.
    pub(super) fn is_over(&self) -> bool {
        // If no daemon ever accepted the run and no volume is left, no daemon needs its end.
        self.waits_for_end_only() && (self.ended || self.link.never_begun())
    }

    /// Whether only the acknowledgement of the end is missing.
    pub(super) fn waits_for_end_only(&self) -> bool {
        self.ending && self.n_unacked() == 0
    }

    /// Takes back a message that found no room in the socket's queue. It is sent first once the
    /// daemon is heard again.
    pub(super) fn not_sent(&mut self, message: FromAdapter) {
        self.link.not_sent();
        // An announcement is made again anyway.
        if !matches!(message, FromAdapter::Run { .. }) {
            self.returned = Some(message);
        }
    }

    /// The next message to send now; `None` when nothing is due.
    pub(super) fn next_due(&mut self, now: Instant) -> Option<FromAdapter> {
        if self.link.is_announcement_due(now) {
            let resume = self.link.announce(now);
            return Some(FromAdapter::Run { header: self.header.clone(), resume });
        }
        if !self.link.is_open(now) {
            return None;
        }
        if let Some(returned) = self.returned.take() {
            return Some(returned);
        }
        self.refill(now);
        let due = self.window.next_due(self.link.run(), now, &mut self.tally.resent);
        if due.is_some() {
            return due;
        }
        if let Some(message) = self.overflow.take_live() {
            return Some(FromAdapter::Volume(message));
        }
        if !self.ending || self.ended || !self.window.is_empty() {
            return None;
        }
        if let Some(event) = self.events.take_next() {
            return Some(mark(self.link.run(), &event));
        }
        is_due(self.end_sent, RESEND_AFTER, now).then(|| {
            self.end_sent = Some(now);
            let n_sent = u32::try_from(self.acquired.len()).ok();
            FromAdapter::End(End {
                run: self.link.run().to_owned(),
                n_sent,
                triggers: self.triggers,
            })
        })
    }

    /// Moves volumes from the spill into the window while there is room.
    fn refill(&mut self, now: Instant) {
        while self.window.has_room() {
            match self.overflow.pop(now) {
                Some(Popped::Volume { message, sent }) => self.admit(*message, sent),
                Some(Popped::Acked) => self.tally.acked += 1,
                Some(Popped::Lost { n, error }) => {
                    tracing::error!(
                        %error, lost = n,
                        "volumes lost: those waiting on disk cannot be read back"
                    );
                    self.tally.lost += n;
                }
                None => return,
            }
        }
    }

    fn admit(&mut self, message: VolumeMessage, sent: Option<Instant>) {
        let header = &message.header;
        let start_s = self.start_of(header.index, header.acquisition_time_s);
        let marks = self.events.take_until(start_s);
        self.window.push(message, marks, sent);
    }

    /// Start of a volume's acquisition, seconds since the start of index 0.
    fn start_of(&self, index: TrIndex, acquisition_time_s: Option<f64>) -> f64 {
        acquisition_time_s.unwrap_or_else(|| self.header.repetition_time.start_of(index))
    }
}

#[cfg(test)]
mod tests;
