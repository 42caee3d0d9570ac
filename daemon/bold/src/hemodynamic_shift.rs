//! Hemodynamic shift: pair each stretch of BOLD with the stimulus that caused it.
//!
//! BOLD follows the stimulus by a few seconds: what is acquired at `t` answers what was shown
//! at `t - delay`. The model was trained on windows paired that way, so it has to be fed the
//! same way online. The delay is in seconds and need not be a multiple of the TR:
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
//! A window never spans a gap, because one that does looks valid to the model and is not: an
//! index that was neither measured nor filled in empties the stage.

use std::{collections::VecDeque, num::NonZeroUsize};

use ndarray::{Array1, Array2};

use crate::{
    gap_fill::OutOfOrder,
    stage::Stage,
    time::RepetitionTime,
    volume::{MadeFrom, NormalisedVolume, ShiftInterpolation, Window},
};

/// Below this fraction of a TR the delay counts as a whole number of volumes.
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

    /// Whole volumes of the delay, and the rest as a fraction of a TR.
    fn delay_in_volumes(&self) -> (u32, f64) {
        let volumes = self.delay_s / self.repetition_time.as_secs();
        let whole = (volumes + WHOLE).floor();
        let fraction = volumes - whole;
        (whole as u32, if fraction < WHOLE { 0.0 } else { fraction })
    }

    /// Volumes that one window rests on.
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
    fn rows(&self) -> Array2<f32> {
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
    type Input = NormalisedVolume;
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
        // Early in the run the window's cause lies before the first volume.
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
mod tests {
    use ndarray::array;
    use proptest::prelude::*;

    use super::*;
    use crate::time::TrIndex;

    /// A one-voxel volume whose signal is its own index, so a window shows what it holds.
    fn volume(tr: u32) -> NormalisedVolume {
        NormalisedVolume {
            tr: TrIndex(tr),
            acquisition_time_s: f64::from(tr) * 2.0,
            bold: Array1::from_elem(1, tr as f32),
            made_from: MadeFrom::Measured,
        }
    }

    /// At TR 2 s.
    fn shift(delay_s: f64, interpolation: ShiftInterpolation, length: usize) -> HemodynamicShift {
        let repetition_time = RepetitionTime::from_secs(2.0).unwrap();
        let length = NonZeroUsize::new(length).unwrap();
        HemodynamicShift::new(repetition_time, delay_s, interpolation, length)
    }

    fn windows(mut shift: HemodynamicShift, arrived: &[u32]) -> Vec<(f64, Vec<f32>)> {
        arrived
            .iter()
            .filter_map(|&tr| shift.process(volume(tr)).unwrap())
            .map(|window| (window.stimulus_time_s, window.bold.iter().copied().collect()))
            .collect()
    }

    #[test]
    fn a_window_is_labelled_with_the_stimulus_that_caused_it() {
        let found = windows(shift(4.0, ShiftInterpolation::Nearest, 2), &[0, 1, 2, 3, 4]);
        assert_eq!(found, [(0.0, vec![2.0, 3.0]), (2.0, vec![3.0, 4.0])]);
    }

    #[test]
    fn nearest_reports_the_true_time_when_the_delay_is_no_multiple_of_the_tr() {
        let found = windows(shift(5.0, ShiftInterpolation::Nearest, 1), &[2, 3, 4]);
        assert_eq!(found, [(1.0, vec![3.0]), (3.0, vec![4.0])]);
    }

    #[test]
    fn linear_lies_between_the_bracketing_volumes_on_the_grid_of_the_tr() {
        let found = windows(shift(5.0, ShiftInterpolation::Linear, 1), &[0, 1, 2, 3, 4]);
        assert_eq!(found, [(0.0, vec![2.5]), (2.0, vec![3.5])]);
        // A whole number of volumes waits for nothing.
        let whole = windows(shift(4.0, ShiftInterpolation::Linear, 1), &[2, 3]);
        assert_eq!(whole, [(0.0, vec![2.0]), (2.0, vec![3.0])]);
    }

    #[test]
    fn a_delay_that_is_whole_but_for_rounding_counts_as_whole() {
        let repetition_time = RepetitionTime::from_secs(0.8).unwrap();
        let one = NonZeroUsize::MIN;
        let shift = HemodynamicShift::new(repetition_time, 4.0, ShiftInterpolation::Linear, one);
        assert_eq!(shift.needed(), 1);
        assert_eq!(shift.delay_in_volumes().0, 5);
    }

    #[test]
    fn a_late_volume_is_refused_and_changes_nothing() {
        let mut shift = shift(0.0, ShiftInterpolation::Nearest, 2);
        shift.process(volume(5)).unwrap();
        let error = shift.process(volume(4)).unwrap_err();
        assert_eq!(error, OutOfOrder { last: TrIndex(5), got: TrIndex(4) });
        let window = shift.process(volume(6)).unwrap().unwrap();
        assert_eq!(window.bold, array![[5.0], [6.0]]);
    }

    proptest! {
        /// Whatever is dropped on the way, a window never spans a gap.
        #[test]
        fn windows_hold_consecutive_volumes(
            arrived in proptest::collection::btree_set(0_u32..60, 0..40),
            delay in 0_u32..5,
            length in 1_usize..5,
        ) {
            let mut shift = shift(f64::from(delay) * 2.0, ShiftInterpolation::Nearest, length);
            for tr in arrived {
                if let Some(window) = shift.process(volume(tr)).unwrap() {
                    let first = (window.stimulus_time_s / 2.0).round() as u32 + delay;
                    let held: Vec<u32> = window.bold.iter().map(|&bold| bold as u32).collect();
                    let wanted: Vec<u32> = (first..).take(length).collect();
                    prop_assert_eq!(held, wanted);
                }
            }
        }

        /// Linear: signal that is linear in time is read off exactly at the delayed time.
        #[test]
        fn linear_reads_a_ramp_at_the_delayed_time(
            delay_s in 0.0_f64..12.0,
            gap_at in 0_u32..30,
            length in 1_usize..4,
        ) {
            let mut shift = shift(delay_s, ShiftInterpolation::Linear, length);
            for tr in (0..30).filter(|&tr| tr != gap_at) {
                if let Some(window) = shift.process(volume(tr)).unwrap() {
                    for (row, &bold) in window.bold.iter().enumerate() {
                        let time_s = window.stimulus_time_s + 2.0 * row as f64 + delay_s;
                        prop_assert!((f64::from(bold) * 2.0 - time_s).abs() < 1e-3);
                    }
                }
            }
        }
    }
}
