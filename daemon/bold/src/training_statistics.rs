//! Mean and s.d. of each voxel over a model's training runs. The mode `frozen` of
//! [`normalise`](crate::normalise) uses them online.
//!
//! Fewer than two volumes give no statistics.

use ndarray::{Array1, Zip};

use crate::{
    normalise::{FrozenMean, NormaliseOptions, Statistics},
    volume::{MadeFrom, MaskedVolume},
    welford::{Welford, slice},
};

/// Learns the statistics that [`Mode::Frozen`](crate::normalise::Mode::Frozen) divides by online.
///
/// With [`FrozenMean::Growing`], the s.d. is taken over the deviations from the growing mean after
/// the warm-up, because online it divides exactly these deviations. With
/// [`FrozenMean::Manifest`], it is taken over all volumes of all runs about their common mean.
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
    /// Empty statistics for `n_voxel` voxels.
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

    /// Starts the next run.
    pub fn start_run(&mut self) {
        self.run = Welford::new(self.run.mean().len());
    }

    /// Adds one volume. Filled-in volumes are ignored.
    pub fn update(&mut self, volume: &MaskedVolume) {
        if volume.made_from != MadeFrom::Measured {
            return;
        }
        self.all.update(slice(&volume.bold));
        self.run.update(slice(&volume.bold));
        if self.run.n_volume() > self.warm_up_volumes {
            self.n_deviation += 1;
            Zip::from(&mut self.deviation_squares)
                .and(&volume.bold)
                .and(self.run.mean())
                .for_each(|squares, &value, &mean| *squares += (f64::from(value) - mean).powi(2));
        }
    }

    /// The statistics so far. `None` when fewer than two volumes count.
    #[must_use]
    pub fn finish(&self) -> Option<Statistics> {
        let (squares, n) = match self.frozen_mean {
            FrozenMean::Growing => (&self.deviation_squares, self.n_deviation),
            FrozenMean::Manifest => (self.all.squares(), self.all.n_volume()),
        };
        (n >= 2).then(|| Statistics {
            mean: self.all.mean().mapv(|mean| mean as f32),
            sd: squares.mapv(|sum| (sum / f64::from(n)).sqrt() as f32),
        })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::{normalise::Mode, time::TrIndex, volume::Confounds};

    fn volume(tr: usize, signal: f32) -> MaskedVolume {
        MaskedVolume {
            tr: TrIndex(tr as u32),
            acquisition_time_s: tr as f64,
            bold: array![signal],
            made_from: MadeFrom::Measured,
            confounds: Confounds::default(),
        }
    }

    #[test]
    fn training_statistics_are_those_of_what_is_divided_by_them() {
        let growing = NormaliseOptions {
            mode: Mode::Frozen,
            warm_up_volumes: 1,
            baseline_volumes: 3,
            frozen_mean: FrozenMean::Growing,
            across_voxels: false,
            statistics: None,
        };
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
}
