//! The baseline of the score: what the source gave in the baseline blocks so far.
//!
//! It grows with every good volume of a baseline block, so an early regulation block is compared
//! with less than a late one. The samples themselves are kept, the newest [`MOST_SAMPLES`] of them,
//! because a percent signal change of an old sample changes with the baseline's mean, and a
//! percentile needs them all. So memory and time per volume are bounded: 16 kB, and at most 1024
//! scores to look at.

use std::collections::VecDeque;

use super::source::{Sample, Source};
use crate::state::{Loader, Saver};

/// Samples that are kept; older ones are forgotten. 34 minutes of baseline at a TR of 2 s.
pub const MOST_SAMPLES: usize = 1024;

/// An s.d. below this fraction of the largest raw score is rounding: the baseline is constant, and
/// dividing by it would turn rounding into a score.
const CONSTANT: f64 = 1e-9;

/// Samples of the baseline, and what follows from them.
#[derive(Clone, Debug, Default)]
pub(super) struct Baseline {
    samples: VecDeque<Sample>,
    scores: Scores,
}

/// What follows from the samples. Computed when they change, and not part of a checkpoint.
#[derive(Clone, Debug, Default)]
struct Scores {
    /// Means of the samples; `None` without samples.
    mean: Option<Sample>,
    /// Raw score of each sample, in rising order.
    raw: Vec<f64>,
    raw_mean: f64,
    /// Of the population (divided by n), as in `normalise`.
    raw_sd: f64,
}

impl Baseline {
    /// Adds a sample of a baseline block.
    pub(super) fn add(&mut self, source: &Source, sample: Sample) {
        if self.samples.len() == MOST_SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
        self.update(source);
    }

    fn update(&mut self, source: &Source) {
        let n = self.samples.len() as f64;
        let mean = [0, 1].map(|k| self.samples.iter().map(|sample| sample[k]).sum::<f64>() / n);
        let mean = (n > 0.0).then_some(mean);
        let raw = self.samples.iter().filter_map(|&sample| source.raw(sample, mean));
        let mut raw: Vec<f64> = raw.collect();
        raw.sort_unstable_by(f64::total_cmp);
        let n = (raw.len() as f64).max(1.0);
        let raw_mean = raw.iter().sum::<f64>() / n;
        let squares: f64 = raw.iter().map(|raw| (raw - raw_mean) * (raw - raw_mean)).sum();
        self.scores = Scores { mean, raw, raw_mean, raw_sd: (squares / n).sqrt() };
    }

    /// Samples with a score.
    pub(super) fn n_volume(&self) -> usize {
        self.scores.raw.len()
    }

    /// Means of the samples so far.
    pub(super) fn mean(&self) -> Option<Sample> {
        self.scores.mean
    }

    /// Distance of a raw score from the baseline's mean, in s.d. `None` for a constant baseline.
    pub(super) fn z(&self, raw: f64) -> Option<f64> {
        let Scores { raw: all, raw_mean, raw_sd, .. } = &self.scores;
        let largest = all.first()?.abs().max(all.last()?.abs());
        let z = (raw - raw_mean) / raw_sd;
        (*raw_sd > CONSTANT * largest && z.is_finite()).then_some(z)
    }

    /// Part of the baseline's scores below this one, 0 to 1; equal scores count half.
    pub(super) fn percentile(&self, raw: f64) -> Option<f64> {
        let all = &self.scores.raw;
        let n_below = all.partition_point(|&other| other < raw);
        let n_not_above = all.partition_point(|&other| other <= raw);
        let n = all.len() as f64;
        (n > 0.0).then(|| (n_below + n_not_above) as f64 / (2.0 * n))
    }

    /// Adds the samples to a checkpoint.
    pub(super) fn save(&self, to: &mut Saver) {
        to.f64s(&self.samples.iter().copied().flatten().collect::<Vec<f64>>());
    }

    /// Takes the samples from a checkpoint. `None` when the bytes do not fit.
    pub(super) fn load(&mut self, source: &Source, from: &mut Loader<'_>) -> Option<()> {
        let values = from.f64s()?;
        let (samples, rest) = values.as_chunks::<2>();
        if !rest.is_empty() || samples.len() > MOST_SAMPLES {
            return None;
        }
        self.samples = samples.iter().copied().collect();
        self.update(source);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Source {
        Source::linear(vec![1.0], 0.0, 1).unwrap()
    }

    fn baseline(source: &Source, values: &[f64]) -> Baseline {
        let mut baseline = Baseline::default();
        values.iter().for_each(|&value| baseline.add(source, [value, 0.0]));
        baseline
    }

    #[test]
    fn z_and_percentile_by_hand() {
        // Mean 4, population s.d. 2.
        let baseline = baseline(&plain(), &[2.0, 6.0, 2.0, 6.0]);
        assert!((baseline.z(7.0).unwrap() - 1.5).abs() < 1e-12);
        let percentiles = [1.0, 2.0, 4.0, 7.0].map(|raw| baseline.percentile(raw).unwrap());
        assert_eq!(percentiles.map(|p| (p * 100.0) as u32), [0, 25, 50, 100]);
    }

    #[test]
    fn z_of_a_percent_change_is_that_of_the_signal() {
        let roi = Source::roi_change("a", &["a".to_owned()]).unwrap();
        let signals = [498.0, 502.0, 501.0, 507.0];
        let (of_signal, of_change) = (baseline(&plain(), &signals), baseline(&roi, &signals));
        let raw = roi.raw([510.0, 0.0], of_change.mean()).unwrap();
        let (change, signal) = (of_change.z(raw).unwrap(), of_signal.z(510.0).unwrap());
        assert!((change - signal).abs() < 1e-9, "{change} {signal}");
    }

    #[test]
    fn a_constant_baseline_gives_no_z() {
        assert_eq!(baseline(&plain(), &[0.1, 0.1, 0.1]).z(0.2), None);
        assert_eq!(baseline(&plain(), &[0.0, 0.0]).z(0.0), None);
        assert_eq!(Baseline::default().z(0.2), None);
        assert_eq!(Baseline::default().percentile(0.2), None);
    }

    #[test]
    fn the_oldest_samples_are_forgotten() {
        let mut values = vec![1e6; 100];
        values.extend((0..MOST_SAMPLES).map(|k| (k % 2) as f64));
        let baseline = baseline(&plain(), &values);
        assert_eq!(baseline.n_volume(), MOST_SAMPLES);
        assert!((baseline.z(1.5).unwrap() - 2.0).abs() < 1e-12);
    }
}
