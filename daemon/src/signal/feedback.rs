//! The participant's feedback on the signal thread: a score for each window, or for each volume if
//! its source is a region.
//!
//! After a restart, windows whose results are recorded are not decoded again. The raw score of such
//! a window is taken from the recording, so that baseline and smoothing are as they were.

use std::{collections::HashMap, sync::Arc};

use corticast_bold::{
    feedback::{
        DataQuality, Feedback,
        score::{FeedbackScore, ShownAs},
        source::Readings,
    },
    run::RunHeader,
    state::{Loader, Saver},
    time::TrIndex,
    volume::{MadeFrom, Window},
};
use corticast_models::readout::Readouts;

use super::path::Step;
use crate::{
    config::quality::OnSpike,
    plan::{agree::SignalOptions, error::PlanError, feedback::FeedbackPlan},
    product::{
        feedback::{FeedbackReport, OwnScore},
        results::ResultKey,
    },
};

/// See the module docs.
#[derive(Clone)]
pub(super) struct FeedbackStage {
    engine: Feedback,
    is_of_regions: bool,
    hrf_delay_s: f64,
    /// Whether the participant sees no score of a spike.
    holds_spikes: bool,
    /// Raw scores that were published before a restart and whose windows have not come again yet.
    published: HashMap<ResultKey, Option<f64>>,
    /// What the operator has to be told, once in a run.
    warning: Warning,
}

/// A warning that is given once in a run.
#[derive(Clone)]
enum Warning {
    NotDue,
    Due(String),
    Given,
}

/// What a score is about.
#[derive(Clone, Copy)]
pub(super) struct About {
    index: TrIndex,
    stimulus_time_s: f64,
    acquisition_time_s: f64,
    made_from: MadeFrom,
}

impl About {
    /// A window.
    pub(super) fn window(window: &Window) -> Self {
        Self {
            index: window.tr,
            stimulus_time_s: window.stimulus_time_s,
            acquisition_time_s: window.acquisition_time_s,
            made_from: window.made_from,
        }
    }

    fn readings(self) -> Readings<'static> {
        let Self { index, stimulus_time_s, acquisition_time_s, .. } = self;
        Readings { index, stimulus_time_s, acquisition_time_s, ..Readings::default() }
    }
}

impl FeedbackStage {
    /// The feedback of a plan.
    pub(super) fn new(plan: FeedbackPlan, options: &SignalOptions) -> Result<Self, PlanError> {
        let hrf_delay_s = options.hrf_delay_s;
        Ok(Self {
            is_of_regions: plan.source.is_of_regions(),
            engine: plan.engine(hrf_delay_s)?,
            hrf_delay_s,
            holds_spikes: options.quality.on_spike == OnSpike::HoldFeedback,
            published: HashMap::new(),
            warning: Warning::NotDue,
        })
    }

    /// Forgets the previous run. The run was admitted, so it fits the feedback.
    pub(super) fn start_run(&mut self, header: &RunHeader) -> Result<(), String> {
        self.warning = Warning::NotDue;
        self.engine
            .start_run(&header.entities, header.repetition_time)
            .map_err(|error| format!("no feedback in this run: {error}"))
    }

    /// What the operator has to be told since the last call.
    pub(super) fn take_warning(&mut self) -> Option<String> {
        match std::mem::replace(&mut self.warning, Warning::Given) {
            Warning::Due(message) => Some(message),
            before => {
                self.warning = before;
                None
            }
        }
    }

    /// Notes a score that was published before a restart.
    pub(super) fn was_published(&mut self, key: ResultKey, raw: Option<f64>) {
        self.published.insert(key, raw);
    }

    /// Adds its state to a checkpoint.
    pub(super) fn save(&self, to: &mut Saver) {
        self.engine.save(to);
    }

    /// Takes its state from a checkpoint. `None` when the bytes do not fit.
    pub(super) fn load(&mut self, from: &mut Loader<'_>) -> Option<()> {
        self.engine.load(from)
    }

    /// The score of a volume, if the source is a region.
    pub(super) fn of_volume(
        &mut self,
        run: &Arc<str>,
        index: TrIndex,
        acquisition_time_s: f64,
        step: &Step,
    ) -> Option<FeedbackReport> {
        if !self.is_of_regions {
            return None;
        }
        let about = self.about_volume(index, acquisition_time_s, MadeFrom::Measured);
        let readings = Readings { rois: &step.regions, ..about.readings() };
        let score = self.engine.step(&readings, self.quality(about, step))?;
        self.unpublished(run, &score)
    }

    /// What is shown for a volume that was dropped, if the source is a region.
    pub(super) fn of_lost(
        &mut self,
        run: &Arc<str>,
        index: TrIndex,
        acquisition_time_s: f64,
    ) -> Option<FeedbackReport> {
        if !self.is_of_regions {
            return None;
        }
        let about = self.about_volume(index, acquisition_time_s, MadeFrom::Held);
        let quality = DataQuality { made_from: MadeFrom::Held, is_spike: false };
        let score = self.engine.step(&about.readings(), quality)?;
        self.unpublished(run, &score)
    }

    fn about_volume(&self, index: TrIndex, acquisition_time_s: f64, made_from: MadeFrom) -> About {
        let stimulus_time_s = acquisition_time_s - self.hrf_delay_s;
        About { index, stimulus_time_s, acquisition_time_s, made_from }
    }

    /// The score of a window, if the source is the model. Without readouts decoding failed.
    pub(super) fn of_window(
        &mut self,
        run: &Arc<str>,
        window: &Window,
        readouts: Option<&Readouts>,
        step: &Step,
    ) -> Option<FeedbackReport> {
        if self.is_of_regions {
            return None;
        }
        let about = About::window(window);
        let concepts = readouts.and_then(|readouts| readouts.concepts.as_ref());
        let conditions = readouts.and_then(|readouts| readouts.conditions.as_ref());
        let embedding = conditions.map(|conditions| {
            let is_image = self.engine.n_feature() == Some(conditions.tokens.len());
            if is_image { &conditions.tokens[..] } else { &conditions.text_embed[..] }
        });
        let readings = Readings {
            concepts: concepts.map_or(&[], |concepts| &concepts.probabilities),
            embedding,
            window: window.bold.as_slice().unwrap_or(&[]),
            ..about.readings()
        };
        let score = self.engine.step(&readings, self.quality(about, step))?;
        self.unpublished(run, &score)
    }

    /// Takes a window that was decoded before a restart.
    pub(super) fn again(&mut self, run: &Arc<str>, window: &Window, step: &Step) {
        if self.is_of_regions {
            return;
        }
        let about = About::window(window);
        let raw = self.published.remove(&key(run, &about)).flatten();
        let quality = self.quality(about, step);
        // It was shown before the restart.
        drop(self.engine.step_again(&about.readings(), raw, quality));
    }

    fn quality(&self, about: About, step: &Step) -> DataQuality {
        let is_spike = step.is_lost_in_space || (step.is_spike && self.holds_spikes);
        DataQuality { made_from: about.made_from, is_spike }
    }

    /// The report of a score, unless it was published before a restart.
    fn unpublished(&mut self, run: &Arc<str>, score: &FeedbackScore) -> Option<FeedbackReport> {
        let (open, details) = (&score.open, &score.details);
        let has_no_score = open.block.is_scored() && details.scaled.is_none();
        let expected = self.engine.min_baseline_volumes();
        let is_short = details.n_baseline < expected;
        let is_new = matches!(self.warning, Warning::NotDue);
        if is_new && has_no_score && (is_short || !open.is_bad_data) {
            let (index, n_baseline) = (open.index, details.n_baseline);
            self.warning = Warning::Due(if is_short {
                format!(
                    "{index} has no score: the baseline has {n_baseline} good volumes so far, \
                     expected {expected} (`min_baseline_volumes`); moved or lost volumes and a region \
                     without signal give none"
                )
            } else {
                format!(
                    "{index}: its data are good and it has no score; all {n_baseline} volumes of \
                     the baseline have one value, as in a region without signal"
                )
            });
        }
        let report = report(run, score);
        let about = About {
            index: score.open.index,
            stimulus_time_s: score.open.stimulus_time_s,
            acquisition_time_s: score.open.acquisition_time_s,
            made_from: MadeFrom::Measured,
        };
        if !self.published.is_empty() && self.published.remove(&key(run, &about)).is_some() {
            return None;
        }
        Some(report)
    }
}

fn key(run: &Arc<str>, about: &About) -> ResultKey {
    ResultKey {
        run: Arc::clone(run),
        index: about.index,
        stimulus_time_bits: about.stimulus_time_s.to_bits(),
    }
}

/// The report of a score. What only the recording may hold is in `own`.
fn report(run: &Arc<str>, score: &FeedbackScore) -> FeedbackReport {
    let (open, details) = (&score.open, &score.details);
    let is_shown = open.shown.is_some();
    FeedbackReport {
        run: Arc::clone(run),
        index: open.index,
        stimulus_time_s: open.stimulus_time_s,
        acquisition_time_s: open.acquisition_time_s,
        received_ns: 0,
        published_ns: 0,
        block: open.block.name(),
        block_index: open.block_index.and_then(|index| u32::try_from(index).ok()),
        condition: open.condition.clone(),
        score: open.shown,
        uncertainty: details.uncertainty.filter(|_| is_shown && !score.is_blind),
        // How a value came about would tell a sham from real feedback.
        state: match (score.is_blind, is_shown, details.shown_as) {
            (true, true, _) => "shown",
            (true, false, _) => "nothing",
            (false, _, ShownAs::Score | ShownAs::Sham) => "score",
            (false, _, ShownAs::BlockMean) => "block_mean",
            (false, _, ShownAs::Held) => "held",
            (false, _, ShownAs::Neutral) => "neutral",
            (false, _, ShownAs::Nothing) => "nothing",
        },
        is_bad_data: open.is_bad_data,
        is_beyond_design: open.is_beyond_design,
        blanked: false,
        is_blind: score.is_blind,
        own: Some(OwnScore {
            raw: details.raw,
            score: details.scaled,
            uncertainty: details.uncertainty,
            smoothing_lag_s: details.smoothing_lag_s,
            n_baseline: details.n_baseline,
        }),
    }
}
