//! The scanner's triggers of the runs that are sent.
//!
//! ```text
//! edges ──► waiting ──first volumes──► train ──► beat ──► marks, times, drift
//! ```
//!
//! A run opens when its first volume is complete, which is after its first triggers. So edges wait
//! until the run has a volume that arrived live; `train` then finds those that belong to it. The
//! first one of them (after `--trigger-dummies` others) is the run's zero: the start of index 0. A
//! volume that arrives tells when it began at the latest, so a train whose beginning was not heard
//! is moved back by whole repetition times.
//!
//! Marks go with the volumes, in order, so they are repeated like them and never delay one. After a
//! silence, triggers wait again: they are those of the next run, or of this one if it goes on.

mod beat;
mod fit;
mod run;
mod train;

use std::{collections::VecDeque, time::Instant};

use corticast_bold::time::RepetitionTime;
use corticast_images::{acquired::AcquiredVolume, events::Event};
use corticast_wire::message::TriggerCounts;

use self::run::Run;
use crate::trigger::Listening;

/// Edges that wait for their run: an hour of one a second, or a minute of those of slices.
const MAX_WAITING: usize = 4096;

/// The triggers that the adapter listens to. See the module docs.
#[derive(Debug)]
pub struct Triggers {
    listening: Listening,
    dummies: u32,
    /// Times are seconds after this.
    opened: Instant,
    waiting: VecDeque<f64>,
    /// Edges that were dropped because too many waited.
    n_dropped: u64,
    run: Option<Run>,
    /// Bounces of earlier runs.
    bounces_before: u32,
    lost_before: u32,
}

impl Triggers {
    /// Triggers from a device, of which `dummies` come before that of volume 0.
    #[must_use]
    pub fn new(listening: Listening, dummies: u32) -> Self {
        Self {
            listening,
            dummies,
            opened: Instant::now(),
            waiting: VecDeque::new(),
            n_dropped: 0,
            run: None,
            bounces_before: 0,
            lost_before: 0,
        }
    }

    /// Waits for the next edge.
    pub(super) async fn next(&mut self) -> Instant {
        self.listening.next().await
    }

    fn seconds(&self, at: Instant) -> f64 {
        at.saturating_duration_since(self.opened).as_secs_f64()
    }

    /// Takes an edge.
    pub(super) fn edge(&mut self, at: Instant) {
        let at_s = self.seconds(at);
        let taken = self.run.as_mut().is_some_and(|run| run.edge(at_s));
        if taken {
            return;
        }
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.pop_front();
            if self.n_dropped == 0 {
                tracing::warn!("more than {MAX_WAITING} triggers wait for a run: the oldest go");
            }
            self.n_dropped += 1;
        }
        self.waiting.push_back(at_s);
    }

    /// A run begins.
    pub(super) fn run_starts(&mut self, repetition_time: RepetitionTime) {
        self.run = Some(Run::new(repetition_time.as_secs(), self.dummies));
    }

    /// The daemon refused the run: what comes now may be the next one's.
    pub(super) fn run_is_refused(&mut self) {
        self.run = None;
    }

    /// A volume of the run has arrived. One without a time of acquisition gets that of its trigger.
    pub(super) fn volume(&mut self, volume: &mut AcquiredVolume, arrived: Instant) {
        let arrived_s = self.seconds(arrived);
        let Some(run) = &mut self.run else { return };
        let time_s =
            run.volume(volume.index.0, volume.acquisition_time_s, arrived_s, &mut self.waiting);
        if volume.acquisition_time_s.is_none() {
            volume.acquisition_time_s = time_s;
        }
    }

    /// Takes the marks that are ready.
    pub(super) fn take_marks(&mut self) -> Vec<Event> {
        self.run.as_mut().map(Run::take_marks).unwrap_or_default()
    }

    /// The run has no further volume. Returns what was found, and the marks that are left.
    pub(super) fn run_ends(&mut self) -> Option<(TriggerCounts, Vec<Event>)> {
        let mut run = self.run.take()?;
        run.settle(&mut self.waiting);
        let heard = &self.listening.heard;
        let (bounces, lost) = (heard.bounces(), heard.lost());
        let n_bounces = bounces - std::mem::replace(&mut self.bounces_before, bounces);
        let n_lost = lost - std::mem::replace(&mut self.lost_before, lost);
        if n_lost > 0 {
            tracing::warn!("{n_lost} triggers came faster than they could be taken, and are lost");
        }
        let counts = TriggerCounts { n_bounces, ..run.counts() };
        tell(&counts);
        Some((counts, run.take_marks()))
    }
}

/// Tells what was found in a run.
fn tell(counts: &TriggerCounts) {
    let TriggerCounts { n, n_slice, n_missed, n_spurious, n_bounces, n_without_volume, .. } =
        *counts;
    let ms = |value: Option<f64>| value.map_or("unknown".to_owned(), |ms| format!("{ms:+.2}"));
    tracing::info!(
        n,
        n_missed,
        n_spurious,
        n_bounces,
        n_slice,
        n_without_volume,
        drift_ms_per_min = ms(counts.drift_ms_per_min),
        jitter_ms = counts.jitter_ms.map_or("unknown".to_owned(), |ms| format!("{ms:.2}")),
        delay_s = counts.delay_s.map_or("unknown".to_owned(), |s| format!("{s:.3}")),
        "triggers of the run"
    );
    if n == 0 {
        tracing::warn!(
            "no trigger came in this run: the times of its volumes are the scanner's alone. Look at \
             the cable, at the scanner's trigger output and at --trigger"
        );
    }
}

#[cfg(test)]
mod tests;
