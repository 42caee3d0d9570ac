//! The triggers of one run. Pure: times are seconds after the adapter began to listen.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use corticast_images::events::Event;
use corticast_wire::message::{Mark, TriggerCounts};

use super::{
    beat::{Beat, Kind},
    fit::Fit,
    train::{GAP_BEATS, find},
};

/// How much later than it can have begun a volume's trigger may be, in repetition times.
const SLACK: f64 = 0.25;
/// A volume that arrives this much after the one before is live, in repetition times.
const LIVE: f64 = 0.5;
/// After so many volumes without a trigger the operator is told.
const SILENT_VOLUMES: u32 = 5;
/// Times that wait for the other clock's.
const MAX_PAIRS: usize = 1024;
/// Marks of triggers that fit no volume; further ones are only counted.
const MAX_OFF_BEAT: u32 = 1000;
/// How often the drift is told.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// A drift above this is a warning, in ms per minute: 0.1 %.
const MUCH_DRIFT: f64 = 60.0;
/// Delays from which the median is taken.
const MAX_DELAYS: usize = 4096;

/// A run's zero, once it is known.
#[derive(Debug)]
struct Settled {
    zero_s: f64,
    beat: Beat,
}

/// See the module docs.
#[derive(Debug)]
pub(super) struct Run {
    repetition_s: f64,
    dummies: u32,
    settled: Option<Settled>,
    /// Index and arrival of the newest volume.
    last_volume: Option<(u32, f64)>,
    /// No later than this did index 0 begin.
    latest_zero_s: f64,
    n_volumes: u32,
    /// Volumes since the last trigger.
    n_silent: u32,
    is_told_of_silence: bool,
    /// Triggers wait since a silence, in which so many volumes had come.
    waits_since: Option<u32>,
    /// Starts of volumes since the zero, by their clock, and by their triggers.
    acquired: BTreeMap<i64, f64>,
    triggered: BTreeMap<i64, f64>,
    /// Time by the triggers against volumes' clock minus triggers, in seconds.
    fit: Fit,
    delays_s: Vec<f64>,
    drift_told: Option<f64>,
    marks: Vec<Event>,
    counts: TriggerCounts,
    /// First and last volume that has a trigger, and those that arrived.
    triggers: Option<(i64, i64)>,
    n_matched: u32,
}

impl Run {
    /// A run without volumes.
    pub(super) fn new(repetition_s: f64, dummies: u32) -> Self {
        Self {
            repetition_s,
            dummies,
            settled: None,
            last_volume: None,
            latest_zero_s: f64::INFINITY,
            n_volumes: 0,
            n_silent: 0,
            is_told_of_silence: false,
            waits_since: None,
            acquired: BTreeMap::new(),
            triggered: BTreeMap::new(),
            fit: Fit::default(),
            delays_s: Vec::new(),
            drift_told: None,
            marks: Vec::new(),
            counts: TriggerCounts::default(),
            triggers: None,
            n_matched: 0,
        }
    }

    /// Takes an edge. Returns false if it has to wait: the zero is not known, or it follows a
    /// silence and may be the next run's.
    pub(super) fn edge(&mut self, at_s: f64) -> bool {
        let Some(settled) = &self.settled else { return false };
        let since_s = at_s - settled.zero_s - settled.beat.last_s();
        if self.waits_since.is_none() && since_s > GAP_BEATS * settled.beat.beat_s() {
            self.waits_since = Some(self.n_volumes);
        }
        if self.waits_since.is_some() {
            return false;
        }
        self.take(at_s);
        true
    }

    /// Takes a volume that arrived now. Returns when it began by its trigger, since the zero.
    pub(super) fn volume(
        &mut self,
        index: u32,
        acquired_s: Option<f64>,
        arrived_s: f64,
        waiting: &mut VecDeque<f64>,
    ) -> Option<f64> {
        let by_clock_s = acquired_s.unwrap_or(f64::from(index) * self.repetition_s);
        let latest_s = arrived_s - self.repetition_s - by_clock_s;
        self.latest_zero_s = self.latest_zero_s.min(latest_s);
        let before = self.last_volume.replace((index, arrived_s));
        let pause_s = before.map_or(0.0, |(_, before_s)| arrived_s - before_s);
        self.n_volumes += 1;
        self.n_silent += 1;
        // Volumes that lay in a folder come at once, and tell nothing of when they began.
        if self.settled.is_none() && pause_s > LIVE * self.repetition_s {
            self.settle(waiting);
        }
        self.go_on(index, arrived_s, waiting);
        self.tell_of_silence();
        self.pair(index.into(), Some(by_clock_s), None);
        self.tell_of_drift(arrived_s);
        let began_s = self.time_of(index.into())?;
        let delay_s = arrived_s - self.settled.as_ref()?.zero_s - began_s;
        if self.delays_s.len() < MAX_DELAYS {
            self.delays_s.push(delay_s);
        }
        Some(began_s)
    }

    /// When a volume began by its trigger, or by those around it.
    fn time_of(&self, index: i64) -> Option<f64> {
        let own = self.triggered.get(&index).copied();
        own.or_else(|| self.settled.as_ref()?.beat.time_of(index))
    }

    /// Takes the marks that are ready.
    pub(super) fn take_marks(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.marks)
    }

    /// Finds the run's zero in the edges that wait, and takes those of the run.
    pub(super) fn settle(&mut self, waiting: &mut VecDeque<f64>) {
        if self.settled.is_some() || self.n_volumes == 0 {
            return;
        }
        // Without a train there is none to be taken: the first trigger comes later.
        let edges: Vec<f64> = waiting.iter().copied().collect();
        let Some(train) = find(&edges, self.repetition_s) else { return };
        let first_s = edges[train.edges[0]];
        // A trigger of long ago is another scan's.
        let reach_s = f64::from(self.dummies + 30) * self.repetition_s + 60.0;
        if edges[edges.len() - 1] < self.latest_zero_s - reach_s {
            return;
        }
        let mut zero_s = first_s + f64::from(self.dummies) * train.beat_s;
        let latest_s = self.latest_zero_s + SLACK * self.repetition_s;
        let n_unheard = ((zero_s - latest_s) / train.beat_s).ceil().max(0.0);
        zero_s -= n_unheard * train.beat_s;
        self.tell_of_zero(zero_s, n_unheard, &train);
        let index = -i64::from(self.dummies) + n_unheard as i64;
        let beat = Beat::new(train.beat_s, train.slice_s, first_s - zero_s, index);
        self.settled = Some(Settled { zero_s, beat });
        waiting.clear();
        self.add_volume(first_s - zero_s, index, 0);
        // Those between that are off its beat are counted, too.
        edges[train.edges[0] + 1..].iter().for_each(|at_s| self.take(*at_s));
    }

    fn tell_of_zero(&self, zero_s: f64, n_unheard: f64, train: &super::train::Train) {
        let tr_s = self.repetition_s;
        if n_unheard > 0.0 {
            tracing::warn!(
                "the first triggers of the run were not heard: its zero is {n_unheard} repetition \
                 times before the first one that was"
            );
        }
        match train.slice_s {
            Some(slice_s) => tracing::info!(
                "a trigger comes every {:.1} ms, {:.1} to a repetition time: one a slice. The first \
                 of each volume counts",
                slice_s * 1e3,
                tr_s / slice_s
            ),
            None if (train.beat_s - tr_s).abs() > 0.005 * tr_s => tracing::warn!(
                "a trigger comes every {:.4} s, but the repetition time is {tr_s} s: if the scanner \
                 gives one a volume, give --tr {:.4}",
                train.beat_s,
                train.beat_s
            ),
            None => {}
        }
        // An export takes a while, and nobody can tell it from dummy scans by this alone.
        let late_s = self.latest_zero_s - zero_s;
        let n_late = (late_s / tr_s + 0.1).floor();
        if n_late < 1.0 {
            tracing::info!(
                "the run's zero is its first trigger; volumes arrive {late_s:.3} s after the end of \
                 their acquisition"
            );
        } else {
            tracing::warn!(
                "the run's zero is its first trigger; so volumes arrive {late_s:.1} s after the end \
                 of their acquisition. Either the export is that slow, or the first {n_late} triggers \
                 are those of dummy scans: then give --trigger-dummies {}",
                f64::from(self.dummies) + n_late
            );
        }
    }

    /// Takes up triggers that wait since a silence, if this volume shows that they are this run's.
    fn go_on(&mut self, index: u32, arrived_s: f64, waiting: &mut VecDeque<f64>) {
        let (Some(n_before), Some(settled)) = (self.waits_since, &mut self.settled) else { return };
        let began_s = arrived_s - 0.75 * self.repetition_s;
        let Some(&first_s) = waiting.front().filter(|first_s| **first_s <= began_s) else { return };
        // The first volume after the pause is that of the first trigger. If volumes went on, only
        // triggers were silent, and time goes on.
        if self.n_volumes <= n_before + 1 {
            let time_s = first_s - settled.zero_s;
            settled.beat.take_up(time_s, index.into());
            waiting.pop_front();
            self.add_volume(time_s, index.into(), 0);
        }
        self.waits_since = None;
        let edges: Vec<f64> = waiting.drain(..).collect();
        edges.into_iter().for_each(|at_s| self.take(at_s));
    }

    /// Takes an edge of this run.
    fn take(&mut self, at_s: f64) {
        let Some(settled) = &mut self.settled else { return };
        let time_s = at_s - settled.zero_s;
        match settled.beat.take(time_s) {
            Kind::Volume { index, n_missed } => self.add_volume(time_s, index, n_missed),
            Kind::Slice => self.counts.n_slice += 1,
            Kind::Spurious => {
                self.counts.n_spurious += 1;
                if self.counts.n_spurious <= MAX_OFF_BEAT {
                    self.mark(time_s, Mark::OFF_BEAT);
                }
            }
            Kind::Moved { index, by_s } => {
                tracing::warn!(
                    "the triggers' beat has moved by {by_s:.3} s at volume {index}: it goes on from \
                     there"
                );
                self.add_volume(time_s, index, 0);
            }
        }
    }

    /// Adds the trigger of a volume.
    fn add_volume(&mut self, time_s: f64, index: i64, n_missed: u32) {
        self.counts.n += 1;
        self.counts.n_missed += n_missed;
        self.n_silent = 0;
        if std::mem::take(&mut self.is_told_of_silence) {
            tracing::info!("triggers come again");
        }
        let (first, last) = self.triggers.unwrap_or((index, index));
        self.triggers = Some((first.min(index), last.max(index)));
        self.mark(time_s, Mark::TRIGGER);
        self.pair(index, None, Some(time_s));
    }

    fn mark(&mut self, onset_s: f64, name: &str) {
        self.marks.push(Event { onset_s, duration_s: 0.0, trial_type: name.to_owned() });
    }

    /// Adds a time of a volume by one of the clocks, and a point to the drift if both are known.
    fn pair(&mut self, index: i64, acquired_s: Option<f64>, triggered_s: Option<f64>) {
        let known = |map: &mut BTreeMap<i64, f64>, time_s: Option<f64>| {
            if let Some(time_s) = time_s {
                if map.len() >= MAX_PAIRS {
                    map.pop_first();
                }
                map.insert(index, time_s);
            }
            map.get(&index).copied()
        };
        let acquired_s = known(&mut self.acquired, acquired_s);
        let triggered_s = known(&mut self.triggered, triggered_s);
        if let (Some(acquired_s), Some(triggered_s)) = (acquired_s, triggered_s) {
            self.n_matched += 1;
            self.fit.add(triggered_s, acquired_s - triggered_s);
            // Its trigger stays: the volume asks for it.
            self.acquired.remove(&index);
        }
    }

    fn tell_of_silence(&mut self) {
        if self.n_silent < SILENT_VOLUMES || self.is_told_of_silence {
            return;
        }
        self.is_told_of_silence = true;
        match self.counts.n {
            0 => tracing::warn!(
                "no trigger has come, but {} volumes have: look at the cable, at the scanner's \
                 trigger output and at --trigger",
                self.n_volumes
            ),
            1 => tracing::info!(
                "one trigger came at the start and none since: if the scanner gives only one, its \
                 drift cannot be measured"
            ),
            n => tracing::warn!(
                "triggers have stopped after {n}: the last {} volumes had none",
                self.n_silent
            ),
        }
    }

    /// Drift in ms per minute, and jitter in ms.
    fn drift(&self) -> (Option<f64>, Option<f64>) {
        (self.fit.slope().map(|slope| slope * 6e4), self.fit.deviation().map(|s| s * 1e3))
    }

    fn tell_of_drift(&mut self, now_s: f64) {
        let (Some(drift), Some(jitter)) = self.drift() else { return };
        if self.fit.n() < 10 || !is_due(&mut self.drift_told, now_s, TELL_EVERY) {
            return;
        }
        let (n, missed, spurious) = (self.counts.n, self.counts.n_missed, self.counts.n_spurious);
        let text = format!(
            "the volumes' clock gains {drift:+.2} ms per minute on the triggers, jitter {jitter:.2} \
             ms; {n} triggers, {missed} missed, {spurious} off the beat"
        );
        // After a few volumes, jitter looks like drift.
        let is_sure = drift.abs() > MUCH_DRIFT && self.fit.n() >= 30;
        if is_sure {
            tracing::warn!("{text}. The repetition time, or one of the clocks, is wrong");
        } else {
            tracing::info!("{text}");
        }
    }

    /// What was found in the run.
    pub(super) fn counts(&mut self) -> TriggerCounts {
        let (drift_ms_per_min, jitter_ms) = self.drift();
        self.delays_s.sort_by(f64::total_cmp);
        let delay_s = self.delays_s.get(self.delays_s.len() / 2).copied();
        let n_without_volume = self.counts.n.saturating_sub(self.n_matched);
        TriggerCounts { n_without_volume, drift_ms_per_min, jitter_ms, delay_s, ..self.counts }
    }
}

/// Whether it is time to say something again that is said every so often.
fn is_due(last_s: &mut Option<f64>, now_s: f64, every: Duration) -> bool {
    let is_due = last_s.is_none_or(|last_s| now_s - last_s >= every.as_secs_f64());
    if is_due {
        *last_s = Some(now_s);
    }
    is_due
}
