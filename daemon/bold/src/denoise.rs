//! Denoise: removes drift, motion and the signal of nuisance masks, voxel by voxel, from the past
//! only.
//!
//! The stage fits a linear model to the run so far, this volume included, and subtracts the part
//! that the noise regressors explain:
//!
//! ```text
//! signal = level + drift + motion + nuisance + kept-in design + rest
//! ```
//!
//! It is recursive least squares (e.g. Ljung & Söderström 1983) in the form that keeps the sums
//! of products instead of coefficients (`normal.rs`), so a volume costs the same however long the
//! run is, and 10^5 volumes add up no rounding. The coefficients are those of a ridge regression
//! over the run so far. Each regressor has an expected size, in s.d. of the noise (its prior is
//! normal with that s.d.), so a young run is not over-fitted, and constant or duplicate regressors
//! do no harm. The level has no prior.
//!
//! A strong prior on drift is essential. On real data a free slope from the first volume on halves
//! what a decoder can tell apart, because it follows the first blocks of the task. A *kept-in*
//! design helps here: regressors that the caller gives with each volume, such as 1 during a block
//! and 0 during rest, share in the fit, and their part stays in the signal. They must be blind to
//! the category that is to be decoded.
//!
//! Fitting this volume too, rather than only those before it, means that the rest is never larger
//! than the error of a prediction would be: a sudden motion cannot be extrapolated.
//!
//! A missing volume is not fitted; time goes on, since a volume's index gives its time. A run that
//! is longer than its plan goes on too: its cosines start again (`design.rs`).

mod design;
mod normal;
mod options;
mod solve;

pub use self::options::{
    DenoiseInputs, DenoiseOptions, InvalidDenoise, MAX_COSINES, MAX_KEPT_IN, MotionRegressors,
    PlannedRun,
};
use self::{design::Design, normal::NormalEquations};
use crate::{
    stage::Stage,
    state::{Loader, Saver},
    time::TrIndex,
    volume::{Confounds, MaskedVolume},
    welford::slice,
};

/// Largest signal, in scanner units, that counts as measured.
const MAX_SIGNAL: f32 = 1e30;

/// Why a volume was not denoised. The volume is dropped, and the fit does not change.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CannotDenoise {
    /// No run was started.
    #[error("{0} belongs to no run; start a run first")]
    NoRun(TrIndex),
    /// A volume arrived after a later one.
    #[error("{got} arrived after {last} was already used")]
    OutOfOrder {
        /// The last volume used.
        last: TrIndex,
        /// The volume that arrived late.
        got: TrIndex,
    },
    /// A list has the wrong length.
    #[error("{tr} has {found} {what}, expected {expected}")]
    Length {
        /// Which volume.
        tr: TrIndex,
        /// What was counted.
        what: &'static str,
        /// Number found.
        found: usize,
        /// Number expected.
        expected: usize,
    },
    /// The volume was not realigned.
    #[error("{0} has no motion parameters, which the motion regressors need")]
    NoMotion(TrIndex),
    /// A number cannot be used.
    #[error("{tr} has the {what} {found}, expected a finite number of at most 1e30")]
    NotFinite {
        /// Which volume.
        tr: TrIndex,
        /// What the number is.
        what: &'static str,
        /// The number.
        found: f64,
    },
}

/// One volume, with the design that is kept in.
#[derive(Debug)]
pub struct ToDenoise<'a> {
    /// The volume, with its confounds.
    pub volume: MaskedVolume,
    /// Kept-in regressors at this volume, blind to what is decoded. Shape `[n_kept_in]`.
    pub kept_in: &'a [f64],
}

/// Removes noise that regressors explain. See the module docs.
#[derive(Clone, Debug)]
pub struct Denoise {
    options: DenoiseOptions,
    inputs: DenoiseInputs,
    run: Option<Run>,
}

/// The fit of one run.
#[derive(Clone, Debug)]
struct Run {
    design: Design,
    fit: NormalEquations,
}

impl Denoise {
    /// A stage without a run.
    ///
    /// # Errors
    ///
    /// Fails when a setting is out of range, and when regressors are configured whose values the
    /// path does not have, such as motion without realignment.
    pub fn new(options: DenoiseOptions, inputs: DenoiseInputs) -> Result<Self, InvalidDenoise> {
        options.check(&inputs)?;
        Ok(Self { options, inputs, run: None })
    }

    /// Starts a run; forgets the one before.
    pub fn start_run(&mut self, planned: &PlannedRun) {
        let design = Design::new(&self.options, &self.inputs, planned);
        let fit = NormalEquations::new(design.precisions(), self.inputs.n_voxel);
        self.run = Some(Run { design, fit });
    }

    /// Mean signal of the run so far, scanner units; empty before the first volume. Percent signal
    /// change is 100 times the residual divided by it. Shape `[n_voxel]`.
    #[must_use]
    pub fn mean(&self) -> &[f32] {
        self.run.as_ref().map_or(&[], |run| run.fit.mean())
    }

    /// Adds its state to a checkpoint.
    pub fn save(&self, to: &mut Saver) {
        to.u32(u32::from(self.run.is_some()));
        if let Some(run) = &self.run {
            run.design.save(to);
            run.fit.save(to);
        }
    }

    /// Takes its state from a checkpoint, after the run was started. `None` when the bytes do not
    /// fit.
    pub fn load(&mut self, from: &mut Loader<'_>) -> Option<()> {
        if from.u32()? == 0 {
            self.run = None;
            return Some(());
        }
        let run = self.run.as_mut()?;
        run.design.load(from)?;
        run.fit.load(from)
    }

    fn check(&self, volume: &MaskedVolume) -> Result<(), CannotDenoise> {
        let (tr, found, expected) = (volume.tr, volume.bold.len(), self.inputs.n_voxel);
        if found != expected {
            return Err(CannotDenoise::Length { tr, what: "voxels", found, expected });
        }
        let usable = |signal: f32| signal.abs() <= MAX_SIGNAL;
        match volume.bold.iter().find(|signal| !usable(**signal)) {
            Some(&odd) => {
                Err(CannotDenoise::NotFinite { tr, what: "signal", found: f64::from(odd) })
            }
            None => Ok(()),
        }
    }
}

impl Stage for Denoise {
    const NAME: &'static str = "denoise";
    type Input<'a> = ToDenoise<'a>;
    /// The volume without the part that noise explains, and without confounds.
    type Output = MaskedVolume;
    type Error = CannotDenoise;

    fn process(&mut self, input: ToDenoise<'_>) -> Result<Option<MaskedVolume>, CannotDenoise> {
        let ToDenoise { mut volume, kept_in } = input;
        self.check(&volume)?;
        let run = self.run.as_mut().ok_or(CannotDenoise::NoRun(volume.tr))?;
        let row = run.design.next(volume.tr, &volume.confounds, kept_in)?;
        if row.cosines_start_again {
            run.fit.start_again(run.design.cosines(), &run.design.end_of_cosines());
        }
        let removed = run.design.removed(&row.values);
        let DenoiseOptions { forget, keep_mean, .. } = self.options;
        let bold = slice(&volume.bold);
        volume.bold = run.fit.add(bold, &row.values, &removed, forget, keep_mean).into();
        volume.confounds = Confounds::default();
        Ok(Some(volume))
    }
}

#[cfg(test)]
mod tests;
