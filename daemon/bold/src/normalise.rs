//! Normalise: from scanner units to z-scores, from the past only.
//!
//! A scanner's units drift and differ between voxels and days; a model needs numbers that mean
//! the same each time. Every mode is causal, so a longer run leaves its prefix unchanged:
//!
//! | mode | mean | s.d. |
//! |---|---|---|
//! | `none` | 0 | 1 |
//! | `growing` | of the run so far, this volume included | likewise |
//! | `baseline` | of the run's first volumes | likewise |
//! | `session` | of all runs so far | likewise |
//! | `frozen` | of the run so far, or of the training data | of the training data |
//!
//! Means and sums of squares grow by Welford's recurrence (Welford 1962, Technometrics 4:419)
//! in f64, so that a long run on large scanner units loses no digits. The s.d. is the
//! population's (divided by n). A voxel that does not vary gives 0, never NaN. Volumes that
//! were filled in are normalised but teach nothing.

use ndarray::{Array1, Zip};
use serde::{Deserialize, Serialize};

use crate::{
    stage::Stage,
    volume::{MadeFrom, MaskedVolume, NormalisedVolume},
};

/// How volumes are normalised. See the module docs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// As they are.
    None,
    /// By the run so far.
    #[default]
    Growing,
    /// By the first volumes of the run.
    Baseline,
    /// By all runs of the session so far.
    Session,
    /// By the training data.
    Frozen,
}

/// Where the mean comes from with [`Mode::Frozen`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FrozenMean {
    /// From the run so far: follows the day and the drift.
    #[default]
    Growing,
    /// From the model's manifest.
    Manifest,
}

/// Mean and s.d. of the training data, in the model's voxel order.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// Scanner units. Shape `[n_voxel]`.
    pub mean: Array1<f32>,
    /// Scanner units. Shape `[n_voxel]`.
    pub sd: Array1<f32>,
}

/// What the stage is told. Agreed between session, mask and model.
#[derive(Clone, Debug, PartialEq)]
pub struct NormaliseOptions {
    /// How.
    pub mode: Mode,
    /// Measured volumes before the first result, for modes that learn from the run.
    pub warm_up_volumes: u32,
    /// Volumes of the baseline, for [`Mode::Baseline`].
    pub baseline_volumes: u32,
    /// Where the mean comes from, for [`Mode::Frozen`].
    pub frozen_mean: FrozenMean,
    /// Of the training data, for [`Mode::Frozen`].
    pub statistics: Option<Statistics>,
}

/// Options that contradict themselves or the mask.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidNormalise {
    /// Frozen needs statistics.
    #[error("mode `frozen` needs the statistics of the training data; the model brings none")]
    NoStatistics,
    /// The statistics are for another number of voxels.
    #[error("the frozen statistics are for {found} voxels, the mask has {expected}")]
    Length {
        /// Of the statistics.
        found: usize,
        /// Of the mask.
        expected: usize,
    },
    /// A baseline of fewer than two volumes has no s.d.
    #[error("mode `baseline` needs at least 2 `baseline_volumes`, got {0}")]
    Baseline(u32),
}

/// Running mean and sum of squared deviations, per voxel.
#[derive(Clone, Debug)]
pub struct Welford {
    n: u32,
    mean: Array1<f64>,
    squares: Array1<f64>,
}

impl Welford {
    /// Nothing seen yet, for `n_voxel` voxels.
    #[must_use]
    pub fn new(n_voxel: usize) -> Self {
        Self { n: 0, mean: Array1::zeros(n_voxel), squares: Array1::zeros(n_voxel) }
    }

    /// Volumes seen.
    #[must_use]
    pub fn n_volume(&self) -> u32 {
        self.n
    }

    /// Mean so far, scanner units. Shape `[n_voxel]`.
    #[must_use]
    pub fn mean(&self) -> &Array1<f64> {
        &self.mean
    }

    /// Sum of squared deviations from the mean so far. Shape `[n_voxel]`.
    #[must_use]
    pub fn squares(&self) -> &Array1<f64> {
        &self.squares
    }

    /// Takes in one volume. Shape `[n_voxel]`, scanner units.
    pub fn update(&mut self, bold: &Array1<f32>) {
        self.n += 1;
        let n = f64::from(self.n);
        Zip::from(&mut self.mean).and(&mut self.squares).and(bold).for_each(
            |mean, squares, &value| {
                let value = f64::from(value);
                let delta = value - *mean;
                *mean += delta / n;
                *squares += delta * (value - *mean);
            },
        );
    }
}

/// Brings masked volumes to z-scores. See the module docs.
#[derive(Clone, Debug)]
pub struct Normalise {
    options: NormaliseOptions,
    seen: Welford,
}

impl Normalise {
    /// A stage for volumes of `n_voxel` voxels.
    ///
    /// # Errors
    ///
    /// Fails when the options ask for statistics that are missing or of another length.
    pub fn new(options: NormaliseOptions, n_voxel: usize) -> Result<Self, InvalidNormalise> {
        match (options.mode, &options.statistics) {
            (Mode::Frozen, None) => return Err(InvalidNormalise::NoStatistics),
            (Mode::Frozen, Some(Statistics { mean, sd })) => {
                for found in [mean.len(), sd.len()] {
                    if found != n_voxel {
                        return Err(InvalidNormalise::Length { found, expected: n_voxel });
                    }
                }
            }
            (Mode::Baseline, _) if options.baseline_volumes < 2 => {
                return Err(InvalidNormalise::Baseline(options.baseline_volumes));
            }
            _ => {}
        }
        Ok(Self { options, seen: Welford::new(n_voxel) })
    }

    /// Forgets the run before, but for [`Mode::Session`].
    pub fn start_run(&mut self) {
        if self.options.mode != Mode::Session {
            self.seen = Welford::new(self.seen.mean.len());
        }
    }

    /// Whether a measured volume still changes the statistics.
    fn learns(&self) -> bool {
        match self.options.mode {
            Mode::None => false,
            Mode::Growing | Mode::Session => true,
            Mode::Baseline => self.seen.n < self.options.baseline_volumes,
            Mode::Frozen => self.options.frozen_mean == FrozenMean::Growing,
        }
    }

    /// Measured volumes that have to be seen, this one included, for a result.
    fn needed(&self) -> u32 {
        match self.options.mode {
            Mode::None => 0,
            // One volume has no s.d.
            Mode::Growing | Mode::Session => self.options.warm_up_volumes.max(1) + 1,
            Mode::Baseline => self.options.baseline_volumes,
            Mode::Frozen if self.options.frozen_mean == FrozenMean::Growing => {
                self.options.warm_up_volumes + 1
            }
            Mode::Frozen => 0,
        }
    }

    fn z(&self, bold: Array1<f32>) -> Array1<f32> {
        let n = f64::from(self.seen.n);
        let grown_sd = |squares: f64| (squares / n).sqrt();
        match (self.options.mode, &self.options.statistics) {
            (Mode::None, _) => bold,
            (Mode::Frozen, Some(Statistics { mean, sd })) => match self.options.frozen_mean {
                FrozenMean::Growing => Zip::from(&bold)
                    .and(&self.seen.mean)
                    .and(sd)
                    .map_collect(|&value, &mean, &sd| z_score(value, mean, f64::from(sd))),
                FrozenMean::Manifest => {
                    Zip::from(&bold).and(mean).and(sd).map_collect(|&value, &mean, &sd| {
                        z_score(value, f64::from(mean), f64::from(sd))
                    })
                }
            },
            _ => Zip::from(&bold)
                .and(&self.seen.mean)
                .and(&self.seen.squares)
                .map_collect(|&value, &mean, &squares| z_score(value, mean, grown_sd(squares))),
        }
    }
}

/// Learns what [`Mode::Frozen`] will use online, from the runs a model is trained on.
///
/// With [`FrozenMean::Growing`] the s.d. is that of the deviations from the growing mean, after
/// the warm-up: just the numbers that are divided by it online. With [`FrozenMean::Manifest`]
/// it is that of all volumes of all runs about their common mean.
#[derive(Clone, Debug)]
pub struct TrainingStatistics {
    frozen_mean: FrozenMean,
    warm_up_volumes: u32,
    all: Welford,
    run: Welford,
    n_deviation: u32,
    deviation_squares: Array1<f64>,
}

impl TrainingStatistics {
    /// Nothing seen yet, for `n_voxel` voxels.
    #[must_use]
    pub fn new(options: &NormaliseOptions, n_voxel: usize) -> Self {
        Self {
            frozen_mean: options.frozen_mean,
            warm_up_volumes: options.warm_up_volumes,
            all: Welford::new(n_voxel),
            run: Welford::new(n_voxel),
            n_deviation: 0,
            deviation_squares: Array1::zeros(n_voxel),
        }
    }

    /// The next volume belongs to another run.
    pub fn start_run(&mut self) {
        self.run = Welford::new(self.run.mean.len());
    }

    /// Takes in one volume; one that was filled in teaches nothing.
    pub fn update(&mut self, volume: &MaskedVolume) {
        if volume.made_from != MadeFrom::Measured {
            return;
        }
        self.all.update(&volume.bold);
        self.run.update(&volume.bold);
        if self.run.n > self.warm_up_volumes {
            self.n_deviation += 1;
            Zip::from(&mut self.deviation_squares)
                .and(&volume.bold)
                .and(&self.run.mean)
                .for_each(|squares, &value, &mean| *squares += (f64::from(value) - mean).powi(2));
        }
    }

    /// What was learnt. `None` when fewer than two volumes were seen after the warm-up.
    #[must_use]
    pub fn finish(&self) -> Option<Statistics> {
        let (squares, n) = match self.frozen_mean {
            FrozenMean::Growing => (&self.deviation_squares, self.n_deviation),
            FrozenMean::Manifest => (&self.all.squares, self.all.n),
        };
        (n >= 2).then(|| Statistics {
            mean: self.all.mean.mapv(|mean| mean as f32),
            sd: squares.mapv(|sum| (sum / f64::from(n)).sqrt() as f32),
        })
    }
}

/// A voxel whose s.d. is below this share of its mean does not vary: what is left is the
/// rounding of f32, and dividing by it would make signal of it.
const CONSTANT: f64 = 1e-7;

fn z_score(value: f32, mean: f64, sd: f64) -> f32 {
    if sd > CONSTANT * mean.abs() { ((f64::from(value) - mean) / sd) as f32 } else { 0.0 }
}

impl Stage for Normalise {
    const NAME: &'static str = "normalise";
    type Input = MaskedVolume;
    type Output = NormalisedVolume;
    type Error = std::convert::Infallible;

    fn process(&mut self, volume: MaskedVolume) -> Result<Option<NormalisedVolume>, Self::Error> {
        if volume.made_from == MadeFrom::Measured && self.learns() {
            self.seen.update(&volume.bold);
        }
        if self.seen.n < self.needed() {
            return Ok(None);
        }
        Ok(Some(NormalisedVolume {
            tr: volume.tr,
            acquisition_time_s: volume.acquisition_time_s,
            bold: self.z(volume.bold),
            made_from: volume.made_from,
        }))
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use proptest::prelude::*;

    use super::*;
    use crate::time::TrIndex;

    fn options(mode: Mode) -> NormaliseOptions {
        NormaliseOptions {
            mode,
            warm_up_volumes: 1,
            baseline_volumes: 3,
            frozen_mean: FrozenMean::Manifest,
            statistics: Some(Statistics { mean: array![10.0], sd: array![2.0] }),
        }
    }

    fn volume(tr: usize, signal: f32) -> MaskedVolume {
        MaskedVolume {
            tr: TrIndex(tr as u32),
            acquisition_time_s: tr as f64,
            bold: array![signal],
            made_from: MadeFrom::Measured,
        }
    }

    fn run(stage: &mut Normalise, signals: &[f32]) -> Vec<Option<f32>> {
        let process = |(tr, &signal): (usize, &f32)| {
            stage.process(volume(tr, signal)).unwrap().map(|v| v.bold[0])
        };
        signals.iter().enumerate().map(process).collect()
    }

    fn close(found: &[Option<f32>], expected: &[Option<f32>]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            match (found, expected) {
                (Some(a), Some(b)) => assert!((a - b).abs() < 1e-5, "{a} is not {b}"),
                (a, b) => assert_eq!(a, b),
            }
        }
    }

    #[test]
    fn growing_uses_the_run_so_far_and_this_volume() {
        let mut stage = Normalise::new(options(Mode::Growing), 1).unwrap();
        // 1, 3: mean 2, s.d. 1. 1, 3, 8: mean 4, s.d. sqrt(26/3).
        let found = run(&mut stage, &[1.0, 3.0, 8.0]);
        close(&found, &[None, Some(1.0), Some(4.0 / (26.0_f32 / 3.0).sqrt())]);
        stage.start_run();
        assert_eq!(run(&mut stage, &[5.0]), [None], "a new run starts anew");
    }

    #[test]
    fn baseline_uses_its_first_volumes_only() {
        let mut stage = Normalise::new(options(Mode::Baseline), 1).unwrap();
        let sd = (8.0_f32 / 3.0).sqrt();
        let found = run(&mut stage, &[2.0, 4.0, 6.0, 100.0, 4.0]);
        close(&found, &[None, None, Some(2.0 / sd), Some(96.0 / sd), Some(0.0)]);
    }

    #[test]
    fn session_carries_its_statistics_into_the_next_run() {
        let mut stage = Normalise::new(options(Mode::Session), 1).unwrap();
        run(&mut stage, &[1.0, 3.0]);
        stage.start_run();
        close(&run(&mut stage, &[8.0]), &[Some(4.0 / (26.0_f32 / 3.0).sqrt())]);
    }

    #[test]
    fn frozen_needs_no_warm_up_and_may_follow_the_mean_of_the_run() {
        let mut stage = Normalise::new(options(Mode::Frozen), 1).unwrap();
        close(&run(&mut stage, &[12.0, 9.0]), &[Some(1.0), Some(-0.5)]);
        let follow = NormaliseOptions { frozen_mean: FrozenMean::Growing, ..options(Mode::Frozen) };
        let mut stage = Normalise::new(follow, 1).unwrap();
        close(&run(&mut stage, &[12.0, 8.0]), &[None, Some(-1.0)]);
    }

    #[test]
    fn filled_volumes_are_normalised_and_teach_nothing() {
        let mut stage = Normalise::new(options(Mode::Growing), 1).unwrap();
        run(&mut stage, &[1.0, 3.0]);
        let held = MaskedVolume { made_from: MadeFrom::Held, ..volume(2, 100.0) };
        let z = stage.process(held).unwrap().unwrap();
        assert!((z.bold[0] - 98.0).abs() < 1e-4);
        assert_eq!(stage.seen.n_volume(), 2);
    }

    #[test]
    fn training_statistics_are_those_of_what_is_divided_by_them() {
        let growing =
            NormaliseOptions { frozen_mean: FrozenMean::Growing, ..options(Mode::Frozen) };
        let mut learnt = TrainingStatistics::new(&growing, 1);
        for signals in [[1.0, 3.0, 8.0], [2.0, 2.0, 2.0]] {
            learnt.start_run();
            signals.iter().enumerate().for_each(|(tr, &s)| learnt.update(&volume(tr, s)));
        }
        // After a warm-up of one volume: 3 - 2 = 1 and 8 - 4 = 4, then 0 and 0.
        let statistics = learnt.finish().unwrap();
        assert!((statistics.sd[0] - (17.0_f32 / 4.0).sqrt()).abs() < 1e-6);
        assert!((statistics.mean[0] - 3.0).abs() < 1e-6);
    }

    #[test]
    fn statistics_that_do_not_fit_are_refused_with_both_lengths() {
        let error = Normalise::new(options(Mode::Frozen), 5).unwrap_err();
        assert_eq!(error, InvalidNormalise::Length { found: 1, expected: 5 });
        let none = NormaliseOptions { statistics: None, ..options(Mode::Frozen) };
        assert_eq!(Normalise::new(none, 1).unwrap_err(), InvalidNormalise::NoStatistics);
    }

    proptest! {
        /// Prefix stability: what comes later changes nothing that was given out.
        #[test]
        fn a_longer_run_leaves_its_prefix_unchanged(
            signals in proptest::collection::vec(-1e4_f32..1e4, 1..60),
            cut in 0_usize..60,
            mode in prop_oneof![Just(Mode::None), Just(Mode::Growing), Just(Mode::Baseline),
                Just(Mode::Session), Just(Mode::Frozen)],
        ) {
            let cut = cut.min(signals.len());
            let long = run(&mut Normalise::new(options(mode), 1).unwrap(), &signals);
            let short = run(&mut Normalise::new(options(mode), 1).unwrap(), &signals[..cut]);
            let bits = |z: &[Option<f32>]| -> Vec<_> { z.iter().map(|z| z.map(f32::to_bits)).collect() };
            prop_assert_eq!(bits(&long[..cut]), bits(&short));
        }

        /// A voxel that does not vary gives 0, however large it is, and never NaN.
        #[test]
        fn a_constant_voxel_gives_zero(signal in -1e6_f32..1e6, n in 2_usize..50) {
            let mut stage = Normalise::new(options(Mode::Growing), 1).unwrap();
            for z in run(&mut stage, &vec![signal; n]).into_iter().flatten() {
                prop_assert_eq!(z.to_bits(), 0.0_f32.to_bits());
            }
        }
    }
}
