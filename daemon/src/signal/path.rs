//! The signal path: one volume in, windows out, and the model's readouts of each window.
//!
//! Read [`SignalPath::step`] top to bottom and you have read what happens to a volume before a
//! model sees it. `corticast run`, `corticast replay` and `corticast prepare` all call it.

use std::collections::BTreeMap;

use corticast_bold::{
    decode::StoredVolume,
    denoise::{CannotDenoise, Denoise, ToDenoise},
    gap_fill::{GapFill, OutOfOrder},
    hemodynamic_shift::HemodynamicShift,
    normalise::Normalise,
    realign::{Fit, NotRealigned},
    run::RunHeader,
    slice_timing::CannotInterpolate,
    spatial_mask::{MaskError, SpatialMask},
    stage::Stage,
    state::{Loader, Saver},
    volume::{Confounds, MaskedVolume, Motion, UnusableVolume, Window},
};
use corticast_models::{decoder::Decoder, readout::Readouts};
use ndarray::Array1;

use super::{
    feedback::FeedbackStage,
    lost_device::{Decoding, NotDecoded, Reopen},
    quality::{FlatVolume, Told},
    stages::Stages,
    stopwatch::{PartTimes, Stopwatch},
};
use crate::{
    metrics::Metrics,
    plan::{Plan, agree::SignalOptions, error::PlanError},
};

/// Why a volume or a window is dropped. The next one can still succeed.
#[derive(Debug, thiserror::Error)]
pub enum SignalPathError {
    /// The mask could not be applied.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// The volume came after later ones.
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
    /// Slices could not be interpolated.
    #[error(transparent)]
    SliceTiming(#[from] CannotInterpolate),
    /// The volume could not be realigned.
    #[error(transparent)]
    Realign(#[from] NotRealigned),
    /// The volume could not be smoothed.
    #[error(transparent)]
    Smooth(#[from] UnusableVolume),
    /// The volume could not be denoised.
    #[error(transparent)]
    Denoise(#[from] CannotDenoise),
    /// The volume has no signal in the mask.
    #[error(transparent)]
    Flat(#[from] FlatVolume),
    /// The window was not decoded.
    #[error(transparent)]
    NotDecoded(#[from] NotDecoded),
}

impl SignalPathError {
    /// Whether an alarm told the operator before that windows are not decoded.
    #[must_use]
    pub fn is_known(&self) -> bool {
        matches!(self, Self::NotDecoded(NotDecoded::Reopening | NotDecoded::Stopped))
    }
}

/// The output of the path for one volume.
#[derive(Debug)]
pub struct Step {
    /// Windows that this volume completed, oldest first. Several if a gap was filled.
    pub windows: Vec<Window>,
    /// DVARS of this volume.
    pub dvars: Option<f64>,
    /// Motion to the reference volume, and how far it can be trusted; `None` without realignment.
    pub motion: Option<(Motion, Fit)>,
    /// Whether nothing may be shown that is computed from this volume: it was not found in the
    /// reference, so its voxels lie anywhere.
    pub is_lost_in_space: bool,
    /// What the operator has to be told.
    pub told: Vec<Told>,
    /// Framewise displacement since the previous volume, in mm.
    pub fd_mm: Option<f64>,
    /// FD or DVARS is above its threshold.
    pub is_spike: bool,
    /// Mean signal of each region of the feedback, in scanner units; empty if it was not measured.
    pub regions: Vec<f32>,
    /// When each stage was done, nanoseconds of the path's clock.
    pub stages_ns: BTreeMap<&'static str, u64>,
}

/// The stages that a volume passes through, in order.
pub struct SignalPath {
    options: SignalOptions,
    spatial_mask: SpatialMask,
    stages: Stages,
    /// `None` without feedback.
    pub(super) feedback: Option<FeedbackStage>,
    decoding: Decoding,
    /// `None` without a model.
    model: Option<Labels>,
    metrics: Metrics,
    clock: fn() -> u64,
}

/// Labels of the model in the metrics.
struct Labels {
    subject: String,
    name: String,
    provider: &'static str,
}

impl SignalPath {
    /// A path without a run. `clock` gives the nanoseconds of the stamps; no decoded value depends
    /// on it. `reopen` opens the model again if its device is lost.
    ///
    /// # Errors
    ///
    /// Fails when a stage does not fit the mask.
    pub fn new(
        options: SignalOptions,
        spatial_mask: SpatialMask,
        decoder: Option<Decoder>,
        reopen: Option<Reopen>,
        metrics: Metrics,
        clock: fn() -> u64,
    ) -> Result<Self, PlanError> {
        Ok(Self {
            stages: Stages::new(&options, &spatial_mask)?,
            feedback: None,
            spatial_mask,
            model: decoder.as_ref().map(|decoder| Labels {
                subject: decoder.manifest().subject.clone(),
                name: decoder.manifest().name.clone(),
                provider: decoder.provider().name(),
            }),
            decoding: Decoding::new(decoder, reopen),
            metrics,
            clock,
            options,
        })
    }

    /// The path of a plan, with its mask and its model.
    ///
    /// # Errors
    ///
    /// Fails when a stage does not fit the mask.
    pub fn of(plan: Plan, metrics: Metrics, clock: fn() -> u64) -> Result<Self, PlanError> {
        let reopen = plan.reopen_on_cpu();
        let feedback = plan.feedback.map(|feedback| FeedbackStage::new(feedback, &plan.signal));
        let path = Self::new(plan.signal, plan.mask, plan.decoder, reopen, metrics, clock)?;
        Ok(Self { feedback: feedback.transpose()?, ..path })
    }

    /// Adds the state of all stages to a checkpoint.
    pub(super) fn save(&self, to: &mut Saver, is_run_open: bool) {
        self.stages.save(to, is_run_open);
        if let Some(feedback) = &self.feedback {
            feedback.save(to);
        }
        self.decoding.save(to);
    }

    /// Takes the state of all stages from a checkpoint, in this run if one is open. `None` when the
    /// bytes do not fit; then nothing has changed.
    pub(super) fn load(&mut self, from: &mut Loader<'_>, run: Option<&RunHeader>) -> Option<()> {
        let mut stages = self.stages.clone();
        if let Some(header) = run {
            stages.start_run(header, &self.options);
            self.spatial_mask.start_run(&header.space).ok()?;
        }
        stages.load(from, run.is_some())?;
        let mut feedback = self.feedback.clone();
        if let Some(feedback) = &mut feedback {
            feedback.load(from)?;
        }
        // The last one, because it changes in place.
        self.decoding.load(from)?;
        (self.stages, self.feedback) = (stages, feedback);
        Some(())
    }

    /// Whether there is a model.
    #[must_use]
    pub fn decodes(&self) -> bool {
        self.decoding.has_model()
    }

    /// The agreed settings.
    #[must_use]
    pub fn options(&self) -> &SignalOptions {
        &self.options
    }

    /// Forgets the previous run and prepares for this one.
    ///
    /// # Errors
    ///
    /// Fails when the run cannot have feedback; it is decoded all the same if its grid is the
    /// mask's.
    pub fn start_run(&mut self, header: &RunHeader) -> Result<(), String> {
        let on_grid = self.spatial_mask.start_run(&header.space);
        self.stages.start_run(header, &self.options);
        self.decoding.start_run();
        on_grid.map_err(|mismatch| mismatch.to_string())?;
        self.feedback.as_mut().map_or(Ok(()), |feedback| feedback.start_run(header))
    }

    /// Passes one volume through all stages before the model.
    ///
    /// # Errors
    ///
    /// Fails when a stage cannot use this volume; the next one can still succeed.
    pub fn step(&mut self, stored: StoredVolume<'_>) -> Result<Step, SignalPathError> {
        let mut step = Step {
            windows: Vec::new(),
            dvars: None,
            motion: None,
            is_lost_in_space: false,
            told: Vec::new(),
            fd_mm: None,
            is_spike: false,
            regions: Vec::new(),
            stages_ns: BTreeMap::new(),
        };
        let (tr, options, stages) = (stored.tr, &self.options, &mut self.stages);
        let mut watch = Stopwatch::start(&self.metrics, self.clock);
        if tr.0 < options.discard_volumes {
            return Ok(step);
        }
        let whole = if stages.whole.is_needed() {
            let volume = stored.to_volume().map_err(MaskError::from)?;
            match stages.whole.process(volume, &mut watch, &mut step.stages_ns)? {
                Some(prepared) => Some(prepared),
                None => return Ok(step),
            }
        } else {
            None
        };
        step.motion = whole.as_ref().and_then(|whole| whole.motion);
        if whole.as_ref().is_some_and(|whole| whole.is_reference) {
            step.told.extend(stages.in_model(&self.spatial_mask));
        }
        let whole = whole.map(|whole| whole.volume);
        let (masked, regions) = watch.time(SpatialMask::NAME, &mut step.stages_ns, || {
            let in_mask = |mask: &mut SpatialMask| match &whole {
                Some(volume) => mask.apply(volume).map(Some),
                None => mask.process(stored),
            };
            let regions = stages.regions.as_mut().map(in_mask);
            // A region without a valid mean costs the score of this volume, not the volume.
            let regions = regions.and_then(Result::ok).flatten();
            Ok::<_, SignalPathError>((in_mask(&mut self.spatial_mask)?, regions))
        })?;
        let Some(mut masked) = masked else {
            return Ok(step);
        };

        stages.measure(&masked, &mut step)?;
        if stages.is_unplaced {
            let placed = whole.map_or_else(|| stored.to_volume(), Ok).map_err(MaskError::from)?;
            let regions = regions.as_ref().map(|regions| &regions.bold);
            step.told.extend(stages.place(&placed, &self.spatial_mask, &masked, regions));
        }

        let n_nuisance = options.stages.n_nuisance();
        let means = regions.map(|regions| regions.bold.to_vec()).unwrap_or_default();
        let (nuisance, regions) = means.split_at(n_nuisance.min(means.len()));
        step.regions = regions.to_vec();
        masked.confounds = Confounds {
            motion: step.motion.map(|(motion, _)| motion),
            nuisance: nuisance.to_vec(),
        };
        let kept_in = options.kept_in(masked.acquisition_time_s);
        if let Some(denoise) = stages.denoise_regions.as_mut().filter(|_| !regions.is_empty()) {
            let bold = Array1::from_vec(std::mem::take(&mut step.regions));
            let volume = MaskedVolume { bold, ..masked.clone() };
            let done = denoise.process(ToDenoise { volume, kept_in: &kept_in });
            // As above: no score, but the volume is used.
            step.regions = done.ok().flatten().map(|done| done.bold.to_vec()).unwrap_or_default();
        }
        if let Some(denoise) = &mut stages.denoise {
            let done = watch.time(Denoise::NAME, &mut step.stages_ns, || {
                denoise.process(ToDenoise { volume: masked, kept_in: &kept_in })
            })?;
            let Some(done) = done else { return Ok(step) };
            masked = done;
        }

        let filled =
            watch.time(GapFill::NAME, &mut step.stages_ns, || stages.gap_fill.process(masked))?;
        let normalised = watch.time(Normalise::NAME, &mut step.stages_ns, || {
            let filled = filled.into_iter().flatten();
            let normalised =
                filled.filter_map(|volume| stages.normalise.process(volume).transpose());
            normalised.collect::<Result<Vec<_>, _>>()
        });
        let normalised = normalised.unwrap_or_else(|never| match never {});
        let Some(shift) = &mut stages.hemodynamic_shift else {
            return Ok(step);
        };
        step.windows = watch.time(HemodynamicShift::NAME, &mut step.stages_ns, || {
            let windows = normalised.into_iter().filter_map(|v| shift.process(v).transpose());
            windows.collect::<Result<Vec<_>, _>>()
        })?;
        Ok(step)
    }

    /// Measures what can wait until the results of a volume are out: its part in the tSNR. Returns
    /// the median tSNR over the mask where it is due.
    pub fn measure_later(&mut self) -> Option<f64> {
        if !std::mem::take(&mut self.stages.is_unmeasured) {
            return None;
        }
        let (tr, signal) = self.stages.dvars.last()?;
        let tsnr = self.stages.tsnr.as_mut()?;
        tsnr.add(tr, signal);
        let every = self.options.quality.tsnr_every_volumes;
        let is_due = every > 0 && (tr.0 + 1).is_multiple_of(every);
        is_due.then(|| tsnr.median()).flatten()
    }

    /// The model's readouts of a window. `stages_ns` gets the time at which each part of the model
    /// was done. `None` without a model.
    ///
    /// # Errors
    ///
    /// Fails when the model fails on this window; the next one can still succeed.
    pub fn decode(
        &mut self,
        window: &Window,
        stages_ns: &mut BTreeMap<&'static str, u64>,
    ) -> Result<Option<Readouts>, SignalPathError> {
        let (metrics, clock) = (&self.metrics, self.clock);
        let started_ns = clock();
        let mut parts = PartTimes::start(metrics, clock, started_ns, stages_ns);
        let readouts = self.decoding.decode(window, &mut parts);
        if let Ok(None) | Err(NotDecoded::Reopening | NotDecoded::Stopped) = readouts {
            return Ok(readouts?);
        }
        let took_s = clock().saturating_sub(started_ns) as f64 / 1e9;
        metrics.stage_took("decoder", took_s);
        let Some(readouts) = readouts.inspect_err(|_| metrics.stage_failed("decoder"))? else {
            return Ok(None);
        };
        for failure in &readouts.failures {
            metrics.stage_failed(failure.head.name());
        }
        Ok(Some(readouts))
    }

    /// Shows the model a window whose result is known, if it decodes later windows by it.
    pub(super) fn remember(&mut self, window: &Window) {
        if self.decoding.has_memory() {
            // A window that fails fails again, and leaves the same gap.
            drop(self.decoding.decode(window, &mut ()));
        }
    }

    /// What the operator has to be told about the model since the last call.
    pub fn take_alarm(&mut self) -> Option<String> {
        let alarm = self.decoding.take_alarm()?;
        if let Some(model) = &mut self.model {
            let provider = self.decoding.provider();
            if provider != model.provider {
                self.metrics.model_moved(&model.subject, &model.name, model.provider, provider);
                model.provider = provider;
            }
        }
        Some(alarm)
    }
}

#[cfg(test)]
mod tests;
