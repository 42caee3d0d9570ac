//! The regressors of one volume, from its index and its confounds.
//!
//! All noise regressors are 0 at the run's first volume and have a natural size, so that one
//! expected size per kind is enough:
//!
//! | columns | value |
//! |---|---|
//! | level | 1 |
//! | linear | time since the first volume, in units of 300 s |
//! | cosines | `cos(πk(n + ½)/N)` minus its value at n = 0, for volume n of N |
//! | motion | mm since the first volume, and squares |
//! | nuisance | percent of the first volume's mean |
//! | kept in | as given |
//!
//! The cosines are the discrete cosine basis of SPM over the planned run: all of
//! them with periods `2N/k` of at least the high-pass. N is known before the first volume: the
//! planned length, but no more than makes [`MAX_COSINES`] cosines, and without a plan four times
//! the high-pass. After N volumes the cosines start again from 0 with their prior, and the drift
//! so far stays removed.
//!
//! A regressor beyond ±1000 counts as ±1000, so that no sum overflows.

use super::{
    CannotDenoise, DenoiseInputs, DenoiseOptions, MAX_COSINES, MotionRegressors, PlannedRun,
};
use crate::{
    quality::{SPHERE_MM, translation_about},
    state::{Loader, Saver},
    time::TrIndex,
    volume::{Confounds, Motion},
};

const LINEAR_UNIT_S: f64 = 300.0;
const LARGEST: f64 = 1000.0;

/// Makes the rows of the design matrix.
#[derive(Clone, Debug)]
pub(super) struct Design {
    options: DenoiseOptions,
    planned: PlannedRun,
    n_nuisance: usize,
    n_cosine: usize,
    /// Volumes until the cosines start again.
    n_period: u32,
    first: Option<First>,
    last: TrIndex,
    /// Motion of the last volume relative to the first, mm.
    last_motion: [f64; 6],
}

#[derive(Clone, Debug)]
struct First {
    tr: TrIndex,
    motion: [f64; 6],
    nuisance: Vec<f64>,
}

/// One row of the design matrix.
pub(super) struct Row {
    pub(super) values: Vec<f64>,
    /// Whether a new period of the cosines begins with this volume.
    pub(super) cosines_start_again: bool,
}

impl Design {
    pub(super) fn new(
        options: &DenoiseOptions,
        inputs: &DenoiseInputs,
        planned: &PlannedRun,
    ) -> Self {
        let (n_cosine, n_period) =
            options.high_pass_s.map_or((0, u32::MAX), |high_pass_s| cosines(high_pass_s, planned));
        Self {
            n_nuisance: if options.nuisance { inputs.n_nuisance } else { 0 },
            options: options.clone(),
            planned: *planned,
            n_cosine,
            n_period,
            first: None,
            last: TrIndex(0),
            last_motion: [0.0; 6],
        }
    }

    fn n_motion(&self) -> usize {
        match self.options.motion {
            MotionRegressors::None => 0,
            MotionRegressors::Six => 6,
            MotionRegressors::TwentyFour => 24,
        }
    }

    /// Prior precision of each coefficient, in units of the noise; 0 for the level.
    pub(super) fn precisions(&self) -> Vec<f64> {
        let options = &self.options;
        let n_drift = usize::from(options.linear) + self.n_cosine;
        let kinds = [
            (n_drift, options.drift_size),
            (self.n_motion(), options.motion_size),
            (self.n_nuisance, options.nuisance_size),
            (options.n_kept_in, options.kept_in_size),
        ];
        let sized = kinds.into_iter().flat_map(|(n, size)| vec![1.0 / (size * size); n]);
        std::iter::once(0.0).chain(sized).collect()
    }

    /// Columns of the cosines.
    pub(super) fn cosines(&self) -> std::ops::Range<usize> {
        let start = 1 + usize::from(self.options.linear);
        start..start + self.n_cosine
    }

    /// The row's part that is removed from the signal.
    pub(super) fn removed(&self, row: &[f64]) -> Vec<f64> {
        let mut removed = row.to_vec();
        if self.options.keep_mean {
            removed[0] = 0.0;
        }
        let n_noise = row.len() - self.options.n_kept_in;
        removed[n_noise..].fill(0.0);
        removed
    }

    /// Values of the cosines where a period ends.
    pub(super) fn end_of_cosines(&self) -> Vec<f64> {
        self.cosines_at(self.n_period)
    }

    /// `n`: volumes since the period began.
    fn cosines_at(&self, n: u32) -> Vec<f64> {
        let by_n = std::f64::consts::PI / f64::from(self.n_period);
        let at = |k: usize, n: f64| libm::cos(by_n * k as f64 * (n + 0.5));
        (1..=self.n_cosine).map(|k| at(k, f64::from(n)) - at(k, 0.0)).collect()
    }

    /// The row of the next volume. An error changes nothing.
    pub(super) fn next(
        &mut self,
        tr: TrIndex,
        confounds: &Confounds,
        kept_in: &[f64],
    ) -> Result<Row, CannotDenoise> {
        if self.first.is_some() && tr <= self.last {
            return Err(CannotDenoise::OutOfOrder { last: self.last, got: tr });
        }
        check(tr, "kept-in regressors", kept_in, self.options.n_kept_in)?;
        let nuisance: Vec<f64> = if self.n_nuisance == 0 {
            Vec::new()
        } else {
            confounds.nuisance.iter().map(|&mean| f64::from(mean)).collect()
        };
        check(tr, "nuisance means", &nuisance, self.n_nuisance)?;
        let motion = self.motion(tr, confounds.motion)?;

        let last = self.first.is_some().then_some(self.last);
        let first =
            self.first.get_or_insert_with(|| First { tr, motion, nuisance: nuisance.clone() });
        let since_first = |tr: TrIndex| tr.0 - first.tr.0;
        let n = since_first(tr);
        let cosines_start_again = self.n_cosine > 0
            && last.is_some_and(|last| since_first(last) / self.n_period < n / self.n_period);
        let motion = std::array::from_fn(|i| motion[i] - first.motion[i]);
        let percent: Vec<f64> = nuisance
            .iter()
            .zip(&first.nuisance)
            .map(|(&now, &first)| percent(now, first))
            .collect();

        let mut values = vec![1.0];
        if self.options.linear {
            values.push(self.planned.repetition_time.as_secs() * f64::from(n) / LINEAR_UNIT_S);
        }
        values.extend(self.cosines_at(n % self.n_period));
        values.extend(self.moved(motion));
        values.extend(percent);
        values.extend(kept_in);
        values.iter_mut().for_each(|value| *value = value.clamp(-LARGEST, LARGEST));
        (self.last, self.last_motion) = (tr, motion);
        Ok(Row { values, cosines_start_again })
    }

    /// The motion regressors at a volume that moved so far since the first, in mm.
    fn moved(&self, motion: [f64; 6]) -> Vec<f64> {
        match self.options.motion {
            MotionRegressors::None => Vec::new(),
            MotionRegressors::Six => motion.to_vec(),
            MotionRegressors::TwentyFour => {
                let both = [motion, self.last_motion].concat();
                both.iter().copied().chain(both.iter().map(|mm| mm * mm)).collect()
            }
        }
    }

    /// The motion of a volume in mm, about the centre of the volume. Zeros if it is not regressed.
    fn motion(&self, tr: TrIndex, motion: Option<Motion>) -> Result<[f64; 6], CannotDenoise> {
        if self.options.motion == MotionRegressors::None {
            return Ok([0.0; 6]);
        }
        let motion = motion.ok_or(CannotDenoise::NoMotion(tr))?;
        let [x, y, z] = translation_about(&motion, self.planned.centre_mm);
        let [rot_x, rot_y, rot_z] = motion.rotation_rad.map(|rad| SPHERE_MM * rad);
        let mm = [x, y, z, rot_x, rot_y, rot_z];
        check(tr, "motion parameters", &mm, 6)?;
        Ok(mm)
    }

    pub(super) fn save(&self, to: &mut Saver) {
        to.index(self.first.as_ref().map(|first| first.tr));
        if let Some(first) = &self.first {
            to.f64s(&first.motion);
            to.f64s(&first.nuisance);
            to.index(Some(self.last));
            to.f64s(&self.last_motion);
        }
    }

    pub(super) fn load(&mut self, from: &mut Loader<'_>) -> Option<()> {
        self.first = None;
        if let Some(tr) = from.index()? {
            let (motion, nuisance) = (from.f64s()?.try_into().ok()?, from.f64s()?);
            self.last = from.index()??;
            self.last_motion = from.f64s()?.try_into().ok()?;
            if nuisance.len() != self.n_nuisance || self.last < tr {
                return None;
            }
            self.first = Some(First { tr, motion, nuisance });
        }
        Some(())
    }
}

/// Number of cosines, and volumes until they start again.
fn cosines(high_pass_s: f64, planned: &PlannedRun) -> (usize, u32) {
    let high_pass = high_pass_s / planned.repetition_time.as_secs();
    let longest = 0.5 * f64::from(MAX_COSINES) * high_pass;
    let planned = planned.n_volumes.map_or(4.0 * high_pass, f64::from);
    // A period of one volume would start again with each.
    let n_period = planned.min(longest).ceil().max(2.0);
    let n_cosine = (2.0 * n_period / high_pass).floor().clamp(0.0, f64::from(MAX_COSINES));
    (n_cosine as usize, n_period as u32)
}

fn percent(now: f64, first: f64) -> f64 {
    if first == 0.0 { now } else { 100.0 * (now - first) / first.abs() }
}

fn check(
    tr: TrIndex,
    what: &'static str,
    values: &[f64],
    expected: usize,
) -> Result<(), CannotDenoise> {
    if values.len() != expected {
        return Err(CannotDenoise::Length { tr, what, found: values.len(), expected });
    }
    match values.iter().find(|value| !value.is_finite()) {
        Some(&found) => Err(CannotDenoise::NotFinite { tr, what, found }),
        None => Ok(()),
    }
}
