//! DVARS: how much the whole image changed since the previous volume.
//!
//! The root mean square, over the mask, of the difference to the previous volume, scaled as
//! `1000 · RMS / (median in-mask signal of the baseline volumes)`, so 10 means a signal change of
//! 1 %. After Power et al. 2012, NeuroImage 59:2142, who scale by the mode of the image instead of
//! the median of the baseline.

use crate::{
    state::{Loader, Saver},
    time::TrIndex,
    volume::MaskedVolume,
    welford::slice,
};

/// Computes DVARS of consecutive measured volumes.
#[derive(Clone, Debug)]
pub struct Dvars {
    baseline_volumes: u32,
    /// In-mask medians of the baseline volumes so far.
    medians: Vec<f32>,
    last: Option<TrIndex>,
    /// Signal of the last volume. Shape `[n_voxel]`; the buffer is used again for each volume.
    before: Vec<f32>,
}

impl Dvars {
    /// Uses the run's first `baseline_volumes` volumes as the baseline.
    #[must_use]
    pub fn new(baseline_volumes: u32) -> Self {
        Self {
            baseline_volumes: baseline_volumes.max(1),
            medians: Vec::new(),
            last: None,
            before: Vec::new(),
        }
    }

    /// Forgets the previous run.
    pub fn start_run(&mut self) {
        self.medians.clear();
        self.last = None;
    }

    /// Adds its state to a checkpoint.
    pub fn save(&self, to: &mut Saver) {
        to.f32s(&self.medians);
        to.index(self.last);
        to.f32s(&self.before);
    }

    /// Takes its state from a checkpoint. `None` when the bytes do not fit.
    pub fn load(&mut self, from: &mut Loader<'_>) -> Option<()> {
        (self.medians, self.last, self.before) = (from.f32s()?, from.index()?, from.f32s()?);
        Some(())
    }

    /// The last volume: its index, and its signal in scanner units. Shape `[n_voxel]`.
    #[must_use]
    pub fn last(&self) -> Option<(TrIndex, &[f32])> {
        self.last.map(|tr| (tr, &self.before[..]))
    }

    /// DVARS of this volume, in tenths of a percent of the baseline's signal. `None` for the
    /// first volume, after a gap, until the baseline is complete, and where the baseline's
    /// signal is not positive.
    pub fn measure(&mut self, volume: &MaskedVolume) -> Option<f64> {
        if self.medians.len() < self.baseline_volumes as usize {
            self.medians.push(median(volume.bold.to_vec()));
        }
        let after = slice(&volume.bold);
        let complete = self.medians.len() == self.baseline_volumes as usize;
        let follows = self.last.replace(volume.tr).is_some_and(|last| last.next() == volume.tr);
        if !(follows && complete) {
            self.before.clear();
            self.before.extend_from_slice(after);
            return None;
        }
        let rms = (sum_of_squares(&mut self.before, after) / after.len() as f64).sqrt();
        let signal = f64::from(median(self.medians.clone()));
        (signal > 0.0).then(|| 1000.0 * rms / signal)
    }
}

/// Sum of squared differences. It adds in lanes, because in a single sum each addition waits for
/// the one before; the order of the lanes is fixed, so the result is reproducible to the bit. On
/// return, `before` holds the values of `after`.
fn sum_of_squares(before: &mut [f32], after: &[f32]) -> f64 {
    const LANES: usize = 16;
    let square = |before: &mut f32, after: f32| {
        let difference = f64::from(after - std::mem::replace(before, after));
        difference * difference
    };
    let ((before, before_rest), (after, after_rest)) =
        (before.as_chunks_mut::<LANES>(), after.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (before, after) in before.iter_mut().zip(after) {
        for lane in 0..LANES {
            lanes[lane] += square(&mut before[lane], after[lane]);
        }
    }
    let rest = before_rest.iter_mut().zip(after_rest).map(|(a, &b)| square(a, b));
    lanes.iter().sum::<f64>() + rest.sum::<f64>()
}

/// Middle value; the upper of the two for an even number of values. `values` must not be empty.
pub(super) fn median(mut values: Vec<f32>) -> f32 {
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f32::total_cmp).1
}

#[cfg(test)]
mod tests {
    use ndarray::Array1;

    use super::*;
    use crate::volume::{Confounds, MadeFrom};

    fn volume(tr: u32, bold: [f32; 4]) -> MaskedVolume {
        MaskedVolume {
            tr: TrIndex(tr),
            acquisition_time_s: f64::from(tr),
            bold: Array1::from_vec(bold.to_vec()),
            made_from: MadeFrom::Measured,
            confounds: Confounds::default(),
        }
    }

    #[test]
    fn a_change_of_one_percent_gives_ten() {
        let mut dvars = Dvars::new(1);
        assert_eq!(dvars.measure(&volume(0, [1000.0; 4])), None);
        let found = dvars.measure(&volume(1, [1010.0, 990.0, 1010.0, 990.0])).unwrap();
        assert!((found - 10.0).abs() < 1e-9, "{found}");
        assert_eq!(dvars.measure(&volume(3, [1000.0; 4])), None, "after a gap");
    }
}
