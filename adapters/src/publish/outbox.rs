//! What of a run still has to be said, and when: the adapter's side of the protocol, without
//! sockets and without a clock of its own.
//!
//! ```text
//! push ──▶ window (≤ 64, sent, not acknowledged) ──ack──▶ done
//!   └────▶ spill (disk) ──▶ window, as room is made
//! ```
//!
//! A daemon that listens and acknowledges nothing (its disk is full) decodes all the same: while
//! all before it was sent, a volume that goes to the spill is also said once, at once.
//!
//! The run is announced first. Volumes go out once the daemon is `ready`; what is not
//! acknowledged is said again after [`RESEND_AFTER`], and all of it, in order, when another
//! daemon answers or the daemon does not know the run. While the daemon is silent nothing is
//! sent. A volume is given up only when the daemon says that it cannot be used, when it came
//! damaged too often, or when disk and window are full.

use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, Instant},
};

use corticast_bold::run::RunHeader;
use corticast_images::{acquired::AcquiredVolume, events::Event};
use corticast_wire::message::{
    Ack, End, FromAdapter, Mark, Ready, RefusalCode, Refused, ToAdapter, VolumeMessage,
};

use crate::spill::Spill;

/// What was not acknowledged for so long is sent again.
pub const RESEND_AFTER: Duration = Duration::from_secs(5);
/// A run that was not answered for so long is announced again.
const ANNOUNCE_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// A daemon that says nothing for so long is not there.
pub const SILENCE: Duration = Duration::from_secs(3);
/// How often a volume that arrives damaged is sent again.
const MAX_DAMAGED: u32 = 3;

/// The daemon does not want this run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the daemon refuses run {run}: {reason}")]
pub struct RunRefused {
    /// Name of the run.
    pub run: String,
    /// What was found, what was expected.
    pub reason: String,
}

/// What became of the volumes of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Acknowledged.
    pub acked: u64,
    /// Given up.
    pub lost: u64,
    /// Sent more than once.
    pub resent: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Link {
    Unannounced,
    Announced(Instant),
    Ready,
}

/// A volume that is not acknowledged.
#[derive(Debug)]
struct Waiting {
    /// Events up to its acquisition.
    marks: Vec<Event>,
    n_marks_sent: usize,
    message: VolumeMessage,
    sent: Option<Instant>,
    n_damaged: u32,
}

/// See the module docs.
#[derive(Debug)]
pub struct Outbox {
    header: RunHeader,
    /// The name by which the daemon knows the run.
    run: String,
    link: Link,
    resume: bool,
    instance: Option<String>,
    next_index: u32,
    heard: Option<Instant>,
    /// When the daemon last answered anything but a sign of life.
    progressed: Option<Instant>,
    events: VecDeque<Event>,
    window: VecDeque<Waiting>,
    capacity: usize,
    spill: Spill,
    /// Whether all that is in the spill was said once.
    spill_is_sent: bool,
    /// The newest volume of the spill, to be said now.
    live: Option<VolumeMessage>,
    /// Indices that were acquired, duplicates once.
    acquired: HashSet<u32>,
    ending: bool,
    end_sent: Option<Instant>,
    ended: bool,
    tally: Tally,
}

impl Outbox {
    /// Nothing said yet. `capacity` volumes are kept in memory, further ones in `spill`.
    #[must_use]
    pub fn new(header: RunHeader, events: Vec<Event>, capacity: usize, spill: Spill) -> Self {
        Self {
            run: header.run_id(),
            header,
            link: Link::Unannounced,
            resume: false,
            instance: None,
            next_index: 0,
            heard: None,
            progressed: None,
            events: events.into(),
            window: VecDeque::with_capacity(capacity),
            capacity,
            spill,
            spill_is_sent: false,
            live: None,
            acquired: HashSet::new(),
            ending: false,
            end_sent: None,
            ended: false,
            tally: Tally::default(),
        }
    }

    /// What became of the volumes so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Volumes that are neither acknowledged nor lost.
    #[must_use]
    pub fn n_unacked(&self) -> u64 {
        self.window.len() as u64 + u64::from(self.spill.len())
    }

    /// Whether the daemon has taken the run.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.link == Link::Ready
    }

    /// Whether one more volume fits into the window.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.window.len() < self.capacity && self.spill.is_empty()
    }

    /// First index that the daemon did not have when it first took the run.
    #[must_use]
    pub fn next_index(&self) -> u32 {
        self.next_index
    }

    /// Whether the daemon has said nothing for a while, or ever.
    #[must_use]
    pub fn is_silent(&self, now: Instant) -> bool {
        self.heard.is_none_or(|at| now.saturating_duration_since(at) > SILENCE)
    }

    /// When the daemon last answered anything but a sign of life: one that lives and cannot
    /// record acknowledges nothing.
    #[must_use]
    pub fn progressed(&self) -> Option<Instant> {
        self.progressed
    }

    /// Notes that a volume was acquired that the daemon has already.
    pub fn skip(&mut self, volume: &AcquiredVolume) {
        self.acquired.insert(volume.index.0);
        let until_s = volume
            .acquisition_time_s
            .unwrap_or_else(|| self.header.repetition_time.start_of(volume.index));
        self.events_until(until_s);
    }

    /// Takes a volume.
    pub fn push(&mut self, volume: AcquiredVolume) {
        self.acquired.insert(volume.index.0);
        let message = volume.into_message(&self.run);
        if self.has_room() {
            self.admit(message);
            return;
        }
        // Out of order it would make those before it late.
        let in_order = self.is_ready()
            && self.live.is_none()
            && self.window.iter().all(|waiting| waiting.sent.is_some())
            && (self.spill.is_empty() || self.spill_is_sent);
        if let Err(error) = self.spill.push(&message) {
            tracing::warn!(index = message.header.index.0, %error, "volume lost");
            self.tally.lost += 1;
        }
        self.spill_is_sent = in_order;
        self.live = self.live.take().or(in_order.then_some(message));
    }

    /// What is on its way may not arrive: from here on everything is said again, in order.
    fn nothing_is_sent(&mut self) {
        self.live = None;
        self.spill_is_sent = false;
        for waiting in &mut self.window {
            waiting.sent = None;
        }
    }

    /// No further volume will come: once all are acknowledged, the run's end is said.
    pub fn finish(&mut self) {
        self.ending = true;
    }

    /// Whether everything was said and acknowledged.
    #[must_use]
    pub fn is_over(&self) -> bool {
        // A run that nobody ever took, and of which nothing is kept, needs no end.
        let never_begun = self.link != Link::Ready && self.instance.is_none();
        self.ending && self.n_unacked() == 0 && (self.ended || never_begun)
    }

    /// Whether only the acknowledgement of the end is missing.
    #[must_use]
    pub fn waits_for_end_only(&self) -> bool {
        self.ending && self.n_unacked() == 0
    }

    /// The last message that was due could not be sent: the daemon counts as silent until it
    /// is heard again.
    pub fn not_sent(&mut self) {
        self.heard = None;
        if let Link::Announced(_) = self.link {
            self.link = Link::Unannounced;
        }
        self.nothing_is_sent();
    }

    /// The next message to send now; `None` when nothing is due.
    pub fn next_due(&mut self, now: Instant) -> Option<FromAdapter> {
        let due = |sent: Option<Instant>, after| {
            sent.is_none_or(|at| now.saturating_duration_since(at) >= after)
        };
        let silent = self.is_silent(now);
        match self.link {
            Link::Unannounced => return Some(self.announce(now)),
            Link::Announced(at) if !silent && due(Some(at), ANNOUNCE_AGAIN_AFTER) => {
                return Some(self.announce(now));
            }
            Link::Announced(_) => return None,
            Link::Ready if silent => return None,
            Link::Ready => {}
        }
        self.refill();
        for waiting in &mut self.window {
            if let Some(event) = waiting.marks.get(waiting.n_marks_sent) {
                waiting.n_marks_sent += 1;
                return Some(mark(&self.run, event));
            }
            if due(waiting.sent, RESEND_AFTER) {
                self.tally.resent += u64::from(waiting.sent.is_some());
                waiting.sent = Some(now);
                waiting.message.header.run.clone_from(&self.run);
                return Some(FromAdapter::Volume(waiting.message.clone()));
            }
        }
        if let Some(message) = self.live.take() {
            return Some(FromAdapter::Volume(message));
        }
        if !self.ending || self.ended || !self.window.is_empty() {
            return None;
        }
        if let Some(event) = self.events.pop_front() {
            return Some(mark(&self.run, &event));
        }
        due(self.end_sent, RESEND_AFTER).then(|| {
            self.end_sent = Some(now);
            let n_sent = u32::try_from(self.acquired.len()).ok();
            FromAdapter::End(End { run: self.run.clone(), n_sent })
        })
    }

    /// Takes an answer of the daemon.
    ///
    /// # Errors
    ///
    /// Fails when the daemon does not want this run; another run may be wanted.
    pub fn answer(&mut self, answer: ToAdapter, now: Instant) -> Result<(), RunRefused> {
        self.heard = Some(now);
        if !matches!(answer, ToAdapter::Ping(_)) {
            self.progressed = Some(now);
        }
        match answer {
            ToAdapter::Ready(ready) => self.ready(ready),
            ToAdapter::Ack(ack) => self.ack(&ack),
            ToAdapter::Refused(refused) => return self.refused(refused),
            ToAdapter::Ping(ping) => {
                let known = self.instance.as_ref();
                if self.is_ready() && known.is_some_and(|known| *known != ping.instance) {
                    tracing::warn!("another daemon answers: the run is announced again");
                    self.announce_again();
                }
            }
        }
        Ok(())
    }

    fn announce(&mut self, now: Instant) -> FromAdapter {
        self.link = Link::Announced(now);
        FromAdapter::Run { header: self.header.clone(), resume: self.resume }
    }

    fn announce_again(&mut self) {
        self.resume = true;
        self.link = Link::Unannounced;
        self.nothing_is_sent();
    }

    fn ready(&mut self, ready: Ready) {
        let ours = ready.run.starts_with(&self.header.run_id());
        if self.link == Link::Ready || !ours {
            return;
        }
        // Whatever was on its way to a daemon before this one is said again, in order.
        self.nothing_is_sent();
        for waiting in &mut self.window {
            waiting.n_marks_sent = 0;
        }
        self.end_sent = None;
        self.link = Link::Ready;
        if !self.resume {
            self.next_index = ready.next_index;
        }
        self.resume = true;
        self.run = ready.run;
        self.instance = Some(ready.instance);
    }

    fn ack(&mut self, ack: &Ack) {
        if ack.run != self.run {
            return;
        }
        match ack.index {
            Some(index) => {
                let before = self.window.len();
                self.window.retain(|waiting| waiting.message.header.index.0 != index);
                self.tally.acked += (before - self.window.len()) as u64;
            }
            None => self.ended = self.ending,
        }
    }

    fn refused(&mut self, refused: Refused) -> Result<(), RunRefused> {
        let Refused { run, index, code, reason } = refused;
        if run.as_ref().is_some_and(|run| *run != self.run && *run != self.header.run_id()) {
            return Ok(());
        }
        match (code, index) {
            // Said once per volume on its way; the first one is enough.
            (RefusalCode::UnknownRun, _) if self.is_ready() => self.announce_again(),
            (RefusalCode::UnknownRun, _) => {}
            (RefusalCode::Damaged, Some(index)) => self.damaged(index, &reason),
            (_, Some(index)) => self.give_up(index, &reason),
            (RefusalCode::RunRefused, None) => return Err(self.refusal(reason)),
            (_, None) if !self.is_ready() => return Err(self.refusal(reason)),
            (_, None) => tracing::warn!(reason, "the daemon refuses a message"),
        }
        Ok(())
    }

    fn refusal(&self, reason: String) -> RunRefused {
        RunRefused { run: self.run.clone(), reason }
    }

    fn damaged(&mut self, index: u32, reason: &str) {
        let mut given_up = false;
        for waiting in self.window.iter_mut().filter(|w| w.message.header.index.0 == index) {
            waiting.n_damaged += 1;
            given_up |= waiting.n_damaged > MAX_DAMAGED;
            if waiting.sent.take().is_some() {
                self.tally.resent += 1;
            }
        }
        if given_up {
            self.give_up(index, reason);
        }
    }

    fn give_up(&mut self, index: u32, reason: &str) {
        let before = self.window.len();
        self.window.retain(|waiting| waiting.message.header.index.0 != index);
        self.tally.lost += (before - self.window.len()) as u64;
        tracing::warn!(index, reason, "the daemon refuses a volume: it is lost");
    }

    fn refill(&mut self) {
        while self.window.len() < self.capacity && !self.spill.is_empty() {
            let waited = u64::from(self.spill.len());
            match self.spill.pop() {
                Ok(Some(message)) => self.admit(message),
                Ok(None) => return,
                Err(error) => {
                    tracing::error!(%error, lost = waited, "kept volumes are lost");
                    self.tally.lost += waited;
                }
            }
        }
    }

    fn admit(&mut self, message: VolumeMessage) {
        let header = &message.header;
        let until_s = header
            .acquisition_time_s
            .unwrap_or_else(|| self.header.repetition_time.start_of(header.index));
        let marks = self.events_until(until_s);
        self.window.push_back(Waiting {
            marks,
            n_marks_sent: 0,
            message,
            sent: None,
            n_damaged: 0,
        });
    }

    /// Takes the events that lie up to a time.
    fn events_until(&mut self, time_s: f64) -> Vec<Event> {
        let n = self.events.iter().take_while(|event| event.onset_s <= time_s).count();
        self.events.drain(..n).collect()
    }
}

/// An event as a mark; its value is its duration.
fn mark(run: &str, event: &Event) -> FromAdapter {
    FromAdapter::Mark(Mark {
        run: run.to_owned(),
        time_s: event.onset_s,
        name: event.trial_type.clone(),
        value: Some(event.duration_s),
    })
}

#[cfg(test)]
mod tests {
    use corticast_bold::{
        run::RunEntities,
        space::VoxelSpace,
        time::{RepetitionTime, TrIndex},
    };
    use corticast_wire::message::{DaemonPing, Dtype, Durability, Order, PROTOCOL};

    use super::*;

    const RUN: &str = "sub-01";

    fn outbox(capacity: usize, onsets_s: &[f64]) -> Outbox {
        let affine = [[3., 0., 0., 0.], [0., 3., 0., 0.], [0., 0., 3., 0.], [0., 0., 0., 1.]];
        let header = RunHeader {
            session: String::new(),
            entities: RunEntities::checked("01", None, None, None).unwrap(),
            repetition_time: RepetitionTime::from_secs(2.0).unwrap(),
            space: VoxelSpace::new([1, 1, 1], affine).unwrap(),
            n_volumes: None,
            source: "test".into(),
            series_id: "a".into(),
        };
        let event = |&onset_s: &f64| Event { onset_s, duration_s: 1.0, trial_type: "face".into() };
        let events = onsets_s.iter().map(event).collect();
        Outbox::new(header, events, capacity, Spill::new(1 << 20))
    }

    fn volume(index: u32) -> AcquiredVolume {
        AcquiredVolume {
            index: TrIndex(index),
            acquisition_time_s: None,
            dtype: Dtype::Int16,
            order: Order::C,
            slope: None,
            intercept: None,
            scanner_wall_time: None,
            voxels: vec![0, 0].into(),
        }
    }

    fn ready(instance: &str) -> ToAdapter {
        ToAdapter::Ready(Ready {
            protocol: PROTOCOL,
            run: RUN.into(),
            durability: Durability::None,
            next_index: 0,
            instance: instance.into(),
        })
    }

    fn ack(index: impl Into<Option<u32>>) -> ToAdapter {
        ToAdapter::Ack(Ack { run: RUN.into(), index: index.into() })
    }

    fn refused(code: RefusalCode, index: Option<u32>) -> ToAdapter {
        ToAdapter::Refused(Refused { run: Some(RUN.into()), index, code, reason: "why".into() })
    }

    /// What is said now, in short: `run`, `resume`, `0` for a volume, `@2` for a mark, `end`.
    fn said(outbox: &mut Outbox, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| outbox.next_due(now))
            .map(|message| match message {
                FromAdapter::Run { resume: false, .. } => "run".into(),
                FromAdapter::Run { resume: true, .. } => "resume".into(),
                FromAdapter::Volume(volume) => volume.header.index.0.to_string(),
                FromAdapter::Mark(mark) => format!("@{}", mark.time_s),
                FromAdapter::End(end) => format!("end {}", end.n_sent.unwrap()),
                FromAdapter::Ping => "ping".into(),
            })
            .collect()
    }

    #[test]
    fn a_run_is_announced_then_sent_then_ended() {
        let now = Instant::now();
        let mut outbox = outbox(8, &[1.0, 2.0, 9.0]);
        outbox.push(volume(0));
        assert_eq!(said(&mut outbox, now), ["run"]);
        outbox.answer(ready("a"), now).unwrap();
        outbox.push(volume(1));
        // A mark goes before the volume whose acquisition begins at or after it.
        assert_eq!(said(&mut outbox, now), ["0", "@1", "@2", "1"]);
        outbox.finish();
        outbox.answer(ack(0), now).unwrap();
        assert_eq!(said(&mut outbox, now), Vec::<String>::new());
        outbox.answer(ack(1), now).unwrap();
        assert_eq!(said(&mut outbox, now), ["@9", "end 2"]);
        assert!(!outbox.is_over());
        outbox.answer(ack(None), now).unwrap();
        assert!(outbox.is_over());
        assert_eq!(outbox.tally(), Tally { acked: 2, lost: 0, resent: 0 });
    }

    #[test]
    fn another_daemon_gets_the_run_and_all_that_was_not_acknowledged_in_order() {
        let now = Instant::now();
        let mut outbox = outbox(2, &[]);
        said(&mut outbox, now);
        outbox.answer(ready("a"), now).unwrap();
        for index in 0..5 {
            outbox.push(volume(index));
        }
        assert_eq!(said(&mut outbox, now), ["0", "1"]);
        outbox.answer(ack(0), now).unwrap();
        assert_eq!(said(&mut outbox, now), ["2"]);
        outbox.answer(ToAdapter::Ping(DaemonPing { instance: "b".into() }), now).unwrap();
        assert_eq!(said(&mut outbox, now), ["resume"]);
        outbox.answer(ready("b"), now).unwrap();
        assert_eq!(said(&mut outbox, now), ["1", "2"]);
        outbox.answer(ack(1), now).unwrap();
        outbox.answer(ack(2), now).unwrap();
        assert_eq!(said(&mut outbox, now), ["3", "4"], "out of the spill");
        assert_eq!(outbox.n_unacked(), 2);
    }

    #[test]
    fn a_daemon_that_does_not_know_the_run_is_told_once() {
        let now = Instant::now();
        let mut outbox = outbox(4, &[]);
        said(&mut outbox, now);
        outbox.answer(ready("a"), now).unwrap();
        outbox.push(volume(0));
        outbox.push(volume(1));
        said(&mut outbox, now);
        outbox.answer(refused(RefusalCode::UnknownRun, Some(0)), now).unwrap();
        assert_eq!(said(&mut outbox, now), ["resume"]);
        outbox.answer(refused(RefusalCode::UnknownRun, Some(1)), now).unwrap();
        assert_eq!(said(&mut outbox, now), Vec::<String>::new());
        outbox.answer(ready("b"), now).unwrap();
        assert_eq!(said(&mut outbox, now), ["0", "1"]);
    }

    #[test]
    fn a_daemon_that_acknowledges_nothing_is_fed_all_the_same() {
        let now = Instant::now();
        let mut outbox = outbox(2, &[]);
        said(&mut outbox, now);
        outbox.answer(ready("a"), now).unwrap();
        for index in 0..5 {
            outbox.push(volume(index));
            assert_eq!(said(&mut outbox, now), [index.to_string()], "each once, in order");
        }
        assert_eq!(outbox.n_unacked(), 5);
        // Another daemon has none of them, and gets them in order.
        outbox.answer(ready("b"), now).unwrap();
        outbox.answer(ToAdapter::Ping(DaemonPing { instance: "b".into() }), now).unwrap();
        assert_eq!(said(&mut outbox, now), ["resume"]);
        outbox.answer(ready("b"), now).unwrap();
        assert_eq!(said(&mut outbox, now), ["0", "1"]);
        outbox.push(volume(5));
        assert_eq!(said(&mut outbox, now), Vec::<String>::new(), "not before 2, 3 and 4");
        for index in 0..4 {
            outbox.answer(ack(index), now).unwrap();
        }
        assert_eq!(said(&mut outbox, now), ["2", "3"]);
    }

    #[test]
    fn silence_stops_the_sending_and_a_sign_of_life_resumes_it() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut outbox = outbox(4, &[]);
        said(&mut outbox, start);
        outbox.answer(ready("a"), start).unwrap();
        outbox.push(volume(0));
        assert_eq!(said(&mut outbox, start), ["0"]);
        assert_eq!(said(&mut outbox, at(6)), Vec::<String>::new());
        outbox.answer(ToAdapter::Ping(DaemonPing { instance: "a".into() }), at(7)).unwrap();
        assert_eq!(said(&mut outbox, at(7)), ["0"]);
        assert_eq!(outbox.tally().resent, 1);
    }

    #[test]
    fn a_damaged_volume_is_sent_three_times_more_and_one_that_does_not_fit_is_lost() {
        let now = Instant::now();
        let mut outbox = outbox(4, &[]);
        said(&mut outbox, now);
        outbox.answer(ready("a"), now).unwrap();
        outbox.push(volume(0));
        outbox.push(volume(1));
        assert_eq!(said(&mut outbox, now), ["0", "1"]);
        outbox.answer(refused(RefusalCode::DoesNotFit, Some(1)), now).unwrap();
        for _ in 0..3 {
            outbox.answer(refused(RefusalCode::Damaged, Some(0)), now).unwrap();
            assert_eq!(said(&mut outbox, now), ["0"]);
        }
        outbox.answer(refused(RefusalCode::Damaged, Some(0)), now).unwrap();
        assert_eq!(said(&mut outbox, now), Vec::<String>::new());
        assert_eq!(outbox.tally().lost, 2);
    }

    #[test]
    fn a_refused_run_says_why() {
        let now = Instant::now();
        let mut outbox = outbox(4, &[]);
        said(&mut outbox, now);
        let error = outbox.answer(refused(RefusalCode::RunRefused, None), now).unwrap_err();
        assert_eq!(error.to_string(), "the daemon refuses run sub-01: why");
    }
}
