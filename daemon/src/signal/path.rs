//! The signal path: one volume in, windows out, and the model's readouts of each window.
//!
//! Read [`SignalPath::step`] top to bottom and you have read what happens to a volume before a
//! model sees it. `corticast run`, `corticast replay` and `corticast prepare` all call it.

use std::collections::BTreeMap;

use corticast_bold::{
    decode::StoredVolume,
    gap_fill::{GapFill, OutOfOrder},
    hemodynamic_shift::HemodynamicShift,
    normalise::{InvalidNormalise, Normalise},
    quality::Dvars,
    spatial_mask::{MaskError, SpatialMask},
    stage::Stage,
    state::{Loader, Saver},
    time::RepetitionTime,
    volume::Window,
};
use corticast_models::{decoder::Decoder, readout::Readouts};

use super::{
    lost_device::{Decoding, NotDecoded, Reopen},
    stopwatch::{PartTimes, Stopwatch},
};
use crate::{
    metrics::Metrics,
    plan::{Plan, agree::SignalOptions},
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
    /// When each stage was done, nanoseconds of the path's clock.
    pub stages_ns: BTreeMap<&'static str, u64>,
}

/// The stages that a volume passes through, in order.
pub struct SignalPath {
    options: SignalOptions,
    spatial_mask: SpatialMask,
    dvars: Dvars,
    gap_fill: GapFill,
    normalise: Normalise,
    hemodynamic_shift: Option<HemodynamicShift>,
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
    /// Fails when the normalisation does not fit the mask.
    pub fn new(
        options: SignalOptions,
        spatial_mask: SpatialMask,
        decoder: Option<Decoder>,
        reopen: Option<Reopen>,
        metrics: Metrics,
        clock: fn() -> u64,
    ) -> Result<Self, InvalidNormalise> {
        let normalise = Normalise::new(options.normalise.clone(), spatial_mask.n_voxel())?;
        Ok(Self {
            dvars: Dvars::new(options.quality_baseline_volumes),
            gap_fill: GapFill::new(options.missing, options.max_fill_volumes),
            normalise,
            hemodynamic_shift: None,
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
    /// Fails when the normalisation does not fit the mask.
    pub fn of(plan: Plan, metrics: Metrics, clock: fn() -> u64) -> Result<Self, InvalidNormalise> {
        let reopen = plan.reopen_on_cpu();
        Self::new(plan.signal, plan.mask, plan.decoder, reopen, metrics, clock)
    }

    /// Adds the state of all stages to a checkpoint.
    pub(super) fn save(&self, to: &mut Saver) {
        self.dvars.save(to);
        self.gap_fill.save(to);
        self.normalise.save(to);
        if let Some(shift) = &self.hemodynamic_shift {
            shift.save(to);
        }
        self.decoding.save(to);
    }

    /// Takes the state of all stages from a checkpoint, for a run with this TR. `None` when the
    /// bytes do not fit; then nothing has changed.
    pub(super) fn load(
        &mut self,
        from: &mut Loader<'_>,
        repetition_time: Option<RepetitionTime>,
    ) -> Option<()> {
        let mut dvars = self.dvars.clone();
        let mut gap_fill = self.gap_fill.clone();
        let mut normalise = self.normalise.clone();
        dvars.load(from)?;
        gap_fill.load(from)?;
        normalise.load(from)?;
        let shift = match repetition_time {
            Some(repetition_time) => {
                let mut shift = self.shift(repetition_time);
                shift.load(from)?;
                Some(shift)
            }
            None => None,
        };
        // The last one, because it changes in place.
        self.decoding.load(from)?;
        (self.dvars, self.gap_fill, self.normalise) = (dvars, gap_fill, normalise);
        self.hemodynamic_shift = shift;
        Some(())
    }

    fn shift(&self, repetition_time: RepetitionTime) -> HemodynamicShift {
        HemodynamicShift::new(
            repetition_time,
            self.options.hrf_delay_s,
            self.options.shift,
            self.options.window_volumes,
        )
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

    /// Forgets the previous run and prepares for one with this TR.
    pub fn start_run(&mut self, repetition_time: RepetitionTime) {
        self.dvars.start_run();
        self.gap_fill.start_run();
        self.normalise.start_run();
        self.decoding.start_run();
        self.hemodynamic_shift = Some(self.shift(repetition_time));
    }

    /// Passes one volume through all stages before the model.
    ///
    /// # Errors
    ///
    /// Fails when a stage cannot use this volume; the next one can still succeed.
    pub fn step(&mut self, volume: StoredVolume<'_>) -> Result<Step, SignalPathError> {
        let mut step = Step { windows: Vec::new(), dvars: None, stages_ns: BTreeMap::new() };
        let mut watch = Stopwatch::start(&self.metrics, self.clock);
        let masked = watch.time(SpatialMask::NAME, &mut step.stages_ns, || {
            if volume.tr.0 < self.options.discard_volumes {
                return Ok(None);
            }
            self.spatial_mask.process(volume)
        })?;
        let Some(masked) = masked else {
            return Ok(step);
        };
        step.dvars = self.dvars.measure(&masked);
        let filled =
            watch.time(GapFill::NAME, &mut step.stages_ns, || self.gap_fill.process(masked))?;
        let normalised = watch.time(Normalise::NAME, &mut step.stages_ns, || {
            let filled = filled.into_iter().flatten();
            let normalised = filled.filter_map(|volume| self.normalise.process(volume).transpose());
            normalised.collect::<Result<Vec<_>, _>>()
        });
        let normalised = normalised.unwrap_or_else(|never| match never {});
        let Some(shift) = &mut self.hemodynamic_shift else {
            return Ok(step);
        };
        step.windows = watch.time(HemodynamicShift::NAME, &mut step.stages_ns, || {
            let windows = normalised.into_iter().filter_map(|v| shift.process(v).transpose());
            windows.collect::<Result<Vec<_>, _>>()
        })?;
        Ok(step)
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
