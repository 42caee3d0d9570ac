//! Slice timing: each slice as if it had been acquired at the start of its volume.
//!
//! A slice that is acquired `s` seconds after the start of its volume is measured at `t - TR + s`
//! and at `t + s`; its value at `t` lies between, on a straight line:
//!
//! ```text
//! slice   ──●────────────────────────●──        value = (s/TR) · before + (1 - s/TR) · now
//!        t - TR + s          t     t + s
//! ```
//!
//! So the stage is causal and adds no delay. The price of a straight line is some smoothing, most
//! for slices in the middle of the TR. The first volume of a run, and one after a gap, pass as they
//! were acquired, because the value before them is not known.
//!
//! Slice times are in seconds after the start of the volume, one for each slice in the order of the
//! matrix, as BIDS `SliceTiming`.

use crate::{
    stage::Stage,
    state::{Loader, Saver},
    time::{RepetitionTime, TrIndex},
    volume::Volume,
};

/// Slice times that cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidSliceTimes {
    /// There is no such axis.
    #[error("the slice axis must be 0 (x), 1 (y) or 2 (z), got {0}")]
    Axis(usize),
    /// The number of times is not the number of slices.
    #[error(
        "there are {found} slice times, expected {expected}: one for each slice along axis {axis}"
    )]
    Length {
        /// Times found.
        found: usize,
        /// Slices of the matrix.
        expected: usize,
        /// The slice axis.
        axis: usize,
    },
    /// A time lies outside the TR.
    #[error(
        "the time of slice {slice} is {found} s, expected at least 0 s and less than the TR of \
         {repetition_time}; slice times are in s, not in ms"
    )]
    Time {
        /// Which slice.
        slice: usize,
        /// The time found, in s.
        found: f64,
        /// The run's TR.
        repetition_time: RepetitionTime,
    },
}

/// Why a volume was not interpolated. The volume is dropped.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CannotInterpolate {
    /// The volume has another matrix than its run.
    #[error("{tr} has {n_voxel} voxels and the matrix {found:?}, expected the matrix {expected:?}")]
    Matrix {
        /// Which volume.
        tr: TrIndex,
        /// Voxels found.
        n_voxel: usize,
        /// Voxels along x, y, z that the volume names.
        found: [usize; 3],
        /// Voxels along x, y, z of the run.
        expected: [usize; 3],
    },
    /// A volume arrived after a later one.
    #[error("{got} arrived after {last} was already used")]
    OutOfOrder {
        /// The last volume used.
        last: TrIndex,
        /// The volume that arrived late.
        got: TrIndex,
    },
}

/// Interpolates slices in time. See the module docs.
#[derive(Clone, Debug)]
pub struct SliceTiming {
    matrix: [usize; 3],
    axis: usize,
    /// Weight of the volume before, for each slice: `s/TR`.
    before: Vec<f32>,
    last: Option<TrIndex>,
    /// Signal of the last volume as acquired, x fastest. Shape `[n_voxel]`.
    last_signal: Vec<f32>,
}

impl SliceTiming {
    /// A stage for one run. `slice_times_s`: seconds after the start of the volume, along `axis`
    /// (0, 1, 2 for x, y, z) of the matrix.
    ///
    /// # Errors
    ///
    /// Fails unless there is one time for each slice, from 0 to less than the TR.
    pub fn new(
        slice_times_s: &[f64],
        axis: usize,
        matrix: [usize; 3],
        repetition_time: RepetitionTime,
    ) -> Result<Self, InvalidSliceTimes> {
        let &expected = matrix.get(axis).ok_or(InvalidSliceTimes::Axis(axis))?;
        if slice_times_s.len() != expected {
            let found = slice_times_s.len();
            return Err(InvalidSliceTimes::Length { found, expected, axis });
        }
        let tr_s = repetition_time.as_secs();
        if let Some((slice, &found)) =
            slice_times_s.iter().enumerate().find(|(_, time)| !(0.0..tr_s).contains(*time))
        {
            return Err(InvalidSliceTimes::Time { slice, found, repetition_time });
        }
        let before = slice_times_s.iter().map(|time| (time / tr_s) as f32).collect();
        Ok(Self { matrix, axis, before, last: None, last_signal: Vec::new() })
    }

    /// Forgets the previous run.
    pub fn start_run(&mut self) {
        self.last = None;
        self.last_signal.clear();
    }

    /// Adds its state to a checkpoint.
    pub fn save(&self, to: &mut Saver) {
        to.index(self.last);
        to.f32s(&self.last_signal);
    }

    /// Takes its state from a checkpoint. `None` when the bytes do not fit.
    pub fn load(&mut self, from: &mut Loader<'_>) -> Option<()> {
        let (last, signal) = (from.index()?, from.f32s()?);
        let n_voxel = self.matrix.iter().product::<usize>();
        if last.is_some() && signal.len() != n_voxel {
            return None;
        }
        (self.last, self.last_signal) = (last, signal);
        Some(())
    }

    /// Replaces the signal by the interpolated one, and `last_signal` by the signal as acquired.
    fn interpolate(&mut self, signal: &mut [f32]) {
        let [nx, ny, _] = self.matrix;
        // Voxels that follow one another in memory and lie in one slice.
        let run = [1, nx, nx * ny][self.axis];
        let runs = signal.chunks_exact_mut(run).zip(self.last_signal.chunks_exact_mut(run));
        for ((now, last), &before) in runs.zip(self.before.iter().cycle()) {
            for (now, last) in now.iter_mut().zip(last) {
                let acquired = *now;
                let step = before * (*last - acquired);
                // A voxel that was NaN or infinite before spoils only the volume it was in.
                *now += if step.is_finite() { step } else { 0.0 };
                *last = acquired;
            }
        }
    }
}

impl Stage for SliceTiming {
    const NAME: &'static str = "slice_timing";
    type Input<'a> = Volume;
    type Output = Volume;
    type Error = CannotInterpolate;

    fn process(&mut self, mut volume: Volume) -> Result<Option<Volume>, CannotInterpolate> {
        let (tr, n_voxel, expected) = (volume.tr, volume.signal.len(), self.matrix);
        if volume.matrix != expected || n_voxel != expected.iter().product::<usize>() {
            let found = volume.matrix;
            return Err(CannotInterpolate::Matrix { tr, n_voxel, found, expected });
        }
        if let Some(last) = self.last.filter(|last| tr <= *last) {
            return Err(CannotInterpolate::OutOfOrder { last, got: tr });
        }
        let follows = self.last.replace(tr).is_some_and(|last| last.next() == tr);
        if follows {
            self.interpolate(&mut volume.signal);
        } else {
            self.last_signal.clear();
            self.last_signal.extend_from_slice(&volume.signal);
        }
        Ok(Some(volume))
    }
}

#[cfg(test)]
mod tests;
