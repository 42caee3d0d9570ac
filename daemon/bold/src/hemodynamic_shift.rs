//! Hemodynamic shift: pair each stretch of BOLD with the stimulus that caused it.
//!
//! BOLD follows the stimulus by a few seconds: a volume acquired at `t` responds to the stimulus
//! shown at `t - delay`. The model was trained on windows paired that way, so the daemon pairs
//! them the same way online. The delay is in seconds and need not be a multiple of the TR:
//!
//! ```text
//! nearest   stimulus time = acquisition time of the window's first volume - delay
//! linear    stimulus time = k · TR; each row lies between the two volumes that bracket
//!           k · TR + delay, so a result comes at most one TR later
//!
//! acquired TR    k    k+1   k+2   k+3   k+4
//! delay 5 s at TR 2 s         └──┬──┘              row for k = ½ (k+2) + ½ (k+3)
//! ```
//!
//! A window never spans a gap: it would look valid to the model and would not be. When an index
//! was neither measured nor filled in, the stage drops the volumes it holds and starts again.

use std::{collections::VecDeque, num::NonZeroUsize};

use ndarray::{Array1, Array2, Axis};

use crate::{
    gap_fill::OutOfOrder,
    stage::Stage,
    state::{Loader, Saver},
    time::RepetitionTime,
    volume::{MadeFrom, NormalisedVolume, ShiftInterpolation, Window},
    welford::slice,
};

/// A delay within this fraction of a whole number of TRs counts as whole.
const WHOLE: f64 = 1e-6;

/// Collects normalised volumes into windows labelled with their stimulus. See the module docs.
#[derive(Clone, Debug)]
pub struct HemodynamicShift {
    repetition_time: RepetitionTime,
    delay_s: f64,
    interpolation: ShiftInterpolation,
    length: NonZeroUsize,
    /// Consecutive volumes, oldest first; never more than a window needs.
    recent: VecDeque<NormalisedVolume>,
}

impl HemodynamicShift {
    /// A shift by `delay_s` seconds that yields windows of `length` volumes.
    #[must_use]
    pub fn new(
        repetition_time: RepetitionTime,
        delay_s: f64,
        interpolation: ShiftInterpolation,
        length: NonZeroUsize,
    ) -> Self {
        Self { repetition_time, delay_s, interpolation, length, recent: VecDeque::new() }
    }

    /// Adds its state to a checkpoint.
    pub fn save(&self, to: &mut Saver) {
        to.u64(self.recent.len() as u64);
        for volume in &self.recent {
            let NormalisedVolume { tr, acquisition_time_s, bold, made_from } = volume;
            to.volume(*tr, *acquisition_time_s, *made_from, slice(bold));
        }
    }

    /// Takes its state from a checkpoint. `None` when the bytes do not fit.
    pub fn load(&mut self, from: &mut Loader<'_>) -> Option<()> {
        self.recent.clear();
        for _ in 0..from.u64()? {
            let (tr, acquisition_time_s, made_from, bold) = from.volume()?;
            self.recent.push_back(NormalisedVolume { tr, acquisition_time_s, bold, made_from });
        }
        Some(())
    }

    /// Whole volumes of the delay, and the rest as a fraction of a TR.
    fn delay_in_volumes(&self) -> (u32, f64) {
        let volumes = self.delay_s / self.repetition_time.as_secs();
        let whole = (volumes + WHOLE).floor();
        let fraction = volumes - whole;
        (whole as u32, if fraction < WHOLE { 0.0 } else { fraction })
    }

    /// Number of volumes that one window needs.
    fn needed(&self) -> usize {
        let between = match self.interpolation {
            ShiftInterpolation::Nearest => 0,
            ShiftInterpolation::Linear => usize::from(self.delay_in_volumes().1 > 0.0),
        };
        self.length.get() + between
    }

    /// When the stimulus of the window was shown. `None` when that was before the run.
    fn stimulus_time_s(&self) -> Option<f64> {
        let first = &self.recent[0];
        match self.interpolation {
            ShiftInterpolation::Nearest => {
                let time_s = first.acquisition_time_s - self.delay_s;
                (time_s >= -WHOLE).then_some(time_s.max(0.0))
            }
            ShiftInterpolation::Linear => {
                let k = first.tr.0.checked_sub(self.delay_in_volumes().0)?;
                Some(self.repetition_time.as_secs() * f64::from(k))
            }
        }
    }

    /// The window's rows, oldest first. Shape `[length, n_voxel]`.
    fn rows(&mut self) -> Array2<f32> {
        if self.needed() == 1
            && let Some(only) = self.recent.back_mut()
        {
            // No later window uses this volume, so its signal is moved and not copied.
            return std::mem::take(&mut only.bold).insert_axis(Axis(0));
        }
        let n_voxel = self.recent[0].bold.len();
        let fraction = match self.interpolation {
            ShiftInterpolation::Nearest => 0.0,
            ShiftInterpolation::Linear => self.delay_in_volumes().1 as f32,
        };
        let mut rows = Vec::with_capacity(self.length.get() * n_voxel);
        for row in 0..self.length.get() {
            let before: &Array1<f32> = &self.recent[row].bold;
            if fraction > 0.0 {
                let after = &self.recent[row + 1].bold;
                rows.extend((before * (1.0 - fraction) + after * fraction).iter());
            } else {
                rows.extend_from_slice(before.as_slice().expect("made in standard layout"));
            }
        }
        Array2::from_shape_vec((self.length.get(), n_voxel), rows)
            .expect("rows of volumes of one mask")
    }
}

impl Stage for HemodynamicShift {
    const NAME: &'static str = "hemodynamic_shift";
    type Input<'a> = NormalisedVolume;
    type Output = Window;
    type Error = OutOfOrder;

    fn process(&mut self, volume: NormalisedVolume) -> Result<Option<Window>, OutOfOrder> {
        if let Some(last) = self.recent.back().map(|volume| volume.tr) {
            if volume.tr <= last {
                return Err(OutOfOrder { last, got: volume.tr });
            }
            if volume.tr != last.next() {
                self.recent.clear();
            }
        }
        if self.recent.len() == self.needed() {
            self.recent.pop_front();
        }
        let (tr, acquisition_time_s) = (volume.tr, volume.acquisition_time_s);
        self.recent.push_back(volume);
        if self.recent.len() < self.needed() {
            return Ok(None);
        }
        // Early in the run, the stimulus was shown before the first volume.
        let Some(stimulus_time_s) = self.stimulus_time_s() else {
            return Ok(None);
        };
        let worst = self.recent.iter().map(|v| v.made_from).max().unwrap_or(MadeFrom::Measured);
        Ok(Some(Window {
            tr,
            acquisition_time_s,
            stimulus_time_s,
            bold: self.rows(),
            made_from: worst,
            interpolation: self.interpolation,
        }))
    }
}

#[cfg(test)]
mod tests;
