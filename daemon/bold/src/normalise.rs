//! Normalise: from scanner units to z-scores, from the past only.
//!
//! A scanner's units drift and differ between voxels and days; a model needs numbers that mean
//! the same each time. Every mode is causal, so a longer run leaves its prefix unchanged:
//!
//! | mode | mean | s.d. |
//! |---|---|---|
//! | `none` | 0 | 1 |
//! | `growing` | of the run so far, this volume included | same |
//! | `baseline` | of the run's first volumes | same |
//! | `session` | of all runs so far | same |
//! | `frozen` | of the run so far, or of the training data | of the training data |
//!
//! Means and sums of squares accumulate in f64 ([`welford`](crate::welford)). The s.d. is the
//! population's (divided by n). A voxel that does not vary gives 0, never NaN. Volumes that
//! were filled in are normalised but do not change the statistics. With `across_voxels` each volume
//! is afterwards z-scored across its voxels (`across.rs`).

mod across;

use ndarray::Array1;
use serde::{Deserialize, Serialize};

use crate::{
    stage::Stage,
    state::{Loader, Saver},
    volume::{MadeFrom, MaskedVolume, NormalisedVolume},
    welford::{LANES, Welford, slice},
};

/// How volumes are normalised. See the module docs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Left in scanner units.
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

/// Settings of the stage, after session, mask and model were checked against each other.
#[derive(Clone, Debug, PartialEq)]
pub struct NormaliseOptions {
    /// How volumes are normalised.
    pub mode: Mode,
    /// Measured volumes before the first result, for modes that learn from the run.
    pub warm_up_volumes: u32,
    /// Volumes of the baseline, for [`Mode::Baseline`].
    pub baseline_volumes: u32,
    /// Where the mean comes from, for [`Mode::Frozen`].
    pub frozen_mean: FrozenMean,
    /// Whether each volume is then z-scored across its voxels.
    pub across_voxels: bool,
    /// Statistics of the training data, for [`Mode::Frozen`].
    pub statistics: Option<Statistics>,
}

/// Options that contradict each other or the mask.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidNormalise {
    /// Frozen needs statistics.
    #[error("mode `frozen` needs the statistics of the training data; the model has none")]
    NoStatistics,
    /// The statistics are for another number of voxels.
    #[error("the frozen statistics are for {found} voxels, the mask has {expected}")]
    Length {
        /// Voxels of the statistics.
        found: usize,
        /// Voxels of the mask.
        expected: usize,
    },
    /// A baseline of fewer than two volumes has no s.d.
    #[error("mode `baseline` needs at least 2 `baseline_volumes`, got {0}")]
    Baseline(u32),
}

/// Turns masked volumes into z-scores. See the module docs.
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
    /// Fails when the statistics that the mode needs are missing or have another length than the
    /// mask, or when the baseline is shorter than two volumes.
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

    /// Forgets the previous run, except in [`Mode::Session`].
    pub fn start_run(&mut self) {
        if self.options.mode != Mode::Session {
            self.seen = Welford::new(self.seen.mean().len());
        }
    }

    /// Adds its state to a checkpoint.
    pub fn save(&self, to: &mut Saver) {
        self.seen.save(to);
    }

    /// Takes its state from a checkpoint. `None` when the bytes do not fit.
    pub fn load(&mut self, from: &mut Loader<'_>) -> Option<()> {
        self.seen.load(from)
    }

    /// Whether a measured volume still changes the statistics.
    fn learns(&self) -> bool {
        match self.options.mode {
            Mode::None => false,
            Mode::Growing | Mode::Session => true,
            Mode::Baseline => self.seen.n_volume() < self.options.baseline_volumes,
            Mode::Frozen => self.options.frozen_mean == FrozenMean::Growing,
        }
    }

    /// Measured volumes needed for a result, the current one included.
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

    /// Replaces the signal of a volume by its z-scores.
    fn z(&self, bold: &mut [f32]) {
        match (self.options.mode, &self.options.statistics) {
            (Mode::None, _) => {}
            (Mode::Frozen, Some(Statistics { mean, sd })) => match self.options.frozen_mean {
                FrozenMean::Growing => {
                    let of_voxel = slice(self.seen.mean()).iter().zip(slice(sd));
                    for (value, (&mean, &sd)) in bold.iter_mut().zip(of_voxel) {
                        *value = z_score(f64::from(*value), mean, f64::from(sd));
                    }
                }
                FrozenMean::Manifest => {
                    for (value, (&mean, &sd)) in
                        bold.iter_mut().zip(slice(mean).iter().zip(slice(sd)))
                    {
                        *value = z_score(f64::from(*value), f64::from(mean), f64::from(sd));
                    }
                }
            },
            _ => {
                self.seen.apply(bold, grown_z_scores);
            }
        }
    }
}

/// A voxel whose s.d. is below this fraction of its mean counts as constant: the rest is
/// rounding of f32, and dividing by it would turn rounding into signal.
const CONSTANT: f64 = 1e-7;

/// Without a branch around the division, so that the compiler can work on several voxels at once.
fn z_score(value: f64, mean: f64, sd: f64) -> f32 {
    let z = ((value - mean) / sd) as f32;
    if sd > CONSTANT * mean.abs() { z } else { 0.0 }
}

/// The variances, in squared scanner units, whose root and quotient are computed in f32. Far inside
/// the range of f32, so that neither a root nor a quotient overflows or loses digits.
const OF_F32: std::ops::Range<f32> = 1e-24..1e24;

/// Whether a z-score with this variance is computed in f32.
#[allow(clippy::manual_range_contains, reason = "`contains` has a branch")]
fn fits_f32(variance: f32) -> bool {
    (variance >= OF_F32.start) & (variance < OF_F32.end)
}

/// Replaces values by z-scores, from 1/n and the means and sums of squares of n volumes.
///
/// The difference to the mean is taken in f64. Root and division are done in f32, which is faster;
/// a voxel with an extreme variance takes f64. Each voxel is decided on its own, so its z-score
/// does not depend on its neighbours.
fn grown_z_scores(bold: &mut [f32; LANES], by_n: f64, mean: &[f64; LANES], squares: &[f64; LANES]) {
    let (mut difference, mut variance, mut n_fit) = ([0.0; LANES], [0.0; LANES], 0);
    for lane in 0..LANES {
        difference[lane] = (f64::from(bold[lane]) - mean[lane]) as f32;
        variance[lane] = (squares[lane] * by_n) as f32;
        n_fit += usize::from(fits_f32(variance[lane]));
    }
    if n_fit == LANES {
        // Without a branch for each voxel, so that the compiler can work on all at once.
        for lane in 0..LANES {
            bold[lane] = z_score_in_f32(difference[lane], mean[lane], variance[lane]);
        }
        return;
    }
    for lane in 0..LANES {
        bold[lane] = if fits_f32(variance[lane]) {
            z_score_in_f32(difference[lane], mean[lane], variance[lane])
        } else {
            z_score(f64::from(bold[lane]), mean[lane], (squares[lane] * by_n).sqrt())
        };
    }
}

fn z_score_in_f32(difference: f32, mean: f64, variance: f32) -> f32 {
    let sd = variance.sqrt();
    let z = difference / sd;
    if sd > CONSTANT as f32 * (mean as f32).abs() { z } else { 0.0 }
}

impl Stage for Normalise {
    const NAME: &'static str = "normalise";
    type Input<'a> = MaskedVolume;
    type Output = NormalisedVolume;
    type Error = std::convert::Infallible;

    fn process(&mut self, volume: MaskedVolume) -> Result<Option<NormalisedVolume>, Self::Error> {
        let MaskedVolume { tr, acquisition_time_s, mut bold, made_from, confounds: _ } = volume;
        let learns = made_from == MadeFrom::Measured && self.learns();
        let values = bold.as_slice_mut().expect("stages build their arrays in standard layout");
        match self.options.mode {
            // One pass over the voxels instead of two.
            Mode::Growing | Mode::Session if learns => {
                self.seen.update_with(values, grown_z_scores);
            }
            _ => {
                if learns {
                    self.seen.update(values);
                }
                self.z(values);
            }
        }
        if self.options.across_voxels {
            across::z_score(values);
        }
        let is_warm = self.seen.n_volume() >= self.needed();
        Ok(is_warm.then_some(NormalisedVolume { tr, acquisition_time_s, bold, made_from }))
    }
}

#[cfg(test)]
mod tests;
