//! Maps of a run: mean and temporal signal-to-noise ratio of every voxel of the recorded volumes.
//!
//! tSNR is the mean over the s.d. of what a straight line leaves, with n - 2 degrees of freedom.
//! Sums over the volumes are enough for both, so no volume is kept. Each voxel is measured from its
//! value in the first volume, which keeps the sums small and so exact.

use corticast_bold::decode::Order;

/// A larger volume gets no maps: its sums would take more than 128 MiB.
pub(super) const MAX_VOXELS: usize = 1 << 22;

/// Fewest volumes of a map.
const MIN_VOLUMES: u32 = 3;

/// Sums over the volumes so far. Voxels are in order x fastest.
#[derive(Clone, Debug)]
pub(super) struct VoxelSums {
    n: u32,
    /// Index of the first volume: times are counted from it, in volumes.
    first_index: u32,
    sum_t: f64,
    sum_tt: f64,
    /// Values of the first volume. Shape `[n_voxel]`, as the others.
    offset: Vec<f32>,
    /// For each voxel the sums of y, y·y and t·y.
    sums: Vec<[f64; 3]>,
}

/// What is known of a voxel after the last volume.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Fit {
    pub(super) mean: f64,
    /// Change of the signal per volume.
    pub(super) slope: f64,
    /// S.d. of what the line leaves.
    pub(super) sd: f64,
    /// Time at which the line passes the mean, in volumes since index 0.
    pub(super) centre: f64,
}

/// The maps of a run.
#[derive(Clone, Debug)]
pub(super) struct VoxelMaps {
    pub(super) n_volume: u32,
    /// tSNR, 0 where it is not defined. Shape `[n_voxel]`, x fastest.
    pub(super) tsnr: Vec<f32>,
    /// Number of voxels with signal (see [`super::otsu`]).
    pub(super) n_brain: usize,
    /// Median of tSNR over these voxels.
    pub(super) tsnr_median: Option<f64>,
    /// 98th percentile of tSNR over these voxels, which is the white of the map.
    pub(super) tsnr_high: f64,
}

impl VoxelSums {
    /// Sums without volumes.
    pub(super) fn new(first_index: u32, offset: Vec<f32>) -> Self {
        let sums = vec![[0.0; 3]; offset.len()];
        Self { n: 0, first_index, sum_t: 0.0, sum_tt: 0.0, offset, sums }
    }

    /// Adds a volume, whose voxels are in order x fastest.
    pub(super) fn add(&mut self, index: u32, signal: &[f32]) {
        if signal.len() != self.offset.len() {
            return;
        }
        let t = f64::from(index) - f64::from(self.first_index);
        self.n += 1;
        self.sum_t += t;
        self.sum_tt += t * t;
        for ((sums, &offset), &value) in self.sums.iter_mut().zip(&self.offset).zip(signal) {
            let y = f64::from(value) - f64::from(offset);
            sums[0] += y;
            sums[1] += y * y;
            sums[2] += t * y;
        }
    }

    /// The line through the values of a voxel. `None` with fewer than three volumes.
    pub(super) fn fit(&self, voxel: usize) -> Option<Fit> {
        let [sum_y, sum_yy, sum_ty] = *self.sums.get(voxel)?;
        let n = f64::from(self.n);
        let tt = self.sum_tt - self.sum_t * self.sum_t / n;
        if self.n < MIN_VOLUMES || tt <= 0.0 {
            return None;
        }
        let yy = sum_yy - sum_y * sum_y / n;
        let ty = sum_ty - self.sum_t * sum_y / n;
        let slope = ty / tt;
        let left = yy - ty * slope;
        // What is left of a straight line is rounding, and no noise.
        let left = if left > 1e-9 * yy { left } else { 0.0 };
        Some(Fit {
            mean: f64::from(self.offset[voxel]) + sum_y / n,
            slope,
            sd: (left / (n - 2.0)).sqrt(),
            centre: f64::from(self.first_index) + self.sum_t / n,
        })
    }

    /// The maps. `None` with fewer than three volumes.
    pub(super) fn maps(&self) -> Option<VoxelMaps> {
        let fits: Vec<Fit> = (0..self.sums.len()).map_while(|voxel| self.fit(voxel)).collect();
        if fits.is_empty() {
            return None;
        }
        let ratio = |fit: &Fit| {
            let ratio = fit.mean / fit.sd;
            if fit.sd > 0.0 && ratio.is_finite() { ratio.max(0.0) as f32 } else { 0.0 }
        };
        let tsnr: Vec<f32> = fits.iter().map(ratio).collect();
        let means: Vec<f32> = fits.iter().map(|fit| fit.mean as f32).collect();
        let threshold = super::otsu::threshold(&means).unwrap_or(f32::INFINITY);
        let is_brain = means.iter().map(|&mean| mean >= threshold);
        let brain = is_brain.zip(&tsnr).filter_map(|(is_brain, &tsnr)| is_brain.then_some(tsnr));
        let mut brain: Vec<f32> = brain.collect();
        brain.sort_unstable_by(f32::total_cmp);
        let at = |share: usize| brain.get(brain.len() * share / 100).copied().map(f64::from);
        Some(VoxelMaps {
            n_volume: self.n,
            n_brain: brain.len(),
            tsnr_median: at(50),
            tsnr_high: at(98).filter(|&high| high > 0.0).unwrap_or(1.0),
            tsnr,
        })
    }
}

/// Voxels in order x fastest.
pub(super) fn x_fastest(signal: Vec<f32>, order: Order, [nx, ny, nz]: [usize; 3]) -> Vec<f32> {
    if order == Order::F || signal.len() != nx * ny * nz {
        return signal;
    }
    let mut turned = Vec::with_capacity(signal.len());
    for z in 0..nz {
        for y in 0..ny {
            turned.extend((0..nx).map(|x| signal[(x * ny + y) * nz + z]));
        }
    }
    turned
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sums(volumes: &[(u32, Vec<f32>)]) -> VoxelSums {
        let mut sums = VoxelSums::new(volumes[0].0, volumes[0].1.clone());
        volumes.iter().for_each(|(index, signal)| sums.add(*index, signal));
        sums
    }

    #[test]
    fn a_line_is_taken_out_and_the_rest_is_noise() {
        // Around the line 100 + 2 t: +1, -1, -1, +1. Residuals 1, so the s.d. is sqrt(4 / 2).
        let values = [101.0, 101.0, 103.0, 107.0];
        let volumes: Vec<_> = (0..).zip(values).map(|(t, y)| (t, vec![y, 5.0, 3.0])).collect();
        let sums = sums(&volumes);
        let fit = sums.fit(0).unwrap();
        assert!((fit.mean - 103.0).abs() < 1e-12 && (fit.slope - 2.0).abs() < 1e-12, "{fit:?}");
        assert!((fit.sd - 2.0_f64.sqrt()).abs() < 1e-12 && (fit.centre - 1.5).abs() < 1e-12);
        let maps = sums.maps().unwrap();
        assert!((maps.tsnr[0] - 103.0 / 2.0_f32.sqrt()).abs() < 1e-4, "{maps:?}");
        assert_eq!(&maps.tsnr[1..], [0.0, 0.0], "a constant voxel has no noise to divide by");
        assert_eq!((maps.n_volume, maps.n_brain), (4, 1));
    }

    #[test]
    fn a_gap_does_not_bend_the_line() {
        let volumes = [(3, vec![6.0]), (4, vec![8.0]), (9, vec![18.0])];
        let fit = sums(&volumes).fit(0).unwrap();
        assert!((fit.slope - 2.0).abs() < 1e-12 && fit.sd.abs() < 1e-12, "{fit:?}");
        assert!(sums(&volumes[..2]).maps().is_none());
    }

    #[test]
    fn voxels_of_either_order_lie_at_the_same_place() {
        // C order of a 2 x 3 x 1 matrix whose order with x fastest counts up.
        let c = vec![0.0, 2.0, 4.0, 1.0, 3.0, 5.0];
        let f: Vec<f32> = (0_u8..6).map(f32::from).collect();
        assert_eq!(x_fastest(c, Order::C, [2, 3, 1]), f);
        assert_eq!(x_fastest(f.clone(), Order::F, [2, 3, 1]), f);
    }

    proptest! {
        /// The sums give what two passes over all values give.
        #[test]
        fn sums_equal_two_passes(values in proptest::collection::vec(-1e4_f32..1e4, 4..40)) {
            let volumes: Vec<_> = (0..).zip(&values).map(|(t, &y)| (t, vec![y])).collect();
            let fit = sums(&volumes).fit(0).unwrap();
            let n = values.len() as f64;
            let y: Vec<f64> = values.iter().map(|&y| f64::from(y)).collect();
            let (mean, centre) = (y.iter().sum::<f64>() / n, (n - 1.0) / 2.0);
            let centred = || y.iter().enumerate().map(|(t, y)| (t as f64 - centre, y - mean));
            let slope = centred().map(|(t, y)| t * y).sum::<f64>()
                / centred().map(|(t, _)| t * t).sum::<f64>();
            let left: f64 = centred().map(|(t, y)| (y - slope * t).powi(2)).sum();
            let sd = (left / (n - 2.0)).sqrt();
            prop_assert!((fit.mean - mean).abs() < 1e-6 && (fit.sd - sd).abs() < 1e-3 * (1.0 + sd));
        }
    }
}
