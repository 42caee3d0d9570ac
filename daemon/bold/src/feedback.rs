//! Feedback: from what was decoded to the value that the participant sees.
//!
//! ```text
//! readings ── source ──▶ raw ── scaling ──▶ 0..1 ── presentation ──▶ shown
//!                          ▲ baseline                  ▲ or sham
//! ```
//!
//! A score belongs to the stimulus of its readings, `hrf_delay_s` before its volume, so the block of
//! that time decides what it is: part of the [baseline], a score, or nothing
//! ([`design`]). What is seen is decided by the block that the participant is in when the volume is
//! complete ([`presentation`]). All is causal: baseline and smoothing know the past only.
//!
//! Bad data (a spike, a volume that was filled in, readings that cannot be used) change neither
//! baseline nor smoothing nor block mean, and have no score. The raw score is recorded all the same.
//! Nothing in a volume ends a run.
//!
//! With a [sealed](seal) assignment the participant may see [sham] feedback. The own score is
//! computed and recorded as without; [`score`] says what is published.

use serde::{Deserialize, Serialize};

use self::{
    baseline::Baseline,
    design::{BlockKind, Design, InvalidDesign},
    options::{FeedbackOptions, Z_RANGE},
    presentation::{Presentation, Screen},
    scaling::{Scaler, Smoother},
    score::{Details, FeedbackScore, OpenScore},
    sham::{InvalidSham, RecordedRun, Replay, Sham, run_label},
    source::{Readings, Sample, Source},
};
use crate::{
    run::RunEntities,
    state::{Loader, Saver},
    time::RepetitionTime,
    volume::MadeFrom,
};

pub mod baseline;
pub mod design;
pub mod options;
pub mod presentation;
pub mod scaling;
pub mod score;
pub mod seal;
pub mod sham;
pub mod source;

/// Whether the data of a volume can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataQuality {
    /// The worst origin among the volumes of its window.
    pub made_from: MadeFrom,
    /// Whether motion or DVARS is above the threshold at which feedback is held.
    pub is_spike: bool,
}

/// Why a run has no feedback.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidRun {
    /// The recorded scores do not fit the run.
    #[error(transparent)]
    Sham(#[from] InvalidSham),
    /// The baseline blocks are too short.
    #[error(
        "the baseline blocks last {found_s} s, which is {found} volumes at a TR of {tr}; the score \
         needs {expected} (`min_baseline_volumes`)"
    )]
    ShortBaseline {
        /// Length of all baseline blocks.
        found_s: f64,
        /// Volumes in them.
        found: u32,
        /// Volumes needed.
        expected: u32,
        /// TR of the run.
        tr: RepetitionTime,
    },
}

/// Computes the score of each volume and decides what is shown. See the module docs.
#[derive(Clone, Debug)]
pub struct Feedback {
    options: FeedbackOptions,
    source: Source,
    design: Design,
    sham: Option<Sham>,
    run: Option<Run>,
}

/// What lasts for one run.
#[derive(Clone, Debug)]
struct Run {
    /// Its name without participant and session.
    label: String,
    tr: RepetitionTime,
    baseline: Baseline,
    scaler: Scaler,
    screen: Screen,
    /// With a sealed assignment, of either arm.
    replay: Option<Replay>,
    /// The block of the last good score; smoothing starts again in another one.
    smoothed_block: Option<usize>,
}

impl Feedback {
    /// Feedback for runs of this design. `hrf_delay_s` is the delay between a stimulus and its
    /// BOLD response that the readings' times assume.
    ///
    /// # Errors
    ///
    /// Fails when presentation is intermittent and a regulation block has no rest after it in which
    /// its mean could be shown.
    pub fn new(
        options: FeedbackOptions,
        source: Source,
        design: Design,
        hrf_delay_s: f64,
        sham: Option<Sham>,
    ) -> Result<Self, InvalidDesign> {
        if options.presentation == Presentation::Intermittent {
            design.check_intermittent(hrf_delay_s)?;
        }
        Ok(Self { options, source, design, sham, run: None })
    }

    /// Forgets the previous run and starts this one.
    ///
    /// # Errors
    ///
    /// Fails when the run cannot have enough baseline, or when the recorded scores of a sham do not
    /// fit it. The run then has no feedback: [`Feedback::step`] gives nothing.
    pub fn start_run(&mut self, run: &RunEntities, tr: RepetitionTime) -> Result<(), InvalidRun> {
        self.run = None;
        self.run = Some(self.begin(run_label(run), tr)?);
        Ok(())
    }

    fn begin(&self, label: String, tr: RepetitionTime) -> Result<Run, InvalidRun> {
        let found_s = self.design.total_s(BlockKind::Baseline);
        let (found, expected) =
            ((found_s / tr.as_secs() + 1e-3) as u32, self.options.min_baseline_volumes);
        if found < expected {
            return Err(InvalidRun::ShortBaseline { found_s, found, expected, tr });
        }
        let replay = match &self.sham {
            Some(sham) => Some(sham.start_run(&label, &self.design, tr)?),
            None => None,
        };
        let options = &self.options;
        let scaler = Scaler {
            scaling: options.scaling,
            z_range: options.z_range.unwrap_or(Z_RANGE),
            direction: options.direction,
            min_baseline_volumes: options.min_baseline_volumes,
            smoother: Smoother::new(options.smoothing_s),
        };
        Ok(Run {
            label,
            tr,
            baseline: Baseline::default(),
            scaler,
            screen: Screen::new(options.presentation, options.bad_data),
            replay,
            smoothed_block: None,
        })
    }

    /// Good volumes that the baseline needs before there is a score.
    #[must_use]
    pub fn min_baseline_volumes(&self) -> u32 {
        self.options.min_baseline_volumes
    }

    /// Values of the target embedding, if the source has one.
    #[must_use]
    pub fn n_feature(&self) -> Option<usize> {
        self.source.n_feature()
    }

    /// The score of these readings. `None` when no run has feedback.
    pub fn step(&mut self, readings: &Readings<'_>, quality: DataQuality) -> Option<FeedbackScore> {
        self.take(readings, self.source.sample(readings), quality)
    }

    /// As [`Feedback::step`] for readings that were lost, with the raw score that was computed from
    /// them. Only for a source that is not a region: there the raw score depends on a baseline.
    pub fn step_again(
        &mut self,
        readings: &Readings<'_>,
        raw: Option<f64>,
        quality: DataQuality,
    ) -> Option<FeedbackScore> {
        let raw = raw.filter(|_| !self.source.is_of_regions());
        self.take(readings, raw.map(|raw| [raw, 0.0]), quality)
    }

    fn take(
        &mut self,
        readings: &Readings<'_>,
        sample: Option<Sample>,
        quality: DataQuality,
    ) -> Option<FeedbackScore> {
        let run = self.run.as_mut()?;
        let time_s = readings.stimulus_time_s;
        let place = self.design.at(time_s);
        // A volume can be seen when its acquisition is over, one TR after its start.
        let now = self.design.at(readings.acquisition_time_s + run.tr.as_secs());

        let is_good = quality.made_from == MadeFrom::Measured && !quality.is_spike;
        let good = sample.filter(|_| is_good);
        if let Some(sample) = good.filter(|_| place.kind == BlockKind::Baseline) {
            run.baseline.add(&self.source, sample);
        }
        let raw = sample.and_then(|sample| self.source.raw(sample, run.baseline.mean()));
        let scaled = raw.filter(|_| good.is_some() && place.kind.is_scored()).and_then(|raw| {
            if run.smoothed_block != place.block_index {
                run.scaler.smoother.restart();
                run.smoothed_block = place.block_index;
            }
            run.scaler.scale(raw, time_s, &run.baseline)
        });
        let own = run.screen.show(place, now, scaled.map(|scaled| scaled.score));
        let sham = run.replay.as_mut().and_then(|replay| replay.at(readings.index, time_s));
        let sham = sham.map(|shown| run.screen.of_other(place, shown, good.is_some()));
        let (shown, shown_as) = sham.unwrap_or(own);
        let block = place.block_index.map(|index| &self.design.blocks()[index]);
        Some(FeedbackScore {
            open: OpenScore {
                index: readings.index,
                stimulus_time_s: time_s,
                acquisition_time_s: readings.acquisition_time_s,
                block: place.kind,
                block_index: place.block_index,
                condition: block.map(|block| block.condition.clone()),
                is_beyond_design: place.is_beyond_design,
                is_bad_data: good.is_none(),
                is_blanked: false,
                shown,
            },
            details: Details {
                raw,
                scaled: scaled.map(|scaled| scaled.score),
                uncertainty: scaled.map(|scaled| scaled.uncertainty),
                smoothing_lag_s: scaled.map(|scaled| scaled.lag_s),
                n_baseline: run.baseline.n_volume() as u32,
                shown_as,
            },
            is_blind: self.sham.is_some(),
        })
    }

    /// The scores of a run in the form in which a sham shows them to another participant.
    #[must_use]
    pub fn recorded<'a>(
        &self,
        tr: RepetitionTime,
        scores: impl IntoIterator<Item = &'a FeedbackScore>,
    ) -> RecordedRun {
        RecordedRun {
            repetition_time_s: tr,
            blocks: self.design.blocks().to_vec(),
            scores: scores.into_iter().map(Into::into).collect(),
        }
    }

    /// Adds its state to a checkpoint.
    pub fn save(&self, to: &mut Saver) {
        to.u32(u32::from(self.run.is_some()));
        if let Some(run) = &self.run {
            to.bytes(run.label.as_bytes());
            to.f64(run.tr.as_secs());
            run.baseline.save(to);
            run.scaler.smoother.save(to);
            run.screen.save(to);
            // No design has so many blocks.
            to.u64(run.smoothed_block.map_or(u64::MAX, |index| index as u64));
            if let Some(replay) = &run.replay {
                replay.save(to);
            }
        }
    }

    /// Takes its state, the run included, from a checkpoint. `None` when the bytes do not fit the
    /// options, the design or the sham.
    pub fn load(&mut self, from: &mut Loader<'_>) -> Option<()> {
        self.run = None;
        if from.u32()? == 1 {
            let label = String::from_utf8(from.bytes()?.to_vec()).ok()?;
            let mut run = self.begin(label, RepetitionTime::from_secs(from.f64()?).ok()?).ok()?;
            run.baseline.load(&self.source, from)?;
            run.scaler.smoother.load(from)?;
            run.screen.load(from)?;
            let smoothed_block = Some(from.u64()?).filter(|index| *index != u64::MAX);
            run.smoothed_block = smoothed_block.map(usize::try_from).transpose().ok()?;
            if let Some(replay) = &mut run.replay {
                replay.load(from)?;
            }
            self.run = Some(run);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;
