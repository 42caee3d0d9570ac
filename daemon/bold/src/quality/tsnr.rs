//! tSNR: signal over noise of each voxel, over the run so far.
//!
//! `tSNR = mean / s.d. of what a straight line leaves`. The line is fitted to the run so far by
//! running sums: mean, squares, and product with time (Welford 1962, Technometrics 4:419, and its
//! extension to two variables), in f64, so a volume costs the same however long the run is. The
//! s.d. is the population's (divided by n), as in `TSNR` of nipype with `regress_poly = 1`; times
//! `sqrt((n - 2)/n)` it is the unbiased one's. A voxel without noise has the tSNR 0, as there.

use super::dvars::median;
use crate::{
    state::{Loader, Saver},
    time::TrIndex,
};

/// Fewest volumes: a line through two points leaves nothing.
const FEWEST: u32 = 3;
/// Noise below this part of the signal is rounding: f32 has 24 bits.
const ROUNDING: f64 = 1e-7;

/// Running sums for tSNR.
#[derive(Clone, Debug)]
pub struct Tsnr {
    n: u32,
    mean_time: f64,
    /// Sum of squared deviations of time.
    time_squares: f64,
    /// Mean signal. Shape `[n_voxel]`, as the next two.
    mean: Vec<f64>,
    /// Sum of squared deviations of the signal.
    squares: Vec<f64>,
    /// Sum of products of the deviations of time and signal.
    products: Vec<f64>,
}

impl Tsnr {
    /// For this many voxels.
    #[must_use]
    pub fn new(n_voxel: usize) -> Self {
        let zeros = vec![0.0; n_voxel];
        Self {
            n: 0,
            mean_time: 0.0,
            time_squares: 0.0,
            mean: zeros.clone(),
            squares: zeros.clone(),
            products: zeros,
        }
    }

    /// Forgets the previous run.
    pub fn start_run(&mut self) {
        *self = Self::new(self.mean.len());
    }

    /// Adds a measured volume, in scanner units. A volume of another length is left out.
    pub fn add(&mut self, tr: TrIndex, bold: &[f32]) {
        if bold.len() != self.mean.len() {
            return;
        }
        self.n = self.n.saturating_add(1);
        let by_n = 1.0 / f64::from(self.n);
        let from_mean_before = f64::from(tr.0) - self.mean_time;
        self.mean_time += from_mean_before * by_n;
        self.time_squares += from_mean_before * (f64::from(tr.0) - self.mean_time);
        let sums = self.mean.iter_mut().zip(&mut self.squares).zip(&mut self.products);
        for (&signal, ((mean, squares), products)) in bold.iter().zip(sums) {
            let delta = f64::from(signal) - *mean;
            *mean += delta * by_n;
            let delta_after = f64::from(signal) - *mean;
            *squares += delta * delta_after;
            *products += from_mean_before * delta_after;
        }
    }

    /// tSNR of each voxel; empty before the third volume. Shape `[n_voxel]`.
    #[must_use]
    pub fn map(&self) -> Vec<f32> {
        if self.n < FEWEST {
            return Vec::new();
        }
        let by_n = 1.0 / f64::from(self.n);
        let sums = self.mean.iter().zip(&self.squares).zip(&self.products);
        sums.map(|((&mean, &squares), &products)| {
            let rest = squares - products * products / self.time_squares;
            let sd = (rest.max(0.0) * by_n).sqrt();
            if sd > ROUNDING * mean.abs() { (mean / sd) as f32 } else { 0.0 }
        })
        .collect()
    }

    /// Median over the mask; `None` before the third volume and for an empty mask.
    #[must_use]
    pub fn median(&self) -> Option<f64> {
        let map = self.map();
        (!map.is_empty()).then(|| f64::from(median(map)))
    }

    /// Adds its state to a checkpoint.
    pub fn save(&self, to: &mut Saver) {
        to.u32(self.n);
        to.f64(self.mean_time);
        to.f64(self.time_squares);
        to.f64s(&self.mean);
        to.f64s(&self.squares);
        to.f64s(&self.products);
    }

    /// Takes its state from a checkpoint. `None` when the bytes do not fit.
    pub fn load(&mut self, from: &mut Loader<'_>) -> Option<()> {
        let (n, mean_time, time_squares) = (from.u32()?, from.f64()?, from.f64()?);
        let (mean, squares, products) = (from.f64s()?, from.f64s()?, from.f64s()?);
        let n_voxel = self.mean.len();
        if [mean.len(), squares.len(), products.len()] != [n_voxel; 3] {
            return None;
        }
        *self = Self { n, mean_time, time_squares, mean, squares, products };
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(n_voxel: usize, volumes: &[(u32, Vec<f32>)]) -> Tsnr {
        let mut tsnr = Tsnr::new(n_voxel);
        volumes.iter().for_each(|(tr, bold)| tsnr.add(TrIndex(*tr), bold));
        tsnr
    }

    /// 99, 101, 101, 99 has the mean 100, no slope and the s.d. 1.
    #[test]
    fn noise_of_one_percent_gives_a_hundred() {
        let signal = [99.0, 101.0, 101.0, 99.0];
        let volumes: Vec<_> = (0..).zip(signal.map(|s| vec![s])).collect();
        assert_eq!(of(1, &volumes[..2]).median(), None, "two volumes");
        assert!((of(1, &volumes).median().unwrap() - 100.0).abs() < 1e-4);
    }

    /// `TSNR` of nipype 1.11 with `regress_poly = 1` gives 110.5 for the first voxel.
    #[test]
    fn a_line_is_no_noise_and_a_constant_voxel_has_none() {
        let noise = [-1.0, 1.0, 1.0, -1.0];
        let volumes: Vec<_> = (0..)
            .zip(noise)
            .map(|(t, e)| (t, vec![100.0 + e + 7.0 * t as f32, 5.0, 0.0]))
            .collect();
        let map = of(3, &volumes).map();
        assert!((map[0] - 110.5).abs() < 1e-3, "{map:?}");
        assert_eq!(map[1..], [0.0, 0.0]);
    }

    proptest! {
        /// The running sums give what two passes over the run give, with gaps and large signals.
        #[test]
        fn running_sums_equal_two_passes(
            trs in proptest::collection::btree_set(0_u32..500, 4..40),
            seed in 0_u32..1000,
        ) {
            let volumes: Vec<_> = trs.iter().map(|&tr| {
                let noise = tr.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 20;
                (tr, vec![20_000.0 + noise as f32 / 100.0])
            }).collect();
            let (t, y): (Vec<f64>, Vec<f64>) =
                volumes.iter().map(|(tr, bold)| (f64::from(*tr), f64::from(bold[0]))).unzip();
            let n = t.len() as f64;
            let mean = |x: &[f64]| x.iter().sum::<f64>() / n;
            let (mean_t, mean_y) = (mean(&t), mean(&y));
            let dot = |a: &[f64], ma: f64, b: &[f64], mb: f64| {
                a.iter().zip(b).map(|(a, b)| (a - ma) * (b - mb)).sum::<f64>()
            };
            let slope = dot(&t, mean_t, &y, mean_y) / dot(&t, mean_t, &t, mean_t);
            let rest: f64 = t.iter().zip(&y)
                .map(|(t, y)| (y - mean_y - slope * (t - mean_t)).powi(2)).sum();
            let expected = mean_y / (rest / n).sqrt();
            let found = f64::from(of(1, &volumes).map()[0]);
            prop_assert!((found - expected).abs() < 1e-5 * expected, "{found} {expected}");
        }

        #[test]
        fn a_checkpoint_changes_nothing(signal in proptest::collection::vec(0.0..1e4_f32, 6)) {
            let volumes: Vec<_> = (0..).zip(signal).map(|(tr, s)| (tr, vec![s])).collect();
            let whole = of(1, &volumes);
            let mut saver = Saver::default();
            of(1, &volumes[..3]).save(&mut saver);
            let mut restored = Tsnr::new(1);
            prop_assert_eq!(restored.load(&mut Loader::new(&saver.finish())), Some(()));
            volumes[3..].iter().for_each(|(tr, bold)| restored.add(TrIndex(*tr), bold));
            prop_assert_eq!(whole.map(), restored.map());
        }
    }
}
