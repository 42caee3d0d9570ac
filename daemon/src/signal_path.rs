//! The signal path: one volume in, windows out, and what the model reads out of each.
//!
//! Read [`SignalPath::step`] top to bottom and you have read what happens to a volume before a
//! model sees it. `corticast run`, `corticast replay` and `corticast prepare` all call it.

use std::{collections::BTreeMap, num::NonZeroUsize};

use corticast_bold::{
    gap_fill::{GapFill, MissingVolumes, OutOfOrder},
    hemodynamic_shift::HemodynamicShift,
    normalise::{InvalidNormalise, Normalise, NormaliseOptions},
    quality::Dvars,
    spatial_mask::{MaskError, SpatialMask},
    stage::Stage,
    time::RepetitionTime,
    volume::{MaskedVolume, ShiftInterpolation, Volume, Window},
};
use corticast_models::{
    decoder::Decoder,
    error::ModelError,
    readout::{Readouts, Watch},
};

use crate::metrics::Metrics;

/// How volumes are prepared, agreed between session, mask and model.
#[derive(Clone, Debug)]
pub struct SignalOptions {
    /// Seconds from a stimulus to the BOLD that answers it.
    pub hrf_delay_s: f64,
    /// How volumes are brought to the stimulus' time.
    pub shift: ShiftInterpolation,
    /// Volumes per window.
    pub window_volumes: NonZeroUsize,
    /// Volumes at the start of a run that are not used.
    pub discard_volumes: u32,
    /// What stands in for a missing volume.
    pub missing: MissingVolumes,
    /// Longest gap that is filled.
    pub max_fill_volumes: u32,
    /// Volumes of the baseline of DVARS.
    pub quality_baseline_volumes: u32,
    /// How BOLD becomes z-scores.
    pub normalise: NormaliseOptions,
}

/// A volume or a window that has to be dropped. The next one can still succeed.
#[derive(Debug, thiserror::Error)]
pub enum SignalPathError {
    /// The mask could not be applied.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// The volume came after later ones.
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
    /// The model failed.
    #[error("the model failed on this window: {0}")]
    Model(#[from] ModelError),
}

/// What one volume led to.
#[derive(Debug)]
pub struct Step {
    /// Windows that are complete now, oldest first. Several when a gap was filled.
    pub windows: Vec<Window>,
    /// DVARS of this volume.
    pub dvars: Option<f64>,
    /// When each stage was done, nanoseconds of the clock that was given.
    pub stages_ns: BTreeMap<&'static str, u64>,
}

/// Everything a volume passes through, in order.
pub struct SignalPath {
    options: SignalOptions,
    spatial_mask: SpatialMask,
    dvars: Dvars,
    gap_fill: GapFill,
    normalise: Normalise,
    hemodynamic_shift: Option<HemodynamicShift>,
    decoder: Option<Decoder>,
    metrics: Metrics,
    clock: fn() -> u64,
}

impl SignalPath {
    /// A path that is ready for its first run. `clock` gives nanoseconds for the stamps; no
    /// result depends on it.
    ///
    /// # Errors
    ///
    /// Fails when the normalisation does not fit the mask.
    pub fn new(
        options: SignalOptions,
        spatial_mask: SpatialMask,
        decoder: Option<Decoder>,
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
            decoder,
            metrics,
            clock,
            options,
        })
    }

    /// Whether there is a model.
    #[must_use]
    pub fn decodes(&self) -> bool {
        self.decoder.is_some()
    }

    /// What was agreed.
    #[must_use]
    pub fn options(&self) -> &SignalOptions {
        &self.options
    }

    /// Forgets the run before and gets ready for one with this TR.
    pub fn start_run(&mut self, repetition_time: RepetitionTime) {
        self.dvars.start_run();
        self.gap_fill.start_run();
        self.normalise.start_run();
        self.hemodynamic_shift = Some(HemodynamicShift::new(
            repetition_time,
            self.options.hrf_delay_s,
            self.options.shift,
            self.options.window_volumes,
        ));
    }

    /// Takes one volume through the mask alone. Used where statistics are learnt first.
    ///
    /// # Errors
    ///
    /// Fails when this volume has to be dropped.
    pub fn mask(&mut self, volume: Volume) -> Result<Option<MaskedVolume>, SignalPathError> {
        if volume.tr.0 < self.options.discard_volumes {
            return Ok(None);
        }
        Ok(self.spatial_mask.process(volume)?)
    }

    /// Takes one volume as far as it goes.
    ///
    /// # Errors
    ///
    /// Fails when this volume has to be dropped; the next one can still succeed.
    pub fn step(&mut self, volume: Volume) -> Result<Step, SignalPathError> {
        let mut step = Step { windows: Vec::new(), dvars: None, stages_ns: BTreeMap::new() };
        let mut watch = Stopwatch::start(&self.metrics, self.clock);
        let masked = watch.time(SpatialMask::NAME, &mut step, || {
            if volume.tr.0 < self.options.discard_volumes {
                return Ok(None);
            }
            self.spatial_mask.process(volume)
        })?;
        let Some(masked) = masked else {
            return Ok(step);
        };
        step.dvars = self.dvars.measure(&masked);
        let filled = watch.time(GapFill::NAME, &mut step, || self.gap_fill.process(masked))?;
        let normalised = watch.time(Normalise::NAME, &mut step, || {
            let filled = filled.into_iter().flatten();
            let normalised = filled.filter_map(|volume| self.normalise.process(volume).transpose());
            normalised.collect::<Result<Vec<_>, _>>()
        });
        let normalised = normalised.unwrap_or_else(|never| match never {});
        let Some(shift) = &mut self.hemodynamic_shift else {
            return Ok(step);
        };
        step.windows = watch.time(HemodynamicShift::NAME, &mut step, || {
            let windows = normalised.into_iter().filter_map(|v| shift.process(v).transpose());
            windows.collect::<Result<Vec<_>, _>>()
        })?;
        Ok(step)
    }

    /// What the model reads out of a window, and when each of its parts was done. `None` without
    /// a model.
    ///
    /// # Errors
    ///
    /// Fails when this window has to be dropped; the next one can still succeed.
    pub fn decode(
        &mut self,
        window: &Window,
        stages_ns: &mut BTreeMap<&'static str, u64>,
    ) -> Result<Option<Readouts>, SignalPathError> {
        let Some(decoder) = &mut self.decoder else {
            return Ok(None);
        };
        let (metrics, clock) = (&self.metrics, self.clock);
        let started_ns = clock();
        let mut parts = Parts { metrics, clock, last_ns: started_ns, stages_ns };
        let readouts = decoder.decode(window, &mut parts);
        let took_s = clock().saturating_sub(started_ns) as f64 / 1e9;
        metrics.stage_took("decoder", took_s);
        let readouts = readouts.inspect_err(|_| metrics.stage_failed("decoder"))?;
        for failure in &readouts.failures {
            metrics.stage_failed(failure.head.name());
        }
        Ok(Some(readouts))
    }
}

/// Times the parts of a model.
struct Parts<'a> {
    metrics: &'a Metrics,
    clock: fn() -> u64,
    last_ns: u64,
    stages_ns: &'a mut BTreeMap<&'static str, u64>,
}

impl Watch for Parts<'_> {
    fn done(&mut self, part: &'static str) {
        // The whole of a model that is one part is timed anyway.
        if part == "decoder" {
            return;
        }
        let now_ns = (self.clock)();
        self.metrics.stage_took(part, now_ns.saturating_sub(self.last_ns) as f64 / 1e9);
        self.last_ns = now_ns;
        self.stages_ns.insert(part, now_ns);
    }
}

/// Times the stages of one step.
struct Stopwatch<'a> {
    metrics: &'a Metrics,
    clock: fn() -> u64,
    last_ns: u64,
}

impl<'a> Stopwatch<'a> {
    fn start(metrics: &'a Metrics, clock: fn() -> u64) -> Self {
        Self { metrics, clock, last_ns: clock() }
    }

    fn time<T, E>(
        &mut self,
        stage: &'static str,
        step: &mut Step,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let done = work();
        let now_ns = (self.clock)();
        self.metrics.stage_took(stage, now_ns.saturating_sub(self.last_ns) as f64 / 1e9);
        self.last_ns = now_ns;
        step.stages_ns.insert(stage, now_ns);
        done.inspect_err(|_| self.metrics.stage_failed(stage))
    }
}

#[cfg(test)]
mod tests {
    use corticast_bold::{
        normalise::{FrozenMean, Mode, Statistics},
        space::VoxelSpace,
        time::TrIndex,
        volume::MadeFrom,
    };
    use ndarray::{Array1, Array3};
    use proptest::prelude::*;

    use super::*;

    const N_VOXEL: usize = 3;

    fn path(
        mode: Mode,
        missing: MissingVolumes,
        shift: ShiftInterpolation,
        delay_s: f64,
    ) -> SignalPath {
        let affine = [[2., 0., 0., 0.], [0., 2., 0., 0.], [0., 0., 2., 0.], [0., 0., 0., 1.]];
        let mask = SpatialMask::whole(VoxelSpace::new([N_VOXEL, 1, 1], affine).unwrap());
        let statistics = Statistics {
            mean: Array1::from_elem(N_VOXEL, 100.0),
            sd: Array1::from_elem(N_VOXEL, 5.0),
        };
        let options = SignalOptions {
            hrf_delay_s: delay_s,
            shift,
            window_volumes: NonZeroUsize::new(2).unwrap(),
            discard_volumes: 1,
            missing,
            max_fill_volumes: 2,
            quality_baseline_volumes: 2,
            normalise: NormaliseOptions {
                mode,
                warm_up_volumes: 3,
                baseline_volumes: 3,
                frozen_mean: FrozenMean::Growing,
                statistics: Some(statistics),
            },
        };
        let mut path = SignalPath::new(options, mask, None, Metrics::new(), || 0).unwrap();
        path.start_run(RepetitionTime::from_secs(2.0).unwrap());
        path
    }

    /// A volume with a signal of its own at every voxel and index.
    fn volume(tr: u32) -> Volume {
        let signal = |voxel: usize| 100.0 + (tr as f32 * 1.7 + voxel as f32).sin() * 10.0;
        let voxels = Array3::from_shape_fn([N_VOXEL, 1, 1], |(x, ..)| signal(x));
        Volume { tr: TrIndex(tr), acquisition_time_s: f64::from(tr) * 2.0, voxels }
    }

    type Seen = (u32, u64, Vec<u32>, MadeFrom);

    fn windows(mut path: SignalPath, arrived: &[u32]) -> Vec<Vec<Seen>> {
        let step = |&tr: &u32| {
            let windows = path.step(volume(tr)).unwrap().windows;
            let seen = |w: Window| {
                let bits = w.bold.iter().map(|z| z.to_bits()).collect();
                (w.tr.0, w.stimulus_time_s.to_bits(), bits, w.made_from)
            };
            windows.into_iter().map(seen).collect()
        };
        arrived.iter().map(step).collect()
    }

    fn any_mode() -> impl Strategy<Value = Mode> {
        prop_oneof![
            Just(Mode::None),
            Just(Mode::Growing),
            Just(Mode::Baseline),
            Just(Mode::Session),
            Just(Mode::Frozen)
        ]
    }

    fn any_policy() -> impl Strategy<Value = MissingVolumes> {
        prop_oneof![
            Just(MissingVolumes::Restart),
            Just(MissingVolumes::Hold),
            Just(MissingVolumes::Interpolate)
        ]
    }

    fn any_shift() -> impl Strategy<Value = ShiftInterpolation> {
        prop_oneof![Just(ShiftInterpolation::Nearest), Just(ShiftInterpolation::Linear)]
    }

    proptest! {
        /// Causality and prefix stability: whatever comes after a volume, and however a run is
        /// configured, what was given out up to it is the same to the bit.
        #[test]
        fn a_longer_run_leaves_its_prefix_unchanged(
            arrived in proptest::collection::btree_set(0_u32..40, 1..40),
            cut in 0_usize..40,
            mode in any_mode(),
            policy in any_policy(),
            shift in any_shift(),
            delay_s in 0.0_f64..8.0,
        ) {
            let arrived: Vec<u32> = arrived.into_iter().collect();
            let cut = cut.min(arrived.len());
            let long = windows(path(mode, policy, shift, delay_s), &arrived);
            let short = windows(path(mode, policy, shift, delay_s), &arrived[..cut]);
            prop_assert_eq!(&long[..cut], &short[..]);
        }

        /// No window rests on an index that was neither measured nor filled: with `restart`
        /// every index up to a window's newest, as far back as it reaches, has arrived.
        #[test]
        fn no_window_spans_a_gap(
            arrived in proptest::collection::btree_set(0_u32..40, 1..40),
            shift in any_shift(),
            delay_s in 0.0_f64..8.0,
        ) {
            let in_order: Vec<u32> = arrived.iter().copied().collect();
            let path = path(Mode::None, MissingVolumes::Restart, shift, delay_s);
            let between = u32::from(shift == ShiftInterpolation::Linear && delay_s % 2.0 > 1e-5);
            for (newest, ..) in windows(path, &in_order).into_iter().flatten() {
                let oldest = newest - 1 - between.min(newest - 1);
                prop_assert!((oldest..=newest).all(|tr| arrived.contains(&tr)));
            }
        }
    }
}
