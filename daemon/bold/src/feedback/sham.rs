//! Sham feedback: the participant sees what another one saw, not the own score.
//!
//! - `yoked`: at each volume exactly the value that was shown at that volume of the recorded run.
//! - `scrambled`: the same values; the stretches in which something was shown change places, each
//!   with another (Sattolo 1986, Information Processing Letters 22:315, gives one random cycle). The
//!   order within a stretch stays, so that the display moves as naturally as before. A run with one
//!   stretch has nothing to exchange and is yoked.
//!
//! Volumes are paired by their index. At a volume that the recorded run lost, its participant kept
//! seeing the value before, and so does this one.
//!
//! Where this participant's own data are bad, the policy for bad data decides what is shown, as with
//! real feedback: a score that goes on while the head moves would tell the arm. Everywhere else the
//! recorded values are shown exactly. The own score is computed and recorded as always.
//!
//! The recorded scores are checked in both arms alike, real feedback too: an error that only a sham
//! can have would tell the arm. They must be of the same schedule: the same blocks, TR and run
//! label, and long enough for the design.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{
    design::{Block, Design},
    presentation::{Shown, ShownAs},
    score::FeedbackScore,
    seal::{Arm, Assignment},
};
use crate::{
    run::RunEntities,
    state::{Loader, Saver},
    time::{RepetitionTime, TrIndex},
};

/// What a participant saw after one volume.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedScore {
    /// Newest volume the score was based on.
    pub index: TrIndex,
    /// When the stimulus was shown, seconds since the start of volume index 0.
    pub stimulus_time_s: f64,
    /// What the participant saw, 0 to 1; `None` for nothing.
    pub shown: Option<f64>,
}

impl From<&FeedbackScore> for RecordedScore {
    fn from(score: &FeedbackScore) -> Self {
        let open = &score.open;
        let (index, stimulus_time_s, shown) = (open.index, open.stimulus_time_s, open.shown);
        Self { index, stimulus_time_s, shown }
    }
}

/// What a participant saw in one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedRun {
    /// TR of the run.
    pub repetition_time_s: RepetitionTime,
    /// The blocks of its design, in order.
    pub blocks: Vec<Block>,
    /// The scores, in the order in which they were shown.
    pub scores: Vec<RecordedScore>,
}

/// What a participant saw in the runs of a session, by [`run_label`]. The written form is checked
/// by [`Sham::new`].
pub type RecordedSession = BTreeMap<String, RecordedRun>;

/// Name of a run without its participant and session, so that runs of two participants can be
/// paired: `task-nf_run-2`.
#[must_use]
pub fn run_label(entities: &RunEntities) -> String {
    let (task, run) = (entities.task.as_deref(), entities.run.as_deref());
    format!("task-{}_run-{}", task.unwrap_or("none"), run.unwrap_or("none"))
}

/// Recorded scores that cannot be shown in a run. The messages are the same in both arms.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidSham {
    /// A score that no participant can have seen.
    #[error("recorded scores of `{run}`, entry {entry}: {what}")]
    Score {
        /// Label of the run.
        run: String,
        /// Number of the entry, from 1.
        entry: usize,
        /// What was found, and what was expected.
        what: String,
    },
    /// No run of this name.
    #[error("no recorded scores for `{run}`, found those of {known:?}")]
    NoRun {
        /// Label of the run.
        run: String,
        /// Labels of the recorded runs.
        known: Vec<String>,
    },
    /// Another TR.
    #[error("the recorded scores of `{run}` have a TR of {found}, the run has {expected}")]
    RepetitionTime {
        /// Label of the run.
        run: String,
        /// TR of the recorded run.
        found: RepetitionTime,
        /// TR of this run.
        expected: RepetitionTime,
    },
    /// Another design.
    #[error("the recorded scores of `{run}` are of another schedule: {what}")]
    Schedule {
        /// Label of the run.
        run: String,
        /// The first difference.
        what: String,
    },
    /// Too few scores.
    #[error(
        "the recorded scores of `{run}` cover {found} volumes, the design needs {expected} \
         ({design_s} s at a TR of {tr})"
    )]
    Length {
        /// Label of the run.
        run: String,
        /// Volumes that are covered.
        found: u64,
        /// Volumes of the design.
        expected: u64,
        /// Length of the design.
        design_s: f64,
        /// TR of this run.
        tr: RepetitionTime,
    },
}

/// A sealed assignment with the scores that a sham shows. Its `Debug` does not tell the arm.
#[derive(Clone, Debug)]
pub struct Sham {
    assignment: Assignment,
    recorded: RecordedSession,
}

impl Sham {
    /// Needs the recorded scores whatever the arm is.
    ///
    /// # Errors
    ///
    /// Fails when a score is outside 0 to 1, has no finite time, or comes out of order.
    pub fn new(assignment: Assignment, recorded: RecordedSession) -> Result<Self, InvalidSham> {
        for (run, RecordedRun { scores, .. }) in &recorded {
            let wrong = |position: usize, what| InvalidSham::Score {
                run: run.clone(),
                entry: position + 1,
                what,
            };
            for (position, score) in scores.iter().enumerate() {
                if let Some(shown) = score.shown.filter(|shown| !(0.0..=1.0).contains(shown)) {
                    let what = format!("shown is {shown}, expected 0 to 1 or nothing");
                    return Err(wrong(position, what));
                }
                if !score.stimulus_time_s.is_finite() {
                    let what = format!("its time is {} s", score.stimulus_time_s);
                    return Err(wrong(position, format!("{what}, expected a finite time")));
                }
            }
            for (position, pair) in scores.windows(2).enumerate() {
                let (before, after) = (&pair[0], &pair[1]);
                let is_later = after.index > before.index
                    || (after.index == before.index
                        && after.stimulus_time_s > before.stimulus_time_s);
                if !is_later {
                    let what = format!("{} after {}", after.index, before.index);
                    return Err(wrong(position + 1, format!("{what}, expected rising order")));
                }
            }
        }
        Ok(Self { assignment, recorded })
    }

    /// Checks the recorded run against this run. What comes back says what to show.
    pub(super) fn start_run(
        &self,
        run: &str,
        design: &Design,
        tr: RepetitionTime,
    ) -> Result<Replay, InvalidSham> {
        let recorded = self.recorded.get(run).ok_or_else(|| InvalidSham::NoRun {
            run: run.to_owned(),
            known: self.recorded.keys().cloned().collect(),
        })?;
        check(recorded, run, design, tr)?;
        let mut scores = recorded.scores.clone();
        if self.assignment.arm() == Arm::Scrambled {
            scramble(&mut scores, self.assignment.seed(), run);
        }
        Ok(Replay { scores, last: None, is_sham: self.assignment.arm() != Arm::Real })
    }
}

fn check(
    recorded: &RecordedRun,
    run: &str,
    design: &Design,
    tr: RepetitionTime,
) -> Result<(), InvalidSham> {
    let run = run.to_owned();
    let found = recorded.repetition_time_s;
    if !found.agrees_with(tr) {
        return Err(InvalidSham::RepetitionTime { run, found, expected: tr });
    }
    let (there, here) = (&recorded.blocks, design.blocks());
    if there.len() != here.len() {
        let what = format!("{} blocks, the design has {}", there.len(), here.len());
        return Err(InvalidSham::Schedule { run, what });
    }
    let differs = |a: f64, b: f64| (a - b).abs() > 1e-3 || a.is_nan();
    for (number, (there, here)) in (1..).zip(there.iter().zip(here)) {
        if there.kind != here.kind
            || there.condition != here.condition
            || differs(there.onset_s, here.onset_s)
            || differs(there.duration_s, here.duration_s)
        {
            let named = |block: &Block| {
                let Block { kind, onset_s, duration_s, condition } = block;
                format!("{kind} `{condition}` at {onset_s} s for {duration_s} s")
            };
            let what = format!("block {number} is {}, expected {}", named(there), named(here));
            return Err(InvalidSham::Schedule { run, what });
        }
    }
    let found = recorded.scores.last().map_or(0, |last| u64::from(last.index.0) + 1);
    // A volume that starts within rounding of the end is not needed.
    let expected = (design.end_s() / tr.as_secs() - 1e-3).ceil().max(0.0) as u64;
    if found < expected {
        let design_s = design.end_s();
        return Err(InvalidSham::Length { run, found, expected, design_s, tr });
    }
    Ok(())
}

/// What a run shows instead of its own scores. The real arm has one too, so that neither the
/// existence nor the size of anything tells the arm; its `Debug` does not either.
#[derive(Clone)]
pub(super) struct Replay {
    scores: Vec<RecordedScore>,
    last: Option<f64>,
    is_sham: bool,
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Replay(sealed)")
    }
}

impl Replay {
    /// What is shown at this volume; `None` in the real arm. If several results end with it, their
    /// stimulus tells them apart.
    pub(super) fn at(&mut self, index: TrIndex, stimulus_time_s: f64) -> Option<Shown> {
        let first = self.scores.partition_point(|score| score.index < index);
        let far = |score: &RecordedScore| (score.stimulus_time_s - stimulus_time_s).abs();
        let same = self.scores[first..].iter().take_while(|score| score.index == index);
        if let Some(found) = same.min_by(|a, b| far(a).total_cmp(&far(b))) {
            self.last = found.shown;
        } else if first == self.scores.len() {
            // After the end of the recorded run.
            self.last = None;
        }
        self.is_sham.then_some((self.last, ShownAs::Sham))
    }

    /// Adds its state to a checkpoint.
    pub(super) fn save(&self, to: &mut Saver) {
        to.f64s(self.last.as_slice());
    }

    /// Takes its state from a checkpoint. `None` when the bytes do not fit.
    pub(super) fn load(&mut self, from: &mut Loader<'_>) -> Option<()> {
        self.last = from.f64s()?.first().copied();
        Some(())
    }
}

/// Exchanges the stretches of consecutive scores in which something was shown. A stretch that takes
/// the place of a longer one keeps its last value until the end.
fn scramble(scores: &mut [RecordedScore], seed: &[u8; 32], run: &str) {
    let mut stretches: Vec<(usize, Vec<f64>)> = Vec::new();
    let mut before = None;
    for (position, score) in scores.iter().enumerate() {
        match (score.shown, before, stretches.last_mut()) {
            (Some(shown), Some(_), Some((_, stretch))) => stretch.push(shown),
            (Some(shown), _, _) => stretches.push((position, vec![shown])),
            (None, _, _) => {}
        }
        before = score.shown;
    }
    let mut order: Vec<usize> = (0..stretches.len()).collect();
    let mut random = blake3::Hasher::new_keyed(seed).update(run.as_bytes()).finalize_xof();
    for k in (1..order.len()).rev() {
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        // Maps 64 random bits to 0..k (Lemire 2019, ACM TOMACS 29:3); the bias is below k/2^64.
        let drawn = (u128::from(u64::from_le_bytes(bytes)) * k as u128) >> 64;
        order.swap(k, drawn as usize);
    }
    for ((start, place), from) in stretches.iter().zip(order) {
        let values = &stretches[from].1;
        for (k, score) in scores[*start..*start + place.len()].iter_mut().enumerate() {
            score.shown = values.get(k).or(values.last()).copied();
        }
    }
}

#[cfg(test)]
mod tests;
